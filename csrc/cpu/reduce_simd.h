// One frame reduced to fewer cells by a separable filter, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"

namespace cdifast::cpu {

// A filter along one axis: cell i is the sum over k < taps of weights * pixel first[i] + k. All pixels named exist.
struct Taps {
  int64_t cells;
  int64_t taps;
  const int32_t* first;
  const float* weights;  // rows: [cell][tap]; columns: [tap][cell], as loops over cells want them
};

struct Reduction {
  int64_t height;
  int64_t width;
  Taps rows;
  Taps columns;
};

struct ReduceKernels {
  // `bad` (height, width), or null: pixels that count as 0, whatever they hold. `line` has room for a row of pixels,
  // `out` for rows.cells * columns.cells.
  void (*reduce)(DType dtype, const void* frame, const bool* bad, const Reduction& reduction, float* line, float* out);
};

CDIFAST_DECLARE_KERNELS(ReduceKernels, reduce_kernels)

}  // namespace cdifast::cpu
