// The adjoint of resampling with one image a lane, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"

namespace cdifast::cpu {

// Which samples take of which element of the source, and how much: those of element e are begin[e] to begin[e + 1].
struct AdjointView {
  int64_t elements;
  int64_t samples;
  const uint32_t* begin;
  const uint32_t* sample;
  const void* coefficient;  // float or double
};

struct LaneKernels {
  int64_t lanes32;
  int64_t lanes64;

  // out[e] = sum of coefficient * grad[sample] over the list of e, for up to one vector of images that follow each
  // other in both; the type of both is `dtype`. `lanes` has room for a vector of compute_t of it for each sample. With
  // `stream`, results go round the caches.
  void (*gather)(DType dtype, const void* grad, int64_t images, const AdjointView& lists, void* lanes, void* out,
                 bool stream);
};

CDIFAST_DECLARE_KERNELS(LaneKernels, lane_kernels)

}  // namespace cdifast::cpu
