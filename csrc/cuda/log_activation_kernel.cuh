// The log activation on CUDA. No torch in this file.
//
// Forward: 2 s bytes an element (s = element size: read x, write y) and about 30 operations, 4 per byte at s = 4. An
// H200 (4.8 TB/s, 67 TFLOP/s float32) has 14, with a multiply-add counted as two, so memory binds: the roofline is the
// card's copy speed. Backward: 3 s bytes (read grad, x; write grad_x) and about 15 operations with one division; memory
// binds likewise. A bias adds two integer divisions and an addition or two per element to a pack, about 20 operations
// an element, and no traffic: its C numbers stay in the cache. Each element is read once and written once, 16 bytes a
// thread at a time.
#pragma once

#include "../common/channel_bias.h"
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

// Division of integers below 2^31 by one divisor, as a multiplication and a shift; the GPU's own takes some twenty
// instructions, more than the activation's arithmetic allows for beside the memory's speed. n / d = (n m / 2^32 + n) /
// 2^s with s = log2 d rounded up and m = 2^32 (2^s - d) / d + 1 (Granlund and Montgomery 1994).
struct Divider {
  uint32_t multiplier;
  uint32_t shift;

  CDIFAST_HD uint32_t divide(uint32_t n) const {
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(n) * multiplier) >> 32);
    return (high + n) >> shift;
  }
};

constexpr int64_t kDividerLimit = int64_t{1} << 31;

CDIFAST_HOST Divider divider(int64_t divisor) {
  if (divisor >= kDividerLimit) return {0, 31};  // the quotient is 0
  uint32_t shift = 0;
  while ((int64_t{1} << shift) < divisor) ++shift;
  const uint64_t rest = (uint64_t{1} << shift) - static_cast<uint64_t>(divisor);
  return {static_cast<uint32_t>((rest << 32) / static_cast<uint64_t>(divisor) + 1), shift};
}

// What is added to x. Without a bias that is -0.0, which changes no number, not even the sign of a zero.
template <typename C>
struct BiasSource {
  const C* values;
  int64_t channels;
  int64_t inner;
  Divider by_channels;
  Divider by_inner;
  int64_t first;  // position in the tensor of the launch's first element

  // For kVector elements from the launch's element i on.
  template <int kVector>
  CDIFAST_HD void get(int64_t i, C (&shift)[kVector]) const {
    C value = C(-0.0);
    int64_t channel = 0;
    int left = kVector;  // elements of this channel that are still to come
    if (values != nullptr) {
      const int64_t position = first + i;
      int64_t run;  // of elements that are of one channel
      if (position < kDividerLimit) {
        const uint32_t short_run = by_inner.divide(static_cast<uint32_t>(position));
        run = short_run;
        channel = short_run - by_channels.divide(short_run) * channels;
      } else {
        run = position / inner;
        channel = run % channels;
      }
      left = at_most<kVector>((run + 1) * inner - position);
      value = values[channel];
    }
    if (left == kVector) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) shift[v] = value;
      return;
    }
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      if (left == 0) {
        left = at_most<kVector>(inner);
        channel = channel + 1 == channels ? 0 : channel + 1;
        value = values[channel];
      }
      shift[v] = value;
      --left;
    }
  }

 private:
  template <int kLimit>
  CDIFAST_HD static int at_most(int64_t count) {
    return count < kLimit ? static_cast<int>(count) : kLimit;
  }
};

// kVector elements that move as one 16-byte access.
template <typename T, int kVector>
struct alignas(sizeof(T) * kVector) Pack {
  T element[kVector];
};

// y may be x: no __restrict__.
template <typename T, int kVector>
__global__ void log_activation_forward_kernel(const T* x, T* y, int64_t packs, AlphaSource<compute_t<T>> alpha,
                                              BiasSource<compute_t<T>> bias) {
  using C = compute_t<T>;
  using P = Pack<T, kVector>;
  const C a = alpha.get();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const P in = reinterpret_cast<const P*>(x)[i];
    C shift[kVector];
    bias.get(i * kVector, shift);
    P out;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      store_element(out.element[v], log_activation_value(load_element(in.element[v]) + shift[v], a));
    }
    reinterpret_cast<P*>(y)[i] = out;
  }
}

template <typename T, int kVector>
__global__ void log_activation_backward_kernel(const T* __restrict__ grad, const T* __restrict__ x,
                                               T* __restrict__ grad_x, int64_t packs, AlphaSource<compute_t<T>> alpha,
                                               BiasSource<compute_t<T>> bias) {
  using C = compute_t<T>;
  using P = Pack<T, kVector>;
  const C a = alpha.get();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const P g = reinterpret_cast<const P*>(grad)[i];
    const P in = reinterpret_cast<const P*>(x)[i];
    C shift[kVector];
    bias.get(i * kVector, shift);
    P out;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const C value = load_element(in.element[v]) + shift[v];
      store_element(out.element[v], load_element(g.element[v]) * log_activation_slope(value, a));
    }
    reinterpret_cast<P*>(grad_x)[i] = out;
  }
}

// Backward that also sums grad h(x) / alpha over the block into parts[blockIdx.x]. The parts are added in a
// second, single-block kernel in a fixed order: the gradient is the same in every run, which atomics would not be.
template <typename T, int kVector>
__global__ void log_activation_backward_alpha_kernel(const T* __restrict__ grad, const T* __restrict__ x,
                                                     T* __restrict__ grad_x, double* __restrict__ parts, int64_t packs,
                                                     AlphaSource<compute_t<T>> alpha, BiasSource<compute_t<T>> bias) {
  using C = compute_t<T>;
  using P = Pack<T, kVector>;
  const C a = alpha.get();
  double sum = 0.0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const P g = reinterpret_cast<const P*>(grad)[i];
    const P in = reinterpret_cast<const P*>(x)[i];
    C shift[kVector];
    bias.get(i * kVector, shift);
    P out;
    // One double addition a pack: consumer cards do double arithmetic at 1/64 of the float rate.
    C pack_sum = 0;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const C value = load_element(in.element[v]) + shift[v];
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
