// The sampling of one geometry, worked out once: which elements of the source each sample takes, with which
// coefficients, in the order in which the kernels run and in the form that they read. Free of torch.
//
// Samples come in groups of 16 neighbours along the output's rows, and groups in blocks of 16 columns by all rows: of
// an unwrapped map, a sector whose part of the image stays in the first-level cache while its rings are read; wider
// ones would cross more rows, pages of their own in large images, than the first-level TLB holds. Plans in tiles take
// 16 rows of a block along its columns instead where that changes the source's rows less often: an image whose rows are
// a multiple of 4 kB apart has each column in one set of the first-level cache, 8 or 12 lines, and 16 samples from as
// many rows push each other out before their neighbours are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "../common/element.h"
#include "../common/resample_math.h"
#include "capability.h"
#include "lanes_simd.h"
#include "plan_view.h"

namespace cdifast::cpu {

// The cache lines that are read of an image that starts a line, in the order in which groups first need them, and how
// many are needed before each group, and by all.
struct TouchedLines {
  std::vector<uint32_t> line;
  std::vector<uint32_t> before;
};

// Each element's samples, in the order of the output: what the adjoint gathers.
struct AdjointLists {
  std::vector<uint32_t> begin;
  std::vector<uint32_t> sample;
  std::vector<CacheLine> coefficient;  // float or double, as in the plan
};

// Numbers are float or double (`float64`); those of a group's samples beyond `count` are harmless.
struct SamplingPlan {
  SourceShape source{};
  int64_t columns = 0;  // of the output
  int64_t samples = 0;
  bool float64 = false;
  bool complete = true;  // every sample's validity weight is 1
  std::vector<SampleGroup> groups;
  std::vector<CacheLine> data;
  std::vector<double> weight;  // of every sample, as an index into the output; empty where complete

  PlanView view() const { return {source, columns, groups.data(), static_cast<int64_t>(groups.size()), data.data()}; }
  // For images of elements of that size; worked out at the first call.
  const TouchedLines& lines(int64_t element_size) const;
  // Worked out at the first call.
  AdjointView adjoint() const;
  // With the lists, whether they are there yet or not.
  std::size_t bytes() const {
    const std::size_t entry = sizeof(uint32_t) + (float64 ? sizeof(double) : sizeof(float));
    return groups.size() * sizeof(SampleGroup) + data.size() * sizeof(CacheLine) + weight.size() * sizeof(double) +
           4 * samples * entry + source.rows * source.columns * sizeof(uint32_t);
  }

 private:
  mutable std::once_flag lines_once_[4];
  mutable TouchedLines lines_[4];
  mutable std::once_flag adjoint_once_;
  mutable AdjointLists adjoint_;
};

// A geometry: the output's samples are those of the grid's unwrapped map, or of its detector image.
struct Sampling {
  SamplingKind kind;
  PolarGrid grid;
  double center_y;
  double center_x;
  const uint8_t* good;  // a byte an element of the source, or null

  SourceShape source() const { return kind == SamplingKind::polar ? polar_source(grid) : cartesian_source(grid); }
  int64_t rows() const { return kind == SamplingKind::polar ? grid.n_radial : grid.height; }
  int64_t columns() const { return kind == SamplingKind::polar ? grid.n_angular : grid.width; }
};

// cos and sin of every angle of an unwrapped map.
struct Directions {
  std::vector<double> cos, sin;
  explicit Directions(int64_t n_angular);
};

// Makes `plan` the plan of `sampling`, reusing its memory. Finding the better way of `tiles` takes longer than one
// image gains.
void make_plan(const Sampling& sampling, const Directions& directions, bool float64, bool tiles, SamplingPlan& plan);

// Samples an image whose geometry is not used again: each group as soon as it is placed, without a plan. `rest`
// becomes that of the groups with samples that lack a neighbour, and so has the weights of all. The rest as in
// ResampleKernels' forward_once.
void sample_once(const Sampling& sampling, const Directions& directions, DType dtype, DType out_dtype,
                 const void* image, const void* next, double fill, void* out, SamplingPlan& rest);

// The plan in tiles of `sampling` from the cache, or made now. Plans lie there by geometry, centre and the mask's
// content, the last used ones, up to kPlanCacheBytes; larger ones are made at each call. Unless `at_once`, null for a
// geometry that is asked for the first time: making its plan takes longer than a few images without one.
std::shared_ptr<const SamplingPlan> cached_plan(const Sampling& sampling, bool float64, bool at_once);

constexpr std::size_t kPlanCacheBytes = std::size_t{256} << 20;

struct PlanCacheState {
  int64_t plans;
  int64_t bytes;
  int64_t hits;
  int64_t misses;
};
PlanCacheState plan_cache_state();
void clear_plan_cache();

}  // namespace cdifast::cpu
