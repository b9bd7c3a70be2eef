// Correlation maps on the CPU, from unwrapped maps and straight from detector frames: checks, the parallel loops over
// images, registration.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "buffer.h"
#include "correlation_simd.h"
#include "resample_geometry.h"
#include "resample_simd.h"

namespace cdifast::cpu {
namespace {

static_assert(kPanel == kGroup);  // see takes_panels

// cos, then sin, of 2 pi order k / K. The phase is reduced as an integer, so that it stays exact for large k.
struct HarmonicTable {
  std::vector<double> exact;
  std::vector<float> rounded;

  HarmonicTable(int64_t order, int64_t n_angular) : exact(2 * n_angular) {
    for (int64_t k = 0; k < n_angular; ++k) {
      const double phase = 2.0 * std::numbers::pi * static_cast<double>((order * k) % n_angular) / n_angular;
      exact[k] = std::cos(phase);
      exact[n_angular + k] = std::sin(phase);
    }
    rounded.assign(exact.begin(), exact.end());
  }
};

CorrelationProblem problem_of(int64_t n_radial, int64_t n_angular, int64_t order, bool modulus, int64_t normalize,
                              double fill, double min_weight, const HarmonicTable& harmonic) {
  const double needed = needed_weight(min_weight, n_angular);
  return {n_radial,
          n_angular,
          order,
          modulus,
          static_cast<Normalize>(normalize),
          fill,
          needed,
          harmonic.exact.data(),
          harmonic.rounded.data()};
}

DType compute_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

ScalarType compute_type(DType dtype) { return dtype == DType::f64 ? ScalarType::Double : ScalarType::Float; }

template <typename C>
std::vector<C> pair_weights(DType dtype, const C* weight, int64_t n_radial, int64_t n_angular) {
  std::vector<C> pairs(n_radial * n_radial + kPanel);
  Buffer workspace(map_workspace(n_radial, n_angular) * sizeof(C));
  selected_correlation_kernels().pair_weights(dtype, weight, n_radial, n_angular, workspace.as<C>(), pairs.data());
  return pairs;
}

// A call's weights: none, one set for all images, whose pairs are worked out once, or one for each.
template <typename C>
class Weights {
 public:
  Weights(DType dtype, const std::optional<Tensor>& weight, int64_t n_radial, int64_t n_angular)
      : dtype_(dtype), n_radial_(n_radial), n_angular_(n_angular) {
    if (!weight.has_value() || weight->size(0) == 0) return;
    first_ = weight->const_data_ptr<C>();
    shared_ = weight->size(0) == 1;
    if (shared_) pairs_ = pair_weights<C>(dtype, first_, n_radial, n_angular);
  }

  // Calls f(weights, pair weights) of image `n`; both are null where there are no weights. `workspace` is the
  // thread's, of map_workspace elements; `own` its memory for pairs.
  template <typename F>
  void of(int64_t n, C* workspace, std::vector<C>& own, const F& f) const {
    if (first_ == nullptr) return f(static_cast<const C*>(nullptr), static_cast<const C*>(nullptr));
    if (shared_) return f(first_, pairs_.data());
    own.resize(n_radial_ * n_radial_ + kPanel);
    const C* weight = first_ + n * n_radial_ * n_angular_;
    selected_correlation_kernels().pair_weights(dtype_, weight, n_radial_, n_angular_, workspace, own.data());
    f(weight, static_cast<const C*>(own.data()));
  }

 private:
  DType dtype_;
  int64_t n_radial_;
  int64_t n_angular_;
  const C* first_ = nullptr;
  bool shared_ = false;
  std::vector<C> pairs_;
};

void check_options(const char* op, int64_t order, int64_t normalize, int64_t n_angular) {
  STD_TORCH_CHECK(normalize >= 0 && normalize <= 2, op, ": normalize must be 0 (none), 1 (mean) or 2 (pearson)");
  STD_TORCH_CHECK(order >= 1 && order <= n_angular / 2, op, ": order ", order,
                  " is not between 1 and n_angular / 2 = ", n_angular / 2);
}

// The weight as a contiguous tensor of the arithmetic's type, checked against unwrapped maps of that shape.
std::optional<Tensor> checked_weight(const char* op, const std::optional<Tensor>& weight, DType dtype, int64_t count,
                                     int64_t n_radial, int64_t n_angular) {
  if (!weight.has_value()) return std::nullopt;
  STD_TORCH_CHECK(weight->is_cpu(), op, ": weight is on another device than unwrapped, which is on the CPU");
  STD_TORCH_CHECK(weight->dim() == 3 && (weight->size(0) == 1 || weight->size(0) == count) &&
                      weight->size(1) == n_radial && weight->size(2) == n_angular,
                  op, ": weight must have shape (1 or N, n_radial, n_angular)");
  floating_dtype(*weight, op, "weight");
  return torch::stable::contiguous(torch::stable::to(*weight, compute_type(dtype)));
}

void check_map_out(const char* op, const Tensor& out, int64_t count, int64_t n_radial, ScalarType type) {
  STD_TORCH_CHECK(out.dim() == 3 && out.size(0) == count && out.size(1) == n_radial && out.size(2) == n_radial, op,
                  ": out must have shape (N, n_radial, n_radial)");
  STD_TORCH_CHECK(out.scalar_type() == type, op, ": out has dtype ", torch::headeronly::toString(out.scalar_type()),
                  "; expected ", torch::headeronly::toString(type));
  STD_TORCH_CHECK(out.is_contiguous() && out.is_cpu(), op, ": out must be contiguous and on the CPU");
}

void correlation_map_out(const Tensor& unwrapped_, const std::optional<Tensor>& weight_, int64_t order, bool modulus,
                         int64_t normalize, double fill, double min_weight, Tensor out) {
  constexpr const char* op = "correlation_map";
  STD_TORCH_CHECK(unwrapped_.dim() == 3, op, ": unwrapped must have shape (N, n_radial, n_angular), got ",
                  unwrapped_.dim(), " dimensions");
  const DType dtype = floating_dtype(unwrapped_, op, "unwrapped");
  const Tensor unwrapped = torch::stable::contiguous(unwrapped_);
  const int64_t count = unwrapped.size(0);
  const int64_t n_radial = unwrapped.size(1);
  const int64_t n_angular = unwrapped.size(2);
  check_options(op, order, normalize, n_angular);
  check_map_out(op, out, count, n_radial, unwrapped.scalar_type());
  const std::optional<Tensor> weight = checked_weight(op, weight_, dtype, count, n_radial, n_angular);

  const HarmonicTable harmonic(order, n_angular);
  const CorrelationProblem problem =
      problem_of(n_radial, n_angular, order, modulus, normalize, fill, min_weight, harmonic);
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const Weights<C> weights(compute_dtype(dtype), weight, n_radial, n_angular);
    const T* source = static_cast<const T*>(unwrapped.const_data_ptr());
    T* target = static_cast<T*>(out.mutable_data_ptr());
    const int64_t bytes = n_radial * (n_angular + n_radial) * static_cast<int64_t>(sizeof(T));  // of an image
    const bool stream = count * bytes >= kStreamedBytes;
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      Buffer workspace(map_workspace(n_radial, n_angular) * sizeof(C));
      std::vector<C> own;
      for (int64_t n = begin; n < end; ++n) {
        const NextRead next{reinterpret_cast<const char*>(source + (n + 1) * n_radial * n_angular), nullptr,
                            n + 1 < end ? n_radial * n_angular * static_cast<int64_t>(sizeof(T)) / 64 : 0};
        weights.of(n, workspace.as<C>(), own, [&](const C* w, const C* pairs) {
          selected_correlation_kernels().map(dtype, dtype, source + n * n_radial * n_angular, false, w, pairs, problem,
                                             next, workspace.as<C>(), stream, target + n * n_radial * n_radial);
        });
      }
    });
  });
}

Tensor correlation_map(const Tensor& unwrapped, const std::optional<Tensor>& weight, int64_t order, bool modulus,
                       int64_t normalize, double fill, double min_weight) {
  STD_TORCH_CHECK(unwrapped.dim() == 3, "correlation_map: unwrapped must have shape (N, n_radial, n_angular), got ",
                  unwrapped.dim(), " dimensions");
  Tensor out = torch::stable::new_empty(unwrapped, {unwrapped.size(0), unwrapped.size(1), unwrapped.size(1)});
  correlation_map_out(unwrapped, weight, order, modulus, normalize, fill, min_weight, out);
  return out;
}

Tensor correlation_map_backward(const Tensor& grad_, const Tensor& unwrapped_, const std::optional<Tensor>& weight_,
                                int64_t order, bool modulus, int64_t normalize, double min_weight) {
  constexpr const char* op = "correlation_map_backward";
  STD_TORCH_CHECK(unwrapped_.dim() == 3, op, ": unwrapped must have shape (N, n_radial, n_angular)");
  const DType dtype = floating_dtype(unwrapped_, op, "unwrapped");
  const Tensor unwrapped = torch::stable::contiguous(unwrapped_);
  const Tensor grad = torch::stable::contiguous(grad_);
  const int64_t count = unwrapped.size(0);
  const int64_t n_radial = unwrapped.size(1);
  const int64_t n_angular = unwrapped.size(2);
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == count && grad.size(1) == n_radial && grad.size(2) == n_radial, op,
                  ": grad must have shape (N, n_radial, n_radial)");
  STD_TORCH_CHECK(grad.scalar_type() == unwrapped.scalar_type(), op, ": grad and unwrapped differ in dtype");
  check_options(op, order, normalize, n_angular);
  const std::optional<Tensor> weight = checked_weight(op, weight_, dtype, count, n_radial, n_angular);

  Tensor out = torch::stable::empty_like(unwrapped);
  const HarmonicTable harmonic(order, n_angular);
  const CorrelationProblem problem =
      problem_of(n_radial, n_angular, order, modulus, normalize, 0.0, min_weight, harmonic);
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const Weights<C> weights(compute_dtype(dtype), weight, n_radial, n_angular);
    const T* source = static_cast<const T*>(unwrapped.const_data_ptr());
    const T* cotangent = static_cast<const T*>(grad.const_data_ptr());
    T* target = static_cast<T*>(out.mutable_data_ptr());
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      Buffer workspace(std::max(gradient_workspace(n_radial, n_angular), map_workspace(n_radial, n_angular)) *
                       sizeof(C));
      std::vector<C> own;
      for (int64_t n = begin; n < end; ++n) {
        weights.of(n, workspace.as<C>(), own, [&](const C* w, const C* pairs) {
          selected_correlation_kernels().gradient(dtype, cotangent + n * n_radial * n_radial,
                                                  source + n * n_radial * n_angular, w, pairs, problem,
                                                  workspace.as<C>(), target + n * n_radial * n_angular);
        });
      }
    });
  });
  return out;
}

// The weight of every cell of the map as a fraction of K: that of the pair in the lower triangle, of the ring with
// less in the upper one; 0 where the map holds the fill value for want of weight.
Tensor correlation_weight(const Tensor& weight_, double min_weight) {
  constexpr const char* op = "correlation_weight";
  STD_TORCH_CHECK(weight_.dim() == 3, op, ": weight must have shape (N, n_radial, n_angular)");
  const DType dtype = compute_dtype(floating_dtype(weight_, op, "weight"));
  const Tensor weight = torch::stable::contiguous(torch::stable::to(weight_, compute_type(dtype)));
  const int64_t n_radial = weight.size(1);
  const int64_t n_angular = weight.size(2);
  Tensor out = torch::stable::new_empty(weight, {weight.size(0), n_radial, n_radial});
  dispatch_floating(dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    const C needed = static_cast<C>(needed_weight(min_weight, n_angular));
    torch::stable::parallel_for(0, weight.size(0), 1, [&](int64_t begin, int64_t end) {
      std::vector<C> ring(n_radial);
      for (int64_t n = begin; n < end; ++n) {
        const C* source = weight.const_data_ptr<C>() + n * n_radial * n_angular;
        C* target = out.mutable_data_ptr<C>() + n * n_radial * n_radial;
        const std::vector<C> pairs = pair_weights<C>(dtype, source, n_radial, n_angular);
        for (int64_t j = 0; j < n_radial; ++j) {
          double sum = 0.0;
          for (int64_t k = 0; k < n_angular; ++k) sum += source[j * n_angular + k];
          ring[j] = static_cast<C>(sum);
        }
        for (int64_t i = 0; i < n_radial; ++i) {
          for (int64_t j = 0; j < n_radial; ++j) {
            const C cell = j <= i ? pairs[i * n_radial + j] : std::min(ring[i], ring[j]);
            target[i * n_radial + j] = cell >= needed ? cell / static_cast<C>(n_angular) : C{0};
          }
        }
      }
    });
  });
  return out;
}

// Lines of the frame to come that are asked for while a map is computed, 160 KiB: about as many as come in that time.
constexpr int64_t kEarlyLines = (int64_t{160} << 10) / 64;

// --- from detector frames: each frame is unwrapped into its thread's workspace, which stays in the caches.

void polar_correlation_map_out(const Tensor& images_, const Tensor& center, const std::optional<Tensor>& good,
                               int64_t n_angular, double r_min, double r_max, bool nearest, int64_t order, bool modulus,
                               int64_t normalize, double fill, double min_weight, Tensor out) {
  constexpr const char* op = "polar_correlation_map";
  STD_TORCH_CHECK(images_.dim() == 3, op, ": images must have shape (N, height, width), got ", images_.dim(),
                  " dimensions");
  const DType dtype = element_dtype(images_, op, "images");
  const Tensor images = torch::stable::contiguous(images_);
  const int64_t count = images.size(0);
  const int64_t n_radial = out.dim() == 3 ? out.size(1) : 0;
  check_map_out(op, out, count, n_radial, resampled_type(images));
  check_options(op, order, normalize, n_angular);
  const PolarGrid grid{images.size(1), images.size(2), n_radial, n_angular, r_min, r_max, nearest};
  const Geometry geometry(SamplingKind::polar, grid, center, good, {images_, "images"}, op);
  geometry.check_covers(count, op);
  if (count == 0) return;

  const HarmonicTable harmonic(order, n_angular);
  const CorrelationProblem problem =
      problem_of(n_radial, n_angular, order, modulus, normalize, fill, min_weight, harmonic);
  const DType rings_dtype = compute_dtype(dtype);
  const DType out_dtype = floating_dtype(out, op, "out");
  const auto* source = static_cast<const char*>(images.const_data_ptr());
  const int64_t image_bytes = images.size(1) * images.size(2) * static_cast<int64_t>(images.element_size());
  auto* target = static_cast<char*>(out.mutable_data_ptr());
  const int64_t map_bytes = n_radial * n_radial * static_cast<int64_t>(out.element_size());
  const bool stream = count * (image_bytes + map_bytes) >= kStreamedBytes;
  const int64_t samples = n_radial * n_angular;
  const Planner planner(geometry, dtype == DType::f64, count);
  dispatch_floating(rings_dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    // The validity weights as rings and pairs, where some sample is not fully valid.
    struct PlanWeights {
      std::vector<C> ring, pair;
      void set(const SamplingPlan& plan, DType type, int64_t radii, int64_t angles) {
        ring.assign(plan.weight.begin(), plan.weight.end());
        if (!ring.empty()) pair = pair_weights<C>(type, ring.data(), radii, angles);
      }
    };
    PlanWeights shared;
    Prefetch ahead;
    if (planner.shared() != nullptr) {
      shared.set(*planner.shared(), rings_dtype, n_radial, n_angular);
      const TouchedLines& lines = planner.shared()->lines(images.element_size());
      ahead = {lines.line.data(), lines.before.data(), static_cast<int64_t>(lines.line.size()), 0, nullptr};
    }
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      Buffer unwrapped(samples * sizeof(C));
      Buffer workspace(map_workspace(n_radial, n_angular) * sizeof(C));
      SamplingPlan own_plan;
      PlanWeights own;
      // Lines of the next frame that the product asks for; the rest is asked for when its turn comes.
      const int64_t early = std::min(ahead.count, kEarlyLines);
      const bool in_panels = planner.shared() != nullptr && takes_panels(problem, !shared.ring.empty());
      for (int64_t n = begin; n < end; ++n) {
        if (planner.shared() == nullptr) {
          const char* image = source + n * image_bytes;
          planner.sample(n, dtype, rings_dtype, image, n + 1 < end ? image + image_bytes : nullptr, 0.0,
                         unwrapped.as<C>(), own_plan);
          own.set(own_plan, rings_dtype, n_radial, n_angular);
        } else {
          Prefetch prefetch = ahead;
          prefetch.asked = n == begin ? 0 : early;
          const PlanView view = planner.shared()->view();
          selected_resample_kernels().forward(dtype, rings_dtype, source + n * image_bytes, view, 0, view.group_count,
                                              0.0, unwrapped.as<C>(), in_panels ? Placement::panels : Placement::rows,
                                              prefetch);
        }
        const PlanWeights& weights = planner.shared() == nullptr ? own : shared;
        const NextRead next{source + (n + 1) * image_bytes, ahead.line, n + 1 < end ? early : 0};
        selected_correlation_kernels().map(rings_dtype, out_dtype, unwrapped.as<C>(), in_panels,
                                           weights.ring.empty() ? nullptr : weights.ring.data(),
                                           weights.ring.empty() ? nullptr : weights.pair.data(), problem, next,
                                           workspace.as<C>(), stream, target + n * map_bytes);
      }
    });
  });
}

Tensor polar_correlation_map(const Tensor& images, const Tensor& center, const std::optional<Tensor>& good,
                             int64_t n_radial, int64_t n_angular, double r_min, double r_max, bool nearest,
                             int64_t order, bool modulus, int64_t normalize, double fill, double min_weight) {
  constexpr const char* op = "polar_correlation_map";
  STD_TORCH_CHECK(images.dim() == 3 && n_radial >= 1, op, ": images must have shape (N, height, width)");
  Tensor out = torch::stable::new_empty(images, {images.size(0), n_radial, n_radial}, resampled_type(images));
  polar_correlation_map_out(images, center, good, n_angular, r_min, r_max, nearest, order, modulus, normalize, fill,
                            min_weight, out);
  return out;
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  m.impl("correlation_map", TORCH_BOX(&cdifast::cpu::correlation_map));
  m.impl("correlation_map_out", TORCH_BOX(&cdifast::cpu::correlation_map_out));
  m.impl("correlation_map_backward", TORCH_BOX(&cdifast::cpu::correlation_map_backward));
  m.impl("correlation_weight", TORCH_BOX(&cdifast::cpu::correlation_weight));
  m.impl("polar_correlation_map", TORCH_BOX(&cdifast::cpu::polar_correlation_map));
  m.impl("polar_correlation_map_out", TORCH_BOX(&cdifast::cpu::polar_correlation_map_out));
}
