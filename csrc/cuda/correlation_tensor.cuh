// Correlation maps in float on tensor cores (tensor_cores.cuh); correlation_kernel.cuh says what binds, and has those
// in double and of other cards. No torch in this file.
#pragma once

#include <type_traits>

#include "async_copy.cuh"
#include "correlation_kernel.cuh"
#include "tensor_cores.cuh"

namespace cdifast::cuda {

// A tile has up to 8 groups of 16 rings along a side. On the diagonal two warps have two groups of rows, the w-th from
// the front and from the end: with that many groups of columns up to the diagonal each pair of warps has nearly the
// same to do. Off the diagonal a block has half of the columns, and each of its warps a group of rows.
constexpr int kTensorGroups = 8;
constexpr int kTensorSpan = kTensorGroups * kTensorRows;
constexpr int kTensorThreads = kTensorGroups * kWarp;
constexpr int kHalfGroups = kTensorGroups / 2;
static_assert(kTensorSpan == Micro<float>::kSpan, "tiles of the same size");

// The squares of 16 x 16 cells of a warp: the first ones in row `row`, from column `column` on, the rest in row `next`,
// from column 0 on.
struct Squares {
  int row, column, count, next, rest;

  // On the diagonal, of warp `warp` of 2 ceil(groups / 2).
  __device__ static Squares below_diagonal(int warp, int groups) {
    const int pairs = (groups + 1) / 2;
    const int low = warp % pairs, high = groups - 1 - low;
    const int of_low = low < high ? low + 1 : 0;
    const int first = (high + 1 + of_low + 1) / 2 < high + 1 ? (high + 1 + of_low + 1) / 2 : high + 1;
    return warp < pairs ? Squares{high, 0, first, high, 0} : Squares{high, first, high + 1 - first, low, of_low};
  }
};
constexpr int kMostSquares = kHalfGroups + 1;

// In shared memory a chunk has 16 angles of each ring, ring by ring: eight rings are what a warp reads at once, without
// a gap.
constexpr int kTensorChunk = kTensorSpan * kTensorDepth / 4;  // vectors
constexpr int kChunksAhead = 3;                               // under way, with the one that is multiplied

__device__ __forceinline__ void copy_chunk(const float* rings, int rows, int groups, int n_angular, int first,
                                           bool whole, Vector<float>* chunk) {
  for (int v = static_cast<int>(threadIdx.x); v < groups * kTensorRows * 4; v += static_cast<int>(blockDim.x)) {
    const int row = v / 4;
    const int k = first + v % 4 * 4;
    const int valid = row < rows ? n_angular - k : 0;
    copy_vector(chunk[v].element, valid > 0 ? rings + row * n_angular + k : rings, valid, whole);
  }
}

// A lane's parts of a group of 16 rings.
struct GroupParts {
  Parts part[2];  // rings g and g + 8
};

__device__ __forceinline__ GroupParts ring_parts(const Vector<float>* chunk, int group) {
  const Vector<float>* const from = chunk + group * kTensorRows * 4 + threadIdx.x % kWarp;
  return {Parts(load_whole(from)), Parts(load_whole(from + kWarp))};
}

// Off the diagonal: half of the columns of a span below.
template <bool kDiagonal>
struct TensorTile : SpanPlace<kDiagonal> {
  __device__ TensorTile(const Spans& spans, int64_t n_radial)
      : SpanPlace<kDiagonal>(spans, n_radial, kTensorRows, kDiagonal ? blockIdx.x : blockIdx.x / 2) {
    if (kDiagonal) return;
    constexpr int kHalf = kHalfGroups * kTensorRows;
    const int skipped = static_cast<int>(blockIdx.x % 2) * kHalf;
    this->j0 += skipped;
    this->columns -= skipped;
    this->columns = this->columns < kHalf ? this->columns : kHalf;
  }
};

using GroupCells = TensorCells[2];  // of 16 x 16 cells

__device__ __forceinline__ void multiply_add(GroupCells& sums, const GroupParts& rows, const GroupParts& columns) {
  GroupCells cells = {};
  multiply_add(cells, rows.part[0], rows.part[1], columns.part);
#pragma unroll
  for (int c = 0; c < 8; ++c) sums[c / 4][c % 4] += cells[c / 4][c % 4];
}

// Within two units of the last place, where the exact one takes a call; for weights, which are at most the angles.
__device__ __forceinline__ float quotient(float sum, float weight) {
#if defined(__CUDA_ARCH__)
  return __fdividef(sum, weight);
#else
  return sum / weight;
#endif
}

// The squares' sums on the way to the map's cells, and the mirror image of the tile. `row_rings` and `column_rings` are
// those of rings from i0 and from j0 on, `rows` and `columns` of them, in shared memory; `target` is the map, `pairs`
// its pairs' weights. By all threads of the block.
template <bool kDiagonal, bool kWeighted, typename Out, int kSquares>
__device__ __forceinline__ void finish_squares(const GroupCells (&sums)[kSquares], const Squares& own,
                                               const TileRing<float>* row_rings, const TileRing<float>* column_rings,
                                               int64_t i0, int64_t j0, int rows, int columns, int64_t n_radial,
                                               int angles, const float* pairs, const Cells<float>& cells, Out* target) {
  using R = TileRing<float>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const float every_angle = 1.0f / static_cast<float>(angles);
  const auto usable = [](const R& a, const R& b) { return a.usable != 0.0f && b.usable != 0.0f; };
  const auto ordered = [](const R& a, const R& b) { return a.real * b.real + a.imaginary * b.imaginary; };
  const auto finish = [&](const GroupCells& square, int row_group, int column_group) {
    const int column0 = column_group * kTensorRows + lane % 4 * 2;
    R of_columns[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) of_columns[n] = column_rings[column0 + n / 2 * 8 + n % 2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = row_group * kTensorRows + lane / 4 + 8 * r;
      if (row >= rows) continue;
      const R of_row = row_rings[row];
      const int64_t begin = (i0 + row) * n_radial + j0;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const int column = column0 + n / 2 * 8 + n % 2;
        const float sum = square[n / 2][2 * r + n % 2] * of_columns[n].factor * of_row.factor;
        float value = sum * every_angle;
        bool valid = usable(of_row, of_columns[n]);
        if (kDiagonal && column > row) {
          value = ordered(of_row, of_columns[n]);
        } else if (kWeighted && column < columns) {
          const float weight = pairs[begin + column];
          valid = valid && weight > 0.0f && weight >= cells.needed;
          value = quotient(sum, weight);
        }
        if (column < columns) store_element(target[begin + column], valid ? value : cells.fill);
      }
    }
  };
#pragma unroll
  for (int q = 0; q < kSquares; ++q) {
    if (q < own.count) {
      finish(sums[q], own.row, own.column + q);
    } else if (kDiagonal && q - own.count < own.rest) {
      finish(sums[q], own.next, q - own.count);
    }
  }
  // The mirror image; of a tile on the diagonal what is beyond the groups there.
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int row = warp; row < columns; row += warps) {
    const R a = column_rings[row];
    Out* const to = target + (j0 + row) * n_radial + i0;
    for (int column = (kDiagonal ? (row / kTensorRows + 1) * kTensorRows : 0) + lane; column < rows; column += kWarp) {
      const R b = row_rings[column];
      store_element(to[column], usable(a, b) ? ordered(a, b) : cells.fill);
    }
  }
}

template <typename Out, bool kDiagonal>
__launch_bounds__(kTensorThreads, CDIFAST_TENSOR_BLOCKS(2)) __global__
    void map_tensor_kernel(const float* __restrict__ kept, UnwrappedMaps<float> given, Spans spans,
                           const Ring<float>* __restrict__ rings, Cells<float> cells, Out* __restrict__ out) {
  using V = Vector<float>;
  using R = TileRing<float>;
  constexpr int kChunk = kDiagonal ? kTensorChunk : kTensorChunk + kTensorChunk / 2;
  CDIFAST_SHARED(V, chunks, kChunksAhead * kChunk);
  CDIFAST_SHARED(R, tile_rings, 2 * kTensorSpan);
  const int64_t n_radial = given.n_radial;
  const int angles = static_cast<int>(given.n_angular);
  const TensorTile<kDiagonal> tile(spans, n_radial);
  if (tile.columns <= 0) return;
  load_tile_rings(rings + tile.map * n_radial, tile.i0, tile.j0, n_radial, cells.modulus, tile_rings);

  const float* const rows = kept + (tile.map * n_radial + tile.i0) * angles;
  const float* const columns = kept + (tile.map * n_radial + tile.j0) * angles;
  const bool whole = whole_vectors(kept, angles);
  const auto copy = [&](int first, int place) {
    if (first < angles) {
      V* const chunk = chunks + place * kChunk;
      copy_chunk(rows, tile.rows, spans.groups, angles, first, whole, chunk);
      if (!kDiagonal) copy_chunk(columns, tile.columns, kHalfGroups, angles, first, whole, chunk + kTensorChunk);
    }
    end_copies();
  };
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const Squares own = kDiagonal ? Squares::below_diagonal(warp, spans.groups) : Squares{warp, 0, kHalfGroups, warp, 0};
  constexpr int kSquares = kDiagonal ? kMostSquares : kHalfGroups;
  GroupCells sums[kSquares] = {};
  for (int c = 0; c < kChunksAhead - 1; ++c) copy(c * kTensorDepth, c);
  int place = 0;
  for (int first = 0; first < angles; first += kTensorDepth) {
    wait_for_copies<kChunksAhead - 2>();
    __syncthreads();  // the chunk is there, and all are done with the last one
    copy(first + (kChunksAhead - 1) * kTensorDepth, place == 0 ? kChunksAhead - 1 : place - 1);
    const V* const left = chunks + place * kChunk;
    const V* const right = kDiagonal ? left : left + kTensorChunk;
    const GroupParts of_row = ring_parts(left, own.row), of_next = ring_parts(left, own.next);
#pragma unroll
    for (int q = 0; q < kSquares; ++q) {
      if (q < own.count) {
        multiply_add(sums[q], of_row, ring_parts(right, own.column + q));
      } else if (kDiagonal && q - own.count < own.rest) {
        multiply_add(sums[q], of_next, ring_parts(right, q - own.count));
      }
    }
    place = place + 1 == kChunksAhead ? 0 : place + 1;
  }

  const auto finish = [&](auto weighted) {
    finish_squares<kDiagonal, decltype(weighted)::value>(
        sums, own, tile_rings, tile_rings + kTensorSpan, tile.i0, tile.j0, tile.rows, tile.columns, n_radial, angles,
        cells.pairs_of(tile.map, n_radial), cells, out + tile.map * n_radial * n_radial);
  };
  given.weighted() ? finish(std::true_type{}) : finish(std::false_type{});
}

}  // namespace cdifast::cuda
