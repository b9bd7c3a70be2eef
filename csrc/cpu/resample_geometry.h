// The sampling geometry of a call, checked: one centre and mask for all images, or one for each.
#pragma once

#include <memory>
#include <optional>

#include "../resample_checks.h"
#include "resample_plan.h"

namespace cdifast::cpu {

struct Geometry : SamplingGeometry {
  SamplingKind kind;

  Geometry(SamplingKind kind_, const PolarGrid& grid_, const Tensor& center_, const std::optional<Tensor>& good_,
           const Named& like, const char* op)
      : SamplingGeometry(kind_, grid_, center_, good_, like, op), kind(kind_) {}

  // That of image `n`.
  Sampling sampling(int64_t n) const {
    Sampling result{kind, grid, 0.0, 0.0, nullptr};
    if (center.size(0) == 0) return result;  // no images
    const double* yx = center.const_data_ptr<double>() + (center.size(0) == 1 ? 0 : n) * 2;
    result.center_y = yx[0];
    result.center_x = yx[1];
    if (good.has_value() && good->size(0) > 0) {
      const SourceShape shape = result.source();
      const auto* first = static_cast<const uint8_t*>(good->const_data_ptr());
      result.good = first + (good->size(0) == 1 ? 0 : n) * shape.rows * shape.columns;
    }
    return result;
  }
};

// Plans for the images of a call: one from the cache where all share it and it pays, else each made just before its
// use.
class Planner {
 public:
  // `images` of the call.
  Planner(const Geometry& geometry, bool float64, int64_t images) : geometry_(geometry), float64_(float64) {
    if (geometry.count == 1) shared_ = cached_plan(geometry.sampling(0), float64, images >= kWorthAPlan);
    if (shared_ == nullptr) directions_.emplace(geometry.grid.n_angular);
  }

  // As `images`, for a plan in any case.
  static constexpr int64_t kWorthAPlan = 5;

  const SamplingPlan* shared() const { return shared_.get(); }

  // Samples image `n` without a shared plan. The private cache has room for two small images: the `next` one
  // is asked for meanwhile, unless it is null. `own` as in sample_once.
  void sample(int64_t n, DType dtype, DType out_dtype, const char* image, const char* next, double fill, void* out,
              SamplingPlan& own) const {
    const Sampling sampling = geometry_.sampling(n);
    const bool small = sampling.source().rows * sampling.source().columns <= kSmallImage;
    sample_once(sampling, *directions_, dtype, out_dtype, image, small ? next : nullptr, fill, out, own);
  }

  // `own` is the calling thread's memory for plans.
  const SamplingPlan& plan(int64_t n, SamplingPlan& own) const {
    if (shared_ != nullptr) return *shared_;
    make_plan(geometry_.sampling(n), *directions_, float64_, false, own);
    return own;
  }

 private:
  static constexpr int64_t kSmallImage = 1 << 17;  // elements

  const Geometry& geometry_;
  bool float64_;
  std::shared_ptr<const SamplingPlan> shared_;
  std::optional<Directions> directions_;
};

}  // namespace cdifast::cpu
