// The gradient of correlation maps. No torch in this file.
#pragma once

#include "correlation_kernel.cuh"

namespace cdifast::cuda {

// Reverse of the map, in the symbols of cdifast/ops/correlation.py. With L the lower triangle of the
// gradient over D and U the strict upper one, dY = (L + L') Y and dZ = (U + U') Z.

constexpr int kGradientRings = 32;  // of a block of triangles_gradient_kernel
constexpr int kGradientWarps = 8;

// to_parts[n, i] = dZ[i], or d|Z[i]| as the real part, and symmetric[n, i, j] = (L + L')[i, j] times the factor of ring
// j, the gradient of the lower triangle over D and its mirror image, for the product with the kept samples. A block has
// 32 rings, one a lane, and goes along their rows of both triangles; its warps share the sum over j. The gradient is
// read along its rows, by way of shared memory.
template <typename T>
__launch_bounds__(kGradientRings* kGradientWarps, 16 / static_cast<int>(sizeof(compute_t<T>))) __global__
    void triangles_gradient_kernel(const T* __restrict__ grad, UnwrappedMaps<T> maps, int64_t count,
                                   const Ring<compute_t<T>>* __restrict__ rings, Cells<compute_t<T>> cells,
                                   Complex<compute_t<T>>* __restrict__ to_parts, compute_t<T>* __restrict__ symmetric) {
  using C = compute_t<T>;
  constexpr int kStride = kGradientRings + 1;  // rows begin in different banks
  constexpr int kSteps = kGradientRings / kGradientWarps;
  struct Pair {
    int64_t low, high;  // rings
    bool used;
    int place;
  };
  CDIFAST_SHARED(C, upper, kGradientRings * kStride);
  CDIFAST_SHARED(C, lower, kGradientRings * kStride);
  CDIFAST_SHARED(C, reals, kGradientRings * kGradientWarps);
  CDIFAST_SHARED(C, imaginaries, kGradientRings * kGradientWarps);
  const int lane = static_cast<int>(threadIdx.x) % kGradientRings;
  const int warp = static_cast<int>(threadIdx.x) / kGradientRings;
  const int64_t n_radial = maps.n_radial;
  const int64_t groups = (n_radial + kGradientRings - 1) / kGradientRings;
  for (int64_t g = blockIdx.x; g < count * groups; g += gridDim.x) {
    const int64_t n = g / groups;
    const int64_t i0 = g % groups * kGradientRings;
    const Ring<C>* const ring = rings + n * n_radial;
    const C* const pairs = cells.pairs_of(n, n_radial);
    const T* const gradient = grad + n * n_radial * n_radial;
    C* const target = symmetric + n * n_radial * n_radial;
    const auto ring_of = [&](int64_t r) { return r < n_radial ? ring[r] : Ring<C>{}; };
    const auto usable = [](const Ring<C>& r) { return __ballot_sync(kWholeWarp, r.usable != C(0)); };
    const uint32_t usable_rows = usable(ring_of(i0 + lane));
    C real = 0, imaginary = 0;
    for (int64_t j0 = 0; j0 < n_radial; j0 += kGradientRings) {
      const Ring<C> other = ring_of(j0 + lane);
      const uint32_t usable_columns = usable(other);
      Complex<C> parts = {cells.modulus ? size_of(other) : other.real, cells.modulus ? C(0) : other.imaginary};
      if (other.usable == C(0)) parts = {C(0), C(0)};
      // Read along the gradient's rows: on the other side of the diagonal those are the tile's columns. All at once.
      const bool upper_turned = j0 < i0;
      const bool lower_turned = j0 > i0;
      const auto pair = [&](bool turned, int s) {
        const int row = turned ? lane : s, column = turned ? s : lane;
        const int64_t i = i0 + row, j = j0 + column;
        const bool used = (usable_rows >> row & usable_columns >> column & 1) != 0;
        return Pair{i < j ? i : j, i < j ? j : i, used, row * kStride + column};
      };
      T up[kSteps], low[kSteps];
      C weight[kSteps];
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const Pair above = pair(upper_turned, warp + step * kGradientWarps);
        const Pair below = pair(lower_turned, warp + step * kGradientWarps);
        up[step] = above.used ? gradient[above.low * n_radial + above.high] : T{};
        low[step] = below.used ? gradient[below.high * n_radial + below.low] : T{};
        weight[step] = static_cast<C>(maps.n_angular);
        if (pairs != nullptr) weight[step] = below.used ? pairs[below.high * n_radial + below.low] : C(0);
      }
      __syncthreads();
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const Pair above = pair(upper_turned, warp + step * kGradientWarps);
        const Pair below = pair(lower_turned, warp + step * kGradientWarps);
        const C w = weight[step];
        const C value = w > C(0) && w >= cells.needed ? load_element(low[step]) / w : C(0);
        upper[above.place] = above.low != above.high ? static_cast<C>(load_element(up[step])) : C(0);
        lower[below.place] = below.low != below.high ? value : value + value;
      }
      __syncthreads();
#pragma unroll
      for (int s = warp; s < kGradientRings; s += kGradientWarps) {
        const C cell = upper[lane * kStride + s];
        real += cell * __shfl_sync(kWholeWarp, parts.real, s);
        imaginary += cell * __shfl_sync(kWholeWarp, parts.imaginary, s);
        if (i0 + s < n_radial && j0 + lane < n_radial) {
          target[(i0 + s) * n_radial + j0 + lane] = lower[s * kStride + lane] * other.factor;
        }
      }
    }
    reals[threadIdx.x] = real;
    imaginaries[threadIdx.x] = imaginary;
    __syncthreads();
    if (warp == 0 && i0 + lane < n_radial) {
#pragma unroll
      for (int w = 1; w < kGradientWarps; ++w) {
        real += reals[w * kGradientRings + lane];
        imaginary += imaginaries[w * kGradientRings + lane];
      }
      to_parts[n * n_radial + i0 + lane] = {real, imaginary};
    }
  }
}

// How the product of rings by angles is cut into tiles.
struct RingAngleTiles {
  int64_t down, along;
  int ring_groups, angle_groups;
};

// product[n, i, k] = sum_j (L + L')[i, j] Y[j, k].
template <typename C>
__launch_bounds__(kMostMicroThreads, Micro<C>::kBlocks) __global__
    void lower_gradient_kernel(const C* __restrict__ symmetric, const C* __restrict__ kept, int n_radial, int n_angular,
                               RingAngleTiles tiles, C* __restrict__ product) {
  using V = Vector<C>;
  CDIFAST_SHARED(V, shared, Micro<C>::kVectors);
  const int64_t of_a_map = tiles.down * tiles.along;
  const int64_t n = blockIdx.x / of_a_map;
  const int64_t t = blockIdx.x % of_a_map;
  const int i0 = static_cast<int>(t % tiles.down) * tiles.ring_groups * Micro<C>::kRows;
  const int k0 = static_cast<int>(t / tiles.down) * tiles.angle_groups * Micro<C>::kRows;
  const auto least = [](int a, int b) { return a < b ? a : b; };
  const int rows = least(n_radial - i0, tiles.ring_groups * Micro<C>::kRows);
  const int columns = least(n_angular - k0, tiles.angle_groups * Micro<C>::kRows);
  const Microtile micro = square_microtile(static_cast<int>(threadIdx.x), tiles.ring_groups, tiles.angle_groups);
  MicroSum<C> sum;
  micro_product<false>(
      RowMajor<C>{symmetric + (n * n_radial + i0) * n_radial, n_radial, rows, n_radial, tiles.ring_groups},
      InnerMajor<C>{kept + n * n_radial * n_angular + k0, n_angular, columns, n_radial, tiles.angle_groups}, micro,
      shared, sum);
  finish_micro(sum, micro, rows, columns, shared, [&](int row, int column, C cell) {
    product[(n * n_radial + i0 + row) * n_angular + k0 + column] = cell;
  });
}

// The gradient of the samples from those of Y and Z: directly, and through the ring's mean and deviation. One warp a
// ring.
template <typename T>
__global__ void ring_gradient_kernel(UnwrappedMaps<T> maps, int64_t count,
                                     const Complex<compute_t<T>>* __restrict__ harmonic, Normalize normalize,
                                     bool modulus, const Ring<compute_t<T>>* __restrict__ rings,
                                     const compute_t<T>* __restrict__ product,
                                     const Complex<compute_t<T>>* __restrict__ to_parts, T* __restrict__ out) {
  using C = compute_t<T>;
  const bool pearson = normalize == Normalize::pearson;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t n_angular = maps.n_angular;
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock;
  for (int64_t r = static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp; r < total; r += stride) {
    const UnwrappedMap<T> map = maps[r / maps.n_radial];
    const int64_t first = r % maps.n_radial * n_angular;
    const Ring<C> ring = rings[r];
    Complex<C> parts = to_parts[r];
    if (modulus) {
      // Without a harmonic, |Z| has no slope.
      const C size = size_of(ring);
      const C slope = size > C(0) ? parts.real / size : C(0);
      parts = {slope * ring.real, slope * ring.imaginary};
    }
    const C* const ring_product = product + r * n_angular;
    T* const target = out + r * n_angular;
    if (ring.usable == C(0)) {
      for (int64_t k = lane; k < n_angular; k += kWarp) store_element(target[k], C(0));
      continue;
    }
    const C inverse = C(1) / ring.weight;

    struct Sample {
      C weight, value, centred, to_y, to_z;
    };
    const auto sample = [&](int64_t k) {
      const C weight = map.weight(first + k);
      const C value = map.value(first + k, weight);
      const Complex<C> turn = harmonic[k];
      return Sample{weight, value, (value - ring.high) - ring.low, weight * ring_product[k],
                    weight * inverse * (parts.real * turn.real - parts.imaginary * turn.imaginary)};
    };
    C through_mean = 0, to_scale = 0;
#pragma unroll 2
    for (int64_t k = lane; k < n_angular; k += kWarp) {
      const Sample s = sample(k);
      // Z always subtracts the mean, Y only under "pearson".
      through_mean += pearson ? s.to_y + s.to_z : s.to_z;
      to_scale += s.to_y * (pearson ? s.centred : s.value) + s.to_z * s.centred;
    }
    // Times the scale once, so that neither its square nor its third power has to be a float.
    to_scale = normalize == Normalize::none ? C(0) : warp_sum(to_scale) * ring.scale;
    C to_mean = -warp_sum(through_mean) * ring.scale;
    if (normalize == Normalize::mean) to_mean -= to_scale * ring.scale;
#pragma unroll 2
    for (int64_t k = lane; k < n_angular; k += kWarp) {
      const Sample s = sample(k);
      C value = (s.to_y + s.to_z) * ring.scale + to_mean * s.weight * inverse;
      if (pearson) value -= to_scale * (s.weight * s.centred * ring.scale) * (inverse * ring.scale);
      store_element(target[k], s.weight > C(0) ? value : C(0));
    }
  }
}

}  // namespace cdifast::cuda
