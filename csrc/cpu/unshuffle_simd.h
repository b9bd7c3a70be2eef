// The inverses of HDF5's two shuffles, compiled once per instruction set. Both filters lay the like bytes, or bits, of
// many numbers side by side, so that they compress better; reading has to put the numbers together again.
#pragma once

#include <cstdint>

#include "capability.h"

namespace cdifast::cpu {

struct UnshuffleKernels {
  // HDF5's shuffle: byte b of element i stands at b * elements + i. `out` gets elements * size bytes.
  void (*bytes)(const uint8_t* in, int64_t elements, int64_t size, uint8_t* out);
  // Bitshuffle: bit k of byte b of element 8 j + i is bit i of the byte at (8 b + k) * elements / 8 + j. `elements` is
  // a multiple of 8.
  void (*bits)(const uint8_t* in, int64_t elements, int64_t size, uint8_t* out);
};

CDIFAST_DECLARE_KERNELS(UnshuffleKernels, unshuffle_kernels)

}  // namespace cdifast::cpu
