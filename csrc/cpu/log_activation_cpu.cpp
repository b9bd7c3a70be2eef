// The log activation on the CPU: checks, the parallel loop, registration.
#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "../channel_bias.h"
#include "../torch_bridge.h"
#include "log_activation_simd.h"

namespace cdifast::cpu {
namespace {

// Elements a thread takes at a time. Fixed, so that the blocks, and with them the order in which gradients of alpha
// and bias are summed, do not depend on the number of threads.
constexpr int64_t kBlock = int64_t{1} << 15;

// Results from this size on are written past the caches (tiles.h). Measured on a Xeon with 2 MB of level-2 cache a core
// (AVX-512, 2 threads), as the time of the activation and of a read of its result right after: below 8 MiB plain stores
// are faster by up to a half, at 16 MiB both are equal, at 64 MiB streaming is faster by a third.
constexpr int64_t kStreamBytes = int64_t{1} << 24;

double alpha_value(const Tensor& alpha) {
  STD_TORCH_CHECK(alpha.numel() == 1, "log_activation: alpha has ", alpha.numel(), " elements; expected 1");
  STD_TORCH_CHECK(alpha.is_cpu(), "log_activation: alpha is on another device than x, which is on the CPU");
  return scalar_value(alpha, "log_activation", "alpha");
}

int64_t ceil_div(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Calls f(block, span) for every block of kBlock elements.
template <typename F>
void for_each_block(int64_t count, const F& f) {
  torch::stable::parallel_for(0, ceil_div(count, kBlock), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock;
      f(block, Span{first, std::min(kBlock, count - first)});
    }
  });
}

LogActivationArguments arguments_for(const Tensor& result, const Tensor& alpha, const BiasHolder& bias,
                                     const char* op) {
  const int64_t bytes = result.numel() * static_cast<int64_t>(result.element_size());
  return {floating_dtype(result, op, "x"), alpha_value(alpha), bias.argument, bytes >= kStreamBytes};
}

void forward_into(const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias, Tensor& y) {
  const BiasHolder holder = channel_bias(bias, y, "log_activation");
  LogActivationArguments arguments = arguments_for(y, alpha, holder, "log_activation");
  const void* source = x.const_data_ptr();
  if (!same_layout(x, y)) {
    torch::stable::copy_(y, x);
    source = y.const_data_ptr();
  }
  // In place, the line to write is in the cache already.
  if (source == y.const_data_ptr()) arguments.stream = false;
  void* target = y.mutable_data_ptr();
  const auto& kernels = selected_log_activation_kernels();
  for_each_block(y.numel(), [&](int64_t, Span span) { kernels.forward(arguments, source, target, span); });
}

Tensor forward(const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias) {
  Tensor y = torch::stable::empty_like(x);
  forward_into(x, alpha, bias, y);
  return y;
}

void forward_out(const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias, Tensor out) {
  check_elementwise_out(out, x, "log_activation");
  forward_into(x, alpha, bias, out);
}

Tensor backward(const Tensor& grad, const Tensor& x, const Tensor& alpha, const std::optional<Tensor>& bias) {
  check_gradient(grad, x, "log_activation_backward");
  Tensor grad_x = torch::stable::empty_like(x);
  const Tensor gradient = laid_out_like(grad, grad_x);
  const Tensor source = laid_out_like(x, grad_x);
  const BiasHolder holder = channel_bias(bias, grad_x, "log_activation_backward");
  const LogActivationArguments arguments = arguments_for(grad_x, alpha, holder, "log_activation_backward");
  void* target = grad_x.mutable_data_ptr();
  const auto& kernels = selected_log_activation_kernels();
  for_each_block(x.numel(), [&](int64_t, Span span) {
    kernels.backward(arguments, gradient.const_data_ptr(), source.const_data_ptr(), target, span);
  });
  return grad_x;
}

std::tuple<Tensor, Tensor> backward_alpha(const Tensor& grad, const Tensor& x, const Tensor& alpha,
                                          const std::optional<Tensor>& bias) {
  check_gradient(grad, x, "log_activation_backward");
  Tensor grad_x = torch::stable::empty_like(x);
  const Tensor gradient = laid_out_like(grad, grad_x);
  const Tensor source = laid_out_like(x, grad_x);
  const BiasHolder holder = channel_bias(bias, grad_x, "log_activation_backward_alpha");
  const LogActivationArguments arguments = arguments_for(grad_x, alpha, holder, "log_activation_backward_alpha");
  void* target = grad_x.mutable_data_ptr();
  const auto& kernels = selected_log_activation_kernels();
  std::vector<double> parts(ceil_div(x.numel(), kBlock), 0.0);
  for_each_block(x.numel(), [&](int64_t block, Span span) {
    parts[block] = kernels.backward_alpha(arguments, gradient.const_data_ptr(), source.const_data_ptr(), target, span);
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

// Rows that are summed in one go: enough for a block of work, and few enough parts that they stay small beside grad_x.
int64_t rows_of_a_part(int64_t rows, int64_t row_size) {
  constexpr int64_t kMostParts = 64;
  return std::max({kBlock / row_size, ceil_div(rows, kMostParts), int64_t{1}});
}

// The sum of grad_x over all dimensions but 1. Not torch's own, whose order of summation depends on the number of
// threads.
Tensor backward_bias(const Tensor& grad_x) {
  const DType dtype = floating_dtype(grad_x, "log_activation_backward_bias", "grad_x");
  STD_TORCH_CHECK(grad_x.dim() >= 2, "log_activation_backward_bias: grad_x must have two dimensions or more");
  const Tensor source = laid_out_like(grad_x, torch::stable::empty_like(grad_x));
  const ChannelBias layout = channels_of(source);
  Tensor result = torch::stable::new_zeros(grad_x, {layout.channels}, compute_scalar_type(grad_x));
  if (grad_x.numel() == 0) return result;

  const int64_t inner = layout.channels == 1 ? 1 : layout.inner;
  const int64_t row_size = layout.channels * inner;
  const int64_t rows = grad_x.numel() / row_size;
  const int64_t part_rows = rows_of_a_part(rows, row_size);
  const int64_t parts = ceil_div(rows, part_rows);
  const int64_t group = std::max(kChannelsAtATime / inner, int64_t{1});  // channels: a line of memory, at least
  const int64_t groups = ceil_div(layout.channels, group);
  std::vector<double> sums(parts * layout.channels);
  const auto& kernels = selected_log_activation_kernels();
  torch::stable::parallel_for(0, parts * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t part = i / groups, row = part * part_rows, channel = i % groups * group;
      const ChannelBlock block = {layout.channels,
                                  inner,
                                  {row, std::min(part_rows, rows - row)},
                                  {channel, std::min(group, layout.channels - channel)}};
      kernels.channel_sums(dtype, source.const_data_ptr(), block, &sums[part * layout.channels + channel]);
    }
  });
  dispatch_floating(dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    C* target = static_cast<C*>(result.mutable_data_ptr());
    for (int64_t c = 0; c < layout.channels; ++c) {
      double total = 0.0;
      for (int64_t part = 0; part < parts; ++part) total += sums[part * layout.channels + c];
      target[c] = static_cast<C>(total);
    }
  });
  return result;
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  m.impl("log_activation", TORCH_BOX(&cdifast::cpu::forward));
  m.impl("log_activation_out", TORCH_BOX(&cdifast::cpu::forward_out));
  m.impl("log_activation_backward", TORCH_BOX(&cdifast::cpu::backward));
  m.impl("log_activation_backward_alpha", TORCH_BOX(&cdifast::cpu::backward_alpha));
  m.impl("log_activation_backward_bias", TORCH_BOX(&cdifast::cpu::backward_bias));
}
