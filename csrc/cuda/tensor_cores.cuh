// Products of small matrices by one warp on tensor cores, as exact as in float. No torch in this file.
//
// Tensor cores multiply floats of which they leave out the last 13 bits (TF32), and add in float. A float is split into
// two such numbers, which hold it to half a unit of its last place on average; of the four products of two floats'
// parts the three that matter are added up: three times the operations, on an A100, H100 or H200 at some eight times
// float's rate. The additions of tensor cores cut bits off, always towards zero: cells are added up in float after 16
// k at most, where that does not show.
//
// Lane l = 4 g + t of a warp has k = 4 t to 4 t + 3 of 16 consecutive k, of rows g and g + 8 of a matrix of 16 rows,
// and of column g of one of 8 columns: a vector of each, as memory has them. Which four of 16 k the instruction takes
// together is all the same to a sum.
//
// Below compute capability 8.0, and in the emulator, shuffles bring every lane what it multiplies: slow, but right.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "launch.cuh"
#include "vector.h"

namespace cdifast::cuda {

// Whether a card's tensor cores do three times float's operations in less time than its ordinary ones do them: those of
// data centres (A100, H100 and H200, B200). Others multiply TF32 at float's rate, or, before 8.0, not at all; what
// waits for memory anyway goes by tensor cores there too.
inline bool fast_tensor_cores(int compute_capability) {
  return compute_capability == 80 || (compute_capability >= 90 && compute_capability < 110);
}

constexpr int kTensorRows = 16;
constexpr int kTensorColumns = 8;
constexpr int kTensorDepth = 16;  // k at a time

// Blocks of a multiprocessor that leave its registers to `wanted` of them; where shuffles do the work, which take more,
// to half as many.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define CDIFAST_TENSOR_BLOCKS(wanted) ((wanted) / 2)
#else
#define CDIFAST_TENSOR_BLOCKS(wanted) (wanted)
#endif

// Four floats as sums of two numbers each that tensor cores take. Neither infinity nor NaN becomes finite: the rest,
// if not the first part, is NaN then.
struct Parts {
  uint32_t high[4], low[4];

  Parts() = default;
  __device__ __forceinline__ explicit Parts(const Vector<float>& of) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      high[i] = (bits_of(of.element[i]) + 0x1000u) & 0xffffe000u;
      low[i] = bits_of(of.element[i] - float_of(high[i]));
    }
  }
};

// Sums of products with 8 columns that a lane has: cells (g, 2 t), (g, 2 t + 1), (g + 8, 2 t) and (g + 8, 2 t + 1).
using TensorCells = float[4];

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800

__device__ __forceinline__ void multiply_add(TensorCells& cells, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                             uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(cells[0]), "+f"(cells[1]), "+f"(cells[2]), "+f"(cells[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// cells[kFirst + n] += sum over 16 k of rows times columns[n]. All lanes of the warp call it. A sum waits for its last
// addition: meanwhile come the others'.
template <int kFirst = 0, int kCells, int kCount>
__device__ __forceinline__ void multiply_add(TensorCells (&cells)[kCells], const Parts& upper, const Parts& lower,
                                             const Parts (&columns)[kCount]) {
#pragma unroll
  for (int product = 0; product < 3; ++product) {  // small ones first
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
      const uint32_t (&up)[4] = product == 0 ? upper.low : upper.high;
      const uint32_t (&down)[4] = product == 0 ? lower.low : lower.high;
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        const uint32_t (&column)[4] = product == 1 ? columns[n].low : columns[n].high;
        multiply_add(cells[kFirst + n], up[k], down[k], up[k + 1], down[k + 1], column[k], column[k + 1]);
      }
    }
  }
}

#else

// Two numbers of a lane, put together from what tensor cores would see of them, and sent as one.
__device__ __forceinline__ Vector<float> from_lane(const Parts& parts, int lane) {
  constexpr unsigned kAll = 0xffffffffu;
  Vector<float> whole;
#pragma unroll
  for (int k = 0; k < 4; k += 2) {
    const uint32_t first = bits_of(float_of(parts.high[k]) + float_of(parts.low[k] & 0xffffe000u));
    const uint32_t second = bits_of(float_of(parts.high[k + 1]) + float_of(parts.low[k + 1] & 0xffffe000u));
    const unsigned long long both = __shfl_sync(kAll, static_cast<unsigned long long>(second) << 32 | first, lane);
    whole.element[k] = float_of(static_cast<uint32_t>(both));
    whole.element[k + 1] = float_of(static_cast<uint32_t>(both >> 32));
  }
  return whole;
}

template <int kFirst = 0, int kCells, int kCount>
__device__ __forceinline__ void multiply_add(TensorCells (&cells)[kCells], const Parts& upper, const Parts& lower,
                                             const Parts (&columns)[kCount]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = lane / 4, first = lane % 4 * 2;
#pragma unroll 1
  for (int part = 0; part < 4; ++part) {
    const Vector<float> rows[2] = {from_lane(upper, row * 4 + part), from_lane(lower, row * 4 + part)};
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      const Vector<float> pair[2] = {from_lane(columns[n], first * 4 + part),
                                     from_lane(columns[n], (first + 1) * 4 + part)};
#pragma unroll
      for (int c = 0; c < 4; ++c) {
#pragma unroll
        for (int k = 0; k < 4; ++k) cells[kFirst + n][c] += rows[c / 2].element[k] * pair[c % 2].element[k];
      }
    }
  }
}

#endif

// Whether rows of `pitch` elements are quads: none is partly there, then.
template <typename T>
CDIFAST_HD bool whole_quads(const T* data, int64_t pitch) {
  return pitch % 4 == 0 && reinterpret_cast<uintptr_t>(data) % sizeof(Quad<T>) == 0;
}

// Sum over the four lanes that share a row.
__device__ __forceinline__ float row_sum(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

__device__ __forceinline__ float row_max(float value) {
#pragma unroll
  for (int step = 1; step < 4; step *= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, value, step);
    value = other > value ? other : value;
  }
  return value;
}

template <typename T>
__device__ __forceinline__ Vector<float> loaded(const Quad<T>& quad) {
  Vector<float> result;
#pragma unroll
  for (int i = 0; i < 4; ++i) result.element[i] = load_element(quad.element[i]);
  return result;
}

// Four elements from `from` on, of which the first `valid` are there, and zeros; in one access if `whole`.
template <typename T>
__device__ __forceinline__ Vector<float> load_quad(const T* from, int valid, bool whole) {
  if (whole) {
    Quad<T> quad{};
    if (valid > 0) quad = load_whole(reinterpret_cast<const Quad<T>*>(from));
    return loaded(quad);
  }
  Vector<float> quad;
#pragma unroll
  for (int i = 0; i < 4; ++i) quad.element[i] = i < valid ? load_element(from[i]) : 0.0f;
  return quad;
}

// In one access, to global memory.
template <typename T>
__device__ __forceinline__ void store_quad(T* to, const Vector<float>& values) {
  Quad<T> quad;
#pragma unroll
  for (int i = 0; i < 4; ++i) store_element(quad.element[i], values.element[i]);
  store_whole(reinterpret_cast<Quad<T>*>(to), quad);
}

}  // namespace cdifast::cuda
