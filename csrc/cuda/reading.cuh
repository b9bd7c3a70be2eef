// What a sample of polar resampling, or of its way back, takes of an image, as few numbers as a thread can keep. No
// torch in this file.
#pragma once

#include <cstdint>

#include "../common/resample_math.h"
#include "launch.cuh"

namespace cdifast::cuda {

// The positions whose four neighbours are all inside and valid: their weights need no search. None where the nearest
// element is taken, or with a mask.
struct Interior {
  double y_end, x_end;
  CDIFAST_HD bool holds(const Position& at) const { return at.y >= 0.0 && at.y < y_end && at.x >= 0.0 && at.x < x_end; }
};

CDIFAST_HD Interior interior_of(const SourceShape& source, bool nearest, const uint8_t* good) {
  const bool any = !nearest && good == nullptr;
  return {any ? static_cast<double>(source.rows - 1) : 0.0,
          static_cast<double>(source.periodic ? source.columns : source.columns - 1)};
}

template <typename C>
CDIFAST_HD C unless_negligible(C weight) {
  return weight <= static_cast<C>(kNegligibleWeight) ? C{0} : weight;
}

// What a sample takes of an image; all coefficients are 0 where it has no value.
template <typename C>
struct Reading {
  uint32_t element[4];
  C coefficient[4];
};

// At a position of the interior: bilinear_taps without what cannot happen there.
template <typename C>
CDIFAST_HD Reading<C> interior_reading(const SourceShape& source, const Position& at) {
  const int row = static_cast<int>(at.y);
  const int column = static_cast<int>(at.x);
  const double fy = at.y - row;
  const double fx = at.x - column;
  const C below = static_cast<C>(fy);
  const C above = static_cast<C>(1.0 - fy);
  const C right = static_cast<C>(fx);
  const C left = static_cast<C>(1.0 - fx);
  const auto columns = static_cast<uint32_t>(source.columns);
  const uint32_t first = static_cast<uint32_t>(row) * columns + static_cast<uint32_t>(column);
  const uint32_t next =
      source.periodic && static_cast<uint32_t>(column) + 1 == columns ? first + 1 - columns : first + 1;
  return {{first, next, first + columns, next + columns},
          {unless_negligible(above * left), unless_negligible(above * right), unless_negligible(below * left),
           unless_negligible(below * right)}};
}

// At any position. Returns the sample's validity weight, 0 where it has no value.
template <typename C>
CDIFAST_HD double any_reading(const SourceShape& source, const Position& at, bool nearest, const uint8_t* good,
                              Reading<C>& reading) {
  Taps taps;
  bilinear_taps(source, at, nearest, good, taps, nullptr);
  const double scale = taps.total > 0.0 ? 1.0 / taps.total : 0.0;
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    reading.element[t] = static_cast<uint32_t>(taps.element[t]);
    reading.coefficient[t] = static_cast<C>(taps.weight[t] * scale);
  }
  return taps.total;
}

}  // namespace cdifast::cuda
