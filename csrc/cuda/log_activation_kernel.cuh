// The log activation on CUDA. No torch in this file.
//
// Forward: 2 s bytes an element (s = element size: read x, write y); about 15 operations with log1pf. Even an
// H200 (4.8 TB/s, 67 TFLOP/s float32) has 28 operations a byte moved at s = 4, so memory binds: the roofline is
// the card's copy speed. Backward: 3 s bytes (read grad, x; write grad_x) and about 5 operations with one
// division; memory binds likewise. Each element is read once and written once, 16 bytes a thread at a time.
#pragma once

#include "../common/log_activation_math.h"
#include "launch.cuh"

namespace cdifast::cuda {

constexpr int kThreads = 256;
constexpr int kVectorBytes = 16;

// alpha as a number, or read from the device where it is a learnable parameter: reading it on the host would
// make every forward pass wait for the GPU.
template <typename C>
struct AlphaSource {
  double value;
  const float* device_f32;
  const double* device_f64;

  CDIFAST_HD C get() const {
    if (device_f32 != nullptr) return static_cast<C>(*device_f32);
    if (device_f64 != nullptr) return static_cast<C>(*device_f64);
    return static_cast<C>(value);
  }
};

// kVector elements that move as one 16-byte access.
template <typename T, int kVector>
struct alignas(sizeof(T) * kVector) Pack {
  T element[kVector];
};

template <typename T, int kVector>
__global__ void log_activation_forward_kernel(const T* __restrict__ x, T* __restrict__ y, int64_t packs,
                                              AlphaSource<compute_t<T>> alpha) {
  using P = Pack<T, kVector>;
  const auto a = alpha.get();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const P in = reinterpret_cast<const P*>(x)[i];
    P out;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      store_element(out.element[v], log_activation_value(load_element(in.element[v]), a));
    }
    reinterpret_cast<P*>(y)[i] = out;
  }
}

template <typename T, int kVector>
__global__ void log_activation_backward_kernel(const T* __restrict__ grad, const T* __restrict__ x,
                                               T* __restrict__ grad_x, int64_t packs, AlphaSource<compute_t<T>> alpha) {
  using P = Pack<T, kVector>;
  const auto a = alpha.get();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const P g = reinterpret_cast<const P*>(grad)[i];
    const P in = reinterpret_cast<const P*>(x)[i];
    P out;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      store_element(out.element[v], load_element(g.element[v]) * log_activation_slope(load_element(in.element[v]), a));
    }
    reinterpret_cast<P*>(grad_x)[i] = out;
  }
}

// Backward that also sums grad h(x) / alpha over the block into parts[blockIdx.x]. The parts are added in a
// second, single-block kernel in a fixed order: the gradient is the same in every run, which atomics would not be.
template <typename T, int kVector>
__global__ void log_activation_backward_alpha_kernel(const T* __restrict__ grad, const T* __restrict__ x,
                                                     T* __restrict__ grad_x, double* __restrict__ parts, int64_t packs,
                                                     AlphaSource<compute_t<T>> alpha) {
  using C = compute_t<T>;
  using P = Pack<T, kVector>;
  const C a = alpha.get();
  double sum = 0.0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const P g = reinterpret_cast<const P*>(grad)[i];
    const P in = reinterpret_cast<const P*>(x)[i];
    P out;
    // One double addition a pack: consumer cards do double arithmetic at 1/64 of the float rate.
    C pack_sum = 0;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const C value = load_element(in.element[v]);
      const C gradient = load_element(g.element[v]);
      store_element(out.element[v], gradient * log_activation_slope(value, a));
      pack_sum += gradient * log_activation_unit(value);
    }
    reinterpret_cast<P*>(grad_x)[i] = out;
    sum += static_cast<double>(pack_sum);
  }

  CDIFAST_SHARED(double, partial, kThreads);
  partial[threadIdx.x] = sum;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) parts[blockIdx.x] = partial[0];
}

// total[0] = sum of parts, by one block.
template <typename A>
__global__ void log_activation_sum_parts_kernel(const double* __restrict__ parts, int count, A* __restrict__ total) {
  CDIFAST_SHARED(double, partial, kThreads);
  double sum = 0.0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  partial[threadIdx.x] = sum;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) total[0] = static_cast<A>(partial[0]);
}

}  // namespace cdifast::cuda
