// Loops of polar resampling and its adjoint over a sampling plan, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"

namespace cdifast::cpu {

// One sample of the unwrapped map: value = sum of coefficient * image[pixel]. Unused places have coefficient 0;
// a sample that gets the fill value has pixel[0] = -1.
template <typename C>
struct PlannedSample {
  int32_t pixel[4];
  C coefficient[4];
};

struct PolarKernels {
  // out[s] = sample s of the image, or fill. `plan` holds PlannedSample<compute_t<T>> for the image's type T;
  // `out` has the image's type, or float for integer images.
  void (*forward)(DType dtype, const void* image, const void* plan, int64_t samples, double fill, void* out);
  // grad_image += the adjoint of forward applied to grad. grad_image is compute_t<T>, zeroed by the caller.
  void (*adjoint)(DType dtype, const void* grad, const void* plan, int64_t samples, void* grad_image);
};

CDIFAST_DECLARE_KERNELS(PolarKernels, polar_kernels)

}  // namespace cdifast::cpu
