// Polar resampling and its way back on CUDA: checks, launches on torch's stream, registration.
#include <optional>

#include "../library.h"
#include "../resample_checks.h"
#include "../torch_bridge.h"
#include "device.h"
#include "resample_launch.h"

namespace cdifast::cuda {
namespace {

using Mask = std::optional<Tensor>;

ResampleGeometry launch_geometry(const SamplingGeometry& geometry) {
  const bool shared_mask = !geometry.good.has_value() || geometry.good->size(0) == 1;
  return {geometry.grid,
          geometry.center.const_data_ptr<double>(),
          geometry.center.size(0) == 1 ? 0 : 2,
          geometry.good_data(),
          shared_mask ? 0 : geometry.source.rows * geometry.source.columns,
          geometry.count};
}

Tensor workspace_of(const Tensor& like, int64_t size) {
  return torch::stable::new_empty(like, {size}, ScalarType::Double);
}

// Into `given`, or a new tensor.
Tensor forward(SamplingKind kind, const char* op, const Named& source_, const PolarGrid& grid, const Tensor& center,
               const Mask& good, double fill, const std::optional<Tensor>& given) {
  const DType dtype = element_dtype(source_.tensor, op, source_.name);
  const Tensor source = torch::stable::contiguous(source_.tensor);
  const SamplingGeometry geometry(kind, grid, center, good, source_, op);
  const int64_t images = source.size(0);
  geometry.check_covers(images, op);
  const bool polar = kind == SamplingKind::polar;
  Tensor out = given.has_value()
                   ? *given
                   : torch::stable::new_empty(
                         source, {images, polar ? grid.n_radial : grid.height, polar ? grid.n_angular : grid.width},
                         resampled_type(source));
  Tensor workspace = workspace_of(source, resample_workspace(grid));
  check_launch(resample_forward(kind, dtype, source.const_data_ptr(), out.mutable_data_ptr(), launch_geometry(geometry),
                                images, fill, workspace.mutable_data_ptr<double>(), stream_of(source)),
               op);
  return out;
}

Tensor weight(SamplingKind kind, const char* op, const PolarGrid& grid, const Tensor& center, const Mask& good,
              bool float64) {
  const DeviceScope scope(center);
  const SamplingGeometry geometry(kind, grid, center, good, {center, "center"}, op);
  const bool polar = kind == SamplingKind::polar;
  Tensor out = torch::stable::new_empty(
      center, {geometry.count, polar ? grid.n_radial : grid.height, polar ? grid.n_angular : grid.width},
      float64 ? ScalarType::Double : ScalarType::Float);
  Tensor workspace = workspace_of(center, resample_workspace(grid));
  check_launch(resample_weight(kind, float64, out.mutable_data_ptr(), launch_geometry(geometry),
                               workspace.mutable_data_ptr<double>(), stream_of(center)),
               op);
  return out;
}

Tensor backward(SamplingKind kind, const char* op, const Tensor& grad_, const PolarGrid& grid, const Tensor& center,
                const Mask& good) {
  const DeviceScope scope(grad_);
  const DType dtype = floating_dtype(grad_, op, "grad");
  const Tensor grad = torch::stable::contiguous(grad_);
  const SamplingGeometry geometry(kind, grid, center, good, {grad_, "grad"}, op);
  const int64_t images = grad.size(0);
  geometry.check_covers(images, op);
  Tensor out = torch::stable::new_empty(grad, {images, geometry.source.rows, geometry.source.columns});
  Tensor workspace = workspace_of(grad, resample_workspace(grid));
  check_launch(resample_backward(kind, dtype, grad.const_data_ptr(), out.mutable_data_ptr(), launch_geometry(geometry),
                                 images, workspace.mutable_data_ptr<double>(), stream_of(grad)),
               op);
  return out;
}

Tensor backward_center(SamplingKind kind, const char* op, const Tensor& grad_, const Named& source_,
                       const PolarGrid& grid, const Tensor& center, const Mask& good) {
  const DeviceScope scope(grad_);
  floating_dtype(grad_, op, "grad");
  element_dtype(source_.tensor, op, source_.name);
  check_same_device(source_.tensor, source_.name, {grad_, "grad"}, op);
  const SamplingGeometry geometry(kind, grid, center, good, {grad_, "grad"}, op);
  const int64_t images = grad_.size(0);
  geometry.check_covers(images, op);
  Tensor grad = torch::stable::contiguous(grad_);
  Tensor source = torch::stable::contiguous(source_.tensor);
  // Kernels exist for the pairs that the forward pass makes. float64 holds every other pair exactly.
  if (grad.scalar_type() != resampled_type(source)) {
    grad = torch::stable::to(grad, ScalarType::Double);
    source = torch::stable::to(source, ScalarType::Double);
  }
  Tensor out = torch::stable::new_empty(geometry.center, {center.size(0), 2});
  const ResampleGeometry launched = launch_geometry(geometry);
  Tensor workspace = workspace_of(grad, resample_center_workspace(kind, launched, images));
  check_launch(resample_backward_center(kind, element_dtype(source, op, source_.name), grad.const_data_ptr(),
                                        source.const_data_ptr(), out.mutable_data_ptr<double>(), launched, images,
                                        workspace.mutable_data_ptr<double>(), stream_of(grad)),
               op);
  return out;
}

void check_pair(const Tensor& grad, const Named& source, const char* op) {
  check_batch({grad, "grad"}, op);
  check_batch(source, op);
  STD_TORCH_CHECK(grad.size(0) == source.tensor.size(0), op, ": grad and ", source.name,
                  " must be batches of the same length, got ", grad.size(0), " and ", source.tensor.size(0));
}

// --- detector image -> unwrapped map

Tensor polar_resample(const Tensor& images, const Tensor& center, const Mask& good, int64_t n_radial, int64_t n_angular,
                      double r_min, double r_max, bool nearest, double fill) {
  constexpr const char* op = "polar_resample";
  const DeviceScope scope(images);
  check_batch({images, "images"}, op);
  const PolarGrid grid{images.size(1), images.size(2), n_radial, n_angular, r_min, r_max, nearest};
  return forward(SamplingKind::polar, op, {images, "images"}, grid, center, good, fill, std::nullopt);
}

void polar_resample_out(const Tensor& images, const Tensor& center, const Mask& good, double r_min, double r_max,
                        bool nearest, double fill, const Tensor& out) {
  constexpr const char* op = "polar_resample_out";
  const DeviceScope scope(images);
  check_batch({images, "images"}, op);
  check_resample_out(out, {images, "images"}, op);
  const PolarGrid grid{images.size(1), images.size(2), out.size(1), out.size(2), r_min, r_max, nearest};
  forward(SamplingKind::polar, op, {images, "images"}, grid, center, good, fill, out);
}

Tensor polar_weight(const Tensor& center, const Mask& good, int64_t height, int64_t width, int64_t n_radial,
                    int64_t n_angular, double r_min, double r_max, bool nearest, bool float64) {
  return weight(SamplingKind::polar, "polar_weight", {height, width, n_radial, n_angular, r_min, r_max, nearest},
                center, good, float64);
}

Tensor polar_resample_backward(const Tensor& grad, const Tensor& center, const Mask& good, int64_t height,
                               int64_t width, double r_min, double r_max, bool nearest) {
  constexpr const char* op = "polar_resample_backward";
  check_batch({grad, "grad"}, op);
  return backward(SamplingKind::polar, op, grad, {height, width, grad.size(1), grad.size(2), r_min, r_max, nearest},
                  center, good);
}

Tensor polar_resample_backward_center(const Tensor& grad, const Tensor& images, const Tensor& center, const Mask& good,
                                      double r_min, double r_max, bool nearest) {
  constexpr const char* op = "polar_resample_backward_center";
  check_pair(grad, {images, "images"}, op);
  return backward_center(SamplingKind::polar, op, grad, {images, "images"},
                         {images.size(1), images.size(2), grad.size(1), grad.size(2), r_min, r_max, nearest}, center,
                         good);
}

// --- unwrapped map -> detector image

Tensor cartesian_resample(const Tensor& unwrapped, const Tensor& center, const Mask& good, int64_t height,
                          int64_t width, double r_min, double r_max, bool nearest, double fill) {
  constexpr const char* op = "cartesian_resample";
  const DeviceScope scope(unwrapped);
  check_batch({unwrapped, "unwrapped"}, op);
  const PolarGrid grid{height, width, unwrapped.size(1), unwrapped.size(2), r_min, r_max, nearest};
  return forward(SamplingKind::cartesian, op, {unwrapped, "unwrapped"}, grid, center, good, fill, std::nullopt);
}

void cartesian_resample_out(const Tensor& unwrapped, const Tensor& center, const Mask& good, double r_min, double r_max,
                            bool nearest, double fill, const Tensor& out) {
  constexpr const char* op = "cartesian_resample_out";
  const DeviceScope scope(unwrapped);
  check_batch({unwrapped, "unwrapped"}, op);
  check_resample_out(out, {unwrapped, "unwrapped"}, op);
  const PolarGrid grid{out.size(1), out.size(2), unwrapped.size(1), unwrapped.size(2), r_min, r_max, nearest};
  forward(SamplingKind::cartesian, op, {unwrapped, "unwrapped"}, grid, center, good, fill, out);
}

Tensor cartesian_weight(const Tensor& center, const Mask& good, int64_t n_radial, int64_t n_angular, int64_t height,
                        int64_t width, double r_min, double r_max, bool nearest, bool float64) {
  return weight(SamplingKind::cartesian, "cartesian_weight",
                {height, width, n_radial, n_angular, r_min, r_max, nearest}, center, good, float64);
}

Tensor cartesian_resample_backward(const Tensor& grad, const Tensor& center, const Mask& good, int64_t n_radial,
                                   int64_t n_angular, double r_min, double r_max, bool nearest) {
  constexpr const char* op = "cartesian_resample_backward";
  check_batch({grad, "grad"}, op);
  return backward(SamplingKind::cartesian, op, grad,
                  {grad.size(1), grad.size(2), n_radial, n_angular, r_min, r_max, nearest}, center, good);
}

Tensor cartesian_resample_backward_center(const Tensor& grad, const Tensor& unwrapped, const Tensor& center,
                                          const Mask& good, double r_min, double r_max, bool nearest) {
  constexpr const char* op = "cartesian_resample_backward_center";
  check_pair(grad, {unwrapped, "unwrapped"}, op);
  return backward_center(SamplingKind::cartesian, op, grad, {unwrapped, "unwrapped"},
                         {grad.size(1), grad.size(2), unwrapped.size(1), unwrapped.size(2), r_min, r_max, nearest},
                         center, good);
}

}  // namespace
}  // namespace cdifast::cuda

STABLE_TORCH_LIBRARY_IMPL(CDIFAST_LIBRARY, CDIFAST_CUDA_KEY, m) {
  m.impl("polar_resample", TORCH_BOX(&cdifast::cuda::polar_resample));
  m.impl("polar_resample_out", TORCH_BOX(&cdifast::cuda::polar_resample_out));
  m.impl("polar_weight", TORCH_BOX(&cdifast::cuda::polar_weight));
  m.impl("polar_resample_backward", TORCH_BOX(&cdifast::cuda::polar_resample_backward));
  m.impl("polar_resample_backward_center", TORCH_BOX(&cdifast::cuda::polar_resample_backward_center));
  m.impl("cartesian_resample", TORCH_BOX(&cdifast::cuda::cartesian_resample));
  m.impl("cartesian_resample_out", TORCH_BOX(&cdifast::cuda::cartesian_resample_out));
  m.impl("cartesian_weight", TORCH_BOX(&cdifast::cuda::cartesian_weight));
  m.impl("cartesian_resample_backward", TORCH_BOX(&cdifast::cuda::cartesian_resample_backward));
  m.impl("cartesian_resample_backward_center", TORCH_BOX(&cdifast::cuda::cartesian_resample_backward_center));
}
