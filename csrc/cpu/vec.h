// The vectors of lanes.h by shorter names, with integers and halves beside them, and gathers.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "../common/element.h"
#include "capability.h"
#include "lanes.h"

namespace cdifast::cpu::CDIFAST_ISA {

constexpr int kWidth = kVectorBytes / 4;
constexpr int kWidth64 = kWidth / 2;

typedef float F32 __attribute__((vector_size(kWidth * 4)));
typedef int32_t I32 __attribute__((vector_size(kWidth * 4)));
typedef uint32_t U32 __attribute__((vector_size(kWidth * 4)));
typedef double F64 __attribute__((vector_size(kWidth * 4)));       // half as many lanes
typedef int32_t I32Half __attribute__((vector_size(kWidth * 2)));  // as many lanes as F64

template <typename V>
CDIFAST_HOST V load(const void* source) {
  V vector;
  __builtin_memcpy(&vector, source, sizeof vector);
  return vector;
}

template <typename V>
CDIFAST_HOST void store(void* target, V vector) {
  __builtin_memcpy(target, &vector, sizeof vector);
}

template <bool chosen>
struct Constant {
  static constexpr bool value = chosen;
};

// Numbers from anywhere, put together by loads and inserts where a processor's gathers are slow: see fast_gathers.
#if defined(__AVX2__)
CDIFAST_HOST __m128i two_of_64(const char* array, int64_t scale, const int32_t* index) {
  __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(array + index[0] * scale));
  return _mm_castps_si128(
      _mm_loadh_pi(_mm_castsi128_ps(low), reinterpret_cast<const __m64*>(array + index[1] * scale)));
}

// Those of index[0], index[1], index[step], index[step + 1].
CDIFAST_HOST __m256i four_of_64(const char* array, int64_t scale, const int32_t* index, int step) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(two_of_64(array, scale, index)),
                                 two_of_64(array, scale, index + step), 1);
}

CDIFAST_HOST __m128i four_of_32(const char* array, int64_t scale, const int32_t* index) {
  const auto word = [&](int lane) {
    int32_t value;
    __builtin_memcpy(&value, array + index[lane] * scale, sizeof value);
    return value;
  };
  __m128i words = _mm_cvtsi32_si128(word(0));
  words = _mm_insert_epi32(words, word(1), 1);
  words = _mm_insert_epi32(words, word(2), 2);
  return _mm_insert_epi32(words, word(3), 3);
}

CDIFAST_HOST __m256i eight_of_32(const char* array, int64_t scale, const int32_t* index) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(four_of_32(array, scale, index)),
                                 four_of_32(array, scale, index + 4), 1);
}
#endif

#if defined(__AVX512F__)
template <bool gather, int Scale>
CDIFAST_HOST __m512i eight_of_64(const char* array, const int32_t* index) {
  if constexpr (gather) {
    return _mm512_mask_i32gather_epi64(_mm512_setzero_si512(), 0xff, load<__m256i>(index), array, Scale);
  }
  return _mm512_inserti64x4(_mm512_castsi256_si512(four_of_64(array, Scale, index, 2)),
                            four_of_64(array, Scale, index + 4, 2), 1);
}

template <bool gather, int Scale>
CDIFAST_HOST __m512i sixteen_of_32(const char* array, const int32_t* index) {
  if constexpr (gather) {
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, load<__m512i>(index), array, Scale);
  }
  return _mm512_inserti64x4(_mm512_castsi256_si512(eight_of_32(array, Scale, index)),
                            eight_of_32(array, Scale, index + 8), 1);
}
#endif

// Calls f(whether to use gather instructions), a constant.
template <typename F>
CDIFAST_HOST void with_gathers(const F& f) {
#if defined(__AVX512F__)
  if (fast_gathers) return f(Constant<true>{});
#endif
  f(Constant<false>{});
}

// image[index] and image[index + 1] of every lane as numbers; `index` holds one for each. At most `last` is read, the
// image's last element.
template <bool gather>
CDIFAST_HOST void gather_pairs(const float* image, const int32_t* index, int32_t /*last*/, F32& first, F32& second) {
#if defined(__AVX512F__)
  // Both neighbours in one 8-byte access.
  const char* array = reinterpret_cast<const char*>(image);
  const __m512 low = _mm512_castsi512_ps(eight_of_64<gather, 4>(array, index));
  const __m512 high = _mm512_castsi512_ps(eight_of_64<gather, 4>(array, index + 8));
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  first = reinterpret_cast<F32>(_mm512_permutex2var_ps(low, even, high));
  second = reinterpret_cast<F32>(_mm512_permutex2var_ps(low, odd, high));
#elif defined(__AVX2__)
  const char* array = reinterpret_cast<const char*>(image);
  // In the order in which a shuffle within halves puts them right.
  const __m256 a = _mm256_castsi256_ps(four_of_64(array, 4, index, 4));
  const __m256 b = _mm256_castsi256_ps(four_of_64(array, 4, index + 2, 4));
  first = reinterpret_cast<F32>(_mm256_shuffle_ps(a, b, 0x88));
  second = reinterpret_cast<F32>(_mm256_shuffle_ps(a, b, 0xdd));
#else
  first = second = F32{};
  for (int lane = 0; lane < kWidth; ++lane) {
    first[lane] = image[index[lane]];
    second[lane] = image[index[lane] + 1];
  }
#endif
}

// The 32 bits from element `index` on of an array of Bytes-wide elements.
template <bool gather, int Bytes>
CDIFAST_HOST U32 gather_words(const void* array, const int32_t* index) {
#if defined(__AVX512F__)
  return reinterpret_cast<U32>(sixteen_of_32<gather, Bytes>(static_cast<const char*>(array), index));
#elif defined(__AVX2__)
  return reinterpret_cast<U32>(eight_of_32(static_cast<const char*>(array), Bytes, index));
#else
  U32 words{};
  for (int lane = 0; lane < kWidth; ++lane) {
    uint32_t word;
    __builtin_memcpy(&word, static_cast<const char*>(array) + static_cast<int64_t>(index[lane]) * Bytes, sizeof word);
    words[lane] = word;
  }
  return words;
#endif
}

template <bool gather>
CDIFAST_HOST void gather_pairs(const int32_t* image, const int32_t* index, int32_t last, F32& first, F32& second) {
  F32 bits_first, bits_second;
  gather_pairs<gather>(reinterpret_cast<const float*>(image), index, last, bits_first, bits_second);
  first = __builtin_convertvector(reinterpret_cast<I32>(bits_first), F32);
  second = __builtin_convertvector(reinterpret_cast<I32>(bits_second), F32);
}

// Two neighbours of 16 bits are one word.
template <bool gather>
CDIFAST_HOST void gather_pairs(const uint16_t* image, const int32_t* index, int32_t /*last*/, F32& first, F32& second) {
  const U32 words = gather_words<gather, 2>(image, index);
  // As signed numbers, which every instruction set converts: they have 16 bits.
  first = __builtin_convertvector(reinterpret_cast<I32>(words & 0xffffu), F32);
  second = __builtin_convertvector(reinterpret_cast<I32>(words >> 16), F32);
}

template <bool gather>
CDIFAST_HOST void gather_pairs(const int16_t* image, const int32_t* index, int32_t /*last*/, F32& first, F32& second) {
  const I32 words = reinterpret_cast<I32>(gather_words<gather, 2>(image, index));
  first = __builtin_convertvector((words << 16) >> 16, F32);
  second = __builtin_convertvector(words >> 16, F32);
}

// load_element of common/element.h for whole vectors.
CDIFAST_HOST F32 half_to_float(U32 bits) {
  const U32 sign = (bits & 0x8000u) << 16;
  const U32 magnitude = (bits & 0x7fffu) << 13;
  const U32 finite = reinterpret_cast<U32>(reinterpret_cast<F32>(magnitude) * 0x1p112f);
  return reinterpret_cast<F32>(sign | (magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : finite));
}

template <bool gather>
CDIFAST_HOST void gather_pairs(const Half* image, const int32_t* index, int32_t /*last*/, F32& first, F32& second) {
  const U32 words = gather_words<gather, 2>(image, index);
  first = half_to_float(words & 0xffffu);
  second = half_to_float(words >> 16);
}

template <bool gather>
CDIFAST_HOST void gather_pairs(const BFloat16* image, const int32_t* index, int32_t /*last*/, F32& first, F32& second) {
  const U32 words = gather_words<gather, 2>(image, index);
  first = reinterpret_cast<F32>(words << 16);
  second = reinterpret_cast<F32>(words & 0xffff0000u);
}

// A word holds four bytes: near the image's end it is read from further back.
template <bool gather>
CDIFAST_HOST void gather_pairs(const uint8_t* image, const int32_t* index, int32_t last, F32& first, F32& second) {
  int32_t latest[kWidth];
  const I32 wanted = load<I32>(index);
  const I32 bounded = wanted > last - 3 ? I32{} + (last - 3) : wanted;
  store(latest, bounded);
  const U32 words = gather_words<gather, 1>(image, latest) >> reinterpret_cast<U32>((wanted - bounded) * 8);
  first = __builtin_convertvector(reinterpret_cast<I32>(words & 0xffu), F32);
  second = __builtin_convertvector(reinterpret_cast<I32>((words >> 8) & 0xffu), F32);
}

}  // namespace cdifast::cpu::CDIFAST_ISA
