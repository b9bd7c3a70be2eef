// Resampling and its adjoint with one image a lane, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"
#include "plan_view.h"

namespace cdifast::cpu {

// Which samples take of which element of the source, and how much: those of element e are begin[e] to begin[e + 1].
struct AdjointView {
  int64_t elements;
  int64_t samples;
  const uint32_t* begin;
  const uint32_t* sample;
  const void* coefficient;  // float or double
};

// The runs of 16 elements of an image that samples read, in the order in which groups first need them, and how many are
// needed before each group, and by all.
struct NeededRuns {
  const uint32_t* run;
  const uint32_t* before;  // one more than groups
};

struct LaneKernels {
  int64_t lanes32;
  int64_t lanes64;

  // out[e] = sum of coefficient * grad[sample] over the list of e, for up to one vector of images that follow each
  // other in both; the type of both is `dtype`. `lanes` has room for a vector of compute_t of it for each sample. With
  // `stream`, results go round the caches.
  void (*gather)(DType dtype, const void* grad, int64_t images, const AdjointView& lists, void* lanes, void* out,
                 bool stream);

  // out[s] = sample s of up to lanes32 images, which follow each other in both; bit for bit what ResampleKernels'
  // forward gives. Null where a vector has fewer than 16 lanes: with 8, and with 4, images one by one took as long or
  // less. Not for double. `out` has the type `out_dtype`, that of the images or float. `lanes` has room for a
  // vector of floats for each element of an image, up to a whole run.
  void (*forward)(DType dtype, DType out_dtype, const void* image, int64_t images, int64_t samples,
                  const PlanView& plan, const NeededRuns& needed, double fill, void* lanes, void* out, bool stream);
};

CDIFAST_DECLARE_KERNELS(LaneKernels, lane_kernels)

}  // namespace cdifast::cpu
