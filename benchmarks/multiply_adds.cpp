// Multiply-adds in registers, with nothing to load or store: what a core computes at most. native.py compiles it for
// the machine that it runs on.
#include <cstdint>

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

typedef float Vector __attribute__((vector_size(kBytes)));

constexpr int kSums = 12;  // more than are under way at once: two a cycle that take four or five each

// Does at least `operations` additions and multiplications. The sums start from the caller's numbers: a compiler that
// saw that they are equal would keep one of them.
extern "C" void multiply_adds(int64_t operations, float* sums) {
  Vector sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = Vector{} + sums[i];
  const Vector factor = Vector{} + 0.5f, term = Vector{} + 0.25f;
  constexpr int64_t kOperations = int64_t{2} * kSums * kBytes / static_cast<int64_t>(sizeof(float));
  for (int64_t done = 0; done < operations; done += kOperations) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sum[i] = sum[i] * factor + term;
  }
  for (int i = 0; i < kSums; ++i) sums[i] = sum[i][0];
}
