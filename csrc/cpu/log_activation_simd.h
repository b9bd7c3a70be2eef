// Loops of the log activation over flat memory, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"

namespace cdifast::cpu {

struct LogActivationKernels {
  // y[i] = h(x[i])
  void (*forward)(DType dtype, const void* x, void* y, int64_t count, double alpha);
  // grad_x[i] = grad_y[i] h'(x[i])
  void (*backward)(DType dtype, const void* grad_y, const void* x, void* grad_x, int64_t count, double alpha);
  // As backward, and returns this block's part of the gradient of alpha, sum of grad_y[i] h(x[i]) / alpha.
  double (*backward_alpha)(DType dtype, const void* grad_y, const void* x, void* grad_x, int64_t count, double alpha);
};

CDIFAST_DECLARE_KERNELS(LogActivationKernels, log_activation_kernels)

}  // namespace cdifast::cpu
