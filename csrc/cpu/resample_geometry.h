// The sampling geometry of a call, checked: one centre and mask for all images, or one for each.
#pragma once

#include <limits>
#include <memory>
#include <optional>

#include "../torch_bridge.h"
#include "resample_plan.h"

namespace cdifast::cpu {

struct Geometry {
  SamplingKind kind;
  PolarGrid grid;
  Tensor center;
  std::optional<Tensor> good;
  int64_t count;  // 1, or the number of images

  Geometry(SamplingKind kind_, const PolarGrid& grid_, const Tensor& center_, const std::optional<Tensor>& good_,
           const char* op)
      : kind(kind_), grid(grid_), center(torch::stable::contiguous(center_)), count(0) {
    STD_TORCH_CHECK(center.dim() == 2 && center.size(1) == 2, op, ": center must have shape (1 or N, 2)");
    STD_TORCH_CHECK(center.scalar_type() == ScalarType::Double, op, ": center must be float64");
    STD_TORCH_CHECK(center.is_cpu(), op, ": center is on another device than the images, which are on the CPU");
    STD_TORCH_CHECK(grid.n_radial >= 1 && grid.n_angular >= 1, op, ": n_radial and n_angular must be at least 1");
    STD_TORCH_CHECK(grid.height >= 1 && grid.width >= 1, op, ": the images have no pixels");
    STD_TORCH_CHECK(grid.height <= std::numeric_limits<int32_t>::max() / grid.width, op,
                    ": images of 2^31 pixels or more are not supported");
    STD_TORCH_CHECK(grid.n_radial <= std::numeric_limits<int32_t>::max() / grid.n_angular, op,
                    ": unwrapped maps of 2^31 samples or more are not supported");
    count = center.size(0);
    if (good_.has_value()) {
      good = torch::stable::contiguous(*good_);
      const SourceShape shape = sampling(0).source();
      STD_TORCH_CHECK(good->scalar_type() == ScalarType::Bool, op, ": good must be bool");
      STD_TORCH_CHECK(good->is_cpu(), op, ": good is on another device than the images, which are on the CPU");
      STD_TORCH_CHECK(good->dim() == 3 && good->size(1) == shape.rows && good->size(2) == shape.columns, op,
                      ": good must have shape (1 or N, ", shape.rows, ", ", shape.columns, ")");
      if (good->size(0) != 1) {
        STD_TORCH_CHECK(count == 1 || count == good->size(0), op, ": center and good differ in length");
        count = good->size(0);
      }
    }
  }

  void check_covers(int64_t images, const char* op) const {
    STD_TORCH_CHECK(count == 1 || count == images, op, ": center or good is for ", count, " images, but there are ",
                    images);
  }

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

// Plans for the images of a call: one from the cache where all share it, else each made just before its use.
class Planner {
 public:
  Planner(const Geometry& geometry, bool float64) : geometry_(geometry), float64_(float64) {
    if (geometry.count == 1) {
      shared_ = cached_plan(geometry.sampling(0), float64);
    } else {
      directions_.emplace(geometry.grid.n_angular);
    }
  }

  const SamplingPlan* shared() const { return shared_.get(); }

  // `own` is the calling thread's memory for plans.
  const SamplingPlan& plan(int64_t n, SamplingPlan& own) const {
    if (shared_ != nullptr) return *shared_;
    make_plan(geometry_.sampling(n), *directions_, float64_, own);
    return own;
  }

 private:
  const Geometry& geometry_;
  bool float64_;
  std::shared_ptr<const SamplingPlan> shared_;
  std::optional<Directions> directions_;
};

}  // namespace cdifast::cpu
