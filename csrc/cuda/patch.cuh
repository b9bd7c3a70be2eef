// A plane of elements or samples, covered by threads in patches. No torch in this file.
#pragma once

#include <cstdint>

#include "../common/host_device.h"

namespace cdifast::cuda {

constexpr int kPatchWarp = 32;
// Threads cover a plane in patches, so that what a warp reads lies close together in both directions: a block's are 16
// columns and all the rows that its threads fill, a warp's 8 columns (a sector of float) by 4 rows.
constexpr int kPatchColumns = 16;
constexpr int kWarpColumns = 8;

struct Plane {
  uint32_t rows, columns;
  CDIFAST_HD bool holds(uint32_t row, uint32_t column) const { return row < rows && column < columns; }
};

struct Place {
  uint32_t row, column;
};

CDIFAST_HD uint32_t patches_across(const Plane& plane) { return (plane.columns + kPatchColumns - 1) / kPatchColumns; }
CDIFAST_HD uint32_t patches_of(const Plane& plane, int threads) {
  const auto patch_rows = static_cast<uint32_t>(threads / kPatchColumns);
  return patches_across(plane) * ((plane.rows + patch_rows - 1) / patch_rows);
}

// Of thread `thread` of a block of `threads`, in patch `patch`. May lie beyond the plane.
CDIFAST_HD Place place_of(const Plane& plane, uint32_t patch, uint32_t thread, int threads) {
  const uint32_t across = patches_across(plane);
  const uint32_t down = patch / across;
  const uint32_t warp = thread / kPatchWarp;
  const uint32_t lane = thread % kPatchWarp;
  constexpr uint32_t warps_across = kPatchColumns / kWarpColumns;
  constexpr uint32_t warp_rows = kPatchWarp / kWarpColumns;
  return {down * static_cast<uint32_t>(threads / kPatchColumns) + warp / warps_across * warp_rows + lane / kWarpColumns,
          (patch - down * across) * kPatchColumns + warp % warps_across * kWarpColumns + lane % kWarpColumns};
}

}  // namespace cdifast::cuda
