// Loops of the full angular correlation, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "capability.h"
#include "fft_plan.h"

namespace cdifast::cpu {

// Pairs of rings in groups of one vector: the pairs of a group are transformed together, one a lane. Within a segment
// of lanes the second rings follow each other, so that their spectra are read as vectors; the first ring is one and the
// same, or they follow each other as well, as for each ring with itself. Most groups of "all pairs" are one whole
// segment.
struct PairSegment {
  int64_t begin, end;  // lanes
  int64_t first;       // the place of ring i; where those follow each other, as `second`
  int64_t second;      // the place of ring j of lane 0, were the segment to begin there; may be negative
  int64_t row;         // where the spectrum of the one ring i begins; -1 where the first rings follow each other
};

struct PairGroups {
  int64_t count;
  const PairSegment* segment;
  const int64_t* first_segment;  // count + 1
  const int64_t* pair;           // of every lane: where the result goes; count * lanes
  bool rows;                     // some segment has a row
};

// Spectra lie in blocks of as many rings as a vector has lanes, with a vector to spare before the first and after the
// last: a segment reads whole vectors. A block has them twice: as [slot of a frequency][re, im][lane], a ring a lane,
// so that the steps of a transform have addresses a constant apart; and as rows, [ring][slot][re, im], for the ring
// that all lanes of a segment share: taken from the former it would fill the first-level cache with lines of which it
// needs one number. They are divided by K: C is then the plain unnormalised inverse transform of their products.
CDIFAST_HOST int64_t place_of_ring(int64_t ring, int64_t bins, int64_t lanes) {
  return ring / lanes * 4 * bins * lanes + ring % lanes;
}

CDIFAST_HOST int64_t row_of_ring(int64_t ring, int64_t bins, int64_t lanes) {
  return (ring / lanes * 2 + 1) * 2 * bins * lanes + ring % lanes * 2 * bins;
}

// Numbers in the spectra of a map.
CDIFAST_HOST int64_t spectra_size(int64_t n_radial, int64_t bins, int64_t lanes) {
  return (n_radial + lanes - 1) / lanes * lanes * 4 * bins;
}

struct AngularKernels {
  int64_t lanes32;
  int64_t lanes64;

  // Spectra of one map's weighted rings, w I; `spectra` points to the first one, behind the vector to spare. `weight`
  // may be null; its type and those of `spectra` and `buffer` (plan.workspace() vectors) are compute_t of `dtype`, here
  // and below. `rows`: whether they are wanted as rows, too.
  void (*spectra)(DType dtype, const void* rings, const void* weight, int64_t n_radial, const void* plan, bool rows,
                  void* buffer, void* spectra);

  // Groups [begin, end) of `images` maps whose spectra follow each other. `weight_spectra` may be null; it is one
  // map's. `needed`: least pair weight as a fraction of K. buffer: 2 plan.workspace() vectors. out: the first map's
  // results.
  void (*correlate)(DType dtype, const void* plan, const PairGroups& groups, int64_t begin, int64_t end,
                    const void* spectra, int64_t images, int64_t pairs, const void* weight_spectra, double fill,
                    double needed, int64_t spectra_stride, bool stream, void* buffer, void* out);

  // The gradient of one map's rings from that of its results. buffer: 2 plan.workspace() + 2 plan.bins vectors;
  // adjoint: as large as spectra.
  void (*backward)(DType dtype, const void* grad, const void* plan, int64_t n_radial, const PairGroups& groups,
                   const void* spectra, const void* weight, const void* weight_spectra, double needed, void* buffer,
                   void* adjoint, void* grad_rings);

  // conj(S_i) S_j of interleaved spectra, one pair; and both its adjoints, added to `sum`.
  void (*product)(DType dtype, const void* first, const void* second, int64_t bins, void* out);
  void (*add_product)(DType dtype, const void* product, const void* spectrum, bool conjugate, int64_t bins, void* sum);
};

CDIFAST_DECLARE_KERNELS(AngularKernels, angular_kernels)

}  // namespace cdifast::cpu
