// What polar resampling and its way back ask of their tensors, on the CPU and on CUDA alike. Messages name the
// operator and the argument.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "common/resample_math.h"
#include "torch_bridge.h"

namespace cdifast {

// An argument and its name, for messages.
struct Named {
  const Tensor& tensor;
  const char* name;
};

inline void check_same_device(const Tensor& tensor, const char* argument, const Named& like, const char* op) {
  STD_TORCH_CHECK(
      tensor.is_cpu() == like.tensor.is_cpu() && tensor.get_device_index() == like.tensor.get_device_index(), op, ": ",
      argument, " is on another device than ", like.name);
}

inline void check_batch(const Named& argument, const char* op) {
  STD_TORCH_CHECK(argument.tensor.dim() == 3, op, ": ", argument.name, " must have 3 dimensions, the first its batch; ",
                  "got ", argument.tensor.dim());
}

// Integers are sampled to float32; floating types keep their own.
inline ScalarType resampled_type(const Tensor& source) {
  switch (source.scalar_type()) {
    case ScalarType::Half:
    case ScalarType::BFloat16:
    case ScalarType::Double:
      return source.scalar_type();
    default:
      return ScalarType::Float;
  }
}

// The sampling geometry of a batch: one centre and mask for all images, or one for each. Tensors are contiguous.
struct SamplingGeometry {
  PolarGrid grid;
  SourceShape source;
  Tensor center;
  std::optional<Tensor> good;
  int64_t count;  // 1, or the number of images

  // Everything must be on the device of `like`.
  SamplingGeometry(SamplingKind kind, const PolarGrid& grid_, const Tensor& center_, const std::optional<Tensor>& good_,
                   const Named& like, const char* op)
      : grid(grid_),
        source(kind == SamplingKind::polar ? polar_source(grid_) : cartesian_source(grid_)),
        center(torch::stable::contiguous(center_)),
        count(center_.dim() == 2 ? center_.size(0) : 0) {
    constexpr int64_t most = std::numeric_limits<int32_t>::max();
    STD_TORCH_CHECK(center.dim() == 2 && center.size(1) == 2, op, ": center must have shape (1 or N, 2)");
    STD_TORCH_CHECK(center.scalar_type() == ScalarType::Double, op, ": center must be float64");
    check_same_device(center, "center", like, op);
    STD_TORCH_CHECK(grid.n_radial >= 1 && grid.n_angular >= 1, op, ": n_radial and n_angular must be at least 1, got ",
                    grid.n_radial, " and ", grid.n_angular);
    STD_TORCH_CHECK(grid.height >= 1 && grid.width >= 1, op, ": height and width must be at least 1, got ", grid.height,
                    " and ", grid.width);
    STD_TORCH_CHECK(grid.height <= most / grid.width, op, ": images of 2^31 pixels or more are not supported");
    STD_TORCH_CHECK(grid.n_radial <= most / grid.n_angular, op, ": maps of 2^31 elements or more are not supported");
    STD_TORCH_CHECK(grid.r_min >= 0.0 && grid.r_min <= grid.r_max && grid.r_max <= std::numeric_limits<double>::max(),
                    op, ": need 0 <= r_min <= r_max < inf, got r_min=", grid.r_min, " and r_max=", grid.r_max);
    if (good_.has_value()) {
      good = torch::stable::contiguous(*good_);
      STD_TORCH_CHECK(good->scalar_type() == ScalarType::Bool, op, ": good must be bool");
      check_same_device(*good, "good", like, op);
      STD_TORCH_CHECK(good->dim() == 3 && good->size(1) == source.rows && good->size(2) == source.columns, op,
                      ": good must have shape (1 or N, ", source.rows, ", ", source.columns, ")");
      if (good->size(0) != 1) {
        STD_TORCH_CHECK(count == 1 || count == good->size(0), op, ": center and good differ in length: ", count,
                        " and ", good->size(0));
        count = good->size(0);
      }
    }
  }

  void check_covers(int64_t images, const char* op) const {
    STD_TORCH_CHECK(count == 1 || count == images, op, ": center or good is for ", count, " images, but there are ",
                    images);
  }

  const uint8_t* good_data() const {
    return good.has_value() ? static_cast<const uint8_t*>(good->const_data_ptr()) : nullptr;
  }
};

// An out argument: contiguous, of the type and on the device of what goes into it, one map or image for each of the
// batch. Its other sizes are the grid's.
inline void check_resample_out(const Tensor& out, const Named& source, const char* op) {
  check_batch({out, "out"}, op);
  STD_TORCH_CHECK(out.size(0) == source.tensor.size(0), op, ": out is for ", out.size(0), " images, but ", source.name,
                  " has ", source.tensor.size(0));
  const ScalarType expected = resampled_type(source.tensor);
  STD_TORCH_CHECK(out.scalar_type() == expected, op, ": out has dtype ", torch::headeronly::toString(out.scalar_type()),
                  "; expected ", torch::headeronly::toString(expected));
  check_same_device(out, "out", source, op);
  STD_TORCH_CHECK(out.is_contiguous(), op, ": out must be contiguous");
}

}  // namespace cdifast
