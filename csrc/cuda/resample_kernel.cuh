// Polar resampling and its way back on CUDA (common/resample_math.h has the formulas). No torch in this file.
//
// The geometry is double, and cards that are not built for computing do double at 1/64 of the float rate; so each
// thread works out its sample once and applies it to a whole chunk of images where they share centre and mask.
// Directions (cos, sin) are read from a table that resample_directions_kernel makes at each launch: the gather of the
// adjoint tries many samples, and 16 bytes from the cache are cheaper than some 25 double operations for each.
//
// Rooflines, for float and a map about as fine as the image; H200: 4.8 TB/s, 17 T double instructions a second, 29 T of
// any kind; consumer: 1 TB/s, 0.6 T double.
//
// resample_kernel           A sample: four elements read, one written. A warp takes 8 columns by 4 rows of the target:
//                           neighbours in both directions read the same cache lines, which a row of angles alone does
//                           not, since its arc crosses a line of the image at every sample. 8 bytes of DRAM a sample
//                           and image, the sampled part of the image once and the map once, and 8 float operations in
//                           some 25 instructions: bound by memory, 600 G samples/s (consumer 125 G). The geometry is
//                           about 20 double instructions a sample and chunk where all four neighbours are inside, else
//                           70, and 110 more on the way back for atan2. Inside it takes as long as the memory does for
//                           1 (5) images, consumer 4 (27). With a geometry for each image about 90 instructions a
//                           sample (250), bound by their issue: 300 G (100 G).
// resample_weight_kernel    4 or 8 bytes written and the geometry, always the 70: bound by double arithmetic, once a
//                           geometry.
// resample_backward_lists_kernel
//                           Gathers instead of scattering: no atomics, and the same sums in every run. An element of
//                           the result finds the samples that read it, about four, lists them with their coefficients
//                           in shared memory, and adds coefficient * gradient for all images of the chunk, eight at a
//                           time. 8 bytes of DRAM an element and image, each gradient four times from the caches, 25
//                           instructions: bound by memory, 600 G elements/s. The list takes about 4 x 40 (on the way
//                           back 4 x 150) double instructions an element and chunk, as long as the memory takes for 6
//                           (21) images, consumer 33 (125).
// resample_backward_kernel  The same without a list, for one image or a geometry each: bound by the 160 (600) double
//                           instructions an element and image, 100 G (28 G) elements/s, consumer 4 G (1 G).
// resample_center_kernel    8 bytes of DRAM a sample and image, gradient and source once; 10 double instructions
//                           beside the geometry: bound by memory on an H200, by double arithmetic on a consumer card.
//
// Load of the gather, polar: the samples near a pixel lie on the rings within a stencil's reach, on each in an
// interval of angles that grows as 1 / r towards the centre, up to the whole ring. Cartesian: the pixels that read an
// element lie in an annular sector of two steps by two angles, whose rows are cut to the sector before they are walked.
// Where that is much, near the centre or on outer rings, a warp shares the work of each element: without lists from
// about a warp's worth of angles a ring (n_angular / 64 pixels of the centre) or of 64 pixels a sector, with lists from
// 18 samples an element, so that a thread's list holds them (schedule_of). Bounds are conservative by rounding errors
// only, and the recomputed taps decide.
#pragma once

#include "../common/element.h"
#include "../common/resample_math.h"
#include "launch.cuh"
#include "patch.cuh"
#include "reading.cuh"
#include "resample_kinds.cuh"
#include "resample_launch.h"

namespace cdifast::cuda {

constexpr int kResampleThreads = 256;
constexpr int kResampleWarp = 32;
// Of the gather with lists. Images that a thread adds up at a time, in registers:
constexpr int kResampleGroup = 8;
constexpr int kListThreads = 128;
// Samples that a thread keeps at a time, each in 8 or 12 bytes of shared memory.
constexpr int kList = 24;
constexpr int kListEntries = kList * kListThreads;

CDIFAST_HD const uint8_t* good_of(const ResampleGeometry& geometry, int64_t g) {
  return geometry.good == nullptr ? nullptr : geometry.good + g * geometry.good_stride;
}

CDIFAST_HD const double* center_of(const ResampleGeometry& geometry, int64_t g) {
  return geometry.center + g * geometry.center_stride;
}

// Values of one sample in kImages images, whose readings are kOwn: each its own. The images lie `elements` apart and
// their targets `samples`. All reads come before the first write, so that they are under way together. A masked
// neighbour may hold NaN, and 0 * NaN is NaN: it is not read at all.
template <int kImages, bool kOwn, typename T>
CDIFAST_HD void resample_images(const T* __restrict__ source, int64_t elements, const Reading<compute_t<T>>* readings,
                                compute_t<T> start, resampled_t<T>* __restrict__ target, int64_t samples) {
  compute_t<T> value[kImages];
#pragma unroll
  for (int i = 0; i < kImages; ++i) value[i] = start;
#pragma unroll
  for (int t = 0; t < 4; ++t) {
#pragma unroll
    for (int i = 0; i < kImages; ++i) {
      const Reading<compute_t<T>>& reading = readings[kOwn ? i : 0];
      if (reading.coefficient[t] != 0) {
        value[i] += reading.coefficient[t] * load_element(source[i * elements + reading.element[t]]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kImages; ++i) store_element(target[i * samples], value[i]);
}

// Directions of the angles 2 pi k / n.
__global__ void resample_directions_kernel(Direction* __restrict__ directions, int64_t n) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < n; k += stride) {
    directions[k] = angle_direction(k, n);
  }
}

// Images that a thread has under way at a time, with one geometry and with a geometry each.
constexpr int kSharedAtATime = 4;
constexpr int kOwnAtATime = 2;

// Grid: x over patches of the target, y over chunks of images.
template <typename Kind, typename T>
__launch_bounds__(kResampleThreads, 4) __global__
    void resample_kernel(const T* __restrict__ source, resampled_t<T>* __restrict__ target, ResampleGeometry geometry,
                         const Direction* __restrict__ directions, int64_t images, int64_t chunk, compute_t<T> fill) {
  using C = compute_t<T>;
  const PolarGrid& grid = geometry.grid;
  const SourceShape shape = Kind::source(grid);
  const int64_t elements = shape.rows * shape.columns;
  const Plane plane = Kind::target(grid);
  const int64_t samples = static_cast<int64_t>(plane.rows) * plane.columns;
  const Interior interior = interior_of(shape, grid.nearest, geometry.good);
  const int64_t begin = blockIdx.y * chunk;
  const int64_t end = begin + chunk < images ? begin + chunk : images;
  const uint32_t patches = patches_of(plane, kResampleThreads);
  for (uint32_t patch = blockIdx.x; patch < patches; patch += gridDim.x) {
    const Place place = place_of(plane, patch, threadIdx.x, kResampleThreads);
    if (!plane.holds(place.row, place.column)) continue;
    const auto sample = Kind::sample(grid, directions, place);
    const T* from = source + begin * elements;
    resampled_t<T>* to = target + (begin * samples + (place.row * plane.columns + place.column));
    if (geometry.count == 1) {
      const Position at = Kind::position(grid, sample, geometry.center);
      Reading<C> reading;
      C start = 0;
      if (interior.holds(at)) {
        reading = interior_reading<C>(shape, at);
      } else if (any_reading(shape, at, grid.nearest, geometry.good, reading) == 0.0) {
        start = fill;
      }
      int64_t n = begin;
#pragma unroll 1
      for (; n + kSharedAtATime <= end; n += kSharedAtATime) {
        resample_images<kSharedAtATime, false>(from, elements, &reading, start, to, samples);
        from += kSharedAtATime * elements;
        to += kSharedAtATime * samples;
      }
#pragma unroll 1
      for (; n < end; ++n) {
        resample_images<1, false>(from, elements, &reading, start, to, samples);
        from += elements;
        to += samples;
      }
      continue;
    }
    for (int64_t n = begin; n < end; n += kOwnAtATime) {
      const int live = static_cast<int>(end - n < kOwnAtATime ? end - n : kOwnAtATime);
      Position at[kOwnAtATime];
#pragma unroll
      for (int i = 0; i < kOwnAtATime; ++i) {
        at[i] = Kind::position(grid, sample, center_of(geometry, i < live ? n + i : n));
      }
      int inside = 0;
#pragma unroll
      for (int i = 0; i < kOwnAtATime; ++i) inside += interior.holds(at[i]) ? 1 : 0;
      if (inside == kOwnAtATime && live == kOwnAtATime) {
        Reading<C> readings[kOwnAtATime];
#pragma unroll
        for (int i = 0; i < kOwnAtATime; ++i) readings[i] = interior_reading<C>(shape, at[i]);
        resample_images<kOwnAtATime, true>(from, elements, readings, C{0}, to, samples);
      } else {
#pragma unroll 1
        for (int i = 0; i < live; ++i) {
          Reading<C> reading;
          const double weight = any_reading(shape, Kind::position(grid, sample, center_of(geometry, n + i)),
                                            grid.nearest, good_of(geometry, n + i), reading);
          resample_images<1, false>(from + i * elements, elements, &reading, weight > 0.0 ? C{0} : fill,
                                    to + i * samples, samples);
        }
      }
      from += kOwnAtATime * elements;
      to += kOwnAtATime * samples;
    }
  }
}

// Grid: x over patches of the target, y over geometries.
template <typename Kind, typename W>
__global__ void resample_weight_kernel(W* __restrict__ target, ResampleGeometry geometry,
                                       const Direction* __restrict__ directions) {
  const PolarGrid& grid = geometry.grid;
  const Plane plane = Kind::target(grid);
  const int64_t samples = static_cast<int64_t>(plane.rows) * plane.columns;
  const uint32_t patches = patches_of(plane, kResampleThreads);
  for (int64_t g = blockIdx.y; g < geometry.count; g += gridDim.y) {
    for (uint32_t patch = blockIdx.x; patch < patches; patch += gridDim.x) {
      const Place place = place_of(plane, patch, threadIdx.x, kResampleThreads);
      if (!plane.holds(place.row, place.column)) continue;
      const auto sample = Kind::sample(grid, directions, place);
      Taps taps;
      bilinear_taps(Kind::source(grid), Kind::position(grid, sample, center_of(geometry, g)), grid.nearest,
                    good_of(geometry, g), taps, nullptr);
      store_element(target[g * samples + (place.row * plane.columns + place.column)],
                    static_cast<compute_t<W>>(taps.total));
    }
  }
}

// The element that the thread works on in unit `unit` of a block of `threads`, or -1: the same for a whole warp where
// the unit is of teams.
template <typename Kind>
CDIFAST_HD int gathered(const PolarGrid& grid, const GatherSchedule& schedule, const double* center, int64_t unit,
                        uint32_t thread, int threads) {
  if (unit < schedule.team_units) {
    return Kind::of_team(grid, schedule, center, unit * (threads / kResampleWarp) + thread / kResampleWarp);
  }
  const auto patch = static_cast<uint32_t>(unit - schedule.team_units);
  const Place place = place_of(schedule.single, patch, thread, threads);
  if (!schedule.single.holds(place.row, place.column) || Kind::is_of_team(schedule, center, place)) return -1;
  return static_cast<int>(place.row * schedule.single.columns + place.column);
}

// Adds up coefficient * gradient of one image.
template <typename T>
struct AddGradients {
  const T* __restrict__ grad;
  compute_t<T> sum;
  CDIFAST_HD void operator()(int sample, compute_t<T> coefficient) { sum += coefficient * load_element(grad[sample]); }
};

// One image, or each with its own geometry. Grid: x over units of work (GatherSchedule), y over images.
template <typename Kind, typename T>
__global__ void resample_backward_kernel(const T* __restrict__ grad, T* __restrict__ target, ResampleGeometry geometry,
                                         const Direction* __restrict__ directions, GatherSchedule schedule,
                                         int64_t images) {
  using C = compute_t<T>;
  const PolarGrid& grid = geometry.grid;
  const SourceShape shape = Kind::source(grid);
  const int64_t elements = shape.rows * shape.columns;
  const Plane plane = Kind::target(grid);
  const int64_t samples = static_cast<int64_t>(plane.rows) * plane.columns;
  for (int64_t n = blockIdx.y; n < images; n += gridDim.y) {
    const int64_t g = geometry.count == 1 ? 0 : n;
    const double* center = center_of(geometry, g);
    for (int64_t unit = blockIdx.x; unit < schedule.units; unit += gridDim.x) {
      const bool team = unit < schedule.team_units;  // the same for the whole block
      const int lanes = team ? kResampleWarp : 1;
      const int lane = team ? static_cast<int>(threadIdx.x % kResampleWarp) : 0;
      const int element = gathered<Kind>(grid, schedule, center, unit, threadIdx.x, kResampleThreads);
      if (element < 0) continue;
      AddGradients<T> visit{grad + n * samples, C{0}};
      Kind::template gather<C>(grid, directions, center, good_of(geometry, g), element, lane, lanes, visit);
      C sum = visit.sum;
      if (team) {
#pragma unroll
        for (int half = kResampleWarp / 2; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
      }
      if (lane == 0) store_element(target[n * elements + element], sum);
    }
  }
}

// Writes those samples of a gather down that are number `first` to `first` + kList - 1 of the thread's. Entries lie
// kListThreads apart, so that the lanes of a warp meet different banks.
template <typename C>
struct ListSamples {
  int* sample;
  C* coefficient;
  int first;
  int count;  // of all
  CDIFAST_HD void operator()(int s, C c) {
    const int entry = count - first;
    if (entry >= 0 && entry < kList) {
      sample[entry * kListThreads] = s;
      coefficient[entry * kListThreads] = c;
    }
    ++count;
  }
};

// The sums over `held` entries for kResampleGroup images, whose gradients lie `samples` apart; kAll: all are there,
// otherwise `live` of them.
template <bool kAll, typename T>
CDIFAST_HD void add_list(const T* __restrict__ grad, int64_t samples, int live, const int* sample,
                         const compute_t<T>* coefficient, int held, compute_t<T> (&sums)[kResampleGroup]) {
#pragma unroll kAll ? 2 : 1
  for (int entry = 0; entry < held; ++entry) {
    const T* from = grad + sample[entry * kListThreads];
    const compute_t<T> c = coefficient[entry * kListThreads];
#pragma unroll
    for (int i = 0; i < kResampleGroup; ++i) {
      if (kAll || i < live) sums[i] += c * load_element(from[i * samples]);
    }
  }
}

// Lane l of a warp gets the sum of all lanes for image l / 4. Each step halves the images that a lane still holds.
template <typename C>
__device__ __forceinline__ C sum_team(C (&sums)[kResampleGroup], int lane) {
  static_assert(kResampleGroup == 8);
#pragma unroll
  for (int step = 0; step < 3; ++step) {
    const int kept = 4 >> step;
    const int bit = 16 >> step;
    const bool upper = (lane & bit) != 0;
#pragma unroll
    for (int i = 0; i < kept; ++i) {
      const C given = upper ? sums[i] : sums[i + kept];
      sums[i] = (upper ? sums[i + kept] : sums[i]) + __shfl_xor_sync(0xffffffffu, given, bit);
    }
  }
  C sum = sums[0];
  sum += __shfl_xor_sync(0xffffffffu, sum, 2);
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  return sum;
}

// Images that share their geometry. A thread, or each of a team, first lists its samples and their coefficients in
// shared memory, then applies the list to all images of the chunk. Where one list does not do, the gather is repeated
// for each part of the samples, for as many images at a time as there is room to keep sums from part to part.
// Grid: x over units of work (GatherSchedule), y over chunks of images.
template <typename Kind, typename T>
__launch_bounds__(kListThreads, 5) __global__
    void resample_backward_lists_kernel(const T* __restrict__ grad, T* __restrict__ target, ResampleGeometry geometry,
                                        const Direction* __restrict__ directions, GatherSchedule schedule,
                                        int64_t images, int64_t chunk) {
  using C = compute_t<T>;
  // A thread reads of all three only what it wrote itself: no barriers.
  CDIFAST_SHARED(int, listed_samples, kListEntries);
  CDIFAST_SHARED(C, listed_coefficients, kListEntries);
  CDIFAST_SHARED(C, kept_sums, kResampleGroup * kListThreads);
  const PolarGrid& grid = geometry.grid;
  const SourceShape shape = Kind::source(grid);
  const int64_t elements = shape.rows * shape.columns;
  const Plane plane = Kind::target(grid);
  const int64_t samples = static_cast<int64_t>(plane.rows) * plane.columns;
  const int64_t begin = blockIdx.y * chunk;
  const int64_t end = begin + chunk < images ? begin + chunk : images;
  const int thread = static_cast<int>(threadIdx.x);
  const int* sample = listed_samples + thread;
  const C* coefficient = listed_coefficients + thread;
  for (int64_t unit = blockIdx.x; unit < schedule.units; unit += gridDim.x) {
    const bool team = unit < schedule.team_units;  // the same for the whole block
    const int lanes = team ? kResampleWarp : 1;
    const int lane = team ? thread % kResampleWarp : 0;
    const int element = gathered<Kind>(grid, schedule, geometry.center, unit, threadIdx.x, kListThreads);
    if (element < 0) continue;
    // Those of a team for image after image, those of a thread kListThreads apart.
    C* kept = kept_sums + (team ? (thread - lane) * kResampleGroup : thread);
    const int64_t pass = team ? kResampleGroup * kResampleWarp : kResampleGroup;
    int listed = -1;  // the number of the first sample of the list
    int held = 0;
    int count = 0;  // the most of the team's samples
    for (int64_t start = begin; start < end; start += pass) {
      const int64_t stop = start + pass < end ? start + pass : end;
      int first = 0;
      do {
        if (first != listed) {
          ListSamples<C> list{listed_samples + thread, listed_coefficients + thread, first, 0};
          Kind::template gather<C>(grid, directions, geometry.center, geometry.good, element, lane, lanes, list);
          count = list.count;
          held = count - first < kList ? count - first : kList;  // may be negative
          if (team) {
#pragma unroll
            for (int half = kResampleWarp / 2; half > 0; half /= 2) {
              const int other = __shfl_xor_sync(0xffffffffu, count, half);
              count = other > count ? other : count;
            }
          }
          listed = first;
        }
        const bool last = first + kList >= count;
        for (int64_t n = start; n < stop; n += kResampleGroup) {
          const int live = static_cast<int>(end - n < kResampleGroup ? end - n : kResampleGroup);
          C sums[kResampleGroup];
#pragma unroll
          for (int i = 0; i < kResampleGroup; ++i) sums[i] = 0;
          if (live == kResampleGroup) {
            add_list<true>(grad + n * samples, samples, live, sample, coefficient, held, sums);
          } else {
            add_list<false>(grad + n * samples, samples, live, sample, coefficient, held, sums);
          }
          C* part = kept + (n - start);
          T* to = target + (n * elements + element);
          if (team) {
            const int i = lane / (kResampleWarp / kResampleGroup);
            C sum = sum_team(sums, lane);
            if (i < live && lane % (kResampleWarp / kResampleGroup) == 0) {
              if (first > 0) sum += part[i];
              if (last) {
                store_element(to[i * elements], sum);
              } else {
                part[i] = sum;
              }
            }
          } else if (first == 0 && last) {
#pragma unroll
            for (int i = 0; i < kResampleGroup; ++i) {
              if (i < live) store_element(to[i * elements], sums[i]);
            }
          } else {
#pragma unroll
            for (int i = 0; i < kResampleGroup; ++i) {
              if (i >= live) break;
              if (first > 0) sums[i] += part[i * kListThreads];
              if (last) {
                store_element(to[i * elements], sums[i]);
              } else {
                part[i * kListThreads] = sums[i];
              }
            }
          }
        }
        first += kList;
      } while (first < count);
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

// The gradient of the centre, one part a block and chunk of images. Grid: x over patches, y over chunks; a chunk is
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
  const Plane plane = Kind::target(grid);
  const int64_t samples = static_cast<int64_t>(plane.rows) * plane.columns;
  const uint32_t patches = patches_of(plane, kResampleThreads);
  for (int64_t begin = blockIdx.y * chunk; begin < images; begin += gridDim.y * chunk) {
    const int64_t end = begin + chunk < images ? begin + chunk : images;
    double sum_y = 0.0;
    double sum_x = 0.0;
    for (uint32_t patch = blockIdx.x; patch < patches; patch += gridDim.x) {
      const Place place = place_of(plane, patch, threadIdx.x, kResampleThreads);
      if (!plane.holds(place.row, place.column)) continue;
      const auto sample = Kind::sample(grid, directions, place);
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
        const resampled_t<T>* gradient = grad + (n * samples + (place.row * plane.columns + place.column));
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
