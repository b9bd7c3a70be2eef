// Sizes of grids. No torch and no CUDA type.
#pragma once

#include <cstdint>

namespace cdifast::cuda {

// Enough blocks to fill any card several times over; the kernels stride over the rest, in one dimension, so that no
// limit of a grid is met. The emulator is built with fewer, so that small maps already make them stride.
#if !defined(CDIFAST_MAX_BLOCKS)
#define CDIFAST_MAX_BLOCKS 4096
#endif

// Of a map: kernels count them in 32 bits, a tile's (microtile.cuh, product.cuh) from its first one on.
constexpr int64_t kMostSamples = (int64_t{1} << 31) - 1;
constexpr int64_t kMostAngles = int64_t{1} << 25;

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks for that many pieces of work, each block's at a time.
inline unsigned blocks_for(int64_t pieces) {
  return static_cast<unsigned>(pieces < CDIFAST_MAX_BLOCKS ? pieces : CDIFAST_MAX_BLOCKS);
}

// A block for each piece, where blocks have nothing to hand on from one piece to the next: the card starts them faster
// than they come round. In the emulator few again.
inline unsigned blocks_for_each(int64_t pieces) {
  constexpr int64_t kMost = CDIFAST_MAX_BLOCKS < 4096 ? CDIFAST_MAX_BLOCKS : (int64_t{1} << 31) - 1;
  return static_cast<unsigned>(pieces < kMost ? pieces : kMost);
}

}  // namespace cdifast::cuda
