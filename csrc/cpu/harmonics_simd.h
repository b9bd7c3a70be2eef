// Loops of the angular harmonics, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"

namespace cdifast::cpu {

struct HarmonicsProblem {
  int64_t n_radial;
  int64_t n_angular;
  int64_t n_orders;
  // The orders sorted by parity, even ones first, and where each one's result lies. For odd K parity means nothing, and
  // all count as even.
  int64_t n_even;
  const int64_t* order;
  const int64_t* slot;
  // cos, sin of 2 pi n k / K, order after order as above, for k = 0 .. K/2 + 4; in compute_t of the rings' type.
  const void* table;
};

struct HarmonicsKernels {
  int64_t lanes32;
  int64_t lanes64;

  // One vector's worth of rings of a map, from `ring` on. `rings`, `weight` (null where every sample counts fully),
  // `out` and `grad` are the map's; all but `rings` are compute_t of `dtype`. buffer: 2 K + 2 n_orders vectors.
  void (*forward)(DType dtype, const void* rings, const void* weight, const HarmonicsProblem& problem, int64_t ring,
                  void* buffer, void* out);
  // `dtype`: f32 or f64. stream: grad_rings is aligned to cache lines, as is every ring, and is written past the
  // caches.
  void (*backward)(DType dtype, const void* grad, const void* weight, const HarmonicsProblem& problem, int64_t ring,
                   bool stream, void* buffer, void* grad_rings);
};

CDIFAST_DECLARE_KERNELS(HarmonicsKernels, harmonics_kernels)

}  // namespace cdifast::cpu
