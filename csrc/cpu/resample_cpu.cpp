// Polar resampling and its way back on the CPU: checks, the parallel loops, registration.
#include <algorithm>
#include <vector>

#include "buffer.h"
#include "lanes_simd.h"
#include "resample_geometry.h"
#include "resample_simd.h"

namespace cdifast::cpu {
namespace {

constexpr SamplingKind kPolar = SamplingKind::polar;
constexpr SamplingKind kCartesian = SamplingKind::cartesian;

// The grid of a call that samples `source` (N, rows, columns) to `rows` x `columns`.
PolarGrid grid_of(SamplingKind kind, int64_t source_rows, int64_t source_columns, int64_t rows, int64_t columns,
                  double r_min, double r_max, bool nearest) {
  if (kind == kPolar) return {source_rows, source_columns, rows, columns, r_min, r_max, nearest};
  return {rows, columns, source_rows, source_columns, r_min, r_max, nearest};
}

template <SamplingKind kind>
struct Names;
template <>
struct Names<kPolar> {
  static constexpr const char* forward = "polar_resample";
  static constexpr const char* weight = "polar_weight";
  static constexpr const char* backward = "polar_resample_backward";
  static constexpr const char* backward_center = "polar_resample_backward_center";
  static constexpr const char* source = "images";
};
template <>
struct Names<kCartesian> {
  static constexpr const char* forward = "cartesian_resample";
  static constexpr const char* weight = "cartesian_weight";
  static constexpr const char* backward = "cartesian_resample_backward";
  static constexpr const char* backward_center = "cartesian_resample_backward_center";
  static constexpr const char* source = "unwrapped";
};

// Images below which one image's groups are shared out to threads, and into how many parts. Fixed numbers: nothing
// is summed over parts, but the work of a thread should not depend on how many there are.
constexpr int64_t kFewImages = 8;
constexpr int64_t kParts = 8;
constexpr int64_t kSamplesOfAThread = 8192;

// An image that a second-level cache may still hold from its making: its lines are not asked for ahead.
constexpr int64_t kCachedBytes = int64_t{1} << 20;

// What a thread may lay out with one image a lane: a private cache and a share of the last one. Larger maps are taken
// one by one.
constexpr int64_t kLaneBytes = int64_t{8} << 20;

// Images that take as long one by one as a vector of them, however many lanes it has: its lists are read once.
constexpr int64_t kImagesTogether = 4;

// The first group of the tile that `group` lies in, if it does.
int64_t tile_start(const PlanView& plan, int64_t group) {
  return group < plan.group_count ? group - plan.groups[group].place : plan.group_count;
}

template <SamplingKind kind>
void resample_out(const Tensor& images_, const Tensor& center, const std::optional<Tensor>& good, double r_min,
                  double r_max, bool nearest, double fill, Tensor out) {
  constexpr const char* op = Names<kind>::forward;
  const Named named{images_, Names<kind>::source};
  check_batch(named, op);
  const DType dtype = element_dtype(images_, op, named.name);
  check_resample_out(out, named, op);
  const Tensor images = torch::stable::contiguous(images_);
  const int64_t count = images.size(0);
  const PolarGrid grid = grid_of(kind, images.size(1), images.size(2), out.size(1), out.size(2), r_min, r_max, nearest);
  const Geometry geometry(kind, grid, center, good, named, op);
  geometry.check_covers(count, op);
  if (count == 0) return;

  const auto& kernels = selected_resample_kernels();
  const Planner planner(geometry, dtype == DType::f64, count);
  const auto* source = static_cast<const char*>(images.const_data_ptr());
  auto* target = static_cast<char*>(out.mutable_data_ptr());
  const int64_t image_bytes = images.size(1) * images.size(2) * static_cast<int64_t>(images.element_size());
  const int64_t map_bytes = out.size(1) * out.size(2) * static_cast<int64_t>(out.element_size());
  const DType out_dtype = floating_dtype(out, op, "out");
  if (planner.shared() != nullptr && count < kFewImages) {
    const PlanView plan = planner.shared()->view();
    const int64_t size = (plan.group_count + kParts - 1) / kParts;
    const bool large = image_bytes > kCachedBytes;
    const TouchedLines* const lines = large ? &planner.shared()->lines(images.element_size()) : nullptr;
    // Threads that wait for work get theirs in the time of a fraction of that many samples; those that fell asleep
    // take longer than a small image, but the loop over images that matters keeps them awake.
    const int64_t grain = kParts * kSamplesOfAThread / planner.shared()->samples + 1;
    torch::stable::parallel_for(0, count * kParts, grain, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t n = task / kParts;
        const int64_t first = tile_start(plan, task % kParts * size);
        const int64_t last = tile_start(plan, (task % kParts + 1) * size);
        Prefetch prefetch;
        if (large) prefetch = {lines->line.data(), lines->before.data(), lines->before[last], lines->before[first]};
        kernels.forward(dtype, out_dtype, source + n * image_bytes, plan, first, last, fill, target + n * map_bytes,
                        Placement::rows, prefetch);
      }
    });
    return;
  }
  if (planner.shared() == nullptr) {
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      SamplingPlan own;
      for (int64_t n = begin; n < end; ++n) {
        const char* image = source + n * image_bytes;
        planner.sample(n, dtype, out_dtype, image, n + 1 < end ? image + image_bytes : nullptr, fill,
                       target + n * map_bytes, own);
      }
    });
    return;
  }

  const Placement placement =
      count * (image_bytes + map_bytes) >= kStreamedBytes ? Placement::streamed_rows : Placement::rows;
  const PlanView plan = planner.shared()->view();
  const TouchedLines& lines = planner.shared()->lines(images.element_size());
  torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    Prefetch prefetch{lines.line.data(), lines.before.data(), static_cast<int64_t>(lines.line.size()), 0, nullptr};
    for (int64_t n = begin; n < end; ++n) {
      prefetch.asked = n == begin ? 0 : std::min(kAheadLines, prefetch.count);
      prefetch.next = n + 1 < end ? source + (n + 1) * image_bytes : nullptr;
      kernels.forward(dtype, out_dtype, source + n * image_bytes, plan, 0, plan.group_count, fill,
                      target + n * map_bytes, placement, prefetch);
    }
  });
}

template <SamplingKind kind>
Tensor resample(const Tensor& images, const Tensor& center, const std::optional<Tensor>& good, int64_t rows,
                int64_t columns, double r_min, double r_max, bool nearest, double fill) {
  STD_TORCH_CHECK(rows >= 1 && columns >= 1, Names<kind>::forward, ": the output needs a row and a column at least");
  check_batch({images, Names<kind>::source}, Names<kind>::forward);
  Tensor out = torch::stable::new_empty(images, {images.size(0), rows, columns}, resampled_type(images));
  resample_out<kind>(images, center, good, r_min, r_max, nearest, fill, out);
  return out;
}

template <SamplingKind kind>
Tensor weight(const Tensor& center, const std::optional<Tensor>& good, int64_t source_rows, int64_t source_columns,
              int64_t rows, int64_t columns, double r_min, double r_max, bool nearest, bool float64) {
  const PolarGrid grid = grid_of(kind, source_rows, source_columns, rows, columns, r_min, r_max, nearest);
  const Geometry geometry(kind, grid, center, good, {center, "center"}, Names<kind>::weight);
  Tensor out = torch::stable::new_empty(center, {geometry.count, rows, columns},
                                        float64 ? ScalarType::Double : ScalarType::Float);
  if (geometry.count == 0) return out;
  const Planner planner(geometry, float64, Planner::kWorthAPlan);
  const int64_t samples = rows * columns;
  dispatch_floating(float64 ? DType::f64 : DType::f32, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    C* target = out.mutable_data_ptr<C>();
    torch::stable::parallel_for(0, geometry.count, 1, [&](int64_t begin, int64_t end) {
      SamplingPlan own;
      for (int64_t n = begin; n < end; ++n) {
        const SamplingPlan& plan = planner.plan(n, own);
        for (int64_t s = 0; s < samples; ++s) {
          target[n * samples + s] = plan.complete ? C{1} : static_cast<C>(plan.weight[s]);
        }
      }
    });
  });
  return out;
}

// The adjoint. One thread owns an image and its sums are the same whichever way is taken, so that they are the same for
// any number of threads: batches that share a geometry are gathered with one image a lane, others added up one by one.
void add_gradients(DType dtype, const void* grad, int64_t count, const Planner& planner, SourceShape source_shape,
                   int64_t samples, void* out) {
  const auto& lane_kernels = selected_lane_kernels();
  const auto& kernels = selected_resample_kernels();
  const int64_t elements = source_shape.rows * source_shape.columns;
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* source = static_cast<const T*>(grad);
    T* target = static_cast<T*>(out);
    const int64_t lanes = sizeof(C) == 4 ? lane_kernels.lanes32 : lane_kernels.lanes64;
    const int64_t bytes = samples * lanes * static_cast<int64_t>(sizeof(C));
    const bool stream = count * (samples + elements) * static_cast<int64_t>(sizeof(T)) >= kStreamedBytes;
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      if (planner.shared() != nullptr && bytes <= kLaneBytes && end - begin >= kImagesTogether) {
        const AdjointView lists = planner.shared()->adjoint();
        Buffer buffer(bytes);
        for (int64_t n = begin; n < end; n += lanes) {
          lane_kernels.gather(dtype, source + n * samples, std::min(lanes, end - n), lists, buffer.as<C>(),
                              target + n * elements, stream);
        }
        return;
      }
      SamplingPlan own;
      std::vector<C> sums;  // where the gradient's type cannot hold them
      if (sizeof(T) != sizeof(C)) sums.resize(elements);
      for (int64_t n = begin; n < end; ++n) {
        C* image = sums.empty() ? reinterpret_cast<C*>(target + n * elements) : sums.data();
        std::fill_n(image, elements, C{0});
        kernels.adjoint(dtype, source + n * samples, planner.plan(n, own).view(), image);
        if (sums.empty()) continue;
        for (int64_t e = 0; e < elements; ++e) store_element(target[n * elements + e], sums[e]);
      }
    });
  });
}

template <SamplingKind kind>
Tensor backward(const Tensor& grad_, const Tensor& center, const std::optional<Tensor>& good, int64_t source_rows,
                int64_t source_columns, double r_min, double r_max, bool nearest) {
  constexpr const char* op = Names<kind>::backward;
  check_batch({grad_, "grad"}, op);
  const DType dtype = floating_dtype(grad_, op, "grad");
  const Tensor grad = torch::stable::contiguous(grad_);
  const int64_t count = grad.size(0);
  const PolarGrid grid = grid_of(kind, source_rows, source_columns, grad.size(1), grad.size(2), r_min, r_max, nearest);
  const Geometry geometry(kind, grid, center, good, {grad, "grad"}, op);
  geometry.check_covers(count, op);
  Tensor out = torch::stable::new_empty(grad, {count, source_rows, source_columns});
  if (count == 0) return out;

  // A gradient has the same bits at every call, and so the order of a plan's sums.
  const Planner planner(geometry, dtype == DType::f64, Planner::kWorthAPlan);
  add_gradients(dtype, grad.const_data_ptr(), count, planner, geometry.sampling(0).source(),
                grad.size(1) * grad.size(2), out.mutable_data_ptr());
  return out;
}

// Moving the centre by (dy, dx) moves every sample in its source, and value = sum w I / sum w with it.
struct CenterGradient {
  double y = 0.0, x = 0.0;

  template <typename T>
  void add(double grad, const T* image, const Taps& taps, const TapSlopes& slopes, const PositionSlopes& moves) {
    if (taps.total == 0.0) return;
    double value = 0.0, value_y = 0.0, value_x = 0.0, total = 0.0, total_y = 0.0, total_x = 0.0;
    for (int t = 0; t < 4; ++t) {
      if (taps.weight[t] == 0.0 && slopes.dy[t] == 0.0 && slopes.dx[t] == 0.0) continue;
      const double element = load_element(image[taps.element[t]]);
      total += taps.weight[t];
      total_y += slopes.dy[t];
      total_x += slopes.dx[t];
      value += taps.weight[t] * element;
      value_y += slopes.dy[t] * element;
      value_x += slopes.dx[t] * element;
    }
    const double along_y = grad * (value_y - value / total * total_y) / total;
    const double along_x = grad * (value_x - value / total * total_x) / total;
    y += along_y * moves.y_cy + along_x * moves.x_cy;
    x += along_y * moves.y_cx + along_x * moves.x_cx;
  }
};

template <typename T, typename G>
CenterGradient center_gradient(const Sampling& sampling, const Directions& directions, const G* grad, const T* image) {
  const PolarGrid& grid = sampling.grid;
  const SourceShape source = sampling.source();
  CenterGradient sum;
  Taps taps;
  TapSlopes slopes;
  for (int64_t row = 0; row < sampling.rows(); ++row) {
    for (int64_t k = 0; k < sampling.columns(); ++k) {
      Position at{};
      PositionSlopes moves{1.0, 0.0, 0.0, 1.0};
      if (sampling.kind == kPolar) {
        at = polar_position(grid.radius(row), directions.cos[k], directions.sin[k], sampling.center_y,
                            sampling.center_x);
      } else {
        at = cartesian_position(grid, row, k, sampling.center_y, sampling.center_x);
        moves = cartesian_slopes(grid, row, k, sampling.center_y, sampling.center_x);
      }
      bilinear_taps(source, at, grid.nearest, sampling.good, taps, &slopes);
      sum.add(load_element(grad[row * sampling.columns() + k]), image, taps, slopes, moves);
    }
  }
  return sum;
}

template <SamplingKind kind>
Tensor backward_center(const Tensor& grad_, const Tensor& images_, const Tensor& center,
                       const std::optional<Tensor>& good, double r_min, double r_max, bool nearest) {
  constexpr const char* op = Names<kind>::backward_center;
  STD_TORCH_CHECK(grad_.dim() == 3 && images_.dim() == 3 && grad_.size(0) == images_.size(0), op, ": grad and ",
                  Names<kind>::source, " must be batches of the same length");
  const DType grad_dtype = floating_dtype(grad_, op, "grad");
  const DType dtype = element_dtype(images_, op, Names<kind>::source);
  const Tensor grad = torch::stable::contiguous(grad_);
  const Tensor images = torch::stable::contiguous(images_);
  const int64_t count = images.size(0);
  const PolarGrid grid =
      grid_of(kind, images.size(1), images.size(2), grad.size(1), grad.size(2), r_min, r_max, nearest);
  const Geometry geometry(kind, grid, center, good, {images, Names<kind>::source}, op);
  geometry.check_covers(count, op);
  const Directions directions(grid.n_angular);
  const int64_t pixels = images.size(1) * images.size(2);
  const int64_t samples = grad.size(1) * grad.size(2);

  std::vector<CenterGradient> parts(count);
  dispatch_element(dtype, [&](auto image_tag) {
    using T = typename decltype(image_tag)::type;
    const T* source = static_cast<const T*>(images.const_data_ptr());
    dispatch_floating(grad_dtype, [&](auto grad_tag) {
      using G = typename decltype(grad_tag)::type;
      const G* gradient = static_cast<const G*>(grad.const_data_ptr());
      torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          parts[n] = center_gradient(geometry.sampling(n), directions, gradient + n * samples, source + n * pixels);
        }
      });
    });
  });

  Tensor out = torch::stable::new_empty(center, {center.size(0), 2});
  double* target = out.mutable_data_ptr<double>();
  std::fill_n(target, center.size(0) * 2, 0.0);
  for (int64_t n = 0; n < count; ++n) {
    double* row = target + (center.size(0) == 1 ? 0 : n) * 2;
    row[0] += parts[n].y;
    row[1] += parts[n].x;
  }
  return out;
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  using namespace cdifast::cpu;
  m.impl("polar_resample", TORCH_BOX(&resample<kPolar>));
  m.impl("polar_resample_out", TORCH_BOX(&resample_out<kPolar>));
  m.impl("polar_weight", TORCH_BOX(&weight<kPolar>));
  m.impl("polar_resample_backward", TORCH_BOX(&backward<kPolar>));
  m.impl("polar_resample_backward_center", TORCH_BOX(&backward_center<kPolar>));
  m.impl("cartesian_resample", TORCH_BOX(&resample<kCartesian>));
  m.impl("cartesian_resample_out", TORCH_BOX(&resample_out<kCartesian>));
  m.impl("cartesian_weight", TORCH_BOX(&weight<kCartesian>));
  m.impl("cartesian_resample_backward", TORCH_BOX(&backward<kCartesian>));
  m.impl("cartesian_resample_backward_center", TORCH_BOX(&backward_center<kCartesian>));
}
