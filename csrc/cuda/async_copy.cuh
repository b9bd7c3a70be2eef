// Copies from global to shared memory that go on while their block computes (compute capability 8.0; on older cards,
// and in the emulator, they are done when the call returns). No torch in this file.
#pragma once

#include <cstdint>

#include "launch.cuh"

namespace cdifast::cuda {

// kBytes = 4, 8 or 16, to which both addresses are aligned. Where not `valid`, zeros instead, and `from` is not read.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool valid) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = valid ? kBytes : 0;
  if (kBytes == 16) {  // past L1: what a block copies it copies once
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(address), "l"(from), "r"(bytes), "n"(kBytes)
                 : "memory");
  }
#else
  struct alignas(kBytes) Word {
    uint32_t part[kBytes / 4];
  };
  *static_cast<Word*>(to) = valid ? *static_cast<const Word*>(from) : Word{};
#endif
}

// Ends a group of this thread's copies.
__device__ __forceinline__ void end_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until all but the last kGroups groups of this thread's copies are there; for those of others, a barrier
// follows.
template <int kGroups>
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}

}  // namespace cdifast::cuda
