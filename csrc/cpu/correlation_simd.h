// Loops of the correlation map, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/correlation_math.h"
#include "capability.h"

namespace cdifast::cpu {

struct CorrelationProblem {
  int64_t n_radial;
  int64_t n_angular;
  bool modulus;
  Normalize normalize;
  double fill;
  double needed_weight;  // least pair or ring weight, in angles
};

struct CorrelationKernels {
  // pairs[i, j] = sum_k w[i, k] w[j, k] for j <= i, in the type `dtype` (f32 or f64).
  void (*pair_weights)(DType dtype, const void* weight, int64_t n_radial, int64_t n_angular, void* pairs);
  // One map. `weight` and `pairs` are null where every sample counts fully, else compute_t of `dtype`, as are
  // `harmonic` (cos then sin of the order's angles, 2 K) and `workspace` (n_radial * (n_angular + 3) elements).
  void (*map)(DType dtype, const void* unwrapped, const void* weight, const void* pairs, const void* harmonic,
              const CorrelationProblem& problem, void* workspace, void* out);
};

CDIFAST_DECLARE_KERNELS(CorrelationKernels, correlation_kernels)

}  // namespace cdifast::cpu
