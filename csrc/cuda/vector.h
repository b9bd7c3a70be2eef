// Elements that move as one access of up to 16 bytes. No torch.
#pragma once

#include "launch.cuh"

namespace cdifast::cuda {

template <typename C>
struct alignas(16) Vector {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(C));
  C element[kCount];
};

// Four of them.
template <typename T>
struct alignas(4 * sizeof(T)) Quad {
  T element[4];
};

// As nvcc's own vectors of 8 or 16 bytes: the copy of another struct becomes an access for each element where they are
// used one by one.
#if defined(__CUDACC__)

template <int kBytes>
struct Word;
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};

template <typename V>
__device__ __forceinline__ V load_whole(const V* from) {
  using W = typename Word<sizeof(V)>::type;
  const W word = *reinterpret_cast<const W*>(from);
  V vector;
  __builtin_memcpy(&vector, &word, sizeof vector);
  return vector;
}

// To global memory.
__device__ __forceinline__ void store_whole(Quad<float>* to, const Quad<float>& quad) {
  __stwb(reinterpret_cast<float4*>(to),
         make_float4(quad.element[0], quad.element[1], quad.element[2], quad.element[3]));
}

template <typename T>
__device__ __forceinline__ void store_whole(Quad<T>* to, const Quad<T>& quad) {
  static_assert(sizeof(T) == 2, "float, or of two bytes");
  uint2 word;
  __builtin_memcpy(&word, &quad, sizeof word);
  __stwb(reinterpret_cast<uint2*>(to), word);
}

#else

template <typename V>
V load_whole(const V* from) {
  return *from;
}

template <typename T>
void store_whole(Quad<T>* to, const Quad<T>& quad) {
  *to = quad;
}

#endif

}  // namespace cdifast::cuda
