// The gradient of correlation maps. No torch in this file.
#pragma once

#include "correlation_kernel.cuh"

namespace cdifast::cuda {

// Reverse of the map, in the symbols of cdifast/ops/correlation.py. With L the lower triangle of the
// gradient over D and U the strict upper one, dY = (L + L') Y and dZ = (U + U') Z.

constexpr int kGradientRings = 32;  // of a block of upper_gradient_kernel
constexpr int kGradientWarps = 8;

// to_parts[n, i] = dZ[i], or d|Z[i]| as the real part. A block has 32 rings, one a lane; its warps share the sum over
// j. The gradient is read along its rows in both triangles, by way of shared memory.
template <typename T>
__launch_bounds__(kGradientRings* kGradientWarps, 4) __global__
    void upper_gradient_kernel(const T* __restrict__ grad, int64_t count, int64_t n_radial,
                               const Ring<compute_t<T>>* __restrict__ rings, bool modulus,
                               Complex<compute_t<T>>* __restrict__ to_parts) {
  using C = compute_t<T>;
  constexpr int kStride = kGradientRings + 1;  // rows begin in different banks
  CDIFAST_SHARED(C, both, kGradientRings * kStride);
  CDIFAST_SHARED(C, reals, kGradientRings * kGradientWarps);
  CDIFAST_SHARED(C, imaginaries, kGradientRings * kGradientWarps);
  const int lane = static_cast<int>(threadIdx.x) % kGradientRings;
  const int warp = static_cast<int>(threadIdx.x) / kGradientRings;
  const int64_t groups = (n_radial + kGradientRings - 1) / kGradientRings;
  for (int64_t g = blockIdx.x; g < count * groups; g += gridDim.x) {
    const int64_t n = g / groups;
    const int64_t i0 = g % groups * kGradientRings;
    const Ring<C>* const ring = rings + n * n_radial;
    const T* const gradient = grad + n * n_radial * n_radial;
    C real = 0, imaginary = 0;
    for (int64_t j0 = 0; j0 < n_radial; j0 += kGradientRings) {
      const bool mirrored = j0 < i0;
      __syncthreads();
      for (int s = warp; s < kGradientRings; s += kGradientWarps) {
        const int row = mirrored ? lane : s;  // i - i0
        const int column = mirrored ? s : lane;
        const int64_t i = i0 + row;
        const int64_t j = j0 + column;
        C value = 0;
        if (i < n_radial && j < n_radial && i != j && ring[i].usable != C(0) && ring[j].usable != C(0)) {
          value = load_element(i < j ? gradient[i * n_radial + j] : gradient[j * n_radial + i]);
        }
        both[column * kStride + row] = value;
      }
      __syncthreads();
      for (int s = warp; s < kGradientRings && j0 + s < n_radial; s += kGradientWarps) {
        const Ring<C>& other = ring[j0 + s];
        if (other.usable == C(0)) continue;
        real += both[s * kStride + lane] * (modulus ? size_of(other) : other.real);
        imaginary += modulus ? C(0) : both[s * kStride + lane] * other.imaginary;
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

// symmetric[n, i, j] = (L + L')[i, j] times the factor of ring j: the gradient of the lower triangle over D, and its
// mirror image, for the product with the kept samples. A block has
// 32 x 32 cells on or below the diagonal, and their image by way of shared memory.
constexpr int kMirrorSide = 32;
constexpr int kMirrorRows = 8;  // at a time

template <typename T>
__launch_bounds__(kMirrorSide* kMirrorRows) __global__
    void mirror_gradient_kernel(const T* __restrict__ grad, UnwrappedMaps<T> maps, int64_t count,
                                const Ring<compute_t<T>>* __restrict__ rings, Cells<compute_t<T>> cells,
                                compute_t<T>* __restrict__ symmetric) {
  using C = compute_t<T>;
  constexpr int kStride = kMirrorSide + 1;  // rows begin in different banks
  CDIFAST_SHARED(C, held, kMirrorSide * kStride);
  const int column = static_cast<int>(threadIdx.x) % kMirrorSide;
  const int64_t n_radial = maps.n_radial;
  const int64_t across = (n_radial + kMirrorSide - 1) / kMirrorSide;
  const int64_t tiles = across * (across + 1) / 2;
  for (int64_t t = blockIdx.x; t < count * tiles; t += gridDim.x) {
    const int64_t n = t / tiles;
    int64_t tile_row = 0;
    int64_t tile_column = t % tiles;
    while (tile_column > tile_row) tile_column -= ++tile_row;
    const int64_t i0 = tile_row * kMirrorSide;
    const int64_t j0 = tile_column * kMirrorSide;
    const Ring<C>* const ring = rings + n * n_radial;
    const C* const pairs = cells.pairs_of(n, n_radial);
    const T* const gradient = grad + n * n_radial * n_radial;
    C* const target = symmetric + n * n_radial * n_radial;
    __syncthreads();
    for (int row = static_cast<int>(threadIdx.x) / kMirrorSide; row < kMirrorSide; row += kMirrorRows) {
      const int64_t i = i0 + row;
      const int64_t j = j0 + column;
      C value = 0;
      if (i < n_radial && j <= i && ring[i].usable != C(0) && ring[j].usable != C(0)) {
        const C weight = pairs == nullptr ? static_cast<C>(maps.n_angular) : pairs[i * n_radial + j];
        if (weight > C(0) && weight >= cells.needed) value = load_element(gradient[i * n_radial + j]) / weight;
      }
      held[row * kStride + column] = i == j ? value + value : value;
    }
    __syncthreads();
    for (int row = static_cast<int>(threadIdx.x) / kMirrorSide; row < kMirrorSide; row += kMirrorRows) {
      const bool below = i0 != j0 || column <= row;
      if (i0 + row < n_radial && j0 + column < n_radial) {
        target[(i0 + row) * n_radial + j0 + column] =
            held[below ? row * kStride + column : column * kStride + row] * ring[j0 + column].factor;
      }
      if (i0 != j0 && j0 + row < n_radial && i0 + column < n_radial) {
        target[(j0 + row) * n_radial + i0 + column] = held[column * kStride + row] * ring[i0 + column].factor;
      }
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
