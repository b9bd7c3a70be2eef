// Angular harmonics on CUDA: checks, launch on torch's stream, registration.
#include <optional>

#include "../correlation_checks.h"
#include "../library.h"
#include "../torch_bridge.h"
#include "device.h"
#include "grid.h"
#include "harmonics_launch.h"

namespace cdifast::cuda {
namespace {

Tensor checked_orders(const Tensor& orders, const Tensor& like, const char* like_name, const char* op) {
  STD_TORCH_CHECK(orders.dim() == 1, op, ": orders must have shape (O,), got ", orders.dim(), " dimensions");
  return checked_indices(orders, "orders", like, like_name, op);
}

void check_angles(int64_t n_angular, const char* op) {
  STD_TORCH_CHECK(n_angular >= 1 && n_angular <= kMostAngles, op, ": n_angular must be from 1 to 2^25, got ",
                  n_angular);
}

HarmonicsShape shape_of(const UnwrappedInputs& inputs, const Tensor& orders, const char* op) {
  check_angles(inputs.n_angular(), op);
  return {inputs.count(), inputs.n_radial(), inputs.n_angular(), orders.size(0)};
}

void write_harmonics(const UnwrappedInputs& inputs, const HarmonicsShape& shape, const Tensor& orders, Tensor& out,
                     const char* op) {
  const Tensor workspace = workspace_like(out, angular_harmonics_workspace(inputs.dtype, shape));
  check_launch(angular_harmonics(inputs.dtype, shape, inputs.unwrapped.const_data_ptr(), inputs.weight_data(),
                                 inputs.shared_weight(), orders.const_data_ptr<int64_t>(), out.mutable_data_ptr(),
                                 workspace.mutable_data_ptr(), stream_of(out)),
               op);
}

Tensor harmonics(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& orders_) {
  constexpr const char* op = "angular_harmonics";
  const DeviceScope scope(unwrapped);
  const UnwrappedInputs inputs(unwrapped, weight, op);
  const Tensor orders = checked_orders(orders_, unwrapped, "unwrapped", op);
  const HarmonicsShape shape = shape_of(inputs, orders, op);
  Tensor out = torch::stable::new_empty(inputs.unwrapped, {shape.count, shape.n_orders, shape.n_radial, 2},
                                        compute_type(inputs.dtype));
  write_harmonics(inputs, shape, orders, out, op);
  return out;
}

void harmonics_out(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& orders_, Tensor out) {
  constexpr const char* op = "angular_harmonics";
  const DeviceScope scope(unwrapped);
  const UnwrappedInputs inputs(unwrapped, weight, op);
  const Tensor orders = checked_orders(orders_, unwrapped, "unwrapped", op);
  const HarmonicsShape shape = shape_of(inputs, orders, op);
  check_result(out, {shape.count, shape.n_orders, shape.n_radial, 2}, compute_type(inputs.dtype), unwrapped, op);
  write_harmonics(inputs, shape, orders, out, op);
}

Tensor harmonics_backward(const Tensor& grad_, const std::optional<Tensor>& weight_, const Tensor& orders_,
                          int64_t n_angular) {
  constexpr const char* op = "angular_harmonics_backward";
  const DeviceScope scope(grad_);
  const DType dtype = complex_parts(grad_, 4, "grad", op);
  const Tensor grad = torch::stable::contiguous(grad_);
  const Tensor orders = checked_orders(orders_, grad, "grad", op);
  const HarmonicsShape shape{grad.size(0), grad.size(2), n_angular, grad.size(1)};
  STD_TORCH_CHECK(orders.size(0) == shape.n_orders, op, ": grad is of ", shape.n_orders, " orders, but there are ",
                  orders.size(0));
  check_angles(n_angular, op);
  const std::optional<Tensor> weight =
      checked_weight(weight_, dtype, grad, "grad", shape.count, shape.n_radial, n_angular, op);
  Tensor out = torch::stable::new_empty(grad, {shape.count, shape.n_radial, n_angular});
  const Tensor workspace = workspace_like(out, angular_harmonics_backward_workspace(dtype, shape));
  check_launch(angular_harmonics_backward(dtype, shape, grad.const_data_ptr(),
                                          weight.has_value() ? weight->const_data_ptr() : nullptr,
                                          !weight.has_value() || weight->size(0) == 1, orders.const_data_ptr<int64_t>(),
                                          out.mutable_data_ptr(), workspace.mutable_data_ptr(), stream_of(out)),
               op);
  return out;
}

}  // namespace
}  // namespace cdifast::cuda

STABLE_TORCH_LIBRARY_IMPL(CDIFAST_LIBRARY, CDIFAST_CUDA_KEY, m) {
  m.impl("angular_harmonics", TORCH_BOX(&cdifast::cuda::harmonics));
  m.impl("angular_harmonics_out", TORCH_BOX(&cdifast::cuda::harmonics_out));
  m.impl("angular_harmonics_backward", TORCH_BOX(&cdifast::cuda::harmonics_backward));
}
