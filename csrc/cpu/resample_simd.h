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

// Where a sample of an output of `rows` x `columns` goes: row after row, past the caches or not; or, of plans that are
// tiles throughout, panel after panel of kGroup rows, in each column after column: what a map's product reads.
enum class Placement : uint8_t { rows, streamed_rows, panels };

struct ResampleKernels {
  // Puts the `count` samples of row `row` of the output from column `first` on, at most a group, into a Placed<float>
  // or Placed<double>.
  void (*place)(const Sampling& sampling, const double* cosines, const double* sines, int64_t row, int64_t first,
                int64_t count, bool float64, void* placed);
  // out[s] = sample s of `image`, for the plan's groups begin to end, whole tiles. `image` has the type `dtype`; `out`
  // the same one, or float for integers, or `out_dtype` f32 in any case where the plan holds floats.
  void (*forward)(DType dtype, DType out_dtype, const void* image, const PlanView& plan, int64_t begin, int64_t end,
                  double fill, void* out, Placement placement, const Prefetch& prefetch);
  // The same without a plan, but for groups with samples that lack one of their neighbours: done[g] says whether group
  // g of a plan in rows was sampled. `next` is asked for meanwhile: the image to come, unless null.
  void (*forward_once)(DType dtype, DType out_dtype, const void* image, const Sampling& sampling, const double* cosines,
                       const double* sines, const void* next, void* out, uint8_t* done);
  // grad_image += the adjoint of forward applied to grad, in compute_t of `dtype`.
  void (*adjoint)(DType dtype, const void* grad, const PlanView& plan, void* grad_image);
};

CDIFAST_DECLARE_KERNELS(ResampleKernels, resample_kernels)

}  // namespace cdifast::cpu
