// What the kernels of unwrapped maps share: samples and their weights, sums over a warp, a ring's mean, the unit
// circle. No torch in this file.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "launch.cuh"

namespace cdifast::cuda {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;
// A warp a ring, four rings a block: few, so that small batches reach all multiprocessors.
constexpr int kRingThreads = 128;
constexpr int kRingsPerBlock = kRingThreads / kWarp;

// Moves as one access of 8 or 16 bytes.
template <typename C>
struct alignas(2 * sizeof(C)) Complex {
  C real;
  C imaginary;
};

// One unwrapped map with its weights, by the flat index of a sample; `weights` is null where every sample counts fully.
template <typename T>
struct UnwrappedMap {
  using C = compute_t<T>;
  const T* __restrict__ values;
  const C* __restrict__ weights;

  __device__ C weight(int64_t sample) const { return weights == nullptr ? C(1) : weights[sample]; }
  // The map from a later sample on.
  __device__ UnwrappedMap from(int64_t sample) const {
    return {values + sample, weights == nullptr ? nullptr : weights + sample};
  }
  // A sample without weight may hold NaN, and 0 * NaN is NaN: it is not read at all, and counts as 0.
  __device__ C value(int64_t sample, C weight) const { return weight > C(0) ? load_element(values[sample]) : C(0); }
};

// A batch of them, (maps, n_radial, n_angular), with weights of their own or one set for all.
template <typename T>
struct UnwrappedMaps {
  using C = compute_t<T>;
  const T* values;
  const C* weights;
  bool shared_weights;
  int64_t n_radial;
  int64_t n_angular;
  // Where this is given and zero, all weights are one: only the GPU knows, and the host does not wait for it.
  const int* partial = nullptr;

  __device__ bool weighted() const { return weights != nullptr && (partial == nullptr || *partial != 0); }
  // Without the weights where they are all one.
  __device__ UnwrappedMaps resolved() const {
    UnwrappedMaps maps = *this;
    if (!weighted()) maps.weights = nullptr;
    return maps;
  }

  __device__ UnwrappedMap<T> operator[](int64_t n) const {
    const int64_t samples = n_radial * n_angular;
    const bool same = weights == nullptr || shared_weights;
    return {values + n * samples, same ? weights : weights + n * samples};
  }
};

template <typename C>
__device__ __forceinline__ C not_a_number() {
  return static_cast<C>(__builtin_nanf(""));
}

// Sums and maxima over a warp, the same in every lane: the lanes of a pair add the same two numbers.
template <typename C>
__device__ __forceinline__ C warp_sum(C value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kWholeWarp, value, step);
  return value;
}

template <typename C>
__device__ __forceinline__ C warp_max(C value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const C other = __shfl_xor_sync(kWholeWarp, value, step);
    value = other > value ? other : value;
  }
  return value;
}

__device__ __forceinline__ float magnitude(float x) { return __builtin_fabsf(x); }
__device__ __forceinline__ double magnitude(double x) { return __builtin_fabs(x); }

// A ring's weighted mean as a sum of two numbers, and what its sums are measured by.
template <typename C>
struct RingMean {
  C high;
  C low;
  C weight;   // the ring's total
  C largest;  // |I - high|
};

// By one warp. The mean of a bright ring must be far more exact than a float, because the structure is what is left
// when it is taken away. Double sums would do it, at 1/64 of the float rate on most cards; here the mean is rounded to
// `high`, and `low` is the mean of I - high, whose terms are exact where they matter (I close to high) and small.
template <typename T>
__device__ RingMean<compute_t<T>> ring_mean(const UnwrappedMap<T>& map, int64_t first, int64_t n_angular) {
  using C = compute_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  C total = 0, sum = 0;
#pragma unroll 4
  for (int64_t k = lane; k < n_angular; k += kWarp) {
    const C weight = map.weight(first + k);
    total += weight;
    sum += weight * map.value(first + k, weight);
  }
  total = warp_sum(total);
  const C inverse = total > C(0) ? C(1) / total : C(0);
  const C high = warp_sum(sum) * inverse;

  C rest = 0, largest = 0;
#pragma unroll 4
  for (int64_t k = lane; k < n_angular; k += kWarp) {
    const C weight = map.weight(first + k);
    const C difference = weight > C(0) ? map.value(first + k, weight) - high : C(0);
    rest += weight * difference;
    largest = magnitude(difference) > largest ? magnitude(difference) : largest;
  }
  return {high, warp_sum(rest) * inverse, total, warp_max(largest)};
}

// table[k] = (cos, sin) of 2 pi turns k / count, for 0 <= turns < count. The phase is reduced as an integer, so that it
// is exact for every k.
template <typename C>
__global__ void unit_circle_kernel(int64_t turns, int64_t count, Complex<C>* __restrict__ table) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < count; k += stride) {
    double sine, cosine;
    sincospi(2.0 * static_cast<double>(turns * k % count) / static_cast<double>(count), &sine, &cosine);
    table[k] = {static_cast<C>(cosine), static_cast<C>(sine)};
  }
}

}  // namespace cdifast::cuda
