// 16 rings of unwrapped maps in a warp, four lanes a ring, as tensor_cores.cuh has them: sums over a ring take two
// exchanges where a ring a warp takes five. No torch in this file.
#pragma once

#include "async_copy.cuh"
#include "rings.cuh"
#include "tensor_cores.cuh"

namespace cdifast::cuda {

constexpr int kHeldSteps = 16;                      // of kTensorDepth samples, that there is room for in shared memory
constexpr int kHeldQuads = 2 * kHeldSteps * kWarp;  // of a warp
constexpr int kQuadThreads = 64;
constexpr int kQuadWarps = kQuadThreads / kWarp;

__device__ __forceinline__ int tensor_steps(int64_t n_angular) {
  return static_cast<int>((n_angular + kTensorDepth - 1) / kTensorDepth);
}

// A lane's quads of rings `first` + g and `first` + g + 8 of all maps' rings. kHeld: of whole quads, and brought to
// shared memory at once, where each lane has its own, so that all of them are under way together without a register
// for any.
template <typename T, bool kHeld>
struct RingQuads {
  const T* values[2];
  const float* weights[2];  // null without
  const Quad<T>* held;
  bool there[2];
  int angles;
  bool whole;

  __device__ RingQuads(const UnwrappedMaps<T>& maps, int64_t first, int64_t total, Quad<T>* shared)
      : held(shared),
        angles(static_cast<int>(maps.n_angular)),
        whole(kHeld || (whole_quads(maps.values, maps.n_angular) &&
                        (maps.weights == nullptr || whole_quads(maps.weights, maps.n_angular)))) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t ring = first + lane / 4 + 8 * r;
      there[r] = ring < total;
      const int64_t known = there[r] ? ring : 0;
      values[r] = maps.values + known * maps.n_angular + lane % 4 * 4;
      weights[r] =
          maps.weights == nullptr
              ? nullptr
              : maps.weights + (maps.shared_weights ? known % maps.n_radial : known) * maps.n_angular + lane % 4 * 4;
    }
    if constexpr (kHeld) {
#pragma unroll 2
      for (int s = 0; s < tensor_steps(angles); ++s) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          copy_async<sizeof(Quad<T>)>(shared + (s * 2 + r) * kWarp, values[r] + s * kTensorDepth, valid(r, s) > 0);
        }
      }
      end_copies();
      wait_for_copies<0>();
    }
  }

  // Elements of the quad of a step that are there.
  __device__ int valid(int r, int step) const {
    return there[r] ? angles - step * kTensorDepth - static_cast<int>(threadIdx.x) % 4 * 4 : 0;
  }
  __device__ Vector<float> value(int r, int step) const {
    if (kHeld) return loaded(load_whole(held + (step * 2 + r) * kWarp));
    return load_quad(values[r] + step * kTensorDepth, valid(r, step), whole);
  }
  __device__ Vector<float> weight(int r, int step) const {
    return load_quad(weights[r] + step * kTensorDepth, valid(r, step), whole);
  }
};

}  // namespace cdifast::cuda
