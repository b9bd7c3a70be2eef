// One spelling for functions that g++ and nvcc both compile.
//
// On the host they are forced inline: the CPU files that include them are compiled once per instruction set,
// and an out-of-line copy would be merged by the linker, so that a machine without AVX-512 could end up
// calling the AVX-512 copy.
#pragma once

#define CDIFAST_HOST inline __attribute__((always_inline))
// After a lambda's parameters: the same. One that is called in several places is else a call from each.
#define CDIFAST_INLINE_LAMBDA __attribute__((always_inline))

#if defined(__CUDACC__)
#define CDIFAST_HD __host__ __device__ __forceinline__
#else
#define CDIFAST_HD CDIFAST_HOST
#endif
