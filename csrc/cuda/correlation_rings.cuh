// Statistics of the rings of unwrapped maps, and their samples as the products of correlation maps need them
// (correlation_kernel.cuh says what binds). No torch in this file.
#pragma once

#include "../common/correlation_math.h"
#include "ring_quads.cuh"
#include "rings.cuh"

namespace cdifast::cuda {

// What a ring brings to its cells: see correlation_math.h for the symbols.
template <typename C>
struct alignas(16) Ring {
  C high, low;        // m, as a sum of two
  C scale;            // a
  C weight;           // W
  C real, imaginary;  // Z
  C usable;           // 1 or 0
  C factor;           // Y = factor * what is kept of the ring's samples
};

// Spreads below this, the least normal number, have no finite reciprocal to speak of, and count as none.
template <typename C>
struct LeastSpread;
template <>
struct LeastSpread<float> {
  static constexpr float value = 1.1754944e-38f;
};
template <>
struct LeastSpread<double> {
  static constexpr double value = 2.2250738585072014e-308;
};

__device__ __forceinline__ float square_root(float x) { return __builtin_sqrtf(x); }
__device__ __forceinline__ double square_root(double x) { return __builtin_sqrt(x); }

// Spectral sums of a ring, and what its kept samples were multiplied by.
template <typename C>
struct RingSums {
  RingMean<C> mean;
  C spread, along, across;  // of I - m: squares in units of mean.largest, products with the harmonic
  C unit;
};

template <typename C>
__device__ __forceinline__ C one_over(C x) {
  return x > C(0) ? C(1) / x : C(0);
}

// One over a size, by which numbers become about 1: the squares of intensities in SI units would vanish, or overflow,
// in float.
template <typename C>
__device__ __forceinline__ C unit_of(C size) {
  return size > LeastSpread<C>::value ? C(1) / size : C(0);
}

// The samples are kept as w (I - b) unit, where unit is about the scale a: that itself is known only when all of a
// warp's rings are summed.
template <typename C>
__device__ __forceinline__ C kept_unit(const RingMean<C>& mean, Normalize normalize) {
  if (normalize == Normalize::none) return C(1);
  return unit_of(normalize == Normalize::pearson ? mean.largest : magnitude(mean.high));
}

template <typename C>
__device__ __forceinline__ Ring<C> finished_ring(const RingSums<C>& sums, Normalize normalize, double needed) {
  const double weight = static_cast<double>(sums.mean.weight);
  const double m = static_cast<double>(sums.mean.high) + static_cast<double>(sums.mean.low);
  const double largest = static_cast<double>(sums.mean.largest);
  const double variance = weight > 0.0 ? static_cast<double>(sums.spread) / weight * largest * largest : 0.0;
  const RingStatistics statistics =
      ring_statistics(weight, m, m * m + variance, variance, needed, Epsilon<C>::value, normalize);
  const C inverse = one_over(sums.mean.weight);
  const C scale = static_cast<C>(statistics.scale);
  return {sums.mean.high,
          sums.mean.low,
          scale,
          sums.mean.weight,
          sums.along * inverse * scale,
          sums.across * inverse * scale,
          statistics.usable ? C(1) : C(0),
          sums.unit > C(0) ? scale / sums.unit : C(0)};
}

// Rings that a warp has one after another, so that their last step, in double, is one for all of them.
constexpr int kRingsOfAWarp = 8;

// A warp's rings: sums(map, first sample, kept samples) of each, which also writes the kept samples. `kept` may be the
// maps themselves.
template <int kAtATime, typename T, typename Sums>
__device__ __forceinline__ void rings_of_warps(const UnwrappedMaps<T>& maps, int64_t count, Normalize normalize,
                                               double needed, compute_t<T>* kept,
                                               Ring<compute_t<T>>* __restrict__ rings, const Sums& sums) {
  using C = compute_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock * kRingsOfAWarp;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp) * kRingsOfAWarp;
       first < total; first += stride) {
    const int live = static_cast<int>(total - first < kRingsOfAWarp ? total - first : kRingsOfAWarp);
    C* const first_kept = kept + first * maps.n_angular;
    // One division for all of them: it takes as long as a ring's sums.
    int64_t map = first / maps.n_radial;
    int64_t row = first - map * maps.n_radial;
    RingSums<C> mine{};
#pragma unroll kAtATime
    for (int i = 0; i < live; ++i) {
      const RingSums<C> found = sums(maps[map], row * maps.n_angular, first_kept + i * maps.n_angular);
      if (lane == i) mine = found;
      if (++row == maps.n_radial) {
        row = 0;
        ++map;
      }
    }
    const Ring<C> ring = finished_ring(mine, normalize, needed);
    if (lane < live) rings[first + lane] = ring;
    // The products of rings without a value are multiplied by zero, or not looked at; but zero times NaN is NaN.
    uint32_t unusable = __ballot_sync(kWholeWarp, lane < live && ring.usable == C(0));
    for (int i = 0; unusable != 0; ++i, unusable >>= 1) {
      if ((unusable & 1) == 0) continue;
      for (int64_t k = lane; k < maps.n_angular; k += kWarp) first_kept[i * maps.n_angular + k] = C(0);
    }
  }
}

// The statistics of rings of up to 32 kHeld samples, which are read once and held in registers, as is the harmonic; and
// their samples as the products need them. Of maps with weights, or of those without: there a weight is 1, and 0 in the
// places beyond the ring.
template <typename T, int kHeld, bool kWeighted>
__launch_bounds__(kRingThreads) __global__
    void short_ring_statistics_kernel(UnwrappedMaps<T> given, int64_t count,
                                      const Complex<compute_t<T>>* __restrict__ harmonic, Normalize normalize,
                                      double needed, compute_t<T>* kept, Ring<compute_t<T>>* __restrict__ rings) {
  using C = compute_t<T>;
  if (given.weighted() != kWeighted) return;  // the other kernel's maps
  const UnwrappedMaps<T> maps = given.resolved();
  const bool centred = normalize == Normalize::pearson;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int held = (static_cast<int>(maps.n_angular) - lane + kWarp - 1) / kWarp;  // by this lane
  C cosine[kHeld], sine[kHeld], weight[kHeld];
#pragma unroll
  for (int s = 0; s < kHeld; ++s) {
    const Complex<C> turn = s < held ? harmonic[lane + s * kWarp] : Complex<C>{C(0), C(0)};
    cosine[s] = turn.real;
    sine[s] = turn.imaginary;
    weight[s] = s < held ? C(1) : C(0);
  }
  const auto sums = [&](const UnwrappedMap<T>& map, int64_t first, C* kept_ring) {
    const UnwrappedMap<T> from = map.from(first + lane);
    C* const to = kept_ring + lane;
    C value[kHeld];
#pragma unroll
    for (int s = 0; s < kHeld; ++s) {
      if (kWeighted) weight[s] = s < held ? from.weight(s * kWarp) : C(0);
      value[s] = s < held ? load_element(from.values[s * kWarp]) : C(0);
    }
    // Read before its weight is known, so that both are under way together; but NaN without weight is no NaN.
#pragma unroll
    for (int s = 0; s < kHeld; ++s) value[s] = weight[s] > C(0) ? value[s] : C(0);
    RingMean<C> mean{C(0), C(0), static_cast<C>(maps.n_angular), C(0)};
    if (kWeighted) {
      mean.weight = 0;
#pragma unroll
      for (int s = 0; s < kHeld; ++s) mean.weight += weight[s];
      mean.weight = warp_sum(mean.weight);
    }
    const C inverse = one_over(mean.weight);
#pragma unroll
    for (int s = 0; s < kHeld; ++s) mean.high += weight[s] * value[s];
    mean.high = warp_sum(mean.high) * inverse;
    if (!centred) {
      const C unit = kept_unit(mean, normalize);
#pragma unroll
      for (int s = 0; s < kHeld; ++s) {
        if (s < held) to[s * kWarp] = weight[s] * value[s] * unit;
      }
    }

    const auto less = [&](C& value, C weight, C by) {
      value = kWeighted ? (weight > C(0) ? value - by : C(0)) : value - weight * by;
    };
#pragma unroll
    for (int s = 0; s < kHeld; ++s) {
      less(value[s], weight[s], mean.high);
      mean.low += weight[s] * value[s];
      mean.largest = magnitude(value[s]) > mean.largest ? magnitude(value[s]) : mean.largest;
    }
    mean.low = warp_sum(mean.low) * inverse;
    mean.largest = warp_max(mean.largest);

    RingSums<C> result{mean, C(0), C(0), C(0), kept_unit(mean, normalize)};
    const C unit = unit_of(mean.largest);
#pragma unroll
    for (int s = 0; s < kHeld; ++s) {
      less(value[s], weight[s], mean.low);
      const C weighted = kWeighted ? weight[s] * value[s] : value[s];
      result.spread += (weighted * unit) * (value[s] * unit);
      result.along += weighted * cosine[s];
      result.across -= weighted * sine[s];
      if (centred && s < held) to[s * kWarp] = weighted * unit;
    }
    result.spread = warp_sum(result.spread);
    result.along = warp_sum(result.along);
    result.across = warp_sum(result.across);
    return result;
  };
  rings_of_warps<(kHeld > 8 ? 1 : 2)>(maps, count, normalize, needed, kept, rings, sums);
}

// The same in float of rings in whole quads, with room in shared memory: 16 rings a warp, four lanes each.
template <typename T, bool kWeighted>
__launch_bounds__(kQuadThreads, CDIFAST_TENSOR_BLOCKS(8)) __global__
    void quad_ring_statistics_kernel(UnwrappedMaps<T> given, int64_t count, const Complex<float>* __restrict__ harmonic,
                                     Normalize normalize, double needed, float* kept, Ring<float>* __restrict__ rings) {
  using Q = Quad<T>;
  using V = Vector<float>;
  CDIFAST_SHARED(Q, held, kQuadWarps * kHeldQuads);
  if (given.weighted() != kWeighted) return;  // the other kernel's maps
  const UnwrappedMaps<T> maps = given.resolved();
  const bool centred = normalize == Normalize::pearson;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int steps = tensor_steps(maps.n_angular);
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kQuadWarps * kTensorRows;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * kQuadWarps + threadIdx.x / kWarp) * kTensorRows;
       first < total; first += stride) {
    const RingQuads<T, true> quads(maps, first, total, held + threadIdx.x / kWarp * kHeldQuads + lane);
    // Values where there is weight, and weights, of which there is none beyond the ring.
    const auto sample = [&](int r, int s, V& value, V& weight) {
      value = quads.value(r, s);
      if (kWeighted) weight = quads.weight(r, s);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (!kWeighted) weight.element[i] = quads.valid(r, s) > 0 ? 1.0f : 0.0f;
        if (kWeighted && !(weight.element[i] > 0.0f)) value.element[i] = 0.0f;
      }
    };
    RingSums<float> sums[2];
    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float whole = 0.0f, high = 0.0f;
#pragma unroll 4
      for (int s = 0; s < steps; ++s) {
        V value, weight;
        sample(r, s, value, weight);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (kWeighted) whole += weight.element[i];
          high += kWeighted ? weight.element[i] * value.element[i] : value.element[i];
        }
      }
      sums[r].mean.weight = kWeighted ? row_sum(whole) : static_cast<float>(maps.n_angular);
      inverse[r] = one_over(sums[r].mean.weight);
      sums[r].mean.high = row_sum(high) * inverse[r];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float low = 0.0f, largest = 0.0f;
#pragma unroll 4
      for (int s = 0; s < steps; ++s) {
        V value, weight;
        sample(r, s, value, weight);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float difference = weight.element[i] > 0.0f ? value.element[i] - sums[r].mean.high : 0.0f;
          low += kWeighted ? weight.element[i] * difference : difference;
          largest = magnitude(difference) > largest ? magnitude(difference) : largest;
        }
      }
      sums[r].mean.low = row_sum(low) * inverse[r];
      sums[r].mean.largest = row_max(largest);
      sums[r].unit = kept_unit(sums[r].mean, normalize);
      sums[r].spread = sums[r].along = sums[r].across = 0.0f;
    }
#pragma unroll 2
    for (int s = 0; s < steps; ++s) {
      const int k = s * kTensorDepth + lane % 4 * 4;
      V turns[2] = {};
      if (k < quads.angles) {
        turns[0] = load_whole(reinterpret_cast<const V*>(harmonic + k));
        turns[1] = load_whole(reinterpret_cast<const V*>(harmonic + k + 2));
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        V value, weight;
        sample(r, s, value, weight);
        const float unit = unit_of(sums[r].mean.largest);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float w = weight.element[i];
          const float difference = w > 0.0f ? (value.element[i] - sums[r].mean.high) - sums[r].mean.low : 0.0f;
          const float weighted = kWeighted ? w * difference : difference;
          sums[r].spread += (weighted * unit) * (difference * unit);
          sums[r].along += weighted * turns[i / 2].element[i % 2 * 2];
          sums[r].across -= weighted * turns[i / 2].element[i % 2 * 2 + 1];
          value.element[i] = (centred ? weighted : w * value.element[i]) * sums[r].unit;
        }
        if (quads.valid(r, s) > 0) store_quad(kept + (first + lane / 4 + 8 * r) * quads.angles + k, value);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sums[r].spread = row_sum(sums[r].spread);
      sums[r].along = row_sum(sums[r].along);
      sums[r].across = row_sum(sums[r].across);
    }
    // In double, once for both: the first two lanes of four have one each.
    RingSums<float> mine = sums[0];
    if (lane % 4 != 0) mine = sums[1];
    const Ring<float> ring = finished_ring(mine, normalize, needed);
    const int64_t number = first + lane / 4 + lane % 4 * 8;
    if (lane % 4 < 2 && number < total) rings[number] = ring;
    // Products of rings without a value are multiplied by zero, or not looked at; but zero times NaN is NaN.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (__shfl_sync(kWholeWarp, ring.usable, lane / 4 * 4 + r) != 0.0f) continue;
      for (int s = 0; s < steps; ++s) {
        if (quads.valid(r, s) > 0) {
          store_quad(kept + (first + lane / 4 + 8 * r) * quads.angles + s * kTensorDepth + lane % 4 * 4, V{});
        }
      }
    }
  }
}

// The same of rings of any length.
template <typename T>
__global__ void ring_statistics_kernel(UnwrappedMaps<T> given, int64_t count,
                                       const Complex<compute_t<T>>* __restrict__ harmonic, Normalize normalize,
                                       double needed, compute_t<T>* kept, Ring<compute_t<T>>* __restrict__ rings) {
  using C = compute_t<T>;
  const UnwrappedMaps<T> maps = given.resolved();
  const bool centred = normalize == Normalize::pearson;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  rings_of_warps<1>(maps, count, normalize, needed, kept, rings,
                    [&](const UnwrappedMap<T>& map, int64_t first, C* kept_ring) {
                      const RingMean<C> mean = ring_mean(map, first, maps.n_angular);
                      const C unit = unit_of(mean.largest);
                      const C to_keep = kept_unit(mean, normalize);
                      C spread = 0, along = 0, across = 0;
#pragma unroll 4
                      for (int64_t k = lane; k < maps.n_angular; k += kWarp) {
                        const C weight = map.weight(first + k);
                        const C value = map.value(first + k, weight);
                        const C difference = weight > C(0) ? (value - mean.high) - mean.low : C(0);
                        const Complex<C> turn = harmonic[k];
                        spread += weight * (difference * unit) * (difference * unit);
                        along += weight * difference * turn.real;
                        across -= weight * difference * turn.imaginary;
                        kept_ring[k] = weight * (centred ? difference : value) * to_keep;
                      }
                      return RingSums<C>{mean, warp_sum(spread), warp_sum(along), warp_sum(across), to_keep};
                    });
}

}  // namespace cdifast::cuda
