// Correlation maps on CUDA, forward and backward, and the sampling of the fused operator. No torch in this file.
//
// For N unwrapped maps of R rings and K angles, s bytes an element, on an H100 (3.35 TB/s, 67 TFLOP/s float32; that is
// 20 operations a byte) or H200 (4.8 TB/s; 14):
//
//   ring_statistics_kernel   reads s R K bytes a map once from memory and twice more from L1 and L2, writes 32 R (64 R
//   for
//                            double): memory binds, 12 operations a sample.
//   map_kernel               reads s R K, writes s R^2, and R^2 K operations: one multiply-add for each angle and each
//                            cell of the lower triangle. At R = 128, K = 256 in float: 0.2 MB and 4.2 million (6.3 with
//                            the halves of the tiles on the diagonal that are not wanted), 0.06 us against 0.09 us:
//                            arithmetic binds, on larger maps all the more. Never the tensor cores: TF32 would leave
//                            three of float's seven digits.
//   pair_weights_kernel      the same product of the weights, once for weights that all maps share. Where every map has
//                            its own it is a launch before map_kernel's, not a second product inside it: that one would
//                            double the registers and the shared memory of every map without weights too, for the same
//                            number of operations.
//   sample_kernel            reads the image's pixels under the map once, writes 4 R K (8 for double): memory binds, up
//   to
//                            four 32-byte sectors a sample. See there for why samples are written at all.
//   upper_gradient_kernel    reads s R^2 once or twice, writes 8 R: memory binds.
//   lower_gradient_kernel    a product of R^2 K multiply-adds (the gradient is not triangular once it is symmetric):
//                            2 R^2 K operations for s (R^2 + R K) + 4 R K bytes: arithmetic binds.
//   ring_gradient_kernel     reads s R K and 4 R K twice (L2), writes s R K: memory binds.
//
// Everything is summed in a fixed order and nothing by atomics: results are the same in every run.
#pragma once

#include "../common/correlation_math.h"
#include "../common/resample_math.h"
#include "product.cuh"
#include "rings.cuh"

namespace cdifast::cuda {

// What a ring brings to its cells: see correlation_math.h for the symbols.
template <typename C>
struct alignas(16) Ring {
  C high, low;        // m, as a sum of two
  C scale;            // a
  C weight;           // W
  C real, imaginary;  // Z
  C size;             // |Z|
  C usable;           // 1 or 0
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

// One warp a ring.
template <typename T>
__global__ void ring_statistics_kernel(UnwrappedMaps<T> maps, int64_t count,
                                       const Complex<compute_t<T>>* __restrict__ harmonic, Normalize normalize,
                                       double needed, Ring<compute_t<T>>* __restrict__ rings) {
  using C = compute_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock;
  for (int64_t r = static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp; r < total; r += stride) {
    const UnwrappedMap<T> map = maps[r / maps.n_radial];
    const int64_t first = r % maps.n_radial * maps.n_angular;
    const RingMean<C> mean = ring_mean(map, first, maps.n_angular);
    // Squares are of numbers up to 1: those of intensities in SI units would vanish, or overflow, in float.
    const C unit = mean.largest > LeastSpread<C>::value ? C(1) / mean.largest : C(0);

    C spread = 0, along = 0, across = 0;
#pragma unroll 4
    for (int64_t k = lane; k < maps.n_angular; k += kWarp) {
      const C weight = map.weight(first + k);
      const C centred = weight > C(0) ? (map.value(first + k, weight) - mean.high) - mean.low : C(0);
      const Complex<C> turn = harmonic[k];
      spread += weight * (centred * unit) * (centred * unit);
      along += weight * centred * turn.real;
      across -= weight * centred * turn.imaginary;
    }
    spread = warp_sum(spread);
    along = warp_sum(along);
    across = warp_sum(across);
    if (lane == 0) {
      const double weight = static_cast<double>(mean.weight);
      const double m = static_cast<double>(mean.high) + static_cast<double>(mean.low);
      const double largest = static_cast<double>(mean.largest);
      const double variance = weight > 0.0 ? static_cast<double>(spread) / weight * largest * largest : 0.0;
      const RingStatistics statistics =
          ring_statistics(weight, m, m * m + variance, variance, needed, Epsilon<C>::value, normalize);
      const C inverse = mean.weight > C(0) ? C(1) / mean.weight : C(0);
      const C scale = static_cast<C>(statistics.scale);
      const C real = along * inverse * scale;
      const C imaginary = across * inverse * scale;
      rings[r] = {mean.high,
                  mean.low,
                  scale,
                  mean.weight,
                  real,
                  imaginary,
                  square_root(real * real + imaginary * imaginary),
                  statistics.usable ? C(1) : C(0)};
    }
  }
}

// Tiles of a symmetric matrix on and below its diagonal, row by row.
struct TriangularTile {
  int64_t row;
  int64_t column;
};

__device__ __forceinline__ TriangularTile triangular_tile(int64_t number) {
  int64_t row = 0;
  while (number > row) number -= ++row;
  return {row, number};
}

// pairs[g, i, j] = sum_k w[g, i, k] w[g, j, k] for j <= i. With the rings' weights given: the finished weight of every
// cell of the map, as correlation_weight has it.
template <typename C>
__launch_bounds__(kTileThreads, Tile<C>::kBlocks) __global__
    void pair_weights_kernel(const C* __restrict__ weights, int64_t count, int64_t n_radial, int64_t n_angular,
                             const C* __restrict__ ring_weights, C needed, C* __restrict__ pairs) {
  using V = Vector<C>;
  CDIFAST_SHARED(V, left_buffers, Tile<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Tile<C>::kVectors);
  const int64_t across = (n_radial + kTileRows - 1) / kTileRows;
  const int64_t tiles = across * (across + 1) / 2;
  for (int64_t t = blockIdx.x; t < count * tiles; t += gridDim.x) {
    const TriangularTile tile = triangular_tile(t % tiles);
    const int64_t i0 = tile.row * kTileRows;
    const int64_t j0 = tile.column * kTileRows;
    const C* const set = weights + t / tiles * n_radial * n_angular;
    const int angles = static_cast<int>(n_angular);
    const auto load_from = [&](int64_t first) {
      const C* const tile_weights = set + first * n_angular;
      const int rows = static_cast<int>(n_radial - first < kTileRows ? n_radial - first : kTileRows);
      return operand(AlongInner{},
                     [=](int row, int k) { return row < rows && k < angles ? tile_weights[row * angles + k] : C(0); });
    };
    C sum[kThreadRows][4];
    tile_product(angles, load_from(i0), load_from(j0), i0 == j0, left_buffers, right_buffers, sum);

    C* const out = pairs + t / tiles * n_radial * n_radial;
    const C* const ring = ring_weights == nullptr ? nullptr : ring_weights + t / tiles * n_radial;
    const auto finished = [&](C weight) { return weight >= needed ? weight / static_cast<C>(n_angular) : C(0); };
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int64_t i = i0 + tile_row(r);
        const int64_t j = j0 + tile_column(c);
        if (i >= n_radial || j > i) continue;
        out[i * n_radial + j] = ring == nullptr ? sum[r][c] : finished(sum[r][c]);
      }
    }
    if (ring == nullptr) continue;
    // The tile's mirror image, with neighbouring threads on neighbouring cells.
    const int64_t i = i0 + threadIdx.x % kTileRows;
    for (int row = static_cast<int>(threadIdx.x) / kTileRows; row < kTileRows; row += kTileThreads / kTileRows) {
      const int64_t j = j0 + row;
      if (i >= n_radial || j >= i) continue;
      out[j * n_radial + i] = finished(ring[i] < ring[j] ? ring[i] : ring[j]);
    }
  }
}

// Sum of each ring's weights. One warp a ring.
template <typename C>
__global__ void ring_weights_kernel(const C* __restrict__ weights, int64_t rings, int64_t n_angular,
                                    C* __restrict__ sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock;
  for (int64_t r = static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp; r < rings; r += stride) {
    C sum = 0;
#pragma unroll 4
    for (int64_t k = lane; k < n_angular; k += kWarp) sum += weights[r * n_angular + k];
    sum = warp_sum(sum);
    if (lane == 0) sums[r] = sum;
  }
}

// What the cells need beside the rings. `pairs` is null where every sample counts fully.
template <typename C>
struct Cells {
  const C* pairs;  // (maps, R, R) or (1, R, R), lower triangle
  bool shared_pairs;
  bool modulus;
  bool centred;  // pearson: b = m
  C needed;
  C fill;

  __device__ const C* pairs_of(int64_t n, int64_t n_radial) const {
    return pairs == nullptr || shared_pairs ? pairs : pairs + n * n_radial * n_radial;
  }
};

// The map of T samples, in Out. A block makes a tile of the lower triangle from the product and its mirror image in the
// upper one from the rings' harmonics.
template <typename T, typename Out>
__launch_bounds__(kTileThreads, Tile<compute_t<T>>::kBlocks) __global__
    void map_kernel(UnwrappedMaps<T> maps, int64_t count, const Ring<compute_t<T>>* __restrict__ rings,
                    Cells<compute_t<T>> cells, Out* __restrict__ out) {
  using C = compute_t<T>;
  using V = Vector<C>;
  using R = Ring<C>;
  CDIFAST_SHARED(V, left_buffers, Tile<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Tile<C>::kVectors);
  CDIFAST_SHARED(R, tile_rings, 2 * kTileRows);  // of the rows, then of the columns
  const int64_t n_radial = maps.n_radial;
  const int64_t n_angular = maps.n_angular;
  const int64_t across = (n_radial + kTileRows - 1) / kTileRows;
  const int64_t tiles = across * (across + 1) / 2;
  for (int64_t t = blockIdx.x; t < count * tiles; t += gridDim.x) {
    const int64_t n = t / tiles;
    const TriangularTile tile = triangular_tile(t % tiles);
    const int64_t i0 = tile.row * kTileRows;
    const int64_t j0 = tile.column * kTileRows;
    const UnwrappedMap<T> map = maps[n];

    __syncthreads();  // the last tile's cells are done with the rings
    {
      const int64_t ring = (threadIdx.x < kTileRows ? i0 : j0) + threadIdx.x % kTileRows;
      R mine = ring < n_radial ? rings[n * n_radial + ring] : R{};
      if (!cells.centred) mine.high = mine.low = C(0);
      if (cells.modulus) {
        mine.real = mine.size;
        mine.imaginary = C(0);
      }
      tile_rings[threadIdx.x] = mine;
    }
    __syncthreads();

    const int angles = static_cast<int>(n_angular);
    const auto load_from = [&](int64_t first, const R* side) {
      const UnwrappedMap<T> tile_map = map.from(first * n_angular);
      const int rows = static_cast<int>(n_radial - first < kTileRows ? n_radial - first : kTileRows);
      return operand(AlongInner{}, [=](int row, int k) {
        if (row >= rows || k >= angles) return C(0);
        const int sample = row * angles + k;
        const C weight = tile_map.weight(sample);
        return weight * ((tile_map.value(sample, weight) - side[row].high) - side[row].low) * side[row].scale;
      });
    };
    C sum[kThreadRows][4];
    tile_product(angles, load_from(i0, tile_rings), load_from(j0, tile_rings + kTileRows), i0 == j0, left_buffers,
                 right_buffers, sum);

    const auto ordered = [&](const R& a, const R& b) {
      const C value = a.real * b.real + a.imaginary * b.imaginary;
      return a.usable != C(0) && b.usable != C(0) ? value : cells.fill;
    };
    Out* const target = out + n * n_radial * n_radial;
    const C* const pairs = cells.pairs_of(n, n_radial);
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
      const int64_t i = i0 + tile_row(r);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int64_t j = j0 + tile_column(c);
        if (i >= n_radial || j >= n_radial) continue;
        const R& row = tile_rings[tile_row(r)];
        const R& column = tile_rings[kTileRows + tile_column(c)];
        C value = cells.fill;
        if (j > i) {
          value = ordered(row, column);
        } else if (row.usable != C(0) && column.usable != C(0)) {
          const C weight = pairs == nullptr ? static_cast<C>(n_angular) : pairs[i * n_radial + j];
          if (weight > C(0) && weight >= cells.needed) value = sum[r][c] / weight;
        }
        store_element(target[i * n_radial + j], value);
      }
    }
    if (i0 == j0) continue;  // the tile is its own mirror image
    const int column = static_cast<int>(threadIdx.x) % kTileRows;
    const R ring = tile_rings[column];
    for (int row = static_cast<int>(threadIdx.x) / kTileRows; row < kTileRows; row += kTileThreads / kTileRows) {
      if (i0 + column >= n_radial) continue;
      store_element(target[(j0 + row) * n_radial + i0 + column], ordered(tile_rings[kTileRows + row], ring));
    }
  }
}

// --- the fused operator

constexpr int kSampleThreads = 256;
// Images for which a thread of a shared geometry uses what it has worked out for its sample.
constexpr int kImagesOfASample = 16;

// Of the detector images: one centre and mask for all, or one for each.
struct Detector {
  PolarGrid grid;
  const double* center;  // (y, x)
  const uint8_t* good;   // or null
  bool shared_center;
  bool shared_good;
};

// The unwrapped maps of images `first` to `first + count`, and their validity weights: of all where the geometry is
// shared, then written by whoever has the first images, else of each.
//
// They go to memory, though never all: a pass over a batch (workspace.h) reuses one workspace, which the L2 cache
// holds. Sampling inside map_kernel instead would write nothing, but it needs every ring once for each tile beside it
// and three times for its statistics, and a sample costs up to four 32-byte sectors of image and its double-precision
// geometry, or 24 bytes of a plan of it; a float costs four bytes. At R = 128 that is five samplings of 2 to 4 MB of L2
// traffic a map against one, and 0.5 MB for the floats. Where the geometry is shared, a thread works it out once for
// many images, so that there is no plan in memory either.
template <typename T>
__global__ void sample_kernel(const T* __restrict__ images, Detector detector, bool shared,
                              const Complex<double>* __restrict__ directions, int64_t first, int64_t count,
                              compute_t<T>* __restrict__ values, compute_t<T>* __restrict__ weights) {
  using C = compute_t<T>;
  const PolarGrid& grid = detector.grid;
  const int64_t samples = grid.n_radial * grid.n_angular;
  const int64_t pixels = grid.height * grid.width;
  const int64_t blocks = (samples + kSampleThreads - 1) / kSampleThreads;
  const int64_t of_a_slice = shared ? kImagesOfASample : 1;
  const int64_t slices = (count + of_a_slice - 1) / of_a_slice;
  for (int64_t b = blockIdx.x; b < blocks * slices; b += gridDim.x) {
    const int64_t sample = b % blocks * kSampleThreads + threadIdx.x;
    if (sample >= samples) continue;
    const int64_t begin = b / blocks * of_a_slice;
    const int64_t end = begin + of_a_slice < count ? begin + of_a_slice : count;
    const double* const center = detector.center + (detector.shared_center ? 0 : 2 * (first + begin));
    const uint8_t* const good =
        detector.good == nullptr || detector.shared_good ? detector.good : detector.good + (first + begin) * pixels;
    const Complex<double> direction = directions[sample % grid.n_angular];
    const Position at =
        polar_position(grid.radius(sample / grid.n_angular), direction.real, direction.imaginary, center[0], center[1]);
    Taps taps;
    bilinear_taps(polar_source(grid), at, grid.nearest, good, taps, nullptr);
    int32_t pixel[4];  // images have less than 2^31 pixels
    C coefficient[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      pixel[t] = static_cast<int32_t>(taps.element[t]);
      coefficient[t] = taps.total > 0.0 ? static_cast<C>(taps.weight[t] / taps.total) : C(0);
    }
    if (!shared || begin == 0) weights[begin * samples + sample] = static_cast<C>(taps.total);
#pragma unroll 4
    for (int64_t n = begin; n < end; ++n) {
      const T* const image = images + (first + n) * pixels;
      C value = 0;
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        // A masked pixel may hold NaN, and 0 * NaN is NaN: it is not read at all.
        if (coefficient[t] != C(0)) value += coefficient[t] * load_element(image[pixel[t]]);
      }
      values[n * samples + sample] = value;
    }
  }
}

// --- backward: reverse of the above, in the symbols of cdifast/ops/correlation.py. With L the lower triangle of the
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
        real += both[s * kStride + lane] * (modulus ? other.size : other.real);
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

// product[n, i, k] = sum_j (L + L')[i, j] Y[j, k]. Tiles of rings by angles.
template <typename T>
__launch_bounds__(kTileThreads, Tile<compute_t<T>>::kBlocks) __global__
    void lower_gradient_kernel(const T* __restrict__ grad, UnwrappedMaps<T> maps, int64_t count,
                               const Ring<compute_t<T>>* __restrict__ rings, Cells<compute_t<T>> cells,
                               compute_t<T>* __restrict__ product) {
  using C = compute_t<T>;
  using V = Vector<C>;
  CDIFAST_SHARED(V, left_buffers, Tile<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Tile<C>::kVectors);
  const int64_t n_radial = maps.n_radial;
  const int64_t n_angular = maps.n_angular;
  const int64_t down = (n_radial + kTileRows - 1) / kTileRows;
  const int64_t tiles = down * ((n_angular + kTileRows - 1) / kTileRows);
  for (int64_t t = blockIdx.x; t < count * tiles; t += gridDim.x) {
    const int64_t n = t / tiles;
    const int64_t i0 = t % tiles % down * kTileRows;
    const int64_t k0 = t % tiles / down * kTileRows;
    const UnwrappedMap<T> map = maps[n];
    const Ring<C>* const ring = rings + n * n_radial;
    const T* const gradient = grad + n * n_radial * n_radial;
    const C* const pairs = cells.pairs_of(n, n_radial);

    // Below the diagonal the gradient's rows are the product's, above it they are its columns: along a row either way.
    const auto place = [&](int element, int first, int& row, int& inner) {
      if (first > i0) {
        AlongRows<kTileRows>{}(element, first, row, inner);
      } else {
        AlongInner{}(element, first, row, inner);
      }
    };
    const auto symmetric = [&](int row, int j) {
      const int64_t i = i0 + row;
      if (i >= n_radial || j >= n_radial || ring[i].usable == C(0) || ring[j].usable == C(0)) return C(0);
      const int64_t cell = i < j ? static_cast<int64_t>(j) * n_radial + i : i * n_radial + j;
      const C weight = pairs == nullptr ? static_cast<C>(n_angular) : pairs[cell];
      if (!(weight > C(0) && weight >= cells.needed)) return C(0);
      const C value = load_element(gradient[cell]) / weight;
      return i == j ? value + value : value;
    };
    const auto weighted = [&](int column, int j) {
      const int64_t k = k0 + column;
      if (j >= n_radial || k >= n_angular || ring[j].usable == C(0)) return C(0);
      const C weight = map.weight(j * n_angular + k);
      const C value = map.value(j * n_angular + k, weight);
      return weight * (cells.centred ? (value - ring[j].high) - ring[j].low : value) * ring[j].scale;
    };
    C sum[kThreadRows][4];
    tile_product(static_cast<int>(n_radial), operand(place, symmetric), operand(AlongRows<kTileRows>{}, weighted),
                 false, left_buffers, right_buffers, sum);
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int64_t i = i0 + tile_row(r);
        const int64_t k = k0 + tile_column(c);
        if (i < n_radial && k < n_angular) product[(n * n_radial + i) * n_angular + k] = sum[r][c];
      }
    }
  }
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
      const C size = ring.size > C(0) ? parts.real / ring.size : C(0);
      parts = {size * ring.real, size * ring.imaginary};
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
