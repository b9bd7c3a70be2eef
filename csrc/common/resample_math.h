// Where one sample of polar resampling, or of its way back, lies in its source, and which elements it takes.
//
//   polar       detector image (row, column) -> unwrapped map (radius, angle)
//               y = cy - r sin(phi),  x = cx + r cos(phi)
//   cartesian   unwrapped map (radius, angle) -> detector image (row, column)
//               y = (r - r_min) / step,  x = phi n_angular / (2 pi),  r and phi those of the pixel round the centre
//   with r_j = r_min + j step, step = (r_max - r_min) / (n_radial - 1), phi_k = 2 pi k / n_angular: pixel centres on
//   integers, counter-clockwise as displayed. (y, x) is the sample's position in its source, rows and columns.
//
// A sample is the mean of its valid neighbours, weighted bilinearly; the sum of their weights is the sample's
// validity weight, and a sample with less than half is not given a value. Columns of an unwrapped map are angles and
// go round. Geometry is double throughout: at a radius of 1000 pixels a float coordinate would already be off by
// 6e-5 pixels.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace cdifast {

// Which of the two.
enum class SamplingKind : int8_t { polar, cartesian };

struct PolarGrid {
  int64_t height;  // of the detector image
  int64_t width;
  int64_t n_radial;  // of the unwrapped map
  int64_t n_angular;
  double r_min;
  double r_max;
  bool nearest;

  // Between rings, in pixels. A map of one ring has no such distance: one pixel, so that it covers half a pixel to
  // either side.
  CDIFAST_HD double step() const { return n_radial > 1 ? (r_max - r_min) / static_cast<double>(n_radial - 1) : 1.0; }
  CDIFAST_HD double radius(int64_t j) const {
    return n_radial > 1 ? r_min + static_cast<double>(j) * (r_max - r_min) / static_cast<double>(n_radial - 1) : r_min;
  }
};

// What is sampled: its size, and whether its columns are angles.
struct SourceShape {
  int64_t rows;
  int64_t columns;
  bool periodic;
};

struct Position {
  double y, x;
};

// Derivatives of a position with the centre's (y, x).
struct PositionSlopes {
  double y_cy, y_cx, x_cy, x_cx;
};

CDIFAST_HD SourceShape polar_source(const PolarGrid& grid) { return {grid.height, grid.width, false}; }
CDIFAST_HD SourceShape cartesian_source(const PolarGrid& grid) { return {grid.n_radial, grid.n_angular, true}; }

struct alignas(16) Direction {
  double cos, sin;
};

// Of the angle 2 pi k / n, 0 <= k < n, to a unit or two in the last place and exact at quarter turns, on the CPU and
// on CUDA: integers take k to the nearest quarter turn, and from there an eighth of a turn at most is left, where
// Taylor's series ends after eight terms.
CDIFAST_HD Direction angle_direction(int64_t k, int64_t n) {
  const int64_t quarter = (4 * k + n / 2) / n;
  const double x = static_cast<double>(4 * k - quarter * n) / static_cast<double>(n) * 1.5707963267948966;
  const double z = x * x;
  double sin = 1.0 / 355687428096000.0;
  sin = sin * z - 1.0 / 1307674368000.0;
  sin = sin * z + 1.0 / 6227020800.0;
  sin = sin * z - 1.0 / 39916800.0;
  sin = sin * z + 1.0 / 362880.0;
  sin = sin * z - 1.0 / 5040.0;
  sin = sin * z + 1.0 / 120.0;
  sin = sin * z - 1.0 / 6.0;
  sin = x + x * (z * sin);
  double cos = 1.0 / 20922789888000.0;
  cos = cos * z - 1.0 / 87178291200.0;
  cos = cos * z + 1.0 / 479001600.0;
  cos = cos * z - 1.0 / 3628800.0;
  cos = cos * z + 1.0 / 40320.0;
  cos = cos * z - 1.0 / 720.0;
  cos = cos * z + 1.0 / 24.0;
  cos = 1.0 - (0.5 * z - z * (z * cos));
  const bool swapped = (quarter & 1) != 0;
  const double along = swapped ? -sin : cos;
  const double across = swapped ? cos : sin;
  return (quarter & 2) != 0 ? Direction{-along, -across} : Direction{along, across};
}

// `cos` and `sin` are those of the sample's angle.
CDIFAST_HD Position polar_position(double radius, double cos, double sin, double center_y, double center_x) {
  return {center_y - radius * sin, center_x + radius * cos};
}

CDIFAST_HD Position cartesian_position(const PolarGrid& grid, int64_t row, int64_t column, double center_y,
                                       double center_x) {
  const double up = center_y - static_cast<double>(row);
  const double right = static_cast<double>(column) - center_x;
  const double angles = static_cast<double>(grid.n_angular);
  double x = __builtin_atan2(up, right) * (angles * 0.15915494309189535);
  x = x < 0.0 ? x + angles : x;
  return {(__builtin_sqrt(up * up + right * right) - grid.r_min) / grid.step(), x};
}

CDIFAST_HD PositionSlopes cartesian_slopes(const PolarGrid& grid, int64_t row, int64_t column, double center_y,
                                           double center_x) {
  const double up = center_y - static_cast<double>(row);
  const double right = static_cast<double>(column) - center_x;
  const double square = up * up + right * right;
  if (!(square > 0.0)) return {0.0, 0.0, 0.0, 0.0};  // the centre itself has no angle
  const double radial = 1.0 / (__builtin_sqrt(square) * grid.step());
  const double angular = static_cast<double>(grid.n_angular) * 0.15915494309189535 / square;
  return {up * radial, -right * radial, right * angular, up * angular};
}

// A neighbour that counts for less than this only appears through rounding, where a sample falls on a pixel
// centre; it must not make the sample invalid.
constexpr double kNegligibleWeight = 1e-9;
// A sample needs half of its weight to be valid; the slack keeps exact ties on the valid side.
constexpr double kNeededWeight = 0.5 - 1e-6;

struct Taps {
  int64_t
      element[4];    // flat index into the source; meaningful where weight > 0. Order: (y, x), (y, x+1), (y+1, x), ...
  double weight[4];  // bilinear weights of the valid neighbours, not normalised
  double total;      // validity weight: sum of weight, exactly 1 where no neighbour is missing, 0 below the least
};

// Derivatives of the four weights with the sample's y and x, for valid neighbours also where the weight itself is 0.
struct TapSlopes {
  double dy[4];
  double dx[4];
};

// `good` is one byte an element of the source, non-zero where usable, or null; `slopes` may be null.
CDIFAST_HD void bilinear_taps(const SourceShape& source, const Position& at, bool nearest, const uint8_t* good,
                              Taps& taps, TapSlopes* slopes) {
  // Rounding half up, with a slack so that coordinates meant to be on x.5 round alike at every angle.
  const double base_y = __builtin_floor(nearest ? at.y + 0.5 + kNegligibleWeight : at.y);
  const double base_x = __builtin_floor(nearest ? at.x + 0.5 + kNegligibleWeight : at.x);
  const double fy = nearest ? 0.0 : at.y - base_y;
  const double fx = nearest ? 0.0 : at.x - base_x;
  const double slope = nearest ? 0.0 : 1.0;
  // Compared as doubles: a coordinate far outside, or a NaN, must not be converted to an integer. It becomes -2, which
  // leaves neither neighbour inside.
  const bool near_y = base_y >= -1.0 && base_y < static_cast<double>(source.rows);
  const bool near_x = base_x >= -1.0 && base_x <= static_cast<double>(source.columns);
  const int64_t row = near_y ? static_cast<int64_t>(base_y) : -2;
  const int64_t column = near_x ? static_cast<int64_t>(base_x) : -2;

  bool missing = false;
  taps.total = 0.0;
  for (int t = 0; t < 4; ++t) {
    const int down = t >> 1;
    const int right = t & 1;
    const double wy = down ? fy : 1.0 - fy;
    const double wx = right ? fx : 1.0 - fx;
    const double weight = wy * wx;
    const int64_t py = row + down;
    int64_t px = column + right;
    if (source.periodic && px >= source.columns) px -= source.columns;
    bool valid = py >= 0 && py < source.rows && px >= 0 && px < source.columns;
    const int64_t element = valid ? py * source.columns + px : 0;
    if (valid && good != nullptr) valid = good[element] != 0;
    const bool touched = !(weight <= kNegligibleWeight);
    missing = missing || (touched && !valid);
    taps.element[t] = element;
    taps.weight[t] = touched && valid ? weight : 0.0;
    taps.total += taps.weight[t];
    if (slopes != nullptr) {
      slopes->dy[t] = valid ? (down ? slope : -slope) * wx : 0.0;
      slopes->dx[t] = valid ? (right ? slope : -slope) * wy : 0.0;
    }
  }
  if (!missing) taps.total = 1.0;
  if (!(taps.total >= kNeededWeight)) taps.total = 0.0;
}

}  // namespace cdifast
