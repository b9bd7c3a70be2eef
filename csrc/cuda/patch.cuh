// Squares of 16 x 16 neighbouring cells of a map or an image, each by one block of 256 threads, a warp 8 columns of 4
// rows. No torch in this file.
//
// Samples that are neighbours in both directions read the same cache lines: 32 angles of one ring would be spread over
// as many lines of the image, and the rings beside it would be another multiprocessor's.
#pragma once

#include <cstdint>

#include "launch.cuh"

namespace cdifast::cuda {

constexpr int kPatchSide = 16;

struct PatchCell {
  int64_t row;
  int64_t column;
};

CDIFAST_HD int64_t patches_along(int64_t cells) { return (cells + kPatchSide - 1) / kPatchSide; }
CDIFAST_HD int64_t patches(int64_t rows, int64_t columns) { return patches_along(rows) * patches_along(columns); }

// The cell of this thread in patch number `patch`; beyond the last row or column where the patch is.
__device__ __forceinline__ PatchCell patch_cell(int64_t patch, int64_t columns) {
  const int64_t along = patches_along(columns);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  return {patch / along * kPatchSide + warp / 2 * 4 + lane / 8, patch % along * kPatchSide + warp % 2 * 8 + lane % 8};
}

}  // namespace cdifast::cuda
