// Polar resampling and its way back on CUDA (common/resample_math.h has the formulas). No torch in this file.
//
// The geometry is double, and cards that are not built for computing do double at 1/64 of the float rate; so each
// thread works out its sample once and applies it to a whole chunk of images where they share centre and mask.
// Directions (cos, sin) are read from a table that resample_directions_kernel makes at each launch: the gather of the
// adjoint tries many samples, and 16 bytes from the cache are cheaper than some 25 double operations for each.
//
// Rooflines, for float and a map about as fine as the image; H200: 4.8 TB/s, 17 T double instructions a second;
// consumer: 1 TB/s, 0.6 T.
//
// resample_kernel           A sample: four elements read, one written. Neighbouring threads take neighbouring angles
//                           (columns on the way back), so that writes are coalesced and reads share cache lines.
//                           8 bytes of DRAM a sample and image, the sampled part of the image once and the map once,
//                           and 8 float operations: bound by memory, 600 G samples/s (consumer 125 G). The geometry
//                           is about 70 double instructions a sample and chunk, 180 on the way back for atan2: it
//                           takes as long as the memory at 3 (7) images a chunk, consumer 14 (35), and is a tenth of
//                           it at ten times as many.
// resample_weight_kernel    4 or 8 bytes written and the same geometry: bound by double arithmetic, once a geometry.
// resample_backward_kernel  Gathers instead of scattering: no atomics, and the same sums in every run. An element of
//                           the result finds the samples that read it, about four, recomputes their taps and adds
//                           coefficient * gradient for up to eight images at a time. 8 bytes of DRAM an element and
//                           image, each gradient four times from the caches; 4 x 70 (4 x 200) double instructions an
//                           element for all eight: 490 G (170 G) elements/s, near the memory's 600 G on an H200;
//                           bound by double arithmetic on a consumer card, 18 G (6 G).
// resample_center_kernel    8 bytes of DRAM a sample and image, gradient and source once; 10 double instructions
//                           beside the geometry: bound by memory on an H200, by double arithmetic on a consumer card.
//
// Load of the gather, polar: the samples near a pixel lie on the rings within a stencil's reach, on each in an
// interval of angles that grows as 1 / r towards the centre, up to the whole ring. Within n_angular / 64 pixels of
// the centre an interval has about a warp's worth of angles or more, and a warp shares the work of each pixel; beyond,
// a thread has its own, about 32 angles a ring at most. Cartesian: the pixels that read an element lie in an annular
// sector of two steps by two angles, whose rows are cut to the sector before they are walked; on rings whose sectors
// hold more than 64 pixels a warp shares each. Bounds are conservative by rounding errors only, and the recomputed
// taps decide.
#pragma once

#include "../common/element.h"
#include "../common/resample_math.h"
#include "launch.cuh"
#include "resample_launch.h"

namespace cdifast::cuda {

constexpr int kResampleThreads = 256;
constexpr int kResampleWarp = 32;
// Images that a thread of the gather adds up at a time, in registers.
constexpr int kResampleGroup = 8;

// Integer images give float maps; floating ones keep their type.
template <typename T>
struct ResampledType {
  using type = float;
};
template <>
struct ResampledType<Half> {
  using type = Half;
};
template <>
struct ResampledType<BFloat16> {
  using type = BFloat16;
};
template <>
struct ResampledType<double> {
  using type = double;
};
template <typename T>
using resampled_t = typename ResampledType<T>::type;

CDIFAST_HD const uint8_t* good_of(const ResampleGeometry& geometry, int64_t g) {
  return geometry.good == nullptr ? nullptr : geometry.good + g * geometry.good_stride;
}

CDIFAST_HD const double* center_of(const ResampleGeometry& geometry, int64_t g) {
  return geometry.center + g * geometry.center_stride;
}

// How the gather is shared out. Items of a team are worked on by a warp each, others by one thread.
struct GatherSchedule {
  int64_t team_items;
  int64_t team_units;  // blocks' worth of them
  int64_t units;       // with those of single threads
  int64_t box;         // polar: half the side of the square of team pixels round the centre; -1: there is none
  int64_t first_wide;  // cartesian: the first team element
};

// Adds coefficient * gradient for `live` images, whose gradients of one sample lie `stride` apart.
template <int kImages, typename T>
CDIFAST_HD void add_gradients(const T* __restrict__ grad, int64_t stride, int live, compute_t<T> coefficient,
                              compute_t<T> (&sums)[kImages]) {
#pragma unroll
  for (int i = 0; i < kImages; ++i) {
    if (i < live) sums[i] += coefficient * load_element(grad[i * stride]);
  }
}

// What of a sample's value comes from `element`, whose place in it may be any of the four, or two where a map has one
// angle.
template <typename C>
CDIFAST_HD C coefficient_of(const Taps& taps, int element) {
  C coefficient = 0;
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    if (taps.weight[t] > 0.0 && taps.element[t] == element) coefficient += static_cast<C>(taps.weight[t] / taps.total);
  }
  return coefficient;
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
  CDIFAST_HD static uint32_t samples(const PolarGrid& grid) {
    return static_cast<uint32_t>(grid.n_radial * grid.n_angular);
  }
  CDIFAST_HD static Sample sample(const PolarGrid& grid, const Direction* __restrict__ directions, uint32_t s) {
    const uint32_t n_angular = static_cast<uint32_t>(grid.n_angular);
    const uint32_t j = s / n_angular;
    return {grid.radius(j), directions[s - j * n_angular]};
  }
  CDIFAST_HD static Position position(const PolarGrid&, const Sample& sample, const double* center) {
    return polar_position(sample.radius, sample.direction.cos, sample.direction.sin, center[0], center[1]);
  }
  CDIFAST_HD static PositionSlopes slopes(const PolarGrid&, const Sample&, const double*) {
    return {1.0, 0.0, 0.0, 1.0};
  }

  // The pixel that is number `item` of the team's or of the single threads', or -1.
  CDIFAST_HD static int gathered(const PolarGrid& grid, const GatherSchedule& schedule, const double* center, bool team,
                                 int64_t item) {
    const int64_t middle_y = middle(center[0]);
    const int64_t middle_x = middle(center[1]);
    const int64_t box = schedule.box;
    if (team) {
      const int64_t side = 2 * box + 1;
      const int64_t y = middle_y - box + item / side;
      const int64_t x = middle_x - box + item % side;
      const bool inside = item < schedule.team_items && y >= 0 && y < grid.height && x >= 0 && x < grid.width;
      return inside ? static_cast<int>(y * grid.width + x) : -1;
    }
    if (item >= grid.height * grid.width) return -1;
    const auto pixel = static_cast<uint32_t>(item);
    const auto width = static_cast<uint32_t>(grid.width);
    const int64_t y = pixel / width;
    const int64_t x = pixel - static_cast<uint32_t>(y) * width;
    const bool near = y >= middle_y - box && y <= middle_y + box && x >= middle_x - box && x <= middle_x + box;
    return near ? -1 : static_cast<int>(pixel);
  }

  // Adds to `sums` the share of the samples that lane `lane` of `lanes` looks at.
  template <int kImages, typename T>
  CDIFAST_HD static void gather(const PolarGrid& grid, const Direction* __restrict__ directions, const double* center,
                                const uint8_t* good, int element, int lane, int lanes, const T* __restrict__ grad,
                                int live, compute_t<T> (&sums)[kImages]) {
    const int n_radial = static_cast<int>(grid.n_radial);
    const int n_angular = static_cast<int>(grid.n_angular);
    const int row = element / static_cast<int>(grid.width);
    const int column = element - row * static_cast<int>(grid.width);
    const SourceShape shape = polar_source(grid);
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
        if (!(__builtin_fabs(at.y - row) < side && __builtin_fabs(at.x - column) < side)) continue;
        Taps taps;
        bilinear_taps(shape, at, grid.nearest, good, taps, nullptr);
        if (taps.total == 0.0) continue;
        const auto coefficient = coefficient_of<compute_t<T>>(taps, element);
        if (coefficient != 0) {
          add_gradients<kImages>(grad + (j * n_angular + k), grid.n_radial * grid.n_angular, live, coefficient, sums);
        }
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
  struct Sample {
    uint32_t row, column;
  };

  CDIFAST_HD static SourceShape source(const PolarGrid& grid) { return cartesian_source(grid); }
  CDIFAST_HD static uint32_t samples(const PolarGrid& grid) { return static_cast<uint32_t>(grid.height * grid.width); }
  CDIFAST_HD static Sample sample(const PolarGrid& grid, const Direction*, uint32_t s) {
    const uint32_t width = static_cast<uint32_t>(grid.width);
    const uint32_t row = s / width;
    return {row, s - row * width};
  }
  CDIFAST_HD static Position position(const PolarGrid& grid, const Sample& sample, const double* center) {
    return cartesian_position(grid, sample.row, sample.column, center[0], center[1]);
  }
  CDIFAST_HD static PositionSlopes slopes(const PolarGrid& grid, const Sample& sample, const double* center) {
    return cartesian_slopes(grid, sample.row, sample.column, center[0], center[1]);
  }

  CDIFAST_HD static int gathered(const PolarGrid& grid, const GatherSchedule& schedule, const double*, bool team,
                                 int64_t item) {
    const int64_t element = team ? schedule.first_wide + item : item;
    const int64_t end = team ? grid.n_radial * grid.n_angular : schedule.first_wide;
    return element < end ? static_cast<int>(element) : -1;
  }

  // `directions` are those of half steps, 2 n_angular of them.
  template <int kImages, typename T>
  CDIFAST_HD static void gather(const PolarGrid& grid, const Direction* __restrict__ directions, const double* center,
                                const uint8_t* good, int element, int lane, int lanes, const T* __restrict__ grad,
                                int live, compute_t<T> (&sums)[kImages]) {
    const int height = static_cast<int>(grid.height);
    const int width = static_cast<int>(grid.width);
    const int n_angular = static_cast<int>(grid.n_angular);
    const int j = element / n_angular;
    const int k = element - j * n_angular;
    const SourceShape shape = cartesian_source(grid);
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
        Taps taps;
        bilinear_taps(shape, at, grid.nearest, good, taps, nullptr);
        if (taps.total == 0.0) continue;
        const auto coefficient = coefficient_of<compute_t<T>>(taps, element);
        if (coefficient != 0) {
          add_gradients<kImages>(grad + (row * width + column), grid.height * grid.width, live, coefficient, sums);
        }
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

// Directions of the angles 2 pi k / n.
__global__ void resample_directions_kernel(Direction* __restrict__ directions, int64_t n) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < n; k += stride) {
    directions[k] = angle_direction(k, n);
  }
}

// Grid: x over samples, y over chunks of images.
template <typename Kind, typename T>
__global__ void resample_kernel(const T* __restrict__ source, resampled_t<T>* __restrict__ target,
                                ResampleGeometry geometry, const Direction* __restrict__ directions, int64_t images,
                                int64_t chunk, compute_t<T> fill) {
  using C = compute_t<T>;
  const PolarGrid& grid = geometry.grid;
  const SourceShape shape = Kind::source(grid);
  const int64_t elements = shape.rows * shape.columns;
  const uint32_t samples = Kind::samples(grid);
  const int64_t begin = blockIdx.y * chunk;
  const int64_t end = begin + chunk < images ? begin + chunk : images;
  const uint32_t stride = gridDim.x * blockDim.x;
  for (uint32_t s = blockIdx.x * blockDim.x + threadIdx.x; s < samples; s += stride) {
    const auto sample = Kind::sample(grid, directions, s);
    for (int64_t n = begin; n < end;) {
      const int64_t g = geometry.count == 1 ? 0 : n;
      const int64_t next = geometry.count == 1 ? end : n + 1;
      Taps taps;
      bilinear_taps(shape, Kind::position(grid, sample, center_of(geometry, g)), grid.nearest, good_of(geometry, g),
                    taps, nullptr);
      C coefficient[4];
      const T* from[4];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        coefficient[t] = taps.total > 0.0 ? static_cast<C>(taps.weight[t] / taps.total) : C{0};
        from[t] = source + (n * elements + taps.element[t]);
      }
      const C start = taps.total > 0.0 ? C{0} : fill;
      resampled_t<T>* to = target + (n * samples + s);
#pragma unroll 4
      for (; n < next; ++n) {
        C value = start;
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          // A masked neighbour may hold NaN, and 0 * NaN is NaN: it is not read at all.
          if (coefficient[t] != 0) value += coefficient[t] * load_element(*from[t]);
          from[t] += elements;
        }
        store_element(*to, value);
        to += samples;
      }
    }
  }
}

// Grid: x over samples, y over geometries.
template <typename Kind, typename W>
__global__ void resample_weight_kernel(W* __restrict__ target, ResampleGeometry geometry,
                                       const Direction* __restrict__ directions) {
  const PolarGrid& grid = geometry.grid;
  const uint32_t samples = Kind::samples(grid);
  const uint32_t stride = gridDim.x * blockDim.x;
  for (int64_t g = blockIdx.y; g < geometry.count; g += gridDim.y) {
    for (uint32_t s = blockIdx.x * blockDim.x + threadIdx.x; s < samples; s += stride) {
      const auto sample = Kind::sample(grid, directions, s);
      Taps taps;
      bilinear_taps(Kind::source(grid), Kind::position(grid, sample, center_of(geometry, g)), grid.nearest,
                    good_of(geometry, g), taps, nullptr);
      store_element(target[g * samples + s], static_cast<compute_t<W>>(taps.total));
    }
  }
}

// Grid: x over units of work (GatherSchedule), y over groups of images. Groups are of one image where each has its
// own geometry.
template <typename Kind, typename T, int kImages>
__global__ void resample_backward_kernel(const T* __restrict__ grad, T* __restrict__ target, ResampleGeometry geometry,
                                         const Direction* __restrict__ directions, GatherSchedule schedule,
                                         int64_t images) {
  using C = compute_t<T>;
  const PolarGrid& grid = geometry.grid;
  const SourceShape shape = Kind::source(grid);
  const int64_t elements = shape.rows * shape.columns;
  const int64_t samples = Kind::samples(grid);
  const int64_t groups = (images + kImages - 1) / kImages;
  for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
    const int64_t first = group * kImages;
    const int live = static_cast<int>(images - first < kImages ? images - first : kImages);
    const int64_t g = geometry.count == 1 ? 0 : first;
    const double* center = center_of(geometry, g);
    for (int64_t unit = blockIdx.x; unit < schedule.units; unit += gridDim.x) {
      const bool team = unit < schedule.team_units;  // the same for the whole block
      const int lanes = team ? kResampleWarp : 1;
      const int lane = team ? static_cast<int>(threadIdx.x % kResampleWarp) : 0;
      const int64_t item = team ? unit * (kResampleThreads / kResampleWarp) + threadIdx.x / kResampleWarp
                                : (unit - schedule.team_units) * kResampleThreads + threadIdx.x;
      const int element = Kind::gathered(grid, schedule, center, team, item);
      C sums[kImages];
#pragma unroll
      for (int i = 0; i < kImages; ++i) sums[i] = 0;
      if (element >= 0) {
        Kind::template gather<kImages>(grid, directions, center, good_of(geometry, g), element, lane, lanes,
                                       grad + first * samples, live, sums);
      }
      if (team) {
#pragma unroll
        for (int i = 0; i < kImages; ++i) {
          if (i >= live) break;  // for all threads alike
#pragma unroll
          for (int half = kResampleWarp / 2; half > 0; half /= 2) {
            sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], half);
          }
        }
      }
      if (element >= 0 && lane == 0) {
#pragma unroll
        for (int i = 0; i < kImages; ++i) {
          if (i < live) store_element(target[(first + i) * elements + element], sums[i]);
        }
      }
    }
  }
}

// The block's sums of y and x, in a fixed order; thread 0 gets them.
__device__ __forceinline__ void sum_block(double& y, double& x) {
  CDIFAST_SHARED(double, partial_y, kResampleThreads);
  CDIFAST_SHARED(double, partial_x, kResampleThreads);
  const int i = static_cast<int>(threadIdx.x);
  partial_y[i] = y;
  partial_x[i] = x;
  __syncthreads();
  for (int half = kResampleThreads / 2; half > 0; half /= 2) {
    if (i < half) {
      partial_y[i] += partial_y[i + half];
      partial_x[i] += partial_x[i + half];
    }
    __syncthreads();
  }
  y = partial_y[0];
  x = partial_x[0];
  __syncthreads();  // the arrays may be written again
}

// The gradient of the centre, one part a block and chunk of images. Grid: x over samples, y over chunks; a chunk is
// one image where each has its own centre, so that all its parts belong to one centre.
//
// A value sum w I / sum w changes with the sample's position by what its weights change, where neighbours are missing
// also by what their sum changes: linear in I, with coefficients that are the same for all images of a chunk.
template <typename Kind, typename T>
__global__ void resample_center_kernel(const resampled_t<T>* __restrict__ grad, const T* __restrict__ source,
                                       double* __restrict__ parts, ResampleGeometry geometry,
                                       const Direction* __restrict__ directions, int64_t images, int64_t chunk) {
  const PolarGrid& grid = geometry.grid;
  const SourceShape shape = Kind::source(grid);
  const int64_t elements = shape.rows * shape.columns;
  const uint32_t samples = Kind::samples(grid);
  const uint32_t stride = gridDim.x * blockDim.x;
  for (int64_t begin = blockIdx.y * chunk; begin < images; begin += gridDim.y * chunk) {
    const int64_t end = begin + chunk < images ? begin + chunk : images;
    double sum_y = 0.0;
    double sum_x = 0.0;
    for (uint32_t s = blockIdx.x * blockDim.x + threadIdx.x; s < samples; s += stride) {
      const auto sample = Kind::sample(grid, directions, s);
      for (int64_t n = begin; n < end;) {
        const int64_t g = geometry.count == 1 ? 0 : n;
        const int64_t next = geometry.count == 1 ? end : n + 1;
        const double* center = center_of(geometry, g);
        Taps taps;
        TapSlopes slopes;
        bilinear_taps(shape, Kind::position(grid, sample, center), grid.nearest, good_of(geometry, g), taps, &slopes);
        if (taps.total == 0.0) {
          n = next;
          continue;
        }
        double total = 0.0;
        double total_y = 0.0;
        double total_x = 0.0;
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          total += taps.weight[t];
          total_y += slopes.dy[t];
          total_x += slopes.dx[t];
        }
        const double inverse = 1.0 / total;
        const PositionSlopes moved = Kind::slopes(grid, sample, center);
        double to_y[4];
        double to_x[4];
        bool used[4];
        const T* from[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          used[t] = !(taps.weight[t] == 0.0 && slopes.dy[t] == 0.0 && slopes.dx[t] == 0.0);
          const double share = taps.weight[t] * inverse;
          const double dy = (slopes.dy[t] - share * total_y) * inverse;
          const double dx = (slopes.dx[t] - share * total_x) * inverse;
          to_y[t] = dy * moved.y_cy + dx * moved.x_cy;
          to_x[t] = dy * moved.y_cx + dx * moved.x_cx;
          from[t] = source + (n * elements + taps.element[t]);
        }
        const resampled_t<T>* gradient = grad + (n * samples + s);
        for (; n < next; ++n) {
          double value_y = 0.0;
          double value_x = 0.0;
#pragma unroll
          for (int t = 0; t < 4; ++t) {
            if (used[t]) {
              const double element = load_element(*from[t]);
              value_y += to_y[t] * element;
              value_x += to_x[t] * element;
            }
            from[t] += elements;
          }
          const double g_n = load_element(*gradient);
          sum_y += g_n * value_y;
          sum_x += g_n * value_x;
          gradient += samples;
        }
      }
    }
    sum_block(sum_y, sum_x);
    if (threadIdx.x == 0) {
      double* part = parts + (begin / chunk * gridDim.x + blockIdx.x) * 2;
      part[0] = sum_y;
      part[1] = sum_x;
    }
  }
}

// Adds up the `count` parts of each centre. Grid: x over centres.
__global__ void resample_sum_parts_kernel(const double* __restrict__ parts, int64_t count, int64_t centers,
                                          double* __restrict__ target) {
  for (int64_t c = blockIdx.x; c < centers; c += gridDim.x) {
    double sum_y = 0.0;
    double sum_x = 0.0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
      sum_y += parts[(c * count + i) * 2];
      sum_x += parts[(c * count + i) * 2 + 1];
    }
    sum_block(sum_y, sum_x);
    if (threadIdx.x == 0) {
      target[c * 2] = sum_y;
      target[c * 2 + 1] = sum_x;
    }
  }
}

}  // namespace cdifast::cuda
