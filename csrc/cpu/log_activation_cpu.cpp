// The log activation on the CPU: checks, the parallel loop, registration.
#include <algorithm>
#include <tuple>
#include <vector>

#include "../torch_bridge.h"
#include "log_activation_simd.h"

namespace cdifast::cpu {
namespace {

// Elements a thread takes at a time. Fixed, so that the blocks, and with them the order in which the gradient
// of alpha is summed, do not depend on the number of threads.
constexpr int64_t kBlock = int64_t{1} << 15;

double alpha_value(const Tensor& alpha) {
  STD_TORCH_CHECK(alpha.numel() == 1, "log_activation: alpha has ", alpha.numel(), " elements; expected 1");
  STD_TORCH_CHECK(alpha.is_cpu(), "log_activation: alpha is on another device than x, which is on the CPU");
  return scalar_value(alpha, "log_activation", "alpha");
}

const char* at(const Tensor& tensor, int64_t element) {
  return static_cast<const char*>(tensor.const_data_ptr()) + element * tensor.element_size();
}

char* mutable_at(const Tensor& tensor, int64_t element) {
  return static_cast<char*>(tensor.mutable_data_ptr()) + element * tensor.element_size();
}

// Calls f(block, first element, number of elements) for every block of kBlock elements.
template <typename F>
void for_each_block(int64_t count, const F& f) {
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock;
      f(block, first, std::min(kBlock, count - first));
    }
  });
}

Tensor forward(const Tensor& x, const Tensor& alpha) {
  const DType dtype = floating_dtype(x, "log_activation", "x");
  const double a = alpha_value(alpha);
  Tensor y = torch::stable::empty_like(x);
  const Tensor source = laid_out_like(x, y);
  const auto& kernels = selected_log_activation_kernels();
  for_each_block(x.numel(), [&](int64_t, int64_t first, int64_t count) {
    kernels.forward(dtype, at(source, first), mutable_at(y, first), count, a);
  });
  return y;
}

Tensor backward(const Tensor& grad, const Tensor& x, const Tensor& alpha) {
  check_gradient(grad, x, "log_activation_backward");
  const DType dtype = floating_dtype(x, "log_activation_backward", "x");
  const double a = alpha_value(alpha);
  Tensor grad_x = torch::stable::empty_like(x);
  const Tensor gradient = laid_out_like(grad, grad_x);
  const Tensor source = laid_out_like(x, grad_x);
  const auto& kernels = selected_log_activation_kernels();
  for_each_block(x.numel(), [&](int64_t, int64_t first, int64_t count) {
    kernels.backward(dtype, at(gradient, first), at(source, first), mutable_at(grad_x, first), count, a);
  });
  return grad_x;
}

std::tuple<Tensor, Tensor> backward_alpha(const Tensor& grad, const Tensor& x, const Tensor& alpha) {
  check_gradient(grad, x, "log_activation_backward");
  const DType dtype = floating_dtype(x, "log_activation_backward_alpha", "x");
  const double a = alpha_value(alpha);
  Tensor grad_x = torch::stable::empty_like(x);
  const Tensor gradient = laid_out_like(grad, grad_x);
  const Tensor source = laid_out_like(x, grad_x);
  const auto& kernels = selected_log_activation_kernels();
  std::vector<double> parts((x.numel() + kBlock - 1) / kBlock, 0.0);
  for_each_block(x.numel(), [&](int64_t block, int64_t first, int64_t count) {
    parts[block] =
        kernels.backward_alpha(dtype, at(gradient, first), at(source, first), mutable_at(grad_x, first), count, a);
  });
  double total = 0.0;
  for (const double part : parts) total += part;
  Tensor grad_alpha = torch::stable::empty_like(alpha);
  dispatch_floating(floating_dtype(alpha, "log_activation_backward_alpha", "alpha"), [&](auto tag) {
    using T = typename decltype(tag)::type;
    store_element(*static_cast<T*>(grad_alpha.mutable_data_ptr()), static_cast<compute_t<T>>(total));
  });
  return {grad_x, grad_alpha};
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  m.impl("log_activation", TORCH_BOX(&cdifast::cpu::forward));
  m.impl("log_activation_backward", TORCH_BOX(&cdifast::cpu::backward));
  m.impl("log_activation_backward_alpha", TORCH_BOX(&cdifast::cpu::backward_alpha));
}
