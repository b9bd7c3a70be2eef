// A tile of the matrix product sum_k left[row, k] right[column, k], through shared memory, by one block whose threads
// have a small square of it each, in registers. No torch in this file. The operands are whatever a function makes of
// memory, so that weights, means and gradients are applied while they are loaded.
//
// A tile has up to 16 x 16 microtiles of 8 x 8 cells (4 x 4 of double). One step of k takes 4 reads of 16 bytes of
// shared memory for 64 multiply-adds, which then bind. Which microtiles there are is up to the kernel: of a symmetric
// product only those on and below the diagonal, 105 of 196 for 112 rows, so that a map of up to 128 rings is one block
// without a cell too many but on the diagonal. Chunks of k go through two buffers: the next one is on its way while
// this one is multiplied, and one barrier a chunk is enough.
//
// Sums run in the operands' type, k ascending: the rounding of a float sum over K terms grows as sqrt(K), as in any
// float matrix product.
#pragma once

#include <cstdint>

#include "launch.cuh"
#include "vector.h"

namespace cdifast::cuda {

template <typename C>
struct Micro {
  static constexpr int kVector = Vector<C>::kCount;
  static constexpr int kRows = 2 * kVector;  // and columns
  static constexpr int kGroups = 16;         // microtiles along a side of the tile, at most
  static constexpr int kSpan = kGroups * kRows;
  static constexpr int kDepth = 8;                        // of a chunk of k
  static constexpr int kBlocks = sizeof(C) == 4 ? 2 : 1;  // of all threads, in a multiprocessor's registers
  // In a buffer, the first halves of all groups of rows lie side by side, then the second halves: threads that read
  // neighbouring groups then meet different banks. So do the lanes of a warp that store 8 steps of k of 4 rows, or one
  // step of 32 rows.
  static constexpr int kHalf = (kGroups + 4) * kVector;
  static constexpr int kStride = kHalf + (kGroups + 1) * kVector;
  static constexpr int kBuffer = kDepth * kStride;
  // Vectors of an operand's two buffers.
  static constexpr int kVectors = 2 * kBuffer / kVector;
  // Elements of a chunk that a thread brings, at most. Blocks have warps enough for that (microtile_launch.h).
  static constexpr int kHeldAlone = 8;
  static constexpr int kHeldOfTwo = 4;

  CDIFAST_HD static int position(int row) { return row / kVector % 2 * kHalf + row / kRows * kVector + row % kVector; }
};

constexpr int kMostMicroThreads = Micro<float>::kGroups * Micro<float>::kGroups;

// Which part of a chunk a warp brings at a time, by its number and lane: eight neighbouring k of four rows, where k
// runs fastest in memory ...
struct InnerFirst {
  static constexpr int kUnitRows = 4;
  template <typename C>
  CDIFAST_HD static int units(int groups) {
    return groups * Micro<C>::kRows / kUnitRows;
  }
  __device__ static int row(int unit, int lane) { return unit * kUnitRows + lane / 8; }
  __device__ static int inner(int, int lane) { return lane % 8; }
  // Where in a buffer the unit's element goes; linear in the units of a warp, an even number.
  template <typename C>
  __device__ static int place(int unit, int lane) {
    return lane % 8 * Micro<C>::kStride + Micro<C>::position(unit * kUnitRows + lane / 8);
  }
};

// ... or 32 neighbouring rows of one k.
struct RowsFirst {
  template <typename C>
  CDIFAST_HD static int units(int groups) {
    return (groups * Micro<C>::kRows + 31) / 32 * Micro<C>::kDepth;
  }
  __device__ static int row(int unit, int lane) { return unit / Micro<float>::kDepth * 32 + lane; }
  __device__ static int inner(int unit, int) { return unit % Micro<float>::kDepth; }
  template <typename C>
  __device__ static int place(int unit, int lane) {
    return unit % Micro<C>::kDepth * Micro<C>::kStride + Micro<C>::position(unit / Micro<C>::kDepth * 32 + lane);
  }
};

// An operand of `groups` groups of rows: load(row, k) gives what memory holds as a Held, an empty one beyond the
// matrix, and finish(held, row, k) makes the element of it once it has arrived. Both count in 32 bits, which leaves the
// registers of half of the addresses to the product: matrices begin anywhere in memory, but a tile's rows of one have
// less than 2^31 elements.
template <typename Order, typename Held, typename Load, typename Finish>
struct MicroOperand {
  int groups;
  Load load;
  Finish finish;

  // A warp brings kCount units side by side: where they go in a buffer is then a constant beyond the warp's place.
  template <typename C, int kCount>
  __device__ __forceinline__ void fetch(int first, Held (&held)[kCount]) const {
    const int units = Order::template units<C>(groups);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int begin = static_cast<int>(threadIdx.x) / 32 * kCount;
#pragma unroll
    for (int s = 0; s < kCount; ++s) {
      if (begin + s < units) held[s] = load(Order::row(begin + s, lane), first + Order::inner(begin + s, lane));
    }
  }

  template <typename C, int kCount>
  __device__ __forceinline__ void store(int first, const Held (&held)[kCount], C* buffer) const {
    const int units = Order::template units<C>(groups);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int begin = static_cast<int>(threadIdx.x) / 32 * kCount;
    C* const target = buffer + Order::template place<C>(begin, lane);
#pragma unroll
    for (int s = 0; s < kCount; ++s) {
      const int row = Order::row(begin + s, lane);
      if (begin + s < units && row < Micro<C>::kSpan) {
        target[Order::template place<C>(s, 0)] = finish(held[s], row, first + Order::inner(begin + s, lane));
      }
    }
  }
};

template <typename Order, typename Held, typename Load, typename Finish>
__device__ __forceinline__ MicroOperand<Order, Held, Load, Finish> micro_operand(int groups, Load load, Finish finish) {
  return {groups, load, finish};
}

// Of elements that are in memory as they are needed.
template <typename Order, typename C, typename Load>
__device__ __forceinline__ auto plain_operand(int groups, Load load) {
  return micro_operand<Order, C>(groups, load, [](C held, int, int) { return held; });
}

// A thread's microtile, by its groups of rows; `active`: it has one.
struct Microtile {
  int left;
  int right;
  bool active;
};

// Number `number` of the microtiles on and below the diagonal, row by row.
__device__ __forceinline__ Microtile lower_microtile(int number, int groups) {
  int left = 0;
  int right = number;
  while (right > left) right -= ++left;
  return {left, right, left < groups};
}

__device__ __forceinline__ Microtile square_microtile(int number, int left_groups, int right_groups) {
  return {number / right_groups, number % right_groups, number < left_groups * right_groups};
}

template <typename C>
__device__ __forceinline__ void multiply_micro(const C* left, const C* right,
                                               C (&sum)[Micro<C>::kRows][Micro<C>::kRows]) {
  using M = Micro<C>;
  using V = Vector<C>;
#pragma unroll 1
  for (int k = 0; k < M::kDepth; ++k) {
    V rows[2];
    V columns[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      rows[h] = *reinterpret_cast<const V*>(left + k * M::kStride + h * M::kHalf);
      columns[h] = *reinterpret_cast<const V*>(right + k * M::kStride + h * M::kHalf);
    }
#pragma unroll
    for (int r = 0; r < M::kRows; ++r) {
#pragma unroll
      for (int c = 0; c < M::kRows; ++c) {
        sum[r][c] += rows[r / M::kVector].element[r % M::kVector] * columns[c / M::kVector].element[c % M::kVector];
      }
    }
  }
}

// sum = the microtile's product over k < inner. The buffers are Micro<C>::kVectors vectors each of shared memory.
// `same`: both operands are one matrix, the left one, brought once. Every thread of the block calls it; when it
// returns, all are done with shared memory.
template <typename C, typename LeftOrder, typename LeftHeld, typename LeftLoad, typename LeftFinish,
          typename RightOrder, typename RightHeld, typename RightLoad, typename RightFinish>
__device__ __forceinline__ void micro_product(int inner,
                                              const MicroOperand<LeftOrder, LeftHeld, LeftLoad, LeftFinish>& left,
                                              const MicroOperand<RightOrder, RightHeld, RightLoad, RightFinish>& right,
                                              bool same, const Microtile& tile, Vector<C>* left_buffers,
                                              Vector<C>* right_buffers, C (&sum)[Micro<C>::kRows][Micro<C>::kRows]) {
  using M = Micro<C>;
  C* const lefts = left_buffers->element;
  C* const rights = same ? lefts : right_buffers->element;
#pragma unroll
  for (int r = 0; r < M::kRows; ++r) {
#pragma unroll
    for (int c = 0; c < M::kRows; ++c) sum[r][c] = C(0);
  }

  LeftHeld left_held[M::kHeldAlone];
  RightHeld right_held[M::kHeldOfTwo];
  // Of two operands, each thread brings half as many elements: the left one's are then the first of its array.
  LeftHeld(&left_half)[M::kHeldOfTwo] = reinterpret_cast<LeftHeld(&)[M::kHeldOfTwo]>(left_held);
  const auto fetch = [&](int first) {
    if (same) {
      left.template fetch<C>(first, left_held);
    } else {
      left.template fetch<C>(first, left_half);
      right.template fetch<C>(first, right_held);
    }
  };
  const auto store = [&](int first, int buffer) {
    if (same) {
      left.store(first, left_held, lefts + buffer * M::kBuffer);
    } else {
      left.store(first, left_half, lefts + buffer * M::kBuffer);
      right.store(first, right_held, rights + buffer * M::kBuffer);
    }
  };

  if (inner > 0) {
    fetch(0);
    store(0, 0);
  }
  __syncthreads();
  int buffer = 0;
  for (int first = 0; first < inner; first += M::kDepth) {
    const bool more = first + M::kDepth < inner;
    if (more) fetch(first + M::kDepth);
    if (tile.active) {
      multiply_micro(lefts + buffer * M::kBuffer + tile.left * M::kVector,
                     rights + buffer * M::kBuffer + tile.right * M::kVector, sum);
    }
    buffer = 1 - buffer;
    if (more) store(first + M::kDepth, buffer);
    __syncthreads();
  }
}

// Calls finish(row, column, sum) for all cells of the first `rows` rows and `columns` columns of the tile, with
// neighbouring lanes on neighbouring columns, by way of shared memory; the sum of a cell that no thread has is not
// defined. `staging` is Micro<C>::kVectors vectors that all threads are done with; they are again on return.
template <typename C, typename Finish>
__device__ __forceinline__ void finish_micro(const C (&sum)[Micro<C>::kRows][Micro<C>::kRows], const Microtile& tile,
                                             int rows, int columns, Vector<C>* staging, const Finish& finish) {
  using M = Micro<C>;
  using V = Vector<C>;
  constexpr int kStripGroups = 16 / M::kRows;
  constexpr int kStripStride = M::kSpan + M::kVector;
  static_assert(16 * kStripStride <= 2 * M::kBuffer, "a strip of 16 rows fits");
  C* const stage = staging->element;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int first = 0; first < rows; first += 16) {
    const int group = tile.left - first / M::kRows;
    if (tile.active && group >= 0 && group < kStripGroups) {
#pragma unroll
      for (int r = 0; r < M::kRows; ++r) {
        C* const target = stage + (group * M::kRows + r) * kStripStride + tile.right * M::kRows;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          V cells;
#pragma unroll
          for (int c = 0; c < M::kVector; ++c) cells.element[c] = sum[r][h * M::kVector + c];
          reinterpret_cast<V*>(target)[h] = cells;
        }
      }
    }
    __syncthreads();
    for (int row = static_cast<int>(threadIdx.x) / 32; row < 16 && first + row < rows; row += warps) {
      for (int column = lane; column < columns; column += 32) {
        finish(first + row, column, stage[row * kStripStride + column]);
      }
    }
    __syncthreads();
  }
}

// Calls f(row, column) for all cells, with neighbouring lanes on neighbouring columns.
template <typename F>
__device__ __forceinline__ void for_each_cell(int rows, int columns, const F& f) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < rows; row += warps) {
    for (int column = lane; column < columns; column += 32) f(row, column);
  }
}

}  // namespace cdifast::cuda
