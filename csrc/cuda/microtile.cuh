// A tile of the matrix product sum_k left[row, k] right[column, k], through shared memory, by one block whose threads
// have a small square of it each, in registers. No torch in this file.
//
// A tile has up to 16 x 16 microtiles of 8 x 8 cells (4 x 4 of double). One step of k takes 4 reads of 16 bytes of
// shared memory for 64 multiply-adds: the two bind alike, on cards with 128 multiply-adds and 128 bytes a clock. Which
// microtiles there are is up to the kernel: of a symmetric product only those on and below the diagonal, 105 of 196 for
// 112 rows, so that a map of up to 128 rings is one block, with no cell too many but on the diagonal. Chunks of k are
// copied several ahead of the one that is multiplied, past the registers, which the product fills; one barrier a chunk
// is enough.
//
// Sums run in the operands' type, k ascending: the rounding of a float sum over K terms grows as sqrt(K), as in any
// float matrix product.
#pragma once

#include <cstdint>

#include "async_copy.cuh"
#include "launch.cuh"
#include "vector.h"

namespace cdifast::cuda {

template <typename C>
struct Micro {
  static constexpr int kVector = Vector<C>::kCount;
  static constexpr int kRows = 2 * kVector;  // and columns
  static constexpr int kGroups = 16;         // microtiles along a side of the tile, at most
  static constexpr int kSpan = kGroups * kRows;
  static constexpr int kDepth = 8;  // of a chunk of k
  static constexpr int kPitch = kDepth + kVector;
  static constexpr int kChunk = kSpan * kPitch;  // elements of an operand's chunk in shared memory
  static constexpr int kChunks = 6;              // of all operands
  static constexpr int kVectors = kChunks * kChunk / kVector;
  static constexpr int kBlocks = sizeof(C) == 4 ? 2 : 1;  // of all threads, in a multiprocessor's registers
};

constexpr int kMostMicroThreads = Micro<float>::kGroups * Micro<float>::kGroups;

template <typename C>
__device__ __forceinline__ bool whole_vectors(const C* data, int pitch) {
  return pitch % Vector<C>::kCount == 0 && reinterpret_cast<uintptr_t>(data) % sizeof(Vector<C>) == 0;
}

// A vector's elements from `from` on, of which the first `valid` are there; in one copy if `whole`.
template <typename C>
__device__ __forceinline__ void copy_vector(C* to, const C* from, int valid, bool whole) {
  if (whole) {
    copy_async<16>(to, from, valid > 0);
    return;
  }
#pragma unroll
  for (int i = 0; i < Vector<C>::kCount; ++i) copy_async<sizeof(C)>(to + i, from + i, i < valid);
}

// An operand of `groups` groups of rows, element (row, k) at data[row * pitch + k]; zeros from `rows` and from `inner`
// on. All counts have 32 bits, which leaves registers to the product: matrices begin anywhere in memory, but the rows
// of a tile have less than 2^31 elements.
//
// In shared memory, rows of one place in their groups lie side by side: threads that read neighbouring groups meet
// different banks.
template <typename C>
struct RowMajor {
  const C* data;
  int pitch, rows, inner, groups;

  __device__ __forceinline__ void copy(C* chunk, int first) const {
    using M = Micro<C>;
    constexpr int kSteps = M::kDepth / M::kVector;
    const bool whole = whole_vectors(data, pitch);
    for (int v = static_cast<int>(threadIdx.x); v < groups * M::kRows * kSteps; v += static_cast<int>(blockDim.x)) {
      const int row = v / kSteps;
      const int k = v % kSteps * M::kVector;
      const int valid = row < rows ? inner - (first + k) : 0;
      copy_vector(chunk + (row % M::kRows * M::kGroups + row / M::kRows) * M::kPitch + k,
                  valid > 0 ? data + row * pitch + first + k : data, valid, whole);
    }
  }

  // Row `row` of group `group`, from k on.
  __device__ static const C* at(const C* chunk, int group, int row, int k) {
    return chunk + (row * Micro<C>::kGroups + group) * Micro<C>::kPitch + k;
  }
};

// The same with element (row, k) at data[k * pitch + row]. In shared memory, the first halves of all groups lie side by
// side, then the second halves.
template <typename C>
struct InnerMajor {
  const C* data;
  int pitch, rows, inner, groups;

  __device__ __forceinline__ void copy(C* chunk, int first) const {
    using M = Micro<C>;
    const bool whole = whole_vectors(data, pitch);
    const int of_a_step = 2 * groups;
    for (int v = static_cast<int>(threadIdx.x); v < M::kDepth * of_a_step; v += static_cast<int>(blockDim.x)) {
      const int k = v / of_a_step;
      const int part = v - k * of_a_step;
      const int valid = first + k < inner ? rows - part * M::kVector : 0;
      copy_vector(chunk + k * M::kSpan + part % 2 * (M::kSpan / 2) + part / 2 * M::kVector,
                  valid > 0 ? data + (first + k) * pitch + part * M::kVector : data, valid, whole);
    }
  }

  // Half `half` of the rows of group `group`, at k.
  __device__ static const Vector<C>& at(const C* chunk, int group, int half, int k) {
    using M = Micro<C>;
    return *reinterpret_cast<const Vector<C>*>(chunk + k * M::kSpan + half * (M::kSpan / 2) + group * M::kVector);
  }
};

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
using MicroSum = C[Micro<C>::kRows][Micro<C>::kRows];

// A chunk's part of the microtile's sums.
template <typename C>
__device__ __forceinline__ void multiply_chunk(const C* left, const C* right, const Microtile& tile, RowMajor<C>,
                                               MicroSum<C>& sum) {
  using M = Micro<C>;
#pragma unroll 1
  for (int k = 0; k < M::kDepth; k += M::kVector) {
    Vector<C> rows[M::kRows];
#pragma unroll
    for (int r = 0; r < M::kRows; ++r) {
      rows[r] = *reinterpret_cast<const Vector<C>*>(RowMajor<C>::at(left, tile.left, r, k));
    }
#pragma unroll
    for (int c = 0; c < M::kRows; ++c) {
      const auto column = *reinterpret_cast<const Vector<C>*>(RowMajor<C>::at(right, tile.right, c, k));
#pragma unroll
      for (int i = 0; i < M::kVector; ++i) {
#pragma unroll
        for (int r = 0; r < M::kRows; ++r) sum[r][c] += rows[r].element[i] * column.element[i];
      }
    }
  }
}

// Here two k at a time: four would take 16 registers more.
template <typename C>
__device__ __forceinline__ void multiply_chunk(const C* left, const C* right, const Microtile& tile, InnerMajor<C>,
                                               MicroSum<C>& sum) {
  using M = Micro<C>;
  struct alignas(2 * sizeof(C)) Pair {
    C element[2];
  };
#pragma unroll 1
  for (int k = 0; k < M::kDepth; k += 2) {
    Pair rows[M::kRows];
#pragma unroll
    for (int r = 0; r < M::kRows; ++r) rows[r] = *reinterpret_cast<const Pair*>(RowMajor<C>::at(left, tile.left, r, k));
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const Vector<C> columns[2] = {InnerMajor<C>::at(right, tile.right, 0, k + i),
                                    InnerMajor<C>::at(right, tile.right, 1, k + i)};
#pragma unroll
      for (int r = 0; r < M::kRows; ++r) {
#pragma unroll
        for (int c = 0; c < M::kRows; ++c) {
          sum[r][c] += rows[r].element[i] * columns[c / M::kVector].element[c % M::kVector];
        }
      }
    }
  }
}

// sum = the microtile's product over k < left.inner. `shared` is Micro<C>::kVectors vectors of shared memory. kSame:
// both operands are one matrix, the left one, brought once. Every thread of the block calls it; when it returns, all
// are done with shared memory.
template <bool kSame, typename C, typename Right>
__device__ __forceinline__ void micro_product(const RowMajor<C>& left, const Right& right, const Microtile& tile,
                                              Vector<C>* shared, MicroSum<C>& sum) {
  using M = Micro<C>;
  constexpr int kAhead = M::kChunks / (kSame ? 1 : 2);  // chunks under way, with the one that is multiplied
  constexpr int kSize = M::kChunks / kAhead * M::kChunk;
#pragma unroll
  for (int r = 0; r < M::kRows; ++r) {
#pragma unroll
    for (int c = 0; c < M::kRows; ++c) sum[r][c] = C(0);
  }

  C* const chunks = shared->element;
  const auto copy = [&](int first, int place) {
    if (first < left.inner) {
      left.copy(chunks + place * kSize, first);
      if (!kSame) right.copy(chunks + place * kSize + M::kChunk, first);
    }
    end_copies();
  };
  for (int c = 0; c < kAhead - 1; ++c) copy(c * M::kDepth, c);
  int place = 0;
  for (int first = 0; first < left.inner; first += M::kDepth) {
    wait_for_copies<kAhead - 2>();
    __syncthreads();  // the chunk is there, and all are done with the last one
    copy(first + (kAhead - 1) * M::kDepth, place == 0 ? kAhead - 1 : place - 1);
    const C* const chunk = chunks + place * kSize;
    if (tile.active) multiply_chunk(chunk, kSame ? chunk : chunk + M::kChunk, tile, right, sum);
    place = place + 1 == kAhead ? 0 : place + 1;
  }
  wait_for_copies<0>();
  __syncthreads();
}

// Calls finish(row, column, sum) for all cells of the first `rows` rows and `columns` columns of the tile, with
// neighbouring lanes on neighbouring columns, by way of shared memory; the sum of a cell that no thread has is not
// defined. `shared` is that of the product.
template <typename C, typename Finish>
__device__ __forceinline__ void finish_micro(const MicroSum<C>& sum, const Microtile& tile, int rows, int columns,
                                             Vector<C>* shared, const Finish& finish) {
  using M = Micro<C>;
  using V = Vector<C>;
  constexpr int kStripGroups = 8;
  constexpr int kStripRows = kStripGroups * M::kRows;
  constexpr int kStride = M::kSpan + M::kVector;
  static_assert(kStripRows * kStride <= M::kChunks * M::kChunk, "a strip fits");
  C* const strip = shared->element;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int first = 0; first < rows; first += kStripRows) {
    const int group = tile.left - first / M::kRows;
    if (tile.active && group >= 0 && group < kStripGroups) {
#pragma unroll
      for (int r = 0; r < M::kRows; ++r) {
        V* const target = reinterpret_cast<V*>(strip + (group * M::kRows + r) * kStride + tile.right * M::kRows);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          V cells;
#pragma unroll
          for (int c = 0; c < M::kVector; ++c) cells.element[c] = sum[r][h * M::kVector + c];
          target[h] = cells;
        }
      }
    }
    __syncthreads();
    for (int row = static_cast<int>(threadIdx.x) / 32; row < kStripRows && first + row < rows; row += warps) {
      for (int column = lane; column < columns; column += 32) {
        finish(first + row, column, strip[row * kStride + column]);
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
