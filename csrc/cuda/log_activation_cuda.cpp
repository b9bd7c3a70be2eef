// The log activation on CUDA: checks, launch on torch's stream, registration.
#include <optional>
#include <tuple>
#include <vector>

#include "../channel_bias.h"
#include "../library.h"
#include "../torch_bridge.h"
#include "device.h"
#include "log_activation_launch.h"
#include "runtime.h"

namespace cdifast::cuda {
namespace {

// An alpha on the GPU in the type that the kernels read; it must outlive the launch.
Tensor readable_alpha(const Tensor& alpha) {
  const DType dtype = floating_dtype(alpha, "log_activation", "alpha");
  const bool half = dtype == DType::f16 || dtype == DType::bf16;
  return half && on_device(alpha) ? torch::stable::to(alpha, ScalarType::Float) : alpha;
}

AlphaArgument alpha_argument(const Tensor& alpha, const Tensor& x) {
  STD_TORCH_CHECK(alpha.numel() == 1, "log_activation: alpha has ", alpha.numel(), " elements; expected 1");
  AlphaArgument argument{0.0, nullptr, DType::f64};
  if (!on_device(alpha)) {
    argument.value = scalar_value(alpha, "log_activation", "alpha");
  } else {
    STD_TORCH_CHECK(alpha.get_device_index() == x.get_device_index(),
                    "log_activation: alpha is on another device than x");
    argument.device = alpha.const_data_ptr();
    argument.device_dtype = floating_dtype(alpha, "log_activation", "alpha");
  }
  return argument;
}

void check_launch(int error) { STD_TORCH_CHECK(error == 0, "log_activation: CUDA error: ", error_text(error)); }

void forward_into(const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias, Tensor& y) {
  const DeviceScope scope(x);
  const Tensor alpha_ = readable_alpha(alpha);
  const DType dtype = floating_dtype(x, "log_activation", "x");
  const BiasHolder holder = channel_bias(bias, y, "log_activation");
  const void* source = x.const_data_ptr();
  if (!same_layout(x, y)) {
    torch::stable::copy_(y, x);
    source = y.const_data_ptr();
  }
  check_launch(log_activation_forward(dtype, source, y.mutable_data_ptr(), y.numel(), alpha_argument(alpha_, x),
                                      holder.argument, stream_of(x)));
}

Tensor forward(const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias) {
  const DeviceScope scope(x);
  Tensor y = torch::stable::empty_like(x);
  forward_into(x, alpha, bias, y);
  return y;
}

void forward_out(const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias, Tensor out) {
  check_elementwise_out(out, x, "log_activation");
  forward_into(x, alpha, bias, out);
}

Tensor backward(const Tensor& grad, const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias) {
  const DeviceScope scope(x);
  const Tensor alpha_ = readable_alpha(alpha);
  check_gradient(grad, x, "log_activation_backward");
  const DType dtype = floating_dtype(x, "log_activation_backward", "x");
  Tensor grad_x = torch::stable::empty_like(x);
  const Tensor gradient = laid_out_like(grad, grad_x);
  const Tensor source = laid_out_like(x, grad_x);
  const BiasHolder holder = channel_bias(bias, grad_x, "log_activation_backward");
  check_launch(log_activation_backward(dtype, gradient.const_data_ptr(), source.const_data_ptr(),
                                       grad_x.mutable_data_ptr(), x.numel(), alpha_argument(alpha_, x), holder.argument,
                                       stream_of(x)));
  return grad_x;
}

std::tuple<Tensor, Tensor> backward_alpha(const Tensor& grad, const Tensor& x, const Tensor& alpha,
                                          const std::optional<Tensor>& bias) {
  const DeviceScope scope(x);
  const Tensor alpha_ = readable_alpha(alpha);
  check_gradient(grad, x, "log_activation_backward");
  const DType dtype = floating_dtype(x, "log_activation_backward_alpha", "x");
  Tensor grad_x = torch::stable::empty_like(x);
  const Tensor gradient = laid_out_like(grad, grad_x);
  const Tensor source = laid_out_like(x, grad_x);
  const BiasHolder holder = channel_bias(bias, grad_x, "log_activation_backward_alpha");
  const DType alpha_dtype = floating_dtype(alpha, "log_activation_backward_alpha", "alpha");
  // Summed on x's device, whatever alpha's; the copy back to a CPU alpha is then the only synchronisation.
  const ScalarType sum_type = alpha_dtype == DType::f64 ? ScalarType::Double : ScalarType::Float;
  Tensor total = torch::stable::new_empty(x, {1}, sum_type);
  const Tensor workspace = torch::stable::new_empty(x, {kLogActivationWorkspace}, ScalarType::Double);
  check_launch(log_activation_backward_alpha(
      dtype, gradient.const_data_ptr(), source.const_data_ptr(), grad_x.mutable_data_ptr(), total.mutable_data_ptr(),
      alpha_dtype == DType::f64 ? DType::f64 : DType::f32, workspace.mutable_data_ptr<double>(), x.numel(),
      alpha_argument(alpha_, x), holder.argument, stream_of(x)));
  Tensor grad_alpha = torch::stable::empty_like(alpha);
  torch::stable::copy_(grad_alpha, torch::stable::reshape(total, alpha.sizes()));
  return {grad_x, grad_alpha};
}

// The sum of grad_x over all dimensions but 1: torch's own, which is deterministic on a GPU.
Tensor backward_bias(const Tensor& grad_x) {
  const DeviceScope scope(grad_x);
  floating_dtype(grad_x, "log_activation_backward_bias", "grad_x");
  STD_TORCH_CHECK(grad_x.dim() >= 2, "log_activation_backward_bias: grad_x must have two dimensions or more");
  std::vector<int64_t> dims{0};
  for (int64_t d = 2; d < grad_x.dim(); ++d) dims.push_back(d);
  return torch::stable::sum(grad_x, dims, false, compute_scalar_type(grad_x));
}

}  // namespace
}  // namespace cdifast::cuda

STABLE_TORCH_LIBRARY_IMPL(CDIFAST_LIBRARY, CDIFAST_CUDA_KEY, m) {
  m.impl("log_activation", TORCH_BOX(&cdifast::cuda::forward));
  m.impl("log_activation_out", TORCH_BOX(&cdifast::cuda::forward_out));
  m.impl("log_activation_backward", TORCH_BOX(&cdifast::cuda::backward));
  m.impl("log_activation_backward_alpha", TORCH_BOX(&cdifast::cuda::backward_alpha));
  m.impl("log_activation_backward_bias", TORCH_BOX(&cdifast::cuda::backward_bias));
}
