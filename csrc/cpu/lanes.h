// Vectors of one machine register, one ring or pair of rings a lane. Only for the files that are compiled once per
// instruction set: everything is in an unnamed namespace of that set, so that no copy can stand in for another's.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "tiles.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif

template <typename C>
struct VectorOf {
  typedef C type __attribute__((vector_size(kVectorBytes)));
};
template <typename C>
using Vector = typename VectorOf<C>::type;

template <typename C>
constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(C));

// Integers of the elements' size: what a comparison of vectors gives, -1 where it holds.
template <typename C>
struct MaskOf;
template <>
struct MaskOf<float> {
  using element = int32_t;
};
template <>
struct MaskOf<double> {
  using element = int64_t;
};
template <typename C>
using Mask = typename VectorOf<typename MaskOf<C>::element>::type;

// The lanes from `first` on.
template <typename C>
CDIFAST_HOST Mask<C> lanes_from(int64_t first) {
  constexpr typename MaskOf<C>::element values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Mask<C> numbers;
  __builtin_memcpy(&numbers, values, sizeof numbers);
  return numbers >= static_cast<typename MaskOf<C>::element>(first);
}

template <typename C>
CDIFAST_HOST Vector<C> broadcast(C value) {
  return value - Vector<C>{};  // x - 0 is x for every x (-0 + 0 is not), so that no subtraction is left of it
}

template <typename C>
CDIFAST_HOST Vector<C> load_vector(const C* source) {
  Vector<C> value;
  __builtin_memcpy(&value, source, sizeof value);
  return value;
}

// The value in a register. GCC takes a load again as the operand of each instruction that uses it, and a core that
// loads one vector a cycle waits for those.
template <typename V>
CDIFAST_HOST V in_register(V value) {
#if defined(__AVX512F__)
  asm("" : "+v"(value));
#elif defined(__SSE2__)
  asm("" : "+x"(value));
#endif
  return value;
}

template <typename C>
CDIFAST_HOST void store_vector(C* target, Vector<C> value) {
  __builtin_memcpy(target, &value, sizeof value);
}

// Past the caches, for results larger than they are: a plain store first reads the line that it overwrites. `target` is
// aligned to a vector, and the rest of its cache line is written in the same way next.
CDIFAST_HOST void stream_vector(float* target, Vector<float> value) {
#if defined(__AVX512F__)
  _mm512_stream_ps(target, reinterpret_cast<__m512>(value));
#elif defined(__AVX2__)
  _mm256_stream_ps(target, reinterpret_cast<__m256>(value));
#elif defined(__SSE2__)
  _mm_stream_ps(target, reinterpret_cast<__m128>(value));
#else
  store_vector(target, value);
#endif
}

CDIFAST_HOST void stream_vector(double* target, Vector<double> value) {
#if defined(__AVX512F__)
  _mm512_stream_pd(target, reinterpret_cast<__m512d>(value));
#elif defined(__AVX2__)
  _mm256_stream_pd(target, reinterpret_cast<__m256d>(value));
#elif defined(__SSE2__)
  _mm_stream_pd(target, reinterpret_cast<__m128d>(value));
#else
  store_vector(target, value);
#endif
}

// a0 b0 a1 b1 ... of the first halves, and of the second ones.
template <typename C>
CDIFAST_HOST void interleave(Vector<C> a, Vector<C> b, Vector<C>& low, Vector<C>& high) {
  if constexpr (kLanes<C> == 16) {
    low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  } else if constexpr (kLanes<C> == 8) {
    low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (kLanes<C> == 4) {
    low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else {
    low = __builtin_shufflevector(a, b, 0, 2);
    high = __builtin_shufflevector(a, b, 1, 3);
  }
}

// a b + c, rounded once where the instruction set can, whatever the compiler makes of other sums of products.
CDIFAST_HOST Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

CDIFAST_HOST Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_pd(a, b, c);
#else
  return a * b + c;
#endif
}

CDIFAST_HOST float multiply_add(float a, float b, float c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

CDIFAST_HOST double multiply_add(double a, double b, double c) {
#if defined(__FMA__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// The other way round: the elements at even places of a followed by b, and those at odd ones.
template <typename C>
CDIFAST_HOST void separate(Vector<C> a, Vector<C> b, Vector<C>& even, Vector<C>& odd) {
  if constexpr (kLanes<C> == 16) {
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  } else if constexpr (kLanes<C> == 8) {
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  } else if constexpr (kLanes<C> == 4) {
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
  } else {
    even = __builtin_shufflevector(a, b, 0, 2);
    odd = __builtin_shufflevector(a, b, 1, 3);
  }
}

// The lower or upper half of every 128-bit part of a, interleaved by elements with that of b: one cheap instruction,
// where an interleave over the whole register takes two or needs an index register.
template <bool upper, typename C>
CDIFAST_HOST Vector<C> unpack(Vector<C> a, Vector<C> b) {
  if constexpr (kLanes<C> == 16) {
    constexpr int o = upper ? 2 : 0;
    return __builtin_shufflevector(a, b, o, o + 16, o + 1, o + 17, o + 4, o + 20, o + 5, o + 21, o + 8, o + 24, o + 9,
                                   o + 25, o + 12, o + 28, o + 13, o + 29);
  } else if constexpr (kLanes<C> == 8 && sizeof(C) == 4) {
    constexpr int o = upper ? 2 : 0;
    return __builtin_shufflevector(a, b, o, o + 8, o + 1, o + 9, o + 4, o + 12, o + 5, o + 13);
  } else if constexpr (kLanes<C> == 8) {
    constexpr int o = upper ? 1 : 0;
    return __builtin_shufflevector(a, b, o, o + 8, o + 2, o + 10, o + 4, o + 12, o + 6, o + 14);
  } else if constexpr (kLanes<C> == 4 && sizeof(C) == 4) {
    constexpr int o = upper ? 2 : 0;
    return __builtin_shufflevector(a, b, o, o + 4, o + 1, o + 5);
  } else if constexpr (kLanes<C> == 4) {
    constexpr int o = upper ? 1 : 0;
    return __builtin_shufflevector(a, b, o, o + 4, o + 2, o + 6);
  } else {
    constexpr int o = upper ? 1 : 0;
    return __builtin_shufflevector(a, b, o, o + 2);
  }
}

// Vectors as 128-bit parts, as doubles: which parts of a and of b make the lower and the upper half of the result.
template <bool upper>
CDIFAST_HOST Vector<double> halves(Vector<double> a, Vector<double> b) {
  if constexpr (kVectorBytes == 64) {
    constexpr int o = upper ? 4 : 0;
    return __builtin_shufflevector(a, b, o, o + 1, o + 2, o + 3, o + 8, o + 9, o + 10, o + 11);
  } else if constexpr (kVectorBytes == 32) {
    constexpr int o = upper ? 2 : 0;
    return __builtin_shufflevector(a, b, o, o + 1, o + 4, o + 5);
  } else {
    return a;
  }
}

template <bool odd>
CDIFAST_HOST Vector<double> parts(Vector<double> a, Vector<double> b) {
  if constexpr (kVectorBytes == 64) {
    constexpr int o = odd ? 2 : 0;
    return __builtin_shufflevector(a, b, o, o + 1, o + 4, o + 5, o + 8, o + 9, o + 12, o + 13);
  } else {
    return a;
  }
}

// Element c of vector r becomes element r of vector c: first within blocks of the size of a 128-bit part, then the
// blocks.
template <typename C>
CDIFAST_HOST void transpose(Vector<C>* tile) {
  constexpr int64_t lanes = kLanes<C>;
  constexpr int64_t block = 16 / static_cast<int64_t>(sizeof(C));
  constexpr int64_t blocks = lanes / block;
  Vector<double> inner[lanes];
#pragma GCC unroll 8
  for (int64_t r = 0; r < lanes; r += block) {
    if constexpr (block == 4) {
      // Pairs of floats go as doubles through the second round.
      const auto a = reinterpret_cast<Vector<double>>(unpack<false, C>(tile[r], tile[r + 1]));
      const auto b = reinterpret_cast<Vector<double>>(unpack<true, C>(tile[r], tile[r + 1]));
      const auto c = reinterpret_cast<Vector<double>>(unpack<false, C>(tile[r + 2], tile[r + 3]));
      const auto d = reinterpret_cast<Vector<double>>(unpack<true, C>(tile[r + 2], tile[r + 3]));
      inner[r] = unpack<false, double>(a, c);
      inner[r + 1] = unpack<true, double>(a, c);
      inner[r + 2] = unpack<false, double>(b, d);
      inner[r + 3] = unpack<true, double>(b, d);
    } else {
      inner[r] = reinterpret_cast<Vector<double>>(unpack<false, C>(tile[r], tile[r + 1]));
      inner[r + 1] = reinterpret_cast<Vector<double>>(unpack<true, C>(tile[r], tile[r + 1]));
    }
  }
#pragma GCC unroll 8
  for (int64_t c = 0; c < block; ++c) {
    if constexpr (blocks == 4) {
      const Vector<double> p = halves<false>(inner[c], inner[block + c]);
      const Vector<double> q = halves<true>(inner[c], inner[block + c]);
      const Vector<double> s = halves<false>(inner[2 * block + c], inner[3 * block + c]);
      const Vector<double> t = halves<true>(inner[2 * block + c], inner[3 * block + c]);
      tile[c] = reinterpret_cast<Vector<C>>(parts<false>(p, s));
      tile[block + c] = reinterpret_cast<Vector<C>>(parts<true>(p, s));
      tile[2 * block + c] = reinterpret_cast<Vector<C>>(parts<false>(q, t));
      tile[3 * block + c] = reinterpret_cast<Vector<C>>(parts<true>(q, t));
    } else if constexpr (blocks == 2) {
      tile[c] = reinterpret_cast<Vector<C>>(halves<false>(inner[c], inner[block + c]));
      tile[block + c] = reinterpret_cast<Vector<C>>(halves<true>(inner[c], inner[block + c]));
    } else {
      tile[c] = reinterpret_cast<Vector<C>>(inner[c]);
    }
  }
}

// As many elements as a vector of numbers has lanes.
template <typename C, typename T>
CDIFAST_HOST Vector<C> load_numbers(const T* source) {
  if constexpr (__is_same(T, C)) {
    return load_vector<C>(source);
  } else if constexpr (__is_same(T, uint8_t) || __is_same(T, int16_t) || __is_same(T, uint16_t) ||
                       __is_same(T, int32_t)) {
    typedef T Integers __attribute__((vector_size(kLanes<C> * sizeof(T))));
    typedef int32_t Wide __attribute__((vector_size(kLanes<C> * 4)));
    Integers integers;
    __builtin_memcpy(&integers, source, sizeof integers);
    return __builtin_convertvector(__builtin_convertvector(integers, Wide), Vector<C>);
  } else {
    C values[kLanes<C>];
    for (int64_t c = 0; c < kLanes<C>; ++c) values[c] = load_element(source[c]);
    return load_vector<C>(values);
  }
}

// The way back: bit for bit what store_element gives.
CDIFAST_HOST void store_numbers(float* target, Vector<float> value) { store_vector<float>(target, value); }
CDIFAST_HOST void store_numbers(double* target, Vector<double> value) { store_vector<double>(target, value); }

typedef uint32_t Bits __attribute__((vector_size(kVectorBytes)));
typedef uint16_t HalfBits __attribute__((vector_size(kVectorBytes / 2)));

CDIFAST_HOST void store_numbers(BFloat16* target, Vector<float> value) {
  const Bits bits = reinterpret_cast<Bits>(value);
  const Bits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Bits result = (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded;
  const HalfBits halves = __builtin_convertvector(result, HalfBits);
  __builtin_memcpy(target, &halves, sizeof halves);
}

CDIFAST_HOST void store_numbers(Half* target, Vector<float> value) {
  const Bits bits = reinterpret_cast<Bits>(value);
  const Bits sign = (bits >> 16) & 0x8000u;
  const Bits magnitude = bits & 0x7fffffffu;
  const Bits normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  const Bits subnormal = reinterpret_cast<Bits>(reinterpret_cast<Vector<float>>(magnitude) + 0.5f) - 0x3f000000u;
  Bits half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477ff000u ? Bits{} + 0x7c00u : half;
  half = magnitude > 0x7f800000u ? Bits{} + 0x7e00u : half;
  const HalfBits halves = __builtin_convertvector(sign | half, HalfBits);
  __builtin_memcpy(target, &halves, sizeof halves);
}

// Columns [column, column + columns) of kLanes rows, one row a lane; row(r) points to the row's first element.
// Columns beyond them are 0.
template <typename T, typename C, typename Row>
CDIFAST_HOST void load_tile(const Row& row, int64_t column, int64_t columns, Vector<C>* tile) {
  constexpr int64_t lanes = kLanes<C>;
  if (columns == lanes) {
#pragma GCC unroll 16
    for (int64_t r = 0; r < lanes; ++r) {
      tile[r] = load_numbers<C>(row(r) + column);
    }
  } else {
    for (int64_t r = 0; r < lanes; ++r) {
      const T* source = row(r) + column;
      C values[lanes] = {};
      for (int64_t c = 0; c < columns; ++c) values[c] = load_element(source[c]);
      tile[r] = load_vector<C>(values);
    }
  }
  transpose<C>(tile);
}

// The way back, into whole columns of all rows.
template <typename T, typename C, typename Row>
CDIFAST_HOST void store_whole_tile(Vector<C>* tile, const Row& row, int64_t column) {
  constexpr int64_t lanes = kLanes<C>;
  transpose<C>(tile);
#pragma GCC unroll 16
  for (int64_t r = 0; r < lanes; ++r) {
    store_numbers(row(r) + column, tile[r]);
  }
}

// Vectors that make a cache line.
constexpr int64_t kLineVectors = kLineBytes / kVectorBytes;

// As many tiles side by side as make whole cache lines, past the caches; row(r) + column are aligned to lines.
template <typename C, typename Row>
CDIFAST_HOST void stream_tiles(Vector<C> (*tiles)[kLanes<C>], const Row& row, int64_t column) {
  constexpr int64_t lanes = kLanes<C>;
  for (int64_t v = 0; v < kLineVectors; ++v) transpose<C>(tiles[v]);
#pragma GCC unroll 16
  for (int64_t r = 0; r < lanes; ++r) {
    for (int64_t v = 0; v < kLineVectors; ++v) stream_vector(row(r) + column + v * lanes, tiles[v][r]);
  }
}

// The same into the first `rows` rows and `columns` columns.
template <typename T, typename C, typename Row>
CDIFAST_HOST void store_tile(Vector<C>* tile, const Row& row, int64_t rows, int64_t column, int64_t columns) {
  if (rows == kLanes<C> && columns == kLanes<C>) {
    store_whole_tile<T, C>(tile, row, column);
    return;
  }
  transpose<C>(tile);
  for (int64_t r = 0; r < rows; ++r) {
    C values[kLanes<C>];
    store_vector<C>(values, tile[r]);
    T* target = row(r) + column;
    for (int64_t c = 0; c < columns; ++c) store_element(target[c], values[c]);
  }
}

}  // namespace
}  // namespace cdifast::cpu::CDIFAST_ISA
