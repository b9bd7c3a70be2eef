// Launchers of the products of spectra and of the functions of all lags that are made of them: raw pointers and a
// stream, no torch and no CUDA type, so that g++ can include this file. Every launcher returns a cudaError_t as int, 0
// for success.
#pragma once

#include <cstdint>

#include "../common/element.h"

namespace cdifast::cuda {

struct SpectraShape {
  int64_t count;
  int64_t n_radial;
  int64_t n_pairs;
  int64_t n_frequencies;
};

// dtype f32 or f64, of complex numbers, which must be aligned to twice its size.
int pair_spectra(DType dtype, const SpectraShape& shape, const void* spectra, const int64_t* pairs, void* out,
                 void* stream);
int pair_spectra_adjoint(DType dtype, const SpectraShape& shape, const void* product, const void* spectra,
                         const int64_t* pairs, const int64_t* first, const int64_t* entries, void* out, void* stream);

// For all maps the same, or one set for each, (1 or count, P, K); null for none.
struct InverseWeights {
  const float* data;
  bool shared;
};

// spectra (count, R, K / 2 + 1) complex, of float; K even; out (count, P, K): the inverse real transform of the
// products, times `inverse`, or `fill` where that is 0. Workspace: the spectra again, rounded up to 16 frequencies, and
// K^2 / 2 numbers.
int64_t pair_samples_workspace(int64_t count, int64_t n_radial, int64_t n_angular);
int pair_samples(const SpectraShape& shape, int64_t n_angular, const float* spectra, const int64_t* pairs,
                 const InverseWeights& inverse, float fill, float* out, void* workspace, void* stream);

}  // namespace cdifast::cuda
