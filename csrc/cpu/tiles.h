// Walking flat memory in tiles of a few cache lines: loads that are asked for early, and stores that may go past the
// caches. For files that are compiled once per instruction set.
//
// A plain store to a line that is in no cache reads the line first, so that writing costs twice the traffic; a
// streaming store does not. It leaves nothing in the caches either, so it pays where the result is too large to be
// found there by whoever reads it next. Hardware prefetchers stop at every page; asking ahead across them gained a
// quarter.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "../common/host_device.h"

namespace cdifast::cpu {

constexpr int64_t kLineBytes = 64;
constexpr int64_t kTileBytes = 4 * kLineBytes;
constexpr int64_t kBytesAhead = 4096;

template <typename T>
constexpr int64_t kTile = kTileBytes / static_cast<int64_t>(sizeof(T));

// Asks for the tile that lies kBytesAhead of `pointer`. It may lie outside the array: nothing faults.
CDIFAST_HOST void prefetch_tile(const void* pointer) {
  const uintptr_t ahead = reinterpret_cast<uintptr_t>(pointer) + kBytesAhead;
  for (int64_t line = 0; line < kTileBytes; line += kLineBytes) {
    __builtin_prefetch(reinterpret_cast<const void*>(ahead + line));
  }
}

// Both on a multiple of kLineBytes.
CDIFAST_HOST void stream_tile(void* target, const void* tile) {
#if defined(__AVX512F__)
  auto* to = static_cast<__m512i*>(target);
  const auto* from = static_cast<const __m512i*>(tile);
  for (int i = 0; i < kTileBytes / 64; ++i) _mm512_stream_si512(to + i, _mm512_load_si512(from + i));
#elif defined(__AVX__)
  auto* to = static_cast<__m256i*>(target);
  const auto* from = static_cast<const __m256i*>(tile);
  for (int i = 0; i < kTileBytes / 32; ++i) _mm256_stream_si256(to + i, _mm256_load_si256(from + i));
#elif defined(__SSE2__)
  auto* to = static_cast<__m128i*>(target);
  const auto* from = static_cast<const __m128i*>(tile);
  for (int i = 0; i < kTileBytes / 16; ++i) _mm_stream_si128(to + i, _mm_load_si128(from + i));
#else
  __builtin_memcpy(target, tile, kTileBytes);
#endif
}

// Streaming stores are not ordered with others: before another thread is told that the data is there.
CDIFAST_HOST void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Calls f(first element, elements, where to write them) for all of target[0 ... count): whole tiles, and what is left
// over at the end, and at the beginning too where streaming needs aligned lines. `f` must be forced inline.
template <typename T, typename F>
CDIFAST_HOST void for_each_tile(T* target, int64_t count, bool stream, const F& f) {
  int64_t i = 0;
  if (stream) {
    const auto misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(target) % kLineBytes);
    const int64_t head = (kLineBytes - misaligned) % kLineBytes / static_cast<int64_t>(sizeof(T));
    i = head < count ? head : count;
    if (i > 0) f(0, i, target);
    for (; i + kTile<T> <= count; i += kTile<T>) {
      alignas(kLineBytes) T tile[kTile<T>];
      f(i, kTile<T>, tile);
      stream_tile(target + i, tile);
    }
    finish_streaming();
  } else {
    for (; i + kTile<T> <= count; i += kTile<T>) f(i, kTile<T>, target + i);
  }
  if (i < count) f(i, count - i, target + i);
}

}  // namespace cdifast::cpu
