// The sampling of detector images for their correlation maps. No torch in this file.
#pragma once

#include "../common/resample_math.h"
#include "patch.cuh"
#include "reading.cuh"
#include "rings.cuh"

namespace cdifast::cuda {

constexpr int kSampleThreads = 256;
// Of the detector images: one centre and mask for all, or one for each.
struct Detector {
  PolarGrid grid;
  const double* center;  // (y, x)
  const uint8_t* good;   // or null
  bool shared_center;
  bool shared_good;
};

__global__ void zero_kernel(int* number) { *number = 0; }

// The unwrapped maps of images `first` to `first + count`, and their validity weights: of all where the geometry is
// shared, then written by whoever has the first images, else of each.
//
// They go to memory, though never all: a pass over a batch reuses one workspace (workspace.h). Sampling inside
// map_kernel instead would write nothing, but each ring is needed once for each tile of a larger map and once for its
// statistics, and a sample costs up to four 32-byte sectors of image and its double-precision geometry; a float costs
// four bytes. Where the geometry is shared, a thread works it out once for many images, so that there is no plan in
// memory either.
//
// `partial` is set where a sample counts for less than one; where none does, as without a mask, the map goes without
// weights.
template <typename T>
__launch_bounds__(kSampleThreads, sizeof(compute_t<T>) == 4 ? 4 : 3) __global__
    void sample_kernel(const T* __restrict__ images, Detector detector, int64_t of_a_slice,
                       const Complex<double>* __restrict__ directions, int64_t first, int64_t count,
                       compute_t<T>* __restrict__ values, compute_t<T>* __restrict__ weights,
                       int* __restrict__ partial) {
  using C = compute_t<T>;
  const PolarGrid& grid = detector.grid;
  const SourceShape source = polar_source(grid);
  const int64_t samples = grid.n_radial * grid.n_angular;
  const int64_t pixels = grid.height * grid.width;
  const Plane plane{static_cast<uint32_t>(grid.n_radial), static_cast<uint32_t>(grid.n_angular)};
  const uint32_t patches = patches_of(plane, kSampleThreads);
  const Interior interior = interior_of(source, grid.nearest, detector.good);
  const bool shared = detector.shared_center && (detector.good == nullptr || detector.shared_good);
  const int64_t slices = (count + of_a_slice - 1) / of_a_slice;
  for (int64_t b = blockIdx.x; b < patches * slices; b += gridDim.x) {
    const Place place = place_of(plane, static_cast<uint32_t>(b % patches), threadIdx.x, kSampleThreads);
    if (!plane.holds(place.row, place.column)) continue;
    const uint32_t sample = place.row * plane.columns + place.column;
    const int64_t begin = b / patches * of_a_slice;
    const int64_t end = begin + of_a_slice < count ? begin + of_a_slice : count;
    const double* const center = detector.center + (detector.shared_center ? 0 : 2 * (first + begin));
    const Complex<double> direction = directions[place.column];
    const Position at =
        polar_position(grid.radius(place.row), direction.real, direction.imaginary, center[0], center[1]);
    Reading<C> reading;
    double total = 1.0;
    if (interior.holds(at)) {
      reading = interior_reading<C>(source, at);
    } else {
      const uint8_t* const good =
          detector.good == nullptr || detector.shared_good ? detector.good : detector.good + (first + begin) * pixels;
      total = any_reading(source, at, grid.nearest, good, reading);
    }
    if (!shared || begin == 0) {
      weights[begin * samples + sample] = static_cast<C>(total);
      if (total != 1.0) atomicMax(partial, 1);
    }
    const T* image = images + (first + begin) * pixels;
    C* target = values + begin * samples + sample;
#pragma unroll 4
    for (int64_t n = begin; n < end; ++n) {
      C value = 0;
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        // A masked pixel may hold NaN, and 0 * NaN is NaN: it is not read at all.
        if (reading.coefficient[t] != C(0)) value += reading.coefficient[t] * load_element(image[reading.element[t]]);
      }
      *target = value;
      image += pixels;
      target += samples;
    }
  }
}

}  // namespace cdifast::cuda
