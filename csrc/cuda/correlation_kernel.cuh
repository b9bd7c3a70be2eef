// Correlation maps on CUDA: the maps themselves; their rings, the sampling of the fused operator and the way back stand
// in correlation_rings.cuh, correlation_sampling.cuh and correlation_gradient.cuh. No torch in these files.
//
// For N unwrapped maps of R rings and K angles, s bytes an element, 4 of float as it is kept, on an H100 (3.35 TB/s, 67
// TFLOP/s float32; that is 20 operations a byte) or H200 (4.8 TB/s; 14):
//
// quad_ring_statistics_kernel (float, up to 256 angles, a multiple of 4): reads s R K bytes a map, writes 4 R K of kept
// samples and 32 R; about 40 operations a sample with the sums over a ring: memory binds.
//
// short_ring_statistics_kernel: the same of other rings that fit into a warp's registers.
//
// ring_statistics_kernel: the same of rings that do not, read three times (L1 and L2).
//
// map_tensor_kernel (float, correlation_tensor.cuh): reads 4 R K once a tile, writes s R^2, and R^2 K operations: one
// multiply-add for each angle and each cell of the lower triangle, and three of them because of the parts of floats. At
// R = 112, K = 224: 0.15 MB, 0.04 us, and 3 x 2.8 million, 0.03 us at the 300 TFLOP/s of tensor cores that a warp's
// instructions reach. Splitting floats takes as long again, and the two overlap only in part.
//
// map_kernel (double, and float on cards whose tensor cores are no faster): likewise, without parts. The microtiles
// (microtile.cuh) on the diagonal and what their blocks' last warps lack make the operations a third more; reads of
// shared memory bind as much as they.
//
// pair_weights_kernel: the same product of the weights, once for weights that all maps share. Where every map has its
// own it is a launch before map_kernel's, not a second product inside it: that one would double the registers and the
// shared memory of every map without weights too, for the same number of operations.
//
// sample_kernel: reads the image's pixels under the map once, writes 4 R K (8 for double): memory binds. See there for
// why samples are written at all.
//
// triangles_gradient_kernel: reads s R^2 twice (L2), writes 4 R^2 and 8 R: memory binds.
//
// lower_gradient_tensor_kernel (float, correlation_gradient_tensor.cuh): a product of R^2 K multiply-adds (the gradient
// is not triangular once it is symmetric), three times because of the parts of floats: 6 R^2 K operations for 4 (R^2 +
// 2 R K) bytes. At R = 112, K = 224: 17 million, 0.06 us at the rate above, and 0.25 MB, 0.05 us of an H200.
//
// lower_gradient_kernel (double, and float on cards whose tensor cores are no faster): likewise, without parts:
// arithmetic binds.
//
// ring_gradient_kernel: reads s R K and 4 R K twice (L2), writes s R K: memory binds.
//
// Everything is summed in a fixed order and nothing by atomics: results are the same in every run.
#pragma once

#include "correlation_rings.cuh"
#include "microtile.cuh"

namespace cdifast::cuda {

// The rings are cut into spans of whole microtiles, as many a span as a tile takes, so that the cells on and below the
// diagonal are tiles of a span with itself (kDiagonal) or with an earlier one.
struct Spans {
  uint32_t count;
  int groups;  // of rings, in each
};

template <bool kDiagonal>
struct SpanPlace {
  int64_t map;
  int64_t i0, j0;
  int rows, columns;

  // `rings`: of a group.
  __device__ SpanPlace(const Spans& spans, int64_t n_radial, int rings, uint32_t number) {
    const uint32_t tiles = kDiagonal ? spans.count : spans.count * (spans.count - 1) / 2;
    map = number / tiles;
    uint32_t column = number % tiles;
    uint32_t row = column;
    if (!kDiagonal) {
      row = 1;
      while (column >= row) column -= row++;
    }
    const int64_t span = static_cast<int64_t>(spans.groups) * rings;
    i0 = row * span;
    j0 = column * span;
    rows = static_cast<int>(n_radial - i0 < span ? n_radial - i0 : span);
    columns = static_cast<int>(n_radial - j0 < span ? n_radial - j0 : span);
  }
};

template <typename C, bool kDiagonal>
struct SpanTile : SpanPlace<kDiagonal> {
  Microtile micro;

  __device__ SpanTile(const Spans& spans, int64_t n_radial)
      : SpanPlace<kDiagonal>(spans, n_radial, Micro<C>::kRows, blockIdx.x) {
    const int number = static_cast<int>(threadIdx.x);
    micro = kDiagonal ? lower_microtile(number, spans.groups) : square_microtile(number, spans.groups, spans.groups);
  }

  // The sums of products of rows of `matrix`, one for each map, of `inner` elements.
  __device__ void product(const C* matrix, const Spans& spans, int64_t n_radial, int inner, Vector<C>* shared,
                          MicroSum<C>& sum) const {
    const C* const own = matrix + this->map * n_radial * inner;
    micro_product<kDiagonal>(RowMajor<C>{own + this->i0 * inner, inner, this->rows, inner, spans.groups},
                             RowMajor<C>{own + this->j0 * inner, inner, this->columns, inner, spans.groups}, micro,
                             shared, sum);
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

}  // namespace cdifast::cuda
