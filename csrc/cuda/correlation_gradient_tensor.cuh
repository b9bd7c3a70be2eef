// The product of the gradient of correlation maps in float on tensor cores (tensor_cores.cuh); correlation_gradient.cuh
// has the other kernels of the gradient, and the product in double and of other cards. No torch in this file.
#pragma once

#include <type_traits>

#include "correlation_gradient.cuh"
#include "correlation_tensor.cuh"

namespace cdifast::cuda {

// How a block is made up: a warp has squares of 16 x 16 cells, kRows down and kColumns along, and there are kDown x
// kAlong warps. kChunks chunks are under way, with the one that is multiplied.
template <int kRows_, int kColumns_, int kDown_, int kAlong_, int kChunks_, int kBlocks_>
struct ProductBlock {
  static constexpr int kRows = kRows_, kColumns = kColumns_, kDown = kDown_, kAlong = kAlong_;
  static constexpr int kChunks = kChunks_, kBlocks = kBlocks_;
  static constexpr int kThreads = kDown * kAlong * kWarp;
  static constexpr int kRingGroups = kRows * kDown, kAngleGroups = kColumns * kAlong;  // at most
  // Of a chunk in shared memory, in vectors: 16 of the gradient's cells of each ring, as a map's rings have angles, and
  // as many rings' angles. Lanes t read every fourth of those rings, where the pitch brings them to different banks.
  static constexpr int kLeft = kRingGroups * kTensorRows * 4;
  static constexpr int kAcross = kAngleGroups * 4;
  static constexpr int kPitch = kAcross + 2;
  static constexpr int kChunk = kLeft + kTensorDepth * kPitch;
};
using GradientBlock = ProductBlock<2, 4, 2, 2, 3, 3>;

// Ring 4 t + i of the chunk is in place 4 i + t.
template <typename Block>
__device__ __forceinline__ void copy_angles(const float* kept, int rings, int columns, int n_angular, bool whole,
                                            Vector<float>* chunk) {
  for (int v = static_cast<int>(threadIdx.x); v < kTensorDepth * Block::kAcross; v += Block::kThreads) {
    const int ring = v / Block::kAcross;
    const int part = v % Block::kAcross;
    const int valid = ring < rings ? columns - part * 4 : 0;
    copy_vector(chunk[(ring % 4 * 4 + ring / 4) * Block::kPitch + part].element,
                valid > 0 ? kept + ring * n_angular + part * 4 : kept, valid, whole);
  }
}

// A lane's parts of 16 angles, which are ordered so that its cells of both halves are 4 neighbouring ones: column g of
// half h is angle 2 g + h.
template <typename Block>
__device__ __forceinline__ GroupParts angle_parts(const Vector<float>* chunk, int group) {
  struct alignas(8) Pair {
    float element[2];
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float* const from = chunk[lane % 4 * Block::kPitch + group * 4].element + lane / 4 * 2;
  Vector<float> columns[2];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Pair pair = load_whole(reinterpret_cast<const Pair*>(from + i * 4 * Block::kPitch * 4));
    columns[0].element[i] = pair.element[0];
    columns[1].element[i] = pair.element[1];
  }
  return {Parts(columns[0]), Parts(columns[1])};
}

// What lower_gradient_kernel makes.
template <typename Block>
__launch_bounds__(Block::kThreads, CDIFAST_TENSOR_BLOCKS(Block::kBlocks)) __global__
    void lower_gradient_tensor_kernel(const float* __restrict__ symmetric, const float* __restrict__ kept, int n_radial,
                                      int n_angular, RingAngleTiles tiles, float* __restrict__ product) {
  using V = Vector<float>;
  CDIFAST_SHARED(V, chunks, Block::kChunks * Block::kChunk);
  const int64_t of_a_map = tiles.down * tiles.along;
  const int64_t n = blockIdx.x / of_a_map;
  const int64_t t = blockIdx.x % of_a_map;
  const int i0 = static_cast<int>(t % tiles.down) * tiles.ring_groups * kTensorRows;
  const int k0 = static_cast<int>(t / tiles.down) * tiles.angle_groups * kTensorRows;
  const auto least = [](int a, int b) { return a < b ? a : b; };
  const int rows = least(n_radial - i0, tiles.ring_groups * kTensorRows);
  const int columns = least(n_angular - k0, tiles.angle_groups * kTensorRows);

  const float* const left = symmetric + (n * n_radial + i0) * n_radial;
  const float* const right = kept + n * n_radial * n_angular + k0;
  const bool whole_left = whole_vectors(symmetric, n_radial);
  const bool whole_right = whole_vectors(kept, n_angular);
  const auto copy = [&](int first, int place) {
    if (first < n_radial) {
      V* const chunk = chunks + place * Block::kChunk;
      copy_chunk(left, rows, tiles.ring_groups, n_radial, first, whole_left, chunk);
      copy_angles<Block>(right + first * n_angular, n_radial - first, columns, n_angular, whole_right,
                         chunk + Block::kLeft);
    }
    end_copies();
  };
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int row = warp / Block::kAlong * Block::kRows, column = warp % Block::kAlong * Block::kColumns;
  const auto groups = [](int cells) { return (cells + kTensorRows - 1) / kTensorRows; };
  const int down = groups(rows) - row, along = groups(columns) - column;  // squares that there are
  GroupCells sums[Block::kRows][Block::kColumns] = {};
  // Of the warp's first `count` rows of squares: no branch parts their instructions, which wait for one another.
  const auto multiply = [&](const V* chunk, auto count) {
    constexpr int kCount = decltype(count)::value;
    GroupParts rings[kCount];
#pragma unroll
    for (int r = 0; r < kCount; ++r) rings[r] = ring_parts(chunk, row + r);
#pragma unroll
    for (int q = 0; q < Block::kColumns; ++q) {
      if (q >= along) break;
      const GroupParts angles = angle_parts<Block>(chunk + Block::kLeft, column + q);
#pragma unroll
      for (int r = 0; r < kCount; ++r) multiply_add(sums[r][q], rings[r], angles);
    }
  };
  for (int c = 0; c < Block::kChunks - 1; ++c) copy(c * kTensorDepth, c);
  int place = 0;
  for (int first = 0; first < n_radial; first += kTensorDepth) {
    wait_for_copies<Block::kChunks - 2>();
    __syncthreads();  // the chunk is there, and all are done with the last one
    copy(first + (Block::kChunks - 1) * kTensorDepth, place == 0 ? Block::kChunks - 1 : place - 1);
    const V* const chunk = chunks + place * Block::kChunk;
    if (down > Block::kRows / 2) {
      multiply(chunk, std::integral_constant<int, Block::kRows>{});
    } else if (down > 0) {
      multiply(chunk, std::integral_constant<int, (Block::kRows + 1) / 2>{});
    }
    place = place + 1 == Block::kChunks ? 0 : place + 1;
  }

  const bool whole = whole_quads(product, n_angular);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int s = 0; s < 2 * Block::kRows; ++s) {
    const int i = row * kTensorRows + s * 8 + lane / 4;
    if (i >= rows) continue;
    float* const target = product + (n * n_radial + i0 + i) * n_angular + k0;
#pragma unroll
    for (int q = 0; q < Block::kColumns; ++q) {
      const int k = (column + q) * kTensorRows + lane % 4 * 4;
      V cells;
#pragma unroll
      for (int c = 0; c < 4; ++c) cells.element[c] = sums[s / 2][q][c % 2][s % 2 * 2 + c / 2];
      if (whole) {
        if (k < columns) store_quad(target + k, cells);
      } else {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          if (k + c < columns) target[k + c] = cells.element[c];
        }
      }
    }
  }
}

}  // namespace cdifast::cuda
