// What the log activation moves, and what an angular correlation writes, with next to no arithmetic: the time that
// nothing which moves these bytes in this way can be below by much. Written past the caches, which saves reading what
// is overwritten. native.py compiles it for the machine that it runs on.
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

typedef float Line __attribute__((vector_size(64)));

void store(float* target, Line value) {
#if defined(__AVX512F__)
  _mm512_stream_ps(target, reinterpret_cast<__m512>(value));
#elif defined(__SSE2__)
  __m128 parts[4];
  __builtin_memcpy(parts, &value, sizeof value);
  for (int i = 0; i < 4; ++i) _mm_stream_ps(target + 4 * i, parts[i]);
#else
  __builtin_memcpy(target, &value, sizeof value);
#endif
}

Line load(const float* source) {
  Line value;
  __builtin_memcpy(&value, source, sizeof value);
  return value;
}

void finish() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace

// Whole lines only: pointers are multiples of 64 bytes, counts of 16 floats.
extern "C" void copy_lines(const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) store(y + i, load(x + i));
  finish();
}

// Not with zeros: an EPYC writes lines of those, or of few other numbers, in half the time.
extern "C" void fill_lines(float* y, int64_t count) {
  const Line value = Line{} + 1.0f;
  for (int64_t i = 0; i < count; i += 16) store(y + i, value);
  finish();
}

extern "C" void multiply_lines(const float* x, const float* gradient, float* product, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) store(product + i, load(x + i) * load(gradient + i));
  finish();
}
