// Launchers of the log activation: raw pointers and a stream, no torch and no CUDA type, so that g++ can include
// this file. Every function returns a cudaError_t as int, 0 for success.
#pragma once

#include <cstdint>

#include "../common/channel_bias.h"
#include "../common/element.h"

namespace cdifast::cuda {

// alpha is `value`, or where `device` is not null one element there, f32 or f64.
struct AlphaArgument {
  double value;
  const void* device;
  DType device_dtype;
};

// Enough blocks to fill any card several times over; the kernels stride over the rest. The emulator is built with
// fewer, so that short arrays already make them stride.
#if !defined(CDIFAST_MAX_BLOCKS)
#define CDIFAST_MAX_BLOCKS 4096
#endif
constexpr int64_t kLogActivationMaxBlocks = CDIFAST_MAX_BLOCKS;
// Elements of double workspace that log_activation_backward_alpha needs: one part a block of its two launches.
constexpr int64_t kLogActivationWorkspace = 2 * kLogActivationMaxBlocks;

// bias.values: on the device, in float32, or float64 where dtype is f64. y may be x.
int log_activation_forward(DType dtype, const void* x, void* y, int64_t count, const AlphaArgument& alpha,
                           const ChannelBias& bias, void* stream);
int log_activation_backward(DType dtype, const void* grad, const void* x, void* grad_x, int64_t count,
                            const AlphaArgument& alpha, const ChannelBias& bias, void* stream);
// grad_alpha: one element on the device, f32 or f64 as grad_alpha_dtype says.
int log_activation_backward_alpha(DType dtype, const void* grad, const void* x, void* grad_x, void* grad_alpha,
                                  DType grad_alpha_dtype, double* workspace, int64_t count, const AlphaArgument& alpha,
                                  const ChannelBias& bias, void* stream);

}  // namespace cdifast::cuda
