// Correlation maps on CUDA, forward and backward, and the sampling of the fused operator. No torch in this file.
//
// For N unwrapped maps of R rings and K angles, s bytes an element, 4 of float as it is kept, on an H100 (3.35 TB/s, 67
// TFLOP/s float32; that is 20 operations a byte) or H200 (4.8 TB/s; 14):
//
// short_ring_statistics_kernel: reads s R K bytes a map, writes 4 R K of kept samples and 32 R; about 40 operations a
// sample with the sums over a warp: memory binds.
//
// ring_statistics_kernel: the same of rings that do not fit into a warp's registers, read three times (L1 and L2).
//
// map_kernel: reads 4 R K once a tile, writes s R^2, and R^2 K operations: one multiply-add for each angle and each
// cell of the lower triangle. At R = 112, K = 224 in float: 0.15 MB and 2.8 million, 0.03 us against 0.04 us. The
// microtiles (microtile.cuh) on the diagonal and what their blocks' last warps lack make it 3.7 million; reads of
// shared memory bind as much as they. Never the tensor cores: TF32 would leave three of float's seven digits.
//
// pair_weights_kernel: the same product of the weights, once for weights that all maps share. Where every map has its
// own it is a launch before map_kernel's, not a second product inside it: that one would double the registers and the
// shared memory of every map without weights too, for the same number of operations.
//
// sample_kernel: reads the image's pixels under the map once, writes 4 R K (8 for double): memory binds. See there for
// why samples are written at all.
//
// upper_gradient_kernel: reads s R^2 once or twice, writes 8 R: memory binds.
//
// mirror_gradient_kernel: reads s R^2 / 2, writes 4 R^2: memory binds.
//
// lower_gradient_kernel: a product of R^2 K multiply-adds (the gradient is not triangular once it is symmetric): 2 R^2
// K operations for 4 (R^2 + 2 R K) bytes: arithmetic binds.
//
// ring_gradient_kernel: reads s R K and 4 R K twice (L2), writes s R K: memory binds.
//
// Everything is summed in a fixed order and nothing by atomics: results are the same in every run.
#pragma once

#include "../common/correlation_math.h"
#include "../common/resample_math.h"
#include "microtile.cuh"
#include "patch.cuh"
#include "reading.cuh"
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

// The rings are cut into spans of whole microtiles, as many a span as a tile takes, so that the cells on and below the
// diagonal are tiles of a span with itself (kDiagonal) or with an earlier one.
struct Spans {
  uint32_t count;
  int groups;  // of rings, in each
};

template <typename C, bool kDiagonal>
struct SpanTile {
  int64_t map;
  int64_t i0, j0;
  int rows, columns;
  Microtile micro;

  __device__ SpanTile(const Spans& spans, int64_t n_radial) {
    const uint32_t tiles = kDiagonal ? spans.count : spans.count * (spans.count - 1) / 2;
    map = blockIdx.x / tiles;
    uint32_t column = blockIdx.x % tiles;
    uint32_t row = column;
    if (!kDiagonal) {
      row = 1;
      while (column >= row) column -= row++;
    }
    const int64_t span = static_cast<int64_t>(spans.groups) * Micro<C>::kRows;
    i0 = row * span;
    j0 = column * span;
    rows = static_cast<int>(n_radial - i0 < span ? n_radial - i0 : span);
    columns = static_cast<int>(n_radial - j0 < span ? n_radial - j0 : span);
    const int number = static_cast<int>(threadIdx.x);
    micro = kDiagonal ? lower_microtile(number, spans.groups) : square_microtile(number, spans.groups, spans.groups);
  }

  // The sums of products of rows of `matrix`, one for each map, of `inner` elements.
  __device__ void product(const C* matrix, const Spans& spans, int64_t n_radial, int inner, Vector<C>* shared,
                          MicroSum<C>& sum) const {
    const C* const own = matrix + map * n_radial * inner;
    micro_product<kDiagonal>(RowMajor<C>{own + i0 * inner, inner, rows, inner, spans.groups},
                             RowMajor<C>{own + j0 * inner, inner, columns, inner, spans.groups}, micro, shared, sum);
  }
};

// pairs[g, i, j] = sum_k w[g, i, k] w[g, j, k] for j <= i. With the rings' weights given: the finished weight of every
// cell of the map, as correlation_weight has it.
template <typename C, bool kDiagonal>
__launch_bounds__(kMostMicroThreads, Micro<C>::kBlocks) __global__
    void pair_weights_kernel(UnwrappedMaps<C> given, Spans spans, const C* __restrict__ ring_weights, C needed,
                             C* __restrict__ pairs) {
  using V = Vector<C>;
  CDIFAST_SHARED(V, shared, Micro<C>::kVectors);
  if (!given.weighted()) return;
  const int64_t n_radial = given.n_radial;
  const int angles = static_cast<int>(given.n_angular);
  const SpanTile<C, kDiagonal> tile(spans, n_radial);
  MicroSum<C> sum;
  tile.product(given.weights, spans, n_radial, angles, shared, sum);

  C* const out = pairs + tile.map * n_radial * n_radial;
  const C* const ring = ring_weights == nullptr ? nullptr : ring_weights + tile.map * n_radial;
  const auto finished = [&](C weight) { return weight >= needed ? weight / static_cast<C>(angles) : C(0); };
  const auto smaller = [&](int64_t i, int64_t j) { return finished(ring[i] < ring[j] ? ring[i] : ring[j]); };
  finish_micro(sum, tile.micro, tile.rows, tile.columns, shared, [&](int row, int column, C cell) {
    const int64_t i = tile.i0 + row;
    const int64_t j = tile.j0 + column;
    if (j <= i) {
      out[i * n_radial + j] = ring == nullptr ? cell : finished(cell);
    } else if (ring != nullptr) {
      out[i * n_radial + j] = smaller(i, j);
    }
  });
  if (kDiagonal || ring == nullptr) return;
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

// |Z|.
template <typename C>
__device__ __forceinline__ C size_of(const Ring<C>& ring) {
  return square_root(ring.real * ring.real + ring.imaginary * ring.imaginary);
}

// What the cells need beside the rings. `pairs` is null where every sample counts fully.
template <typename C>
struct Cells {
  const C* pairs;  // (maps, R, R) or (1, R, R), lower triangle
  bool shared_pairs;
  bool modulus;
  C needed;
  C fill;

  __device__ const C* pairs_of(int64_t n, int64_t n_radial) const {
    return pairs == nullptr || shared_pairs ? pairs : pairs + n * n_radial * n_radial;
  }
};

// Of a ring in a tile: what its cells need, read at once.
template <typename C>
struct alignas(16) TileRing {
  C factor, real, imaginary, usable;
};

// Those of a tile's rows, then of its columns, by all threads of the block, before a barrier.
template <typename C>
__device__ __forceinline__ void load_tile_rings(const Ring<C>* __restrict__ rings, int64_t i0, int64_t j0,
                                                int64_t n_radial, bool modulus, TileRing<C>* tile_rings) {
  for (int r = static_cast<int>(threadIdx.x); r < 2 * Micro<C>::kSpan; r += static_cast<int>(blockDim.x)) {
    const int64_t number = r < Micro<C>::kSpan ? i0 + r : j0 + r - Micro<C>::kSpan;
    const Ring<C> ring = number < n_radial ? rings[number] : Ring<C>{};
    tile_rings[r] = {ring.factor, modulus ? size_of(ring) : ring.real, modulus ? C(0) : ring.imaginary, ring.usable};
  }
}

// The map, in Out. A block makes a tile of the lower triangle from the product of the kept samples, and its mirror
// image in the upper one from the rings' harmonics.
template <typename C, typename Out, bool kDiagonal>
__launch_bounds__(kMostMicroThreads, Micro<C>::kBlocks) __global__
    void map_kernel(const C* __restrict__ kept, UnwrappedMaps<C> given, Spans spans, const Ring<C>* __restrict__ rings,
                    Cells<C> cells, Out* __restrict__ out) {
  using V = Vector<C>;
  using R = TileRing<C>;
  CDIFAST_SHARED(V, shared, Micro<C>::kVectors);
  CDIFAST_SHARED(R, tile_rings, 2 * Micro<C>::kSpan);
  const int64_t n_radial = given.n_radial;
  const int angles = static_cast<int>(given.n_angular);
  const SpanTile<C, kDiagonal> tile(spans, n_radial);
  load_tile_rings(rings + tile.map * n_radial, tile.i0, tile.j0, n_radial, cells.modulus, tile_rings);
  MicroSum<C> sum;
  tile.product(kept, spans, n_radial, angles, shared, sum);  // has barriers

  const auto usable = [](const R& a, const R& b) { return a.usable != C(0) && b.usable != C(0); };
  const auto ordered = [](const R& a, const R& b) { return a.real * b.real + a.imaginary * b.imaginary; };
  const C every_angle = C(1) / static_cast<C>(angles);
  Out* const target = out + tile.map * n_radial * n_radial;
  const C* const pairs = given.weighted() ? cells.pairs_of(tile.map, n_radial) : nullptr;
  finish_micro(sum, tile.micro, tile.rows, tile.columns, shared, [&](int row, int column, C cell) {
    const int64_t i = tile.i0 + row;
    const int64_t j = tile.j0 + column;
    const R& a = tile_rings[row];
    const R b = tile_rings[Micro<C>::kSpan + column];
    C value = ordered(a, b);
    bool valid = usable(a, b);
    if (j <= i) {
      value = cell * a.factor * b.factor * every_angle;
      if (pairs != nullptr) {
        const C weight = pairs[i * n_radial + j];
        valid = valid && weight > C(0) && weight >= cells.needed;
        value = cell * a.factor * b.factor / weight;
      }
    }
    store_element(target[i * n_radial + j], valid ? value : cells.fill);
  });
  if (kDiagonal) return;  // the tile is its own mirror image
  for_each_cell(tile.columns, tile.rows, [&](int row, int column) {
    const R& a = tile_rings[Micro<C>::kSpan + row];
    const R b = tile_rings[column];
    store_element(target[(tile.j0 + row) * n_radial + tile.i0 + column], usable(a, b) ? ordered(a, b) : cells.fill);
  });
}

// --- the fused operator

constexpr int kSampleThreads = 256;
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
// They go to memory, though never all: a pass over a batch reuses one workspace (workspace.h). Sampling inside
// map_kernel instead would write nothing, but each ring is needed once for each tile of a larger map and once for its
// statistics, and a sample costs up to four 32-byte sectors of image and its double-precision geometry; a float costs
// four bytes. Where the geometry is shared, a thread works it out once for many images, so that there is no plan in
// memory either.
//
// `partial` is set where a sample counts for less than one; where none does, as without a mask, the map goes without
// weights.
template <typename T>
__launch_bounds__(kSampleThreads, sizeof(compute_t<T>) == 4 ? 4 : 3) __global__
    void sample_kernel(const T* __restrict__ images, Detector detector, int64_t of_a_slice,
                       const Complex<double>* __restrict__ directions, int64_t first, int64_t count,
                       compute_t<T>* __restrict__ values, compute_t<T>* __restrict__ weights,
                       int* __restrict__ partial) {
  using C = compute_t<T>;
  const PolarGrid& grid = detector.grid;
  const SourceShape source = polar_source(grid);
  const int64_t samples = grid.n_radial * grid.n_angular;
  const int64_t pixels = grid.height * grid.width;
  const Plane plane{static_cast<uint32_t>(grid.n_radial), static_cast<uint32_t>(grid.n_angular)};
  const uint32_t patches = patches_of(plane, kSampleThreads);
  const Interior interior = interior_of(source, grid.nearest, detector.good);
  const bool shared = detector.shared_center && (detector.good == nullptr || detector.shared_good);
  const int64_t slices = (count + of_a_slice - 1) / of_a_slice;
  for (int64_t b = blockIdx.x; b < patches * slices; b += gridDim.x) {
    const Place place = place_of(plane, static_cast<uint32_t>(b % patches), threadIdx.x, kSampleThreads);
    if (!plane.holds(place.row, place.column)) continue;
    const uint32_t sample = place.row * plane.columns + place.column;
    const int64_t begin = b / patches * of_a_slice;
    const int64_t end = begin + of_a_slice < count ? begin + of_a_slice : count;
    const double* const center = detector.center + (detector.shared_center ? 0 : 2 * (first + begin));
    const Complex<double> direction = directions[place.column];
    const Position at =
        polar_position(grid.radius(place.row), direction.real, direction.imaginary, center[0], center[1]);
    Reading<C> reading;
    double total = 1.0;
    if (interior.holds(at)) {
      reading = interior_reading<C>(source, at);
    } else {
      const uint8_t* const good =
          detector.good == nullptr || detector.shared_good ? detector.good : detector.good + (first + begin) * pixels;
      total = any_reading(source, at, grid.nearest, good, reading);
    }
    if (!shared || begin == 0) {
      weights[begin * samples + sample] = static_cast<C>(total);
      if (total != 1.0) atomicMax(partial, 1);
    }
    const T* image = images + (first + begin) * pixels;
    C* target = values + begin * samples + sample;
#pragma unroll 4
    for (int64_t n = begin; n < end; ++n) {
      C value = 0;
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        // A masked pixel may hold NaN, and 0 * NaN is NaN: it is not read at all.
        if (reading.coefficient[t] != C(0)) value += reading.coefficient[t] * load_element(image[reading.element[t]]);
      }
      *target = value;
      image += pixels;
      target += samples;
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
