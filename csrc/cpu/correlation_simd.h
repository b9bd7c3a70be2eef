// Loops of the correlation map and its gradient, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/correlation_math.h"
#include "capability.h"

namespace cdifast::cpu {

struct CorrelationProblem {
  int64_t n_radial;
  int64_t n_angular;
  int64_t order;
  bool modulus;
  Normalize normalize;
  double fill;
  double needed_weight;           // least pair or ring weight, in angles
  const double* harmonic;         // cos, then sin, of 2 pi order k / n_angular: 2 n_angular numbers
  const float* rounded_harmonic;  // the same
};

// Rings are packed, and products computed, in panels of this many.
constexpr int64_t kPanel = 16;
constexpr int64_t panels(int64_t n_radial) { return (n_radial + kPanel - 1) / kPanel; }

// Whether rings go into a map's product as they are, and their harmonics are sums of differences half a period apart.
// `weighted`: whether some sample does not count fully.
CDIFAST_HOST bool are_plain(const CorrelationProblem& problem, bool weighted) {
  return !weighted && problem.normalize == Normalize::none && problem.n_angular % (2 * problem.order) == 0;
}

// Whether the product can read rings as Placement::panels leaves them (resample_simd.h).
CDIFAST_HOST bool takes_panels(const CorrelationProblem& problem, bool weighted) {
  return are_plain(problem, weighted) && problem.n_radial % kPanel == 0 && problem.n_angular % kPanel == 0;
}

// Elements of compute type that `map` and `pair_weights` need: the rings in panels, a panel's rings one by one, the
// symmetric product, and the rings' harmonics, moduli and flags.
constexpr int64_t map_workspace(int64_t n_radial, int64_t n_angular) {
  const int64_t padded = panels(n_radial) * kPanel;
  return padded * n_angular + kPanel * n_angular + padded * padded + 4 * padded;
}

// Elements of compute type that `gradient` needs: the rings and their gradient, the symmetric matrix between them, one
// ring, and the rings' numbers.
constexpr int64_t gradient_workspace(int64_t n_radial, int64_t n_angular) {
  const int64_t padded = panels(n_radial) * kPanel;
  const int64_t columns = panels(n_angular) * kPanel;
  return 2 * padded * columns + padded * padded + columns + 5 * padded;
}

// Memory to ask for ahead of its use: cache lines from `base` on, those listed or, where `line` is null, all of them.
struct NextRead {
  const char* base = nullptr;
  const uint32_t* line = nullptr;
  int64_t count = 0;
};

// Workspaces start at a multiple of 64 bytes. `weight` and `pairs` are null where every sample counts fully, else of
// compute_t of `dtype`.
struct CorrelationKernels {
  // pairs[i, j] = sum_k w[i, k] w[j, k] for j <= i, in the type `dtype` (f32 or f64). `map` reads kPanel numbers more
  // than the n_radial^2 of `pairs`, whatever they are.
  void (*pair_weights)(DType dtype, const void* weight, int64_t n_radial, int64_t n_angular, void* workspace,
                       void* pairs);
  // One map of rings of `dtype`, written as `out_dtype`: `dtype` itself, or a narrower one for float rings. `next` is
  // what the thread will read after this map. With `in_panels`, that is how the rings lie, which takes_panels() allows.
  // With `stream`, results go round the caches where their rows are whole lines.
  void (*map)(DType dtype, DType out_dtype, const void* unwrapped, bool in_panels, const void* weight,
              const void* pairs, const CorrelationProblem& problem, const NextRead& next, void* workspace, bool stream,
              void* out);
  // The gradient of one map with respect to its rings, given `grad` with respect to the map; all of `dtype`.
  void (*gradient)(DType dtype, const void* grad, const void* unwrapped, const void* weight, const void* pairs,
                   const CorrelationProblem& problem, void* workspace, void* grad_unwrapped);
};

CDIFAST_DECLARE_KERNELS(CorrelationKernels, correlation_kernels)

}  // namespace cdifast::cpu
