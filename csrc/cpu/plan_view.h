// A plan as kernels see it: resample_plan.h says what it is. Free of the standard library's containers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../common/element.h"
#include "../common/resample_math.h"

namespace cdifast::cpu {

constexpr int kGroup = 16;

enum class GroupKind : uint8_t {
  whole,     // all four neighbours of every sample are valid: int32 element[16] of the first, C fy[16], C fx[16]
  weighted,  // neighbours side by side, some of them unused: int32 element[16] of the first, C coefficient[4][16]
  scattered  // neighbours anywhere: int32 element[4][16], C coefficient[4][16]
};

// Samples that follow each other along a row of the output, or down one of its columns. kGroup groups of neighbouring
// rows or columns may make a tile; those down columns always do.
struct SampleGroup {
  uint32_t first;  // of its samples, as an index into the output
  uint32_t data;   // where its numbers start, in cache lines
  uint16_t fill;   // bit l: sample l gets the fill value
  uint8_t count;   // samples, 16 but at the end of a row
  GroupKind kind;
  bool down;      // a column
  uint8_t place;  // in its tile
  bool simple;    // its tile has whole groups alone, that reach all their neighbours, and numbers one after another
};

// A group's samples as ResampleKernels' `place` puts them; those that a row does not have lie at the first element.
template <typename C>
struct Placed {
  alignas(64) double y[kGroup] = {}, x[kGroup] = {};  // positions
  alignas(64) int32_t element[kGroup] = {};           // the first of four neighbours
  alignas(64) C fy[kGroup] = {}, fx[kGroup] = {};     // fractions between them
  alignas(64) int32_t inside[kGroup] = {};            // -1 where all four lie in the source, else 0
};

struct alignas(64) CacheLine {
  std::byte bytes[64];
};

struct PlanView {
  SourceShape source;
  int64_t columns;  // of the output
  const SampleGroup* groups;
  int64_t group_count;
  const CacheLine* data;
};

// Sample `lane` of a group as an index into an output of so many columns.
CDIFAST_HOST int64_t sample_index(const SampleGroup& group, int64_t lane, int64_t columns) {
  return group.first + lane * (group.down ? columns : 1);
}

// The coefficients of a sample between four valid neighbours: (y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1).
// Everything that samples multiplies these or those of its plan with the neighbours and adds up in this order, so that
// a sample has the same bits in whatever group it lies.
template <typename V>
CDIFAST_HOST void between(V fy, V fx, V (&coefficient)[4]) {
  const V gy = 1.0f - fy, gx = 1.0f - fx;
  coefficient[0] = gy * gx;
  coefficient[1] = gy * fx;
  coefficient[2] = fy * gx;
  coefficient[3] = fy * fx;
}

template <typename C>
struct GroupData {
  const int32_t* element;
  const C* number;  // fractions or coefficients
};

template <typename C>
CDIFAST_HOST GroupData<C> data_of(const PlanView& plan, const SampleGroup& group) {
  const auto* element = reinterpret_cast<const int32_t*>(plan.data[group.data].bytes);
  return {element, reinterpret_cast<const C*>(element + kGroup * (group.kind == GroupKind::scattered ? 4 : 1))};
}

}  // namespace cdifast::cpu
