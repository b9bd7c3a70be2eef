// A tile of the matrix product sum_k left[row, k] right[column, k], through shared memory, by one block. No torch in
// this file. The operands are whatever a function makes of memory, so that weights, means and gradients are applied
// while they are loaded.
//
// A block of 128 threads makes 64 rows by 16 kColumns columns; each thread has 8 rows by kColumns columns in registers,
// so that at kColumns = 4 a step of k takes 6 reads of shared memory for 32 multiply-adds, which then bind. Chunks of k
// go through two buffers: the next one is on its way while this one is multiplied, and one barrier a chunk is enough.
// Few threads a block, because a batch of small maps has few tiles, and every one has work for all four schedulers.
//
// Sums run in the operands' type, k ascending: the rounding of a float sum over K terms grows as sqrt(K), as in any
// float matrix product.
#pragma once

#include <cstdint>

#include "launch.cuh"
#include "vector.h"

namespace cdifast::cuda {

constexpr int kTileThreads = 128;
constexpr int kTileRows = 64;
constexpr int kThreadRows = 8;
constexpr int kThreadsAcross = kTileThreads / (kTileRows / kThreadRows);

template <typename C>
struct Tile {
  static constexpr int kDepth = 64 / static_cast<int>(sizeof(C));  // of a chunk of k
  // Rows of one k, and a vector more: threads that store different k of one row then meet different banks.
  static constexpr int kStride = kTileRows + Vector<C>::kCount;
  // Blocks that a multiprocessor must have room for, 4 (2 of double) by registers. Left to itself, the compiler takes
  // from 94 to 255 registers, and on some architectures spills one to have fewer.
  static constexpr int kBlocks = 16 / static_cast<int>(sizeof(C));
  // Vectors of an operand's two buffers.
  static constexpr int kVectors = 2 * kDepth * kStride / Vector<C>::kCount;
};

// Which element of a chunk a thread brings: neighbouring threads on neighbouring k of a row, eight a row, where k runs
// fastest in memory ...
struct AlongInner {
  __device__ void operator()(int element, int, int& row, int& inner) const {
    inner = (element & 7) + (element >> 9 << 3);
    row = element >> 3 & 63;
  }
};

// ... or on neighbouring rows of one k.
template <int kRows>
struct AlongRows {
  __device__ void operator()(int element, int, int& row, int& inner) const {
    row = element % kRows;
    inner = element / kRows;
  }
};

// place(element, first k of the chunk, row, k in the chunk) and load(row, k), which gives 0 beyond the matrix. Both
// count in 32 bits, which leaves the registers of half of the addresses to the product: matrices begin anywhere in
// memory, but 64 rows of one have less than 2^31 elements.
template <typename Place, typename Load>
struct Operand {
  Place place;
  Load load;
};

template <typename Place, typename Load>
__device__ __forceinline__ Operand<Place, Load> operand(Place place, Load load) {
  return {place, load};
}

template <typename C, int kCount, typename Place, typename Load>
__device__ __forceinline__ void fetch_chunk(const Operand<Place, Load>& from, int first, C (&held)[kCount]) {
#pragma unroll
  for (int s = 0; s < kCount; ++s) {
    int row, inner;
    from.place(static_cast<int>(threadIdx.x) + s * kTileThreads, first, row, inner);
    held[s] = from.load(row, first + inner);
  }
}

template <typename C, int kCount, typename Place, typename Load>
__device__ __forceinline__ void store_chunk(const Operand<Place, Load>& from, int first, const C (&held)[kCount],
                                            C* buffer) {
#pragma unroll
  for (int s = 0; s < kCount; ++s) {
    int row, inner;
    from.place(static_cast<int>(threadIdx.x) + s * kTileThreads, first, row, inner);
    buffer[inner * Tile<C>::kStride + row] = held[s];
  }
}

template <typename C, int kColumns>
__device__ __forceinline__ void multiply_chunk(const C* left, const C* right, C (&sum)[kThreadRows][kColumns]) {
  constexpr int kVector = Vector<C>::kCount;
  left += static_cast<int>(threadIdx.x) / kThreadsAcross * kThreadRows;
  right += static_cast<int>(threadIdx.x) % kThreadsAcross;
#pragma unroll 8
  for (int k = 0; k < Tile<C>::kDepth; ++k) {
    Vector<C> rows[kThreadRows / kVector];
    C columns[kColumns];
#pragma unroll
    for (int v = 0; v < kThreadRows / kVector; ++v) {
      rows[v] = reinterpret_cast<const Vector<C>*>(left + k * Tile<C>::kStride)[v];
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) columns[c] = right[k * Tile<C>::kStride + c * kThreadsAcross];
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) sum[r][c] += rows[r / kVector].element[r % kVector] * columns[c];
    }
  }
}

// Row and column of sum[r][c] in the tile: neighbouring threads have neighbouring columns.
__device__ __forceinline__ int tile_row(int r) {
  return static_cast<int>(threadIdx.x) / kThreadsAcross * kThreadRows + r;
}
__device__ __forceinline__ int tile_column(int c) {
  return static_cast<int>(threadIdx.x) % kThreadsAcross + c * kThreadsAcross;
}

// sum = the tile's product over k < inner. `left_buffers` and `right_buffers` are Tile<C>::kVectors vectors each of
// shared memory. `same`: both operands are one matrix, brought once. Every thread of the block calls it; when it
// returns, all are done with shared memory.
template <typename C, int kColumns, typename Left, typename Right>
__device__ __forceinline__ void tile_product(int inner, const Left& left, const Right& right, bool same,
                                             Vector<C>* left_buffers, Vector<C>* right_buffers,
                                             C (&sum)[kThreadRows][kColumns]) {
  constexpr int kDepth = Tile<C>::kDepth;
  constexpr int kBuffer = kDepth * Tile<C>::kStride;
  C* const lefts = left_buffers->element;
  C* const rights = same ? lefts : right_buffers->element;
#pragma unroll
  for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
    for (int c = 0; c < kColumns; ++c) sum[r][c] = C(0);
  }

  C left_held[kDepth * kTileRows / kTileThreads];
  C right_held[kDepth * kThreadsAcross * kColumns / kTileThreads];
  const auto fetch = [&](int first) {
    fetch_chunk(left, first, left_held);
    if (!same) fetch_chunk(right, first, right_held);
  };
  const auto store = [&](int first, int buffer) {
    store_chunk(left, first, left_held, lefts + buffer * kBuffer);
    if (!same) store_chunk(right, first, right_held, rights + buffer * kBuffer);
  };

  if (inner > 0) {
    fetch(0);
    store(0, 0);
  }
  __syncthreads();
  int buffer = 0;
  for (int first = 0; first < inner; first += kDepth) {
    const bool more = first + kDepth < inner;
    if (more) fetch(first + kDepth);
    multiply_chunk(lefts + buffer * kBuffer, rights + buffer * kBuffer, sum);
    buffer = 1 - buffer;
    if (more) store(first + kDepth, buffer);
    __syncthreads();
  }
}

}  // namespace cdifast::cuda
