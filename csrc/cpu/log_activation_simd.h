// Loops of the log activation over flat memory, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/channel_bias.h"
#include "../common/element.h"
#include "capability.h"

namespace cdifast::cpu {

// A part of a dense tensor. The kernels' pointers are to the whole tensor's first element.
struct Span {
  int64_t first;
  int64_t count;
};

struct LogActivationArguments {
  DType dtype;
  double alpha;
  ChannelBias bias;
  bool stream;  // write past the caches
};

// Few enough that their sums stay in registers: one line of memory in float32.
constexpr int64_t kChannelsAtATime = 16;

// The gradient of x with its channels lying (rows, channels, inner) in memory, and a block of it.
struct ChannelBlock {
  int64_t channels;
  int64_t inner;
  Span rows;
  Span of_channels;  // at most kChannelsAtATime
};

struct LogActivationKernels {
  // y[i] = h(x[i] + bias). y may be x.
  void (*forward)(const LogActivationArguments& arguments, const void* x, void* y, Span span);
  // grad_x[i] = grad_y[i] h'(x[i] + bias)
  void (*backward)(const LogActivationArguments& arguments, const void* grad_y, const void* x, void* grad_x, Span span);
  // As backward, and returns this span's part of the gradient of alpha, sum of grad_y[i] h(x[i] + bias) / alpha.
  double (*backward_alpha)(const LogActivationArguments& arguments, const void* grad_y, const void* x, void* grad_x,
                           Span span);
  // sums[c] = sum of grad_x over the block's rows and the inner elements, for each of its channels.
  void (*channel_sums)(DType dtype, const void* grad_x, const ChannelBlock& block, double* sums);
};

CDIFAST_DECLARE_KERNELS(LogActivationKernels, log_activation_kernels)

}  // namespace cdifast::cpu
