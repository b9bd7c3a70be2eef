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
#include "microtile.cuh"
#include "patch.cuh"
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

// The sums of a ring that its statistics are made of.
template <typename C>
struct RingSums {
  RingMean<C> mean;
  C spread, along, across;  // of I - m: squares in units of mean.largest, products with the harmonic
};

template <typename C>
__device__ __forceinline__ C one_over(C x) {
  return x > C(0) ? C(1) / x : C(0);
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
  const C real = sums.along * inverse * scale;
  const C imaginary = sums.across * inverse * scale;
  return {sums.mean.high,
          sums.mean.low,
          scale,
          sums.mean.weight,
          real,
          imaginary,
          square_root(real * real + imaginary * imaginary),
          statistics.usable ? C(1) : C(0)};
}

// Squares are of numbers up to 1: those of intensities in SI units would vanish, or overflow, in float.
template <typename C>
__device__ __forceinline__ C unit_of(C largest) {
  return largest > LeastSpread<C>::value ? C(1) / largest : C(0);
}

// Rings that a warp has one after another, so that their last step, in double, is one for all of them.
constexpr int kRingsOfAWarp = 8;

// A warp's rings: sums(ring) of each, kept by a lane of its own until all are there.
template <typename T, typename Sums>
__device__ __forceinline__ void rings_of_warps(const UnwrappedMaps<T>& maps, int64_t count, Normalize normalize,
                                               double needed, Ring<compute_t<T>>* __restrict__ rings,
                                               const Sums& sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock * kRingsOfAWarp;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp) * kRingsOfAWarp;
       first < total; first += stride) {
    const int live = static_cast<int>(total - first < kRingsOfAWarp ? total - first : kRingsOfAWarp);
    RingSums<compute_t<T>> mine{};
    for (int i = 0; i < live; ++i) {
      const auto found = sums(maps[(first + i) / maps.n_radial], (first + i) % maps.n_radial * maps.n_angular);
      if (lane == i) mine = found;
    }
    if (lane < live) rings[first + lane] = finished_ring(mine, normalize, needed);
  }
}

// The statistics of rings of up to 32 kHeld samples, which are read once and kept in registers, as is the harmonic.
template <typename T, int kHeld>
__launch_bounds__(kRingThreads) __global__
    void short_ring_statistics_kernel(UnwrappedMaps<T> given, int64_t count,
                                      const Complex<compute_t<T>>* __restrict__ harmonic, Normalize normalize,
                                      double needed, Ring<compute_t<T>>* __restrict__ rings) {
  using C = compute_t<T>;
  const UnwrappedMaps<T> maps = given.resolved();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int angles = static_cast<int>(maps.n_angular);
  C cosine[kHeld], sine[kHeld];
#pragma unroll
  for (int s = 0; s < kHeld; ++s) {
    const int k = lane + s * kWarp;
    const Complex<C> turn = k < angles ? harmonic[k] : Complex<C>{C(0), C(0)};
    cosine[s] = turn.real;
    sine[s] = turn.imaginary;
  }
  rings_of_warps(maps, count, normalize, needed, rings, [&](const UnwrappedMap<T>& map, int64_t first) {
    C weight[kHeld], value[kHeld];
    C total = 0, sum = 0;
#pragma unroll
    for (int s = 0; s < kHeld; ++s) {
      const int k = lane + s * kWarp;
      weight[s] = k < angles ? map.weight(first + k) : C(0);
      value[s] = map.value(first + k, weight[s]);
    }
#pragma unroll
    for (int s = 0; s < kHeld; ++s) {
      total += weight[s];
      sum += weight[s] * value[s];
    }
    total = warp_sum(total);
    const C inverse = one_over(total);
    const C high = warp_sum(sum) * inverse;
    C rest = 0, largest = 0;
#pragma unroll
    for (int s = 0; s < kHeld; ++s) {
      value[s] = weight[s] > C(0) ? value[s] - high : C(0);
      rest += weight[s] * value[s];
      largest = magnitude(value[s]) > largest ? magnitude(value[s]) : largest;
    }
    const C low = warp_sum(rest) * inverse;
    largest = warp_max(largest);
    const C unit = unit_of(largest);
    C spread = 0, along = 0, across = 0;
#pragma unroll
    for (int s = 0; s < kHeld; ++s) {
      const C centred = weight[s] > C(0) ? value[s] - low : C(0);
      spread += weight[s] * (centred * unit) * (centred * unit);
      along += weight[s] * centred * cosine[s];
      across -= weight[s] * centred * sine[s];
    }
    return RingSums<C>{{high, low, total, largest}, warp_sum(spread), warp_sum(along), warp_sum(across)};
  });
}

// Those of rings of any length.
template <typename T>
__global__ void ring_statistics_kernel(UnwrappedMaps<T> given, int64_t count,
                                       const Complex<compute_t<T>>* __restrict__ harmonic, Normalize normalize,
                                       double needed, Ring<compute_t<T>>* __restrict__ rings) {
  using C = compute_t<T>;
  const UnwrappedMaps<T> maps = given.resolved();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  rings_of_warps(maps, count, normalize, needed, rings, [&](const UnwrappedMap<T>& map, int64_t first) {
    const RingMean<C> mean = ring_mean(map, first, maps.n_angular);
    const C unit = unit_of(mean.largest);
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
    return RingSums<C>{mean, warp_sum(spread), warp_sum(along), warp_sum(across)};
  });
}

// The rings are cut into spans of whole microtiles, as many a span as a tile takes, so that the cells on and below the
// diagonal are tiles of a span with itself (`diagonal`) or with an earlier one.
struct Spans {
  int64_t count;
  int groups;  // of rings, in each
  bool diagonal;

  CDIFAST_HD int64_t tiles() const { return diagonal ? count : count * (count - 1) / 2; }
};

template <typename C>
struct SpanTile {
  int64_t i0, j0;
  int rows, columns;

  __device__ SpanTile(const Spans& spans, int64_t number, int64_t n_radial) {
    int64_t row = number, column = number;
    if (!spans.diagonal) {
      row = 1;
      while (column >= row) column -= row++;
    }
    const int64_t span = static_cast<int64_t>(spans.groups) * Micro<C>::kRows;
    i0 = row * span;
    j0 = column * span;
    rows = static_cast<int>(n_radial - i0 < span ? n_radial - i0 : span);
    columns = static_cast<int>(n_radial - j0 < span ? n_radial - j0 : span);
  }
};

__device__ __forceinline__ Microtile microtile_of(const Spans& spans) {
  const int number = static_cast<int>(threadIdx.x);
  return spans.diagonal ? lower_microtile(number, spans.groups) : square_microtile(number, spans.groups, spans.groups);
}

// pairs[g, i, j] = sum_k w[g, i, k] w[g, j, k] for j <= i. With the rings' weights given: the finished weight of every
// cell of the map, as correlation_weight has it.
template <typename C>
__launch_bounds__(kMostMicroThreads, Micro<C>::kBlocks) __global__
    void pair_weights_kernel(UnwrappedMaps<C> given, Spans spans, const C* __restrict__ ring_weights, C needed,
                             C* __restrict__ pairs) {
  using V = Vector<C>;
  CDIFAST_SHARED(V, left_buffers, Micro<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Micro<C>::kVectors);
  if (!given.weighted()) return;
  const int64_t n_radial = given.n_radial;
  const int angles = static_cast<int>(given.n_angular);
  const int64_t tiles = spans.tiles();
  const Microtile micro = microtile_of(spans);
  const int64_t t = blockIdx.x;
  const SpanTile<C> tile(spans, t % tiles, n_radial);
  const C* const set = given.weights + t / tiles * n_radial * angles;
  const auto load_from = [&](int64_t first, int rows) {
    const int begin = static_cast<int>(first) * angles;
    return plain_operand<InnerFirst, C>(
        spans.groups, [=](int row, int k) { return row < rows && k < angles ? set[begin + row * angles + k] : C(0); });
  };
  C sum[Micro<C>::kRows][Micro<C>::kRows];
  micro_product(angles, load_from(tile.i0, tile.rows), load_from(tile.j0, tile.columns), spans.diagonal, micro,
                left_buffers, right_buffers, sum);

  C* const out = pairs + t / tiles * n_radial * n_radial;
  const C* const ring = ring_weights == nullptr ? nullptr : ring_weights + t / tiles * n_radial;
  const auto finished = [&](C weight) { return weight >= needed ? weight / static_cast<C>(angles) : C(0); };
  const auto smaller = [&](int64_t i, int64_t j) { return finished(ring[i] < ring[j] ? ring[i] : ring[j]); };
  finish_micro(sum, micro, tile.rows, tile.columns, left_buffers, [&](int row, int column, C cell) {
    const int64_t i = tile.i0 + row;
    const int64_t j = tile.j0 + column;
    if (j <= i) {
      out[i * n_radial + j] = ring == nullptr ? cell : finished(cell);
    } else if (ring != nullptr) {
      out[i * n_radial + j] = smaller(i, j);
    }
  });
  if (ring == nullptr || spans.diagonal) return;
  for_each_cell(tile.columns, tile.rows, [&](int row, int column) {
    const int64_t j = tile.j0 + row;
    const int64_t i = tile.i0 + column;
    out[j * n_radial + i] = smaller(j, i);
  });
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

// Of a ring in a tile: what its samples and its cells need, each number of all rings side by side.
template <typename C>
struct TileRings {
  enum Number { kHigh, kLow, kScale, kReal, kImaginary, kUsable, kNumbers };
  static constexpr int kCount = kNumbers * 2 * Micro<C>::kSpan;  // of the rows, then of the columns

  C* numbers;

  __device__ C& at(Number number, int ring) const { return numbers[number * 2 * Micro<C>::kSpan + ring]; }

  // The rings of the tile, by all threads of the block.
  __device__ void load(const Ring<C>* rings, int64_t i0, int64_t j0, int64_t n_radial, bool centred,
                       bool modulus) const {
    for (int r = static_cast<int>(threadIdx.x); r < 2 * Micro<C>::kSpan; r += static_cast<int>(blockDim.x)) {
      const int64_t ring = r < Micro<C>::kSpan ? i0 + r : j0 + r - Micro<C>::kSpan;
      const Ring<C> mine = ring < n_radial ? rings[ring] : Ring<C>{};
      at(kHigh, r) = centred ? mine.high : C(0);
      at(kLow, r) = centred ? mine.low : C(0);
      at(kScale, r) = mine.scale;
      at(kReal, r) = modulus ? mine.size : mine.real;
      at(kImaginary, r) = modulus ? C(0) : mine.imaginary;
      at(kUsable, r) = mine.usable;
    }
  }
};

// A sample on its way to shared memory, with its weight where it has one.
template <typename C, bool kWeighted>
struct HeldSample {
  C value;

  template <typename T>
  __device__ static HeldSample of(const UnwrappedMap<T>& map, int64_t sample) {
    return {load_element(map.values[sample])};
  }
  __device__ C weighted(C value) const { return value; }
};
template <typename C>
struct HeldSample<C, true> {
  C value, weight;

  template <typename T>
  __device__ static HeldSample of(const UnwrappedMap<T>& map, int64_t sample) {
    const C weight = map.weight(sample);
    return {map.value(sample, weight), weight};
  }
  __device__ C weighted(C value) const { return weight * value; }
};

// The map of T samples, in Out, with weights or without: of both kernels, one has nothing to do. A block makes a tile
// of the lower triangle from the product, and its mirror image in the upper one from the rings' harmonics.
template <typename T, typename Out, bool kWeighted>
__launch_bounds__(kMostMicroThreads, Micro<compute_t<T>>::kBlocks) __global__
    void map_kernel(UnwrappedMaps<T> given, Spans spans, const Ring<compute_t<T>>* __restrict__ rings,
                    Cells<compute_t<T>> cells, Out* __restrict__ out) {
  using C = compute_t<T>;
  using V = Vector<C>;
  using Rings = TileRings<C>;
  using Held = HeldSample<C, kWeighted>;
  CDIFAST_SHARED(V, left_buffers, Micro<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Micro<C>::kVectors);
  CDIFAST_SHARED(C, ring_numbers, Rings::kCount);
  if (given.weighted() != kWeighted) return;  // the other kernel's maps
  const UnwrappedMaps<T> maps = given.resolved();
  const Rings tile_rings{ring_numbers};
  const int64_t n_radial = maps.n_radial;
  const int angles = static_cast<int>(maps.n_angular);
  const C every_angle = C(1) / static_cast<C>(angles);
  const int64_t tiles = spans.tiles();
  const Microtile micro = microtile_of(spans);
  const int64_t t = blockIdx.x;
  const int64_t n = t / tiles;
  const SpanTile<C> tile(spans, t % tiles, n_radial);
  const UnwrappedMap<T> map = maps[n];

  tile_rings.load(rings + n * n_radial, tile.i0, tile.j0, n_radial, cells.centred, cells.modulus);
  __syncthreads();

  const auto load_from = [&](int64_t first, int rows, int side) {
    const int begin = static_cast<int>(first) * angles;
    const auto load = [=](int row, int k) {
      if (row >= rows || k >= angles) return Held{};
      return Held::of(map, begin + row * angles + k);
    };
    const auto finish = [=](const Held& held, int row, int k) {
      const int ring = side + row;
      const C centred = (held.value - tile_rings.at(Rings::kHigh, ring)) - tile_rings.at(Rings::kLow, ring);
      return k < angles ? held.weighted(centred * tile_rings.at(Rings::kScale, ring)) : C(0);
    };
    return micro_operand<InnerFirst, Held>(spans.groups, load, finish);
  };
  C sum[Micro<C>::kRows][Micro<C>::kRows];
  micro_product(angles, load_from(tile.i0, tile.rows, 0), load_from(tile.j0, tile.columns, Micro<C>::kSpan),
                spans.diagonal, micro, left_buffers, right_buffers, sum);

  // Rings by their number in the tile.
  const auto usable = [&](int a, int b) {
    return tile_rings.at(Rings::kUsable, a) != C(0) && tile_rings.at(Rings::kUsable, b) != C(0);
  };
  const auto ordered = [&](int a, int b) {
    const C value = tile_rings.at(Rings::kReal, a) * tile_rings.at(Rings::kReal, b) +
                    tile_rings.at(Rings::kImaginary, a) * tile_rings.at(Rings::kImaginary, b);
    return usable(a, b) ? value : cells.fill;
  };
  Out* const target = out + n * n_radial * n_radial;
  const C* const pairs = kWeighted ? cells.pairs_of(n, n_radial) : nullptr;
  finish_micro(sum, micro, tile.rows, tile.columns, left_buffers, [&](int row, int column, C cell) {
    const int64_t i = tile.i0 + row;
    const int64_t j = tile.j0 + column;
    const int other = Micro<C>::kSpan + column;
    C value = cells.fill;
    if (j > i) {
      value = ordered(row, other);
    } else if (usable(row, other)) {
      if (!kWeighted) {
        value = cell * every_angle;
      } else {
        const C weight = pairs[i * n_radial + j];
        if (weight > C(0) && weight >= cells.needed) value = cell / weight;
      }
    }
    store_element(target[i * n_radial + j], value);
  });
  if (spans.diagonal) return;  // the tile is its own mirror image
  for_each_cell(tile.columns, tile.rows, [&](int row, int column) {
    store_element(target[(tile.j0 + row) * n_radial + tile.i0 + column], ordered(Micro<C>::kSpan + row, column));
  });
}

// --- the fused operator

constexpr int kSampleThreads = kPatchSide * kPatchSide;
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

__global__ void zero_kernel(int* number) { *number = 0; }

// The unwrapped maps of images `first` to `first + count`, and their validity weights: of all where the geometry is
// shared, then written by whoever has the first images, else of each.
//
// They go to memory, though never all: a pass over a batch (workspace.h) reuses one workspace, which the L2 cache
// holds. Sampling inside map_kernel instead would write nothing, but it needs every ring once for each tile beside it
// and three times for its statistics, and a sample costs up to four 32-byte sectors of image and its double-precision
// geometry, or 24 bytes of a plan of it; a float costs four bytes. At R = 128 that is five samplings of 2 to 4 MB of L2
// traffic a map against one, and 0.5 MB for the floats. Where the geometry is shared, a thread works it out once for
// many images, so that there is no plan in memory either.
//
// `partial` is set where a sample counts for less than one; where none does, as without a mask, the map goes without
// weights.
template <typename T>
__global__ void sample_kernel(const T* __restrict__ images, Detector detector, bool shared,
                              const Complex<double>* __restrict__ directions, int64_t first, int64_t count,
                              compute_t<T>* __restrict__ values, compute_t<T>* __restrict__ weights,
                              int* __restrict__ partial) {
  using C = compute_t<T>;
  const PolarGrid& grid = detector.grid;
  const int64_t samples = grid.n_radial * grid.n_angular;
  const int64_t pixels = grid.height * grid.width;
  const int64_t blocks = patches(grid.n_radial, grid.n_angular);
  const int64_t of_a_slice = shared ? kImagesOfASample : 1;
  const int64_t slices = (count + of_a_slice - 1) / of_a_slice;
  for (int64_t b = blockIdx.x; b < blocks * slices; b += gridDim.x) {
    const PatchCell cell = patch_cell(b % blocks, grid.n_angular);
    if (cell.row >= grid.n_radial || cell.column >= grid.n_angular) continue;
    const int64_t sample = cell.row * grid.n_angular + cell.column;
    const int64_t begin = b / blocks * of_a_slice;
    const int64_t end = begin + of_a_slice < count ? begin + of_a_slice : count;
    const double* const center = detector.center + (detector.shared_center ? 0 : 2 * (first + begin));
    const uint8_t* const good =
        detector.good == nullptr || detector.shared_good ? detector.good : detector.good + (first + begin) * pixels;
    const Complex<double> direction = directions[cell.column];
    const Position at =
        polar_position(grid.radius(cell.row), direction.real, direction.imaginary, center[0], center[1]);
    Taps taps;
    bilinear_taps(polar_source(grid), at, grid.nearest, good, taps, nullptr);
    int32_t pixel[4];  // images have less than 2^31 pixels
    C coefficient[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      pixel[t] = static_cast<int32_t>(taps.element[t]);
      coefficient[t] = taps.total > 0.0 ? static_cast<C>(taps.weight[t] / taps.total) : C(0);
    }
    if (!shared || begin == 0) {
      weights[begin * samples + sample] = static_cast<C>(taps.total);
      if (taps.total != 1.0) atomicMax(partial, 1);
    }
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

// symmetric[n, i, j] = (L + L')[i, j]: the gradient of the lower triangle over D, and its mirror image. A block has
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
        target[(i0 + row) * n_radial + j0 + column] = held[below ? row * kStride + column : column * kStride + row];
      }
      if (i0 != j0 && j0 + row < n_radial && i0 + column < n_radial) {
        target[(j0 + row) * n_radial + i0 + column] = held[column * kStride + row];
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
template <typename T>
__launch_bounds__(kMostMicroThreads, Micro<compute_t<T>>::kBlocks) __global__
    void lower_gradient_kernel(const compute_t<T>* __restrict__ symmetric, UnwrappedMaps<T> maps, RingAngleTiles tiles,
                               const Ring<compute_t<T>>* __restrict__ rings, bool centred,
                               compute_t<T>* __restrict__ product) {
  using C = compute_t<T>;
  using V = Vector<C>;
  CDIFAST_SHARED(V, left_buffers, Micro<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Micro<C>::kVectors);
  const int n_radial = static_cast<int>(maps.n_radial);
  const int n_angular = static_cast<int>(maps.n_angular);
  const int64_t ring_span = static_cast<int64_t>(tiles.ring_groups) * Micro<C>::kRows;
  const int64_t angle_span = static_cast<int64_t>(tiles.angle_groups) * Micro<C>::kRows;
  const int64_t of_a_map = tiles.down * tiles.along;
  const Microtile micro = square_microtile(static_cast<int>(threadIdx.x), tiles.ring_groups, tiles.angle_groups);
  const int64_t t = blockIdx.x;
  const int64_t n = t / of_a_map;
  const int64_t i0 = t % of_a_map % tiles.down * ring_span;
  const int k0 = static_cast<int>(t % of_a_map / tiles.down * angle_span);
  const int rows = static_cast<int>(n_radial - i0 < ring_span ? n_radial - i0 : ring_span);
  const int columns = n_angular - k0 < angle_span ? n_angular - k0 : static_cast<int>(angle_span);
  const UnwrappedMap<T> map = maps[n];
  const Ring<C>* const ring = rings + n * n_radial;
  const C* const gradient = symmetric + (n * n_radial + i0) * n_radial;

  const auto mirrored = [=](int row, int j) {
    return row < rows && j < n_radial ? gradient[row * n_radial + j] : C(0);
  };
  using Held = HeldSample<C, true>;
  const auto sample = [=](int column, int j) {
    if (j >= n_radial || column >= columns) return Held{};
    return Held::of(map, j * n_angular + k0 + column);
  };
  const auto weighted = [=](const Held& held, int, int j) {
    const Ring<C> mine = j < n_radial ? ring[j] : Ring<C>{};
    const C value = held.weighted((centred ? (held.value - mine.high) - mine.low : held.value) * mine.scale);
    return mine.usable != C(0) ? value : C(0);
  };
  C sum[Micro<C>::kRows][Micro<C>::kRows];
  micro_product(n_radial, plain_operand<InnerFirst, C>(tiles.ring_groups, mirrored),
                micro_operand<RowsFirst, Held>(tiles.angle_groups, sample, weighted), false, micro, left_buffers,
                right_buffers, sum);
  finish_micro(sum, micro, rows, columns, left_buffers, [&](int row, int column, C cell) {
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
