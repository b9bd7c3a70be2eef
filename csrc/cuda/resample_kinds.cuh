// The two directions of resampling on CUDA: where their samples lie, and which samples read an element, for the gather
// of the adjoint (resample_kernel.cuh says what binds). No torch in this file.
#pragma once

#include "../common/element.h"
#include "../common/resample_math.h"
#include "launch.cuh"
#include "patch.cuh"
#include "reading.cuh"

namespace cdifast::cuda {

// How the gather is shared out. Items of a team are worked on by a warp each; the other elements by one thread each,
// in patches.
struct GatherSchedule {
  int64_t team_items;
  int64_t team_units;  // blocks' worth of them
  int64_t units;       // with those of single threads
  Plane single;        // the elements in patches
  int64_t box;         // polar: half the side of the square of team pixels round the centre; -1: there is none
};

// What of the value of a sample at `at` comes from `element`, whose place in it may be any of the four, or two where a
// map has one angle. (dy, dx) is the way to the element, the short one where columns go round.
template <typename C>
CDIFAST_HD C coefficient_of(const SourceShape& source, const Interior& interior, const Position& at, bool nearest,
                            const uint8_t* good, int element, double dy, double dx) {
  if (interior.holds(at) && source.columns > 1) {
    return unless_negligible(static_cast<C>(1.0 - __builtin_fabs(dy)) * static_cast<C>(1.0 - __builtin_fabs(dx)));
  }
  Taps taps;
  bilinear_taps(source, at, nearest, good, taps, nullptr);
  if (taps.total == 0.0) return 0;
  double weight = 0.0;
#pragma unroll
  for (int t = 0; t < 4; ++t) weight += taps.element[t] == element ? taps.weight[t] : 0.0;
  return static_cast<C>(weight / taps.total);
}

// A bound as a whole number within [low, high], rounded up or down; NaN and infinity are no trouble.
CDIFAST_HD int first_index(double bound, int low, int high) {
  return bound > low ? (bound <= high ? static_cast<int>(__builtin_ceil(bound)) : high + 1) : low;
}
CDIFAST_HD int last_index(double bound, int low, int high) {
  return bound < high ? (bound >= low ? static_cast<int>(__builtin_floor(bound)) : low - 1) : high;
}

// detector image -> unwrapped map
struct PolarKind {
  struct Sample {
    double radius;
    Direction direction;
  };

  CDIFAST_HD static SourceShape source(const PolarGrid& grid) { return polar_source(grid); }
  CDIFAST_HD static Plane target(const PolarGrid& grid) {
    return {static_cast<uint32_t>(grid.n_radial), static_cast<uint32_t>(grid.n_angular)};
  }
  CDIFAST_HD static Sample sample(const PolarGrid& grid, const Direction* __restrict__ directions, const Place& place) {
    return {grid.radius(place.row), directions[place.column]};
  }
  CDIFAST_HD static Position position(const PolarGrid&, const Sample& sample, const double* center) {
    return polar_position(sample.radius, sample.direction.cos, sample.direction.sin, center[0], center[1]);
  }
  CDIFAST_HD static PositionSlopes slopes(const PolarGrid&, const Sample&, const double*) {
    return {1.0, 0.0, 0.0, 1.0};
  }

  // The pixel that is number `item` of the teams', or -1.
  CDIFAST_HD static int of_team(const PolarGrid& grid, const GatherSchedule& schedule, const double* center,
                                int64_t item) {
    const int64_t side = 2 * schedule.box + 1;
    const int64_t y = middle(center[0]) - schedule.box + item / side;
    const int64_t x = middle(center[1]) - schedule.box + item % side;
    const bool inside = item < schedule.team_items && y >= 0 && y < grid.height && x >= 0 && x < grid.width;
    return inside ? static_cast<int>(y * grid.width + x) : -1;
  }
  // Whether the pixel, which is inside, is a team's.
  CDIFAST_HD static bool is_of_team(const GatherSchedule& schedule, const double* center, const Place& place) {
    const int64_t down = place.row - middle(center[0]);
    const int64_t right = place.column - middle(center[1]);
    const int64_t box = schedule.box;
    return down >= -box && down <= box && right >= -box && right <= box;
  }

  // Calls visit(sample, coefficient) for those that read the pixel among the samples that lane `lane` of `lanes` looks
  // at, in the order of their numbers.
  template <typename C, typename Visit>
  CDIFAST_HD static void gather(const PolarGrid& grid, const Direction* __restrict__ directions, const double* center,
                                const uint8_t* good, int element, int lane, int lanes, Visit& visit) {
    const int n_radial = static_cast<int>(grid.n_radial);
    const int n_angular = static_cast<int>(grid.n_angular);
    const int row = element / static_cast<int>(grid.width);
    const int column = element - row * static_cast<int>(grid.width);
    const SourceShape shape = polar_source(grid);
    const Interior interior = interior_of(shape, grid.nearest, good);
    const double up = center[0] - row;
    const double right = column - center[1];
    const double distance = __builtin_sqrt(up * up + right * right);
    if (!(distance < 1e300)) return;

    // A sample reads the pixel where both coordinates are closer than `side`; the slack is for rounding.
    const double side = grid.nearest ? 0.5 + 1e-8 : 1.0;
    const double slack = 1e-6 + 1e-14 * (distance + static_cast<double>(grid.height) + static_cast<double>(grid.width));
    const double reach = 1.4142135623730951 * side + slack;
    const double step = grid.step();
    // Where all rings lie on one another the step is 0 and the bounds are infinite, or NaN on the very ring.
    const int first_ring = first_index((distance - reach - grid.r_min) / step, 0, n_radial - 1);
    const int last_ring = last_index((distance + reach - grid.r_min) / step, 0, n_radial - 1);
    const double angles_a_radian = static_cast<double>(n_angular) * 0.15915494309189535;
    const double middle_angle = __builtin_atan2(up, right) * angles_a_radian;

    for (int j = first_ring; j <= last_ring; ++j) {
      const double radius = grid.radius(j);
      // At a distance of at most `reach` means sin^2(half the angle between) <= chord.
      const double gap = radius - distance;
      const double chord = (reach * reach - gap * gap) / (4.0 * radius * distance);
      int first_angle = 0;
      int angles = n_angular;
      if (chord < 1.0) {
        // Float will do, with room for its error.
        const float half = __builtin_asinf(__builtin_sqrtf(static_cast<float>(chord > 0.0 ? chord : 0.0)));
        const double extent = 2.0 * static_cast<double>(half) * angles_a_radian * (1.0 + 1e-4) + 1e-3;
        if (2.0 * extent + 1.0 < static_cast<double>(n_angular)) {
          first_angle = static_cast<int>(__builtin_ceil(middle_angle - extent));
          angles = static_cast<int>(__builtin_floor(middle_angle + extent)) - first_angle + 1;
          if (first_angle < 0) first_angle += n_angular;
        }
      }
      for (int i = lane; i < angles; i += lanes) {
        int k = first_angle - n_angular + i;  // in this order, because a sum of two angles may pass 2^31
        if (k < 0) k += n_angular;
        const Direction direction = directions[k];
        const Position at = polar_position(radius, direction.cos, direction.sin, center[0], center[1]);
        const double dy = at.y - row;
        const double dx = at.x - column;
        if (!(__builtin_fabs(dy) < side && __builtin_fabs(dx) < side)) continue;
        const C coefficient = coefficient_of<C>(shape, interior, at, grid.nearest, good, element, dy, dx);
        if (coefficient != 0) visit(j * n_angular + k, coefficient);
      }
    }
  }

 private:
  // A far-away centre has no pixel near it, whatever whole number stands for it.
  CDIFAST_HD static int64_t middle(double center) {
    return __builtin_fabs(center) < 1e12 ? static_cast<int64_t>(__builtin_floor(center + 0.5)) : int64_t{1} << 40;
  }
};

// unwrapped map -> detector image
struct CartesianKind {
  using Sample = Place;

  CDIFAST_HD static SourceShape source(const PolarGrid& grid) { return cartesian_source(grid); }
  CDIFAST_HD static Plane target(const PolarGrid& grid) {
    return {static_cast<uint32_t>(grid.height), static_cast<uint32_t>(grid.width)};
  }
  CDIFAST_HD static Sample sample(const PolarGrid&, const Direction*, const Place& place) { return place; }
  CDIFAST_HD static Position position(const PolarGrid& grid, const Sample& sample, const double* center) {
    return cartesian_position(grid, sample.row, sample.column, center[0], center[1]);
  }
  CDIFAST_HD static PositionSlopes slopes(const PolarGrid& grid, const Sample& sample, const double* center) {
    return cartesian_slopes(grid, sample.row, sample.column, center[0], center[1]);
  }

  // Rings beyond those of single threads are the teams'.
  CDIFAST_HD static int of_team(const PolarGrid& grid, const GatherSchedule& schedule, const double*, int64_t item) {
    return item < schedule.team_items ? static_cast<int>(schedule.single.rows * grid.n_angular + item) : -1;
  }
  CDIFAST_HD static bool is_of_team(const GatherSchedule&, const double*, const Place&) { return false; }

  // `directions` are those of half steps, 2 n_angular of them.
  template <typename C, typename Visit>
  CDIFAST_HD static void gather(const PolarGrid& grid, const Direction* __restrict__ directions, const double* center,
                                const uint8_t* good, int element, int lane, int lanes, Visit& visit) {
    const int height = static_cast<int>(grid.height);
    const int width = static_cast<int>(grid.width);
    const int n_angular = static_cast<int>(grid.n_angular);
    const int j = element / n_angular;
    const int k = element - j * n_angular;
    const SourceShape shape = cartesian_source(grid);
    const Interior interior = interior_of(shape, grid.nearest, good);
    const double step = grid.step();
    if (!(step > 0.0)) return;  // no pixel has a place between rings that lie on one another

    // The sector: radii from inner to outer, angles from low to high.
    const double side = grid.nearest ? 0.5 + 1e-8 : 1.0;
    const double nominal = grid.r_min + j * step;
    double outer = nominal + side * step;
    const double slack = 1e-6 +
                         1e-14 * (outer + __builtin_fabs(center[0]) + __builtin_fabs(center[1]) +
                                  static_cast<double>(grid.height) + static_cast<double>(grid.width)) +
                         (grid.nearest ? 1e-7 / n_angular * outer : 0.0);
    outer += slack;
    if (!(outer < 1e300)) return;
    double inner = nominal - side * step - slack;
    inner = inner > 0.0 ? inner : 0.0;
    // Half a circle or more is not cut: two half planes would not bound it.
    const bool cut = n_angular > (grid.nearest ? 2 : 4);
    const int spread = grid.nearest ? 1 : 2;
    const int64_t half_steps = 2 * grid.n_angular;
    const int64_t low_index = 2 * static_cast<int64_t>(k) - spread;
    const int64_t high_index = 2 * static_cast<int64_t>(k) + spread;
    Direction low = {0.0, 0.0};
    Direction high = {0.0, 0.0};
    double top = outer;
    double bottom = -outer;
    if (cut) {
      low = directions[low_index < 0 ? low_index + half_steps : low_index];
      high = directions[high_index >= half_steps ? high_index - half_steps : high_index];
      if (!(low.cos >= 0.0 && high.cos <= 0.0)) {  // straight up is not between them
        const double sine = low.sin > high.sin ? low.sin : high.sin;
        top = sine * (sine > 0.0 ? outer : inner);
      }
      if (!(low.cos <= 0.0 && high.cos >= 0.0)) {
        const double sine = low.sin < high.sin ? low.sin : high.sin;
        bottom = sine * (sine < 0.0 ? outer : inner);
      }
    }
    const int first_row = first_index(center[0] - top - slack, 0, height - 1);
    const int last_row = last_index(center[0] - bottom + slack, 0, height - 1);

    // A warp as four rows of eight: a sector may be a few rows, or a few columns, wide.
    const int rows = lanes > 1 ? 4 : 1;
    const int columns = lanes > 1 ? 8 : 1;
    for (int row = first_row + lane / columns; row <= last_row; row += rows) {
      const double up = center[0] - row;
      const double height_above = __builtin_fabs(up);
      if (height_above > outer) continue;
      const double out = __builtin_sqrt((outer - height_above) * (outer + height_above));
      double from = -out;
      double to = out;
      if (cut) {
        keep_half_plane(low.sin, low.cos * up + slack, from, to);
        keep_half_plane(-high.sin, slack - high.cos * up, from, to);
      }
      const int first = first_index(center[1] + from - slack, 0, width - 1);
      const int last = last_index(center[1] + to + slack, 0, width - 1);
      // Columns within the inner radius are jumped over.
      int hole = width;
      int hole_end = -1;
      if (height_above < inner) {
        const double in = __builtin_sqrt((inner - height_above) * (inner + height_above));
        hole = last_index(center[1] - in + slack, -1, width - 1) + 1;
        hole_end = first_index(center[1] + in - slack, 0, width) - 1;
      }
      for (int column = first + lane % columns; column <= last; column += columns) {
        if (column >= hole && column <= hole_end) {
          column += (hole_end - column) / columns * columns;  // the last of this lane's in the hole
          continue;
        }
        const Position at = cartesian_position(grid, row, column, center[0], center[1]);
        const double dy = at.y - j;
        double dx = at.x - k;
        if (dx > 0.5 * n_angular) dx -= n_angular;  // only the first angle is also read from beyond the last
        if (!(__builtin_fabs(dy) < side && __builtin_fabs(dx) < side)) continue;
        const C coefficient = coefficient_of<C>(shape, interior, at, grid.nearest, good, element, dy, dx);
        if (coefficient != 0) visit(row * width + column, coefficient);
      }
    }
  }

 private:
  // Cuts [from, to] to where slope * x <= bound.
  CDIFAST_HD static void keep_half_plane(double slope, double bound, double& from, double& to) {
    if (slope == 0.0) {
      if (bound < 0.0) to = -__builtin_inf();
      return;
    }
    const double limit = bound / slope;
    if (slope > 0.0) {
      to = limit < to ? limit : to;
    } else {
      from = limit > from ? limit : from;
    }
  }
};

}  // namespace cdifast::cuda
