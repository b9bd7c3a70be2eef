// Correlation maps on CUDA: checks, launch on torch's stream, registration.
#include <optional>

#include "../correlation_checks.h"
#include "../library.h"
#include "../resample_checks.h"
#include "../torch_bridge.h"
#include "correlation_launch.h"
#include "device.h"
#include "grid.h"

namespace cdifast::cuda {
namespace {

// The kernels count a map's samples in 32 bits.
void check_size(int64_t n_radial, int64_t n_angular, const char* op) {
  STD_TORCH_CHECK(n_angular == 0 || n_radial <= kMostSamples / n_angular, op,
                  ": a map must have less than 2^31 samples on CUDA, got ", n_radial, " x ", n_angular);
}

void check_options(int64_t order, int64_t normalize, int64_t n_radial, int64_t n_angular, const char* op) {
  check_correlation_options(order, normalize, n_angular, op);
  check_size(n_radial, n_angular, op);
}

MapShape shape_of(const UnwrappedInputs& inputs) { return {inputs.count(), inputs.n_radial(), inputs.n_angular()}; }

WeightArgument weight_of(const UnwrappedInputs& inputs) { return {inputs.weight_data(), inputs.shared_weight()}; }

MapRule map_rule(int64_t order, bool modulus, int64_t normalize, double fill, double min_weight) {
  return {order, modulus, static_cast<Normalize>(normalize), fill, min_weight};
}

void write_map(const UnwrappedInputs& inputs, const MapRule& rule, Tensor& out, const char* op) {
  const MapShape shape = shape_of(inputs);
  const WeightArgument weight = weight_of(inputs);
  const Tensor workspace = workspace_like(out, correlation_map_workspace(inputs.dtype, shape, weight));
  check_launch(correlation_map(inputs.dtype, shape, inputs.unwrapped.const_data_ptr(), weight, rule,
                               out.mutable_data_ptr(), workspace.mutable_data_ptr(), stream_of(out)),
               op);
}

Tensor map(const Tensor& unwrapped, const std::optional<Tensor>& weight, int64_t order, bool modulus, int64_t normalize,
           double fill, double min_weight) {
  constexpr const char* op = "correlation_map";
  const DeviceScope scope(unwrapped);
  const UnwrappedInputs inputs(unwrapped, weight, op);
  check_options(order, normalize, inputs.n_radial(), inputs.n_angular(), op);
  Tensor out = torch::stable::new_empty(inputs.unwrapped, {inputs.count(), inputs.n_radial(), inputs.n_radial()});
  write_map(inputs, map_rule(order, modulus, normalize, fill, min_weight), out, op);
  return out;
}

void map_out(const Tensor& unwrapped, const std::optional<Tensor>& weight, int64_t order, bool modulus,
             int64_t normalize, double fill, double min_weight, Tensor out) {
  constexpr const char* op = "correlation_map";
  const DeviceScope scope(unwrapped);
  const UnwrappedInputs inputs(unwrapped, weight, op);
  check_options(order, normalize, inputs.n_radial(), inputs.n_angular(), op);
  check_result(out, {inputs.count(), inputs.n_radial(), inputs.n_radial()}, unwrapped.scalar_type(), unwrapped, op);
  write_map(inputs, map_rule(order, modulus, normalize, fill, min_weight), out, op);
}

Tensor map_backward(const Tensor& grad_, const Tensor& unwrapped, const std::optional<Tensor>& weight_, int64_t order,
                    bool modulus, int64_t normalize, double min_weight) {
  constexpr const char* op = "correlation_map_backward";
  const DeviceScope scope(unwrapped);
  const UnwrappedInputs inputs(unwrapped, weight_, op);
  check_options(order, normalize, inputs.n_radial(), inputs.n_angular(), op);
  check_map_gradient(grad_, unwrapped, op);
  const Tensor grad = torch::stable::contiguous(grad_);
  const MapShape shape = shape_of(inputs);
  const WeightArgument weight = weight_of(inputs);
  Tensor out = torch::stable::new_empty(inputs.unwrapped, {shape.count, shape.n_radial, shape.n_angular});
  const Tensor workspace = workspace_like(out, correlation_map_backward_workspace(inputs.dtype, shape, weight));
  check_launch(correlation_map_backward(inputs.dtype, shape, grad.const_data_ptr(), inputs.unwrapped.const_data_ptr(),
                                        weight, map_rule(order, modulus, normalize, 0.0, min_weight),
                                        out.mutable_data_ptr(), workspace.mutable_data_ptr(), stream_of(out)),
               op);
  return out;
}

Tensor cell_weight(const Tensor& weight_, double min_weight) {
  constexpr const char* op = "correlation_weight";
  const DeviceScope scope(weight_);
  STD_TORCH_CHECK(weight_.dim() == 3, op, ": weight must have shape (N, n_radial, n_angular)");
  const DType dtype = floating_dtype(weight_, op, "weight") == DType::f64 ? DType::f64 : DType::f32;
  const Tensor weight = torch::stable::contiguous(torch::stable::to(weight_, compute_type(dtype)));
  const MapShape shape{weight.size(0), weight.size(1), weight.size(2)};
  check_size(shape.n_radial, shape.n_angular, op);
  Tensor out = torch::stable::new_empty(weight, {shape.count, shape.n_radial, shape.n_radial});
  const Tensor workspace = workspace_like(out, correlation_weight_workspace(dtype, shape));
  check_launch(correlation_weight(dtype, shape, weight.const_data_ptr(), min_weight, out.mutable_data_ptr(),
                                  workspace.mutable_data_ptr(), stream_of(out)),
               op);
  return out;
}

// The fused operator's images and geometry, contiguous.
struct DetectorInputs {
  DType dtype;
  Tensor images;
  SamplingGeometry geometry;

  DetectorInputs(const Tensor& images_, const Tensor& center, const std::optional<Tensor>& good, int64_t n_radial,
                 int64_t n_angular, double r_min, double r_max, bool nearest, const char* op)
      : dtype(element_dtype(images_, op, "images")),
        images(torch::stable::contiguous(images_)),
        geometry(SamplingKind::polar, grid_of(images_, n_radial, n_angular, r_min, r_max, nearest, op), center, good,
                 {images_, "images"}, op) {
    geometry.check_covers(images.size(0), op);
  }

  static PolarGrid grid_of(const Tensor& images, int64_t n_radial, int64_t n_angular, double r_min, double r_max,
                           bool nearest, const char* op) {
    check_batch({images, "images"}, op);
    return {images.size(1), images.size(2), n_radial, n_angular, r_min, r_max, nearest};
  }

  DetectorArgument argument() const {
    return {geometry.grid, geometry.center.const_data_ptr<double>(), geometry.good_data(), geometry.center.size(0) == 1,
            !geometry.good.has_value() || geometry.good->size(0) == 1};
  }
};

void write_polar_map(const DetectorInputs& inputs, const MapRule& rule, Tensor& out, const char* op) {
  const int64_t count = inputs.images.size(0);
  const DetectorArgument detector = inputs.argument();
  const Tensor workspace = workspace_like(out, polar_correlation_map_workspace(inputs.dtype, count, detector));
  check_launch(polar_correlation_map(inputs.dtype, count, inputs.images.const_data_ptr(), detector, rule,
                                     out.mutable_data_ptr(), workspace.mutable_data_ptr(), stream_of(out)),
               op);
}

Tensor polar_map(const Tensor& images, const Tensor& center, const std::optional<Tensor>& good, int64_t n_radial,
                 int64_t n_angular, double r_min, double r_max, bool nearest, int64_t order, bool modulus,
                 int64_t normalize, double fill, double min_weight) {
  constexpr const char* op = "polar_correlation_map";
  const DeviceScope scope(images);
  const DetectorInputs inputs(images, center, good, n_radial, n_angular, r_min, r_max, nearest, op);
  check_options(order, normalize, n_radial, n_angular, op);
  Tensor out = torch::stable::new_empty(inputs.images, {images.size(0), n_radial, n_radial}, resampled_type(images));
  write_polar_map(inputs, map_rule(order, modulus, normalize, fill, min_weight), out, op);
  return out;
}

void polar_map_out(const Tensor& images, const Tensor& center, const std::optional<Tensor>& good, int64_t n_angular,
                   double r_min, double r_max, bool nearest, int64_t order, bool modulus, int64_t normalize,
                   double fill, double min_weight, Tensor out) {
  constexpr const char* op = "polar_correlation_map";
  const DeviceScope scope(images);
  STD_TORCH_CHECK(out.dim() == 3, op, ": out must have shape (N, n_radial, n_radial), got ", out.dim(), " dimensions");
  const int64_t n_radial = out.size(1);
  const DetectorInputs inputs(images, center, good, n_radial, n_angular, r_min, r_max, nearest, op);
  check_options(order, normalize, n_radial, n_angular, op);
  check_result(out, {images.size(0), n_radial, n_radial}, resampled_type(images), images, op);
  write_polar_map(inputs, map_rule(order, modulus, normalize, fill, min_weight), out, op);
}

}  // namespace
}  // namespace cdifast::cuda

STABLE_TORCH_LIBRARY_IMPL(CDIFAST_LIBRARY, CDIFAST_CUDA_KEY, m) {
  m.impl("correlation_map", TORCH_BOX(&cdifast::cuda::map));
  m.impl("correlation_map_out", TORCH_BOX(&cdifast::cuda::map_out));
  m.impl("correlation_map_backward", TORCH_BOX(&cdifast::cuda::map_backward));
  m.impl("correlation_weight", TORCH_BOX(&cdifast::cuda::cell_weight));
  m.impl("polar_correlation_map", TORCH_BOX(&cdifast::cuda::polar_map));
  m.impl("polar_correlation_map_out", TORCH_BOX(&cdifast::cuda::polar_map_out));
}
