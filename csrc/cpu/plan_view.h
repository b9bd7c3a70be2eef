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

struct SampleGroup {
  uint32_t first;  // of its samples, as an index into the output
  uint32_t data;   // where its numbers start, in cache lines
  uint16_t fill;   // bit l: sample l gets the fill value
  uint8_t count;   // samples, 16 but at the end of a row
  GroupKind kind;
};

struct alignas(64) CacheLine {
  std::byte bytes[64];
};

struct PlanView {
  SourceShape source;
  const SampleGroup* groups;
  int64_t group_count;
  const CacheLine* data;
};

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
