// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
//
// An element's samples lie at places that no vector instruction reaches together. With one image a lane they are loads:
// gradients are transposed so that a sample's of 16 images (AVX-512, float) are one cache line, coefficients are
// broadcast, an element's sum stays in a register, and 16 results at a time are transposed back and written once.
#include "lanes_simd.h"

#include "lanes.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

template <typename T, typename C>
void transpose_gradients(const T* grad, int64_t images, int64_t samples, C* lanes) {
  constexpr int64_t width = kLanes<C>;
  // Lanes without an image read the first one's.
  const auto row = [&](int64_t r) { return grad + (r < images ? r : 0) * samples; };
  Vector<C> tile[width];
  for (int64_t s = 0; s < samples; s += width) {
    const int64_t columns = samples - s < width ? samples - s : width;
    load_tile<T, C>(row, s, columns, tile);
    for (int64_t c = 0; c < columns; ++c) store_vector<C>(lanes + (s + c) * width, tile[c]);
  }
}

template <typename C>
CDIFAST_HOST Vector<C> element_sum(const AdjointView& lists, const C* coefficient, const C* lanes, int64_t element) {
  Vector<C> sum{};
  for (uint32_t i = lists.begin[element]; i < lists.begin[element + 1]; ++i) {
    sum = multiply_add(broadcast<C>(coefficient[i]), load_vector<C>(lanes + lists.sample[i] * kLanes<C>), sum);
  }
  return sum;
}

template <typename T, typename C>
void gather_lanes(const AdjointView& lists, const C* coefficient, const C* lanes, int64_t images, T* out, bool stream) {
  constexpr int64_t width = kLanes<C>;
  constexpr int64_t line = width * kLineVectors;  // elements in a cache line of the result, if it is in C
  const auto row = [&](int64_t r) { return out + r * lists.elements; };
  int64_t e = 0;
  if constexpr (sizeof(T) == sizeof(C)) {
    const bool aligned = reinterpret_cast<uintptr_t>(out) % kLineBytes == 0 && lists.elements % line == 0;
    if (stream && aligned && images == width) {
      for (; e < lists.elements; e += line) {
        Vector<C> tiles[kLineVectors][width];
        for (int64_t v = 0; v < kLineVectors; ++v) {
          for (int64_t c = 0; c < width; ++c) {
            tiles[v][c] = element_sum(lists, coefficient, lanes, e + v * width + c);
          }
        }
        stream_tiles<C>(tiles, row, e);
      }
      finish_streaming();
    }
  }
  for (; e < lists.elements; e += width) {
    const int64_t columns = lists.elements - e < width ? lists.elements - e : width;
    Vector<C> tile[width] = {};
    for (int64_t c = 0; c < columns; ++c) tile[c] = element_sum(lists, coefficient, lanes, e + c);
    store_tile<T, C>(tile, row, images, e, columns);
  }
}

void gather(DType dtype, const void* grad, int64_t images, const AdjointView& lists, void* lanes, void* out,
            bool stream) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const auto* gradient = static_cast<const T*>(grad);
    const auto* coefficient = static_cast<const C*>(lists.coefficient);
    auto* target = static_cast<T*>(out);
    auto* transposed = static_cast<C*>(lanes);
    transpose_gradients(gradient, images, lists.samples, transposed);
    gather_lanes(lists, coefficient, transposed, images, target, stream);
  });
}

}  // namespace

const LaneKernels lane_kernels = {kLanes<float>, kLanes<double>, gather};

}  // namespace cdifast::cpu::CDIFAST_ISA
