// Launchers of the angular harmonics and of the products of spectra: raw pointers and a stream, no torch and no CUDA
// type, so that g++ can include this file. Every launcher returns a cudaError_t as int, 0 for success.
#pragma once

#include <cstdint>

#include "../common/element.h"

namespace cdifast::cuda {

struct HarmonicsShape {
  int64_t count;
  int64_t n_radial;
  int64_t n_angular;  // 1 to kMostAngles
  int64_t n_orders;
};

// unwrapped (count, R, K) of dtype; weight (count, R, K), or (1, R, K) if shared_weight, in its compute type, or null;
// orders (O,) on the device; out (count, O, R, 2) in the compute type. Workspace: 2 K numbers of that type, 4 for each
// ring, and 8 bytes for each order; or for up to 16 orders of up to 256 angles 2 K numbers an order.
int64_t angular_harmonics_workspace(DType dtype, const HarmonicsShape& shape);
int angular_harmonics(DType dtype, const HarmonicsShape& shape, const void* unwrapped, const void* weight,
                      bool shared_weight, const int64_t* orders, void* out, void* workspace, void* stream);

// dtype f32 or f64: grad (count, O, R, 2), out (count, R, K). Workspace: 2 K numbers, and 8 bytes for each order.
int64_t angular_harmonics_backward_workspace(DType dtype, const HarmonicsShape& shape);
int angular_harmonics_backward(DType dtype, const HarmonicsShape& shape, const void* grad, const void* weight,
                               bool shared_weight, const int64_t* orders, void* out, void* workspace, void* stream);

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

}  // namespace cdifast::cuda
