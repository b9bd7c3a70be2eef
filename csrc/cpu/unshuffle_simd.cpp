// Limit: memory. A frame is read once and written once, 2 bytes moved a byte of data; what is between are shuffles of
// registers.
#include "unshuffle_simd.h"

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are put together from their low byte on");

template <typename T>
struct Unaligned {
  typedef T type __attribute__((aligned(1), may_alias));
};

// Elements of `kSize` bytes from as many planes, `stride` bytes apart. Shifts of widened bytes: what compilers turn
// into unpacking instructions of the width at hand.
template <typename T>
inline void interleave(const uint8_t* planes, int64_t stride, int64_t elements, uint8_t* out) {
  auto* numbers = reinterpret_cast<typename Unaligned<T>::type*>(out);
#pragma omp simd
  for (int64_t i = 0; i < elements; ++i) {
    T number = planes[i];
    for (int b = 1; b < static_cast<int>(sizeof(T)); ++b) {
      number = static_cast<T>(number | static_cast<T>(static_cast<T>(planes[b * stride + i]) << (8 * b)));
    }
    numbers[i] = number;
  }
}

inline void interleave(const uint8_t* planes, int64_t stride, int64_t elements, int64_t size, uint8_t* out) {
  switch (size) {
    case 1:
      __builtin_memcpy(out, planes, static_cast<size_t>(elements));
      return;
    case 2:
      return interleave<uint16_t>(planes, stride, elements, out);
    case 4:
      return interleave<uint32_t>(planes, stride, elements, out);
    case 8:
      return interleave<uint64_t>(planes, stride, elements, out);
    default:
      for (int64_t i = 0; i < elements; ++i) {
        for (int64_t b = 0; b < size; ++b) out[i * size + b] = planes[b * stride + i];
      }
  }
}

void bytes(const uint8_t* in, int64_t elements, int64_t size, uint8_t* out) {
  interleave(in, elements, elements, size, out);
}

// The transpose of the 8 x 8 bits of a word: bit 8 r + c goes to bit 8 c + r. Three exchanges of ever larger blocks.
template <typename Word>
inline Word transposed(Word x) {
  Word t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAULL;
  x = x ^ t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCULL;
  x = x ^ t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ULL;
  return x ^ t ^ (t << 28);
}

#if defined(__AVX512BW__)

constexpr int64_t kElements = 64;

// Bytes of kElements elements from their eight rows of bits: a row's bits are a mask, under which its value is added.
inline void plane_of(const uint8_t* rows, int64_t stride, uint8_t* plane) {
  __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) {
    uint64_t bits;
    __builtin_memcpy(&bits, rows + k * stride, sizeof bits);
    sum = _mm512_mask_add_epi8(sum, bits, sum, _mm512_set1_epi8(static_cast<char>(1 << k)));
  }
  _mm512_storeu_si512(plane, sum);
}

#else

constexpr int64_t kElements = 128;

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint16_t Pairs __attribute__((vector_size(16)));
typedef uint32_t Quads __attribute__((vector_size(16)));
typedef uint64_t Words __attribute__((vector_size(16)));

// As above with 16 bytes of each row: interleaved three times they are words of eight rows, whose bits are transposed.
inline void plane_of(const uint8_t* rows, int64_t stride, uint8_t* plane) {
  constexpr Bytes kLow8 = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  constexpr Bytes kHigh8 = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  constexpr Pairs kLow16 = {0, 8, 1, 9, 2, 10, 3, 11}, kHigh16 = {4, 12, 5, 13, 6, 14, 7, 15};
  constexpr Quads kLow32 = {0, 4, 1, 5}, kHigh32 = {2, 6, 3, 7};
  Bytes row[8];
  for (int k = 0; k < 8; ++k) __builtin_memcpy(&row[k], rows + k * stride, sizeof row[k]);
  Pairs pairs[8];  // [2 i], [2 i + 1]: rows 2 i and 2 i + 1, low and high half
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = reinterpret_cast<Pairs>(__builtin_shuffle(row[2 * i], row[2 * i + 1], kLow8));
    pairs[2 * i + 1] = reinterpret_cast<Pairs>(__builtin_shuffle(row[2 * i], row[2 * i + 1], kHigh8));
  }
  Quads quads[8];  // [4 h + q]: rows 4 h to 4 h + 3, quarter q
  for (int h = 0; h < 2; ++h) {
    for (int half = 0; half < 2; ++half) {
      const Pairs a = pairs[4 * h + half], b = pairs[4 * h + 2 + half];
      quads[4 * h + 2 * half] = reinterpret_cast<Quads>(__builtin_shuffle(a, b, kLow16));
      quads[4 * h + 2 * half + 1] = reinterpret_cast<Quads>(__builtin_shuffle(a, b, kHigh16));
    }
  }
  for (int q = 0; q < 4; ++q) {
    const Words low = transposed(reinterpret_cast<Words>(__builtin_shuffle(quads[q], quads[4 + q], kLow32)));
    const Words high = transposed(reinterpret_cast<Words>(__builtin_shuffle(quads[q], quads[4 + q], kHigh32)));
    __builtin_memcpy(plane + 32 * q, &low, sizeof low);
    __builtin_memcpy(plane + 32 * q + 16, &high, sizeof high);
  }
}

#endif

constexpr int64_t kWidest = 8;

void bits(const uint8_t* in, int64_t elements, int64_t size, uint8_t* out) {
  const int64_t stride = elements / 8;
  int64_t first = 0;
  if (size <= kWidest) {
    alignas(64) uint8_t planes[kWidest * kElements];
    for (; first + kElements <= elements; first += kElements) {
      for (int64_t b = 0; b < size; ++b) plane_of(in + 8 * b * stride + first / 8, stride, planes + b * kElements);
      interleave(planes, kElements, kElements, size, out + first * size);
    }
  }
  for (; first < elements; first += 8) {
    for (int64_t b = 0; b < size; ++b) {
      uint64_t word = 0;
      for (int k = 0; k < 8; ++k) {
        word |= static_cast<uint64_t>(in[(8 * b + k) * stride + first / 8]) << (8 * k);
      }
      word = transposed(word);
      for (int i = 0; i < 8; ++i) out[(first + i) * size + b] = static_cast<uint8_t>(word >> (8 * i));
    }
  }
}

}  // namespace

const UnshuffleKernels unshuffle_kernels = {bytes, bits};

}  // namespace cdifast::cpu::CDIFAST_ISA
