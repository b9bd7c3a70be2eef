// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
//
// A sample's neighbours, and an element's samples, lie at places that no vector instruction reaches together. With one
// image a lane they are loads: a run of elements of 16 images (AVX-512, float) is transposed so that an element's are
// one cache line, coefficients are broadcast, and 16 results at a time are transposed back and written once.
#include "lanes_simd.h"

#include "lanes.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// --- adjoint: turned round, so that an element's sum stays in a register

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

// --- forward

#if defined(__AVX512F__)

constexpr int64_t kRun = 16;
// Groups whose runs are transposed together, just before they are sampled: the private cache holds them then.
constexpr int64_t kGroupsTogether = 64;

template <typename T>
void transpose_run(const T* image, int64_t images, int64_t elements, int64_t first, float* lanes) {
  constexpr int64_t width = kLanes<float>;
  const auto row = [&](int64_t r) { return image + (r < images ? r : 0) * elements; };
  const int64_t end = first + kRun < elements ? first + kRun : elements;
  for (int64_t e = first; e < end; e += width) {
    Vector<float> tile[width];
    const int64_t columns = end - e < width ? end - e : width;
    load_tile<T, float>(row, e, columns, tile);
    for (int64_t c = 0; c < columns; ++c) store_vector<float>(lanes + (e + c) * width, tile[c]);
  }
}

CDIFAST_HOST Vector<float> sample_of(const PlanView& plan, const SampleGroup& group, const GroupData<float>& data,
                                     int64_t s, const float* lanes) {
  constexpr int64_t width = kLanes<float>;
  using V = Vector<float>;
  const auto at = [&](int64_t element) { return load_vector<float>(lanes + element * width); };
  const int64_t columns = plan.source.columns;
  float coefficient[4];
  if (group.kind == GroupKind::whole) {
    between(data.number[s], data.number[kGroup + s], coefficient);
  } else {
    for (int t = 0; t < 4; ++t) coefficient[t] = data.number[t * kGroup + s];
  }
  V sum{};
  for (int t = 0; t < 4; ++t) {
    if (coefficient[t] == 0.0f) continue;  // what a sample does not reach may be NaN, and 0 * NaN is NaN
    const int64_t element = group.kind == GroupKind::scattered ? data.element[t * kGroup + s]
                                                               : data.element[s] + (t >= 2 ? columns : 0) + t % 2;
    sum = multiply_add(broadcast<float>(coefficient[t]), at(element), sum);
  }
  return sum;
}

// Whole cache lines of the result go past the caches where `stream`: nothing has to be read to write them.
template <typename O>
CDIFAST_HOST bool stream_group(Vector<float> (*tiles)[kLanes<float>], O* out, int64_t images, int64_t samples,
                               int64_t first) {
  if constexpr (__is_same(O, float)) {
    const bool aligned = reinterpret_cast<uintptr_t>(out) % kLineBytes == 0 && samples % kGroup == 0;
    if (!aligned || images != kLanes<float> || first % kGroup != 0) return false;
    stream_tiles<float>(tiles, [&](int64_t r) { return out + r * samples; }, first);
    return true;
  }
  return false;
}

template <typename T, typename O>
void forward_lanes(const T* image, int64_t images, int64_t samples, const PlanView& plan, const NeededRuns& needed,
                   float fill, float* lanes, O* out, bool stream) {
  constexpr int64_t width = kLanes<float>;
  constexpr int64_t tiles_a_group = kGroup / width;
  const int64_t elements = plan.source.rows * plan.source.columns;
  const auto row = [&](int64_t r) { return out + r * samples; };
  const auto end_of = [&](int64_t g) {
    return g + kGroupsTogether < plan.group_count ? g + kGroupsTogether : plan.group_count;
  };
  // Line `q` of the images' runs, image after image.
  const auto ask = [&](int64_t q) {
    __builtin_prefetch(image + q % images * elements + kRun * static_cast<int64_t>(needed.run[q / images]), 0, 2);
  };
  for (int64_t q = 0; q < needed.before[end_of(0)] * images; ++q) ask(q);
  for (int64_t g0 = 0; g0 < plan.group_count; g0 += kGroupsTogether) {
    const int64_t g1 = end_of(g0);
    for (int64_t r = needed.before[g0]; r < needed.before[g1]; ++r) {
      transpose_run(image, images, elements, kRun * needed.run[r], lanes);
    }
    // While these are sampled, the next ones' runs are on their way.
    int64_t run = needed.before[g1];
    const int64_t last_run = needed.before[end_of(g1)];
    int64_t n = 0;
    const int64_t lines_a_sample = ((last_run - run) * images + (g1 - g0) * kGroup - 1) / ((g1 - g0) * kGroup);
    for (int64_t g = g0; g < g1; ++g) {
      const SampleGroup& group = plan.groups[g];
      const GroupData<float> data = data_of<float>(plan, group);
      Vector<float> tiles[tiles_a_group][width] = {};
      for (int64_t s = 0; s < group.count; ++s) {
        for (int64_t i = 0; i < lines_a_sample && run < last_run; ++i) {
          __builtin_prefetch(image + n * elements + kRun * static_cast<int64_t>(needed.run[run]), 0, 2);
          if (++n == images) {
            n = 0;
            ++run;
          }
        }
        const bool filled = (group.fill >> s) & 1;
        tiles[s / width][s % width] = filled ? broadcast<float>(fill) : sample_of(plan, group, data, s, lanes);
      }
      if (stream && group.count == kGroup && stream_group(tiles, out, images, samples, group.first)) continue;
      for (int64_t v = 0; v * width < group.count; ++v) {
        const int64_t columns = group.count - v * width < width ? group.count - v * width : width;
        store_tile<O, float>(tiles[v], row, images, group.first + v * width, columns);
      }
    }
  }
  if (stream) finish_streaming();
}

void forward(DType dtype, DType out_dtype, const void* image, int64_t images, int64_t samples, const PlanView& plan,
             const NeededRuns& needed, double fill, void* lanes, void* out, bool stream) {
  dispatch_element(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using O = resampled_t<T>;
    if constexpr (sizeof(compute_t<T>) == sizeof(float)) {
      const auto* source = static_cast<const T*>(image);
      auto* room = static_cast<float*>(lanes);
      const auto filler = static_cast<float>(fill);
      if (out_dtype == DType::f32) {
        forward_lanes(source, images, samples, plan, needed, filler, room, static_cast<float*>(out), stream);
      } else {
        forward_lanes(source, images, samples, plan, needed, filler, room, static_cast<O*>(out), stream);
      }
    }
  });
}

#else
constexpr decltype(LaneKernels::forward) forward = nullptr;
#endif

}  // namespace

const LaneKernels lane_kernels = {kLanes<float>, kLanes<double>, gather, forward};

}  // namespace cdifast::cpu::CDIFAST_ISA
