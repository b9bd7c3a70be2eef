// Launchers of the angular harmonics: raw pointers and a stream, no torch and no CUDA type, so that g++ can include
// this file. Every launcher returns a cudaError_t as int, 0 for success.
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
// orders (O,) on the device; out (count, O, R, 2) in the compute type. Workspace: the basis, 2 K numbers an order (K
// rounded up to 16, orders to 8); for float64 2 K numbers, 4 for each ring, and 8 bytes for each order.
int64_t angular_harmonics_workspace(DType dtype, const HarmonicsShape& shape);
int angular_harmonics(DType dtype, const HarmonicsShape& shape, const void* unwrapped, const void* weight,
                      bool shared_weight, const int64_t* orders, void* out, void* workspace, void* stream);

// dtype f32 or f64: grad (count, O, R, 2), out (count, R, K). Workspace as above, without the rings'.
int64_t angular_harmonics_backward_workspace(DType dtype, const HarmonicsShape& shape);
int angular_harmonics_backward(DType dtype, const HarmonicsShape& shape, const void* grad, const void* weight,
                               bool shared_weight, const int64_t* orders, void* out, void* workspace, void* stream);

}  // namespace cdifast::cuda
