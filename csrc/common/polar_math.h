// Where one sample of the unwrapped (radius, angle) map lies in the detector image, and which pixels it takes.
//
//   x = cx + r cos(phi),  y = cy - r sin(phi)      pixel centres on integers, counter-clockwise as displayed
//   r_j = r_min + j (r_max - r_min) / (n_radial - 1),  phi_k = 2 pi k / n_angular
//
// A sample is the mean of its valid neighbours, weighted bilinearly; the sum of their weights is the sample's
// validity weight, and a sample with less than half is not given a value. Geometry is double throughout: at a
// radius of 1000 pixels a float coordinate would already be off by 6e-5 pixels.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace cdifast {

struct PolarGrid {
  int64_t height;
  int64_t width;
  int64_t n_radial;
  int64_t n_angular;
  double r_min;
  double r_max;
  bool nearest;

  CDIFAST_HD double radius(int64_t j) const {
    return n_radial > 1 ? r_min + static_cast<double>(j) * (r_max - r_min) / static_cast<double>(n_radial - 1) : r_min;
  }
};

// A neighbour that counts for less than this only appears through rounding, where a sample falls on a pixel
// centre; it must not make the sample invalid.
constexpr double kNegligibleWeight = 1e-9;
// A sample needs half of its weight to be valid; the slack keeps exact ties on the valid side.
constexpr double kNeededWeight = 0.5 - 1e-6;

struct PolarTaps {
  int64_t pixel[4];  // flat index into the image; meaningful where weight > 0
  double weight[4];  // bilinear weights of the valid neighbours, not normalised
  double dy[4];      // derivatives of those weights with the sample's y and x, for valid neighbours also where
  double dx[4];      // the weight itself is 0
  double total;      // validity weight: sum of weight, exactly 1 where no neighbour is missing
};

// `good` is one byte a pixel, non-zero where usable, or null.
CDIFAST_HD void polar_taps(const PolarGrid& grid, double y, double x, const uint8_t* good, PolarTaps& taps) {
  // Rounding half up, with a slack so that coordinates meant to be on x.5 round alike at every angle.
  const double base_y = __builtin_floor(grid.nearest ? y + 0.5 + kNegligibleWeight : y);
  const double base_x = __builtin_floor(grid.nearest ? x + 0.5 + kNegligibleWeight : x);
  const double fy = grid.nearest ? 0.0 : y - base_y;
  const double fx = grid.nearest ? 0.0 : x - base_x;
  const double slope = grid.nearest ? 0.0 : 1.0;

  bool missing = false;
  taps.total = 0.0;
  for (int t = 0; t < 4; ++t) {
    const int down = t >> 1;
    const int right = t & 1;
    const double wy = down ? fy : 1.0 - fy;
    const double wx = right ? fx : 1.0 - fx;
    const double weight = wy * wx;
    const double py = base_y + down;
    const double px = base_x + right;
    // Compared as doubles: a coordinate far outside, or a NaN, must not be converted to an integer.
    bool valid =
        py >= 0.0 && py < static_cast<double>(grid.height) && px >= 0.0 && px < static_cast<double>(grid.width);
    const int64_t pixel = valid ? static_cast<int64_t>(py) * grid.width + static_cast<int64_t>(px) : 0;
    if (valid && good != nullptr) valid = good[pixel] != 0;
    const bool touched = !(weight <= kNegligibleWeight);
    missing = missing || (touched && !valid);
    taps.pixel[t] = pixel;
    taps.weight[t] = touched && valid ? weight : 0.0;
    taps.dy[t] = valid ? (down ? slope : -slope) * wx : 0.0;
    taps.dx[t] = valid ? (right ? slope : -slope) * wy : 0.0;
    taps.total += taps.weight[t];
  }
  if (!missing) taps.total = 1.0;
  if (!(taps.total >= kNeededWeight)) taps.total = 0.0;
}

}  // namespace cdifast
