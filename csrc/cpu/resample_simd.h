// Loops of resampling over a plan and of planning itself, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"
#include "resample_plan.h"

namespace cdifast::cpu {

// Lines asked for ahead of their use: enough to cover the way from memory, few enough not to push out each other.
constexpr int64_t kAheadLines = 128;

// Which cache lines groups need, so that they are asked for some time before: see TouchedLines. After those of the
// image come those of the image `next`, unless it is null.
struct Prefetch {
  const uint32_t* line = nullptr;
  const uint32_t* before = nullptr;
  int64_t count = 0;  // of the image's, those to ask for
  int64_t asked = 0;  // before
  const char* next = nullptr;
};

struct ResampleKernels {
  // Where the samples of row `row` of the output lie: positions y and x; the first of four neighbours and the
  // position's fractions between them (float or double); whether all four lie in the source (-1 or 0). The arrays have
  // room for kGroup more than the row's samples.
  void (*place_row)(const Sampling& sampling, const double* cosines, const double* sines, int64_t row, bool float64,
                    double* y, double* x, int32_t* element, void* fy, void* fx, int32_t* inside);
  // out[s] = sample s of `image`, for the plan's groups begin to end, whole tiles. `image` has the type `dtype`; `out`
  // the same one, or float for integers, or `out_dtype` f32 in any case where the plan holds floats. With `stream`,
  // results go round the caches.
  void (*forward)(DType dtype, DType out_dtype, const void* image, const PlanView& plan, int64_t begin, int64_t end,
                  double fill, void* out, bool stream, const Prefetch& prefetch);
  // grad_image += the adjoint of forward applied to grad, in compute_t of `dtype`.
  void (*adjoint)(DType dtype, const void* grad, const PlanView& plan, void* grad_image);
};

CDIFAST_DECLARE_KERNELS(ResampleKernels, resample_kernels)

}  // namespace cdifast::cpu
