#include "resample_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <list>
#include <mutex>
#include <numbers>

#include "resample_simd.h"

namespace cdifast::cpu {
namespace {

// Sample k of each of kGroup groups.
template <typename C>
Placed<C> column_of(const Placed<C>* rows, int k) {
  Placed<C> column;
  for (int lane = 0; lane < kGroup; ++lane) {
    column.y[lane] = rows[lane].y[k];
    column.x[lane] = rows[lane].x[k];
    column.element[lane] = rows[lane].element[k];
    column.fy[lane] = rows[lane].fy[k];
    column.fx[lane] = rows[lane].fx[k];
    column.inside[lane] = rows[lane].inside[k];
  }
  return column;
}

// Appends `lines` cache lines to the plan and returns the first one's bytes.
std::byte* append(SamplingPlan& plan, int64_t lines) {
  const std::size_t first = plan.data.size();
  plan.data.resize(first + lines);
  return plan.data[first].bytes;
}

template <typename C>
constexpr int64_t lines_of(int64_t elements, int64_t numbers) {
  return (elements * kGroup * 4 + numbers * kGroup * static_cast<int64_t>(sizeof(C))) / 64;
}

// Adds a group of samples between four valid neighbours each.
template <typename C>
void add_whole_group(const Placed<C>& at, SamplingPlan& plan, SampleGroup& group) {
  group.kind = GroupKind::whole;
  group.data = static_cast<uint32_t>(plan.data.size());
  auto* element = reinterpret_cast<int32_t*>(append(plan, lines_of<C>(1, 2)));
  C* fraction = reinterpret_cast<C*>(element + kGroup);
  std::copy_n(at.element, group.count, element);
  std::copy_n(at.fy, group.count, fraction);
  std::copy_n(at.fx, group.count, fraction + kGroup);
}

// Any other group: the taps of resample_math.h for those of its samples that are not `whole`, side by side in memory
// where they can be.
template <typename C>
void add_other_group(const Placed<C>& at, uint16_t whole, bool nearest, const uint8_t* good, SamplingPlan& plan,
                     SampleGroup& group) {
  const SourceShape& source = plan.source;
  const int64_t from_corner[4] = {0, 1, source.columns, source.columns + 1};
  Taps taps[kGroup];
  int64_t corner[kGroup];
  bool side_by_side = source.rows >= 2 && source.columns >= 2;
  const auto is_whole = [&](int lane) { return ((whole >> lane) & 1) != 0; };
  for (int lane = 0; lane < group.count; ++lane) {
    if (is_whole(lane)) {
      taps[lane].total = 1.0;
      corner[lane] = at.element[lane];
      continue;
    }
    bilinear_taps(source, {at.y[lane], at.x[lane]}, nearest, good, taps[lane], nullptr);
    if (taps[lane].total == 0.0) group.fill |= static_cast<uint16_t>(1u << lane);
    corner[lane] = 0;
    if (taps[lane].total == 0.0 || !side_by_side) continue;
    int64_t row = source.rows - 2, column = source.columns - 2;
    for (int t = 0; t < 4; ++t) {
      if (taps[lane].weight[t] == 0.0) continue;
      row = std::min(row, taps[lane].element[t] / source.columns);
      column = std::min(column, taps[lane].element[t] % source.columns);
    }
    corner[lane] = row * source.columns + column;
    for (int t = 0; t < 4; ++t) {
      if (taps[lane].weight[t] == 0.0) continue;
      side_by_side &= taps[lane].element[t] % source.columns - column <= 1;  // else the last and the first angle
    }
  }

  group.kind = side_by_side ? GroupKind::weighted : GroupKind::scattered;
  group.data = static_cast<uint32_t>(plan.data.size());
  const int elements = side_by_side ? 1 : 4;
  auto* element = reinterpret_cast<int32_t*>(append(plan, lines_of<C>(elements, 4)));
  C* coefficient = reinterpret_cast<C*>(element + elements * kGroup);
  for (int lane = 0; lane < group.count; ++lane) {
    if (taps[lane].total == 0.0) continue;
    if (side_by_side) element[lane] = static_cast<int32_t>(corner[lane]);
    if (is_whole(lane)) {
      C all[4];
      between(at.fy[lane], at.fx[lane], all);
      for (int t = 0; t < 4; ++t) {
        coefficient[t * kGroup + lane] = all[t];
        if (!side_by_side) element[t * kGroup + lane] = static_cast<int32_t>(corner[lane] + from_corner[t]);
      }
      continue;
    }
    for (int t = 0; t < 4; ++t) {
      if (taps[lane].weight[t] == 0.0) continue;
      const int64_t apart = taps[lane].element[t] - corner[lane];
      const int slot =
          !side_by_side ? t : static_cast<int>(apart >= source.columns ? 2 + apart - source.columns : apart);
      coefficient[slot * kGroup + lane] = static_cast<C>(taps[lane].weight[t] / taps[lane].total);
      if (!side_by_side) element[slot * kGroup + lane] = static_cast<int32_t>(taps[lane].element[t]);
    }
  }

  for (int lane = 0; lane < group.count; ++lane) {
    if (taps[lane].total == 1.0) continue;
    if (plan.complete) plan.weight.assign(plan.samples, 1.0);
    plan.complete = false;
    plan.weight[sample_index(group, lane, plan.columns)] = taps[lane].total;
  }
}

template <typename C>
void add_group(const Placed<C>& at, bool nearest, const uint8_t* good, SamplingPlan& plan, SampleGroup& group) {
  unsigned whole = 0;  // bit l: the neighbours of sample l are all valid
  for (int lane = 0; lane < group.count; ++lane) {
    unsigned all = at.inside[lane] & 1;
    if (all != 0 && good != nullptr) {
      const uint8_t* corner = good + at.element[lane];
      all = corner[0] & corner[1] & corner[plan.source.columns] & corner[plan.source.columns + 1];
    }
    whole |= all << lane;
  }
  if (whole == (1u << group.count) - 1) {
    add_whole_group(at, plan, group);
  } else {
    add_other_group(at, static_cast<uint16_t>(whole), nearest, good, plan, group);
  }
}

// Whether the samples of a tile's rows change their source's row less often down the columns than along the rows.
template <typename C>
bool better_down(const Placed<C>* rows, int64_t source_columns) {
  const double inverse = 1.0 / static_cast<double>(source_columns);
  int32_t line[kGroup][kGroup];
  for (int j = 0; j < kGroup; ++j) {
    for (int i = 0; i < kGroup; ++i) line[j][i] = static_cast<int32_t>(rows[j].element[i] * inverse);
  }
  int along = 0, down = 0;
  for (int j = 0; j < kGroup; ++j) {
    for (int i = 1; i < kGroup; ++i) {
      along += line[j][i] != line[j][i - 1];
      down += line[i][j] != line[i - 1][j];
    }
  }
  return down < along;
}

// Whether the kGroup groups from here on make a simple tile.
template <typename C>
bool is_simple(const SamplingPlan& plan, const SampleGroup* groups) {
  for (int i = 0; i < kGroup; ++i) {
    if (groups[i].kind != GroupKind::whole || groups[i].count != kGroup) return false;
    const C* fraction = reinterpret_cast<const C*>(plan.data[groups[i].data].bytes + kGroup * sizeof(int32_t));
    if (std::any_of(fraction, fraction + 2 * kGroup, [](C value) { return value == 0; })) return false;
  }
  return true;
}

// Block after block, in each row after row; numbers in the order of their groups, in which they are read.
template <typename C>
void make(const Sampling& sampling, const Directions& directions, bool tiles, SamplingPlan& plan) {
  const int64_t rows = sampling.rows();
  const int64_t columns = plan.columns;
  const auto& kernels = selected_resample_kernels();
  const int64_t blocks = (columns + kGroup - 1) / kGroup;
  plan.groups.reserve(rows * blocks);
  plan.data.reserve(rows * blocks * lines_of<C>(1, 2));
  const auto add = [&](const Placed<C>& at, int64_t first, int64_t count, bool down) {
    SampleGroup group{};
    group.first = static_cast<uint32_t>(first);
    group.count = static_cast<uint8_t>(count);
    group.down = down;
    add_group(at, sampling.grid.nearest, sampling.good, plan, group);
    plan.groups.push_back(group);
  };
  const int64_t height = tiles ? kGroup : 1;
  Placed<C> band[kGroup];
  for (int64_t k = 0; k < columns; k += kGroup) {
    const int64_t count = std::min<int64_t>(kGroup, columns - k);
    for (int64_t row = 0; row < rows; row += height) {
      const int64_t here = std::min(height, rows - row);
      for (int64_t j = 0; j < here; ++j) {
        kernels.place(sampling, directions.cos.data(), directions.sin.data(), row + j, k, count, plan.float64,
                      &band[j]);
      }
      const bool tile = here == kGroup && count == kGroup;
      const bool down = tile && better_down(band, plan.source.columns);
      for (int i = 0; i < here; ++i) {
        if (down) {
          add(column_of(band, i), row * columns + k + i, kGroup, true);
        } else {
          add(band[i], (row + i) * columns + k, count, false);
        }
      }
      if (!tile) continue;
      SampleGroup* const groups = &plan.groups.back() - (kGroup - 1);
      const bool simple = is_simple<C>(plan, groups);
      for (int i = 0; i < kGroup; ++i) {
        groups[i].place = static_cast<uint8_t>(i);
        groups[i].simple = simple;
      }
    }
  }
}

struct CachedPlan {
  Sampling sampling;
  bool float64;
  std::vector<uint8_t> good;
  std::shared_ptr<const SamplingPlan> plan;  // null: not made yet

  CachedPlan(const Sampling& sampling_, bool float64_) : sampling(sampling_), float64(float64_) {
    if (sampling.good == nullptr) return;
    const SourceShape source = sampling.source();
    good.assign(sampling.good, sampling.good + source.rows * source.columns);
    sampling.good = nullptr;  // the caller's
  }

  bool is_for(const Sampling& other, bool in_float64) const {
    const PolarGrid &a = sampling.grid, &b = other.grid;
    return sampling.kind == other.kind && float64 == in_float64 && a.height == b.height && a.width == b.width &&
           a.n_radial == b.n_radial && a.n_angular == b.n_angular && a.r_min == b.r_min && a.r_max == b.r_max &&
           a.nearest == b.nearest && sampling.center_y == other.center_y && sampling.center_x == other.center_x &&
           good.empty() == (other.good == nullptr) &&
           (good.empty() || std::memcmp(good.data(), other.good, good.size()) == 0);
  }
  std::size_t bytes() const { return plan->bytes() + good.size(); }
};

// Geometries remembered that came once, each with its mask.
constexpr std::size_t kSeenGeometries = 4;

struct PlanCache {
  std::mutex mutex;
  std::list<CachedPlan> plans;  // the last used first
  std::list<CachedPlan> seen;   // without a plan, the last seen first
  std::size_t bytes = 0;
  int64_t hits = 0;
  int64_t misses = 0;
};

PlanCache& cache() {
  static PlanCache* one = new PlanCache;  // never destroyed: threads may outlive the module's statics
  return *one;
}

}  // namespace

const TouchedLines& SamplingPlan::lines(int64_t element_size) const {
  const int which = element_size == 1 ? 0 : element_size == 2 ? 1 : element_size == 4 ? 2 : 3;
  std::call_once(lines_once_[which], [&] {
    TouchedLines& result = lines_[which];
    std::vector<bool> seen(source.rows * source.columns * element_size / 64 + 1, false);
    result.before.reserve(groups.size());
    for (const SampleGroup& group : groups) {
      result.before.push_back(static_cast<uint32_t>(result.line.size()));
      const auto* element = reinterpret_cast<const int32_t*>(data[group.data].bytes);
      const auto need = [&](int64_t which_element) {
        const int64_t line = which_element * element_size / 64;
        if (seen[line]) return;
        seen[line] = true;
        result.line.push_back(static_cast<uint32_t>(line));
      };
      if (group.kind == GroupKind::scattered) {
        for (int entry = 0; entry < 4 * kGroup; ++entry) need(element[entry]);
        continue;
      }
      for (int lane = 0; lane < group.count; ++lane) {
        for (const int64_t from : {int64_t{0}, int64_t{1}, source.columns, source.columns + 1}) {
          need(element[lane] + from);
        }
      }
    }
    result.before.push_back(static_cast<uint32_t>(result.line.size()));
  });
  return lines_[which];
}

namespace {

// Calls f(sample, element, coefficient) for all that the plan's samples take, none of them 0.
template <typename C, typename F>
void for_each_part(const SamplingPlan& plan, const F& f) {
  const int64_t columns = plan.source.columns;
  const int64_t from_corner[] = {0, 1, columns, columns + 1};
  for (const SampleGroup& group : plan.groups) {
    const auto* element = reinterpret_cast<const int32_t*>(plan.data[group.data].bytes);
    const bool scattered = group.kind == GroupKind::scattered;
    const C* number = reinterpret_cast<const C*>(element + kGroup * (scattered ? 4 : 1));
    for (int lane = 0; lane < group.count; ++lane) {
      C coefficient[4];
      if (group.kind == GroupKind::whole) {
        between(number[lane], number[kGroup + lane], coefficient);
      } else {
        for (int t = 0; t < 4; ++t) coefficient[t] = number[t * kGroup + lane];
      }
      for (int t = 0; t < 4; ++t) {
        if (coefficient[t] == 0) continue;
        f(sample_index(group, lane, plan.columns),
          scattered ? element[t * kGroup + lane] : element[lane] + from_corner[t], coefficient[t]);
      }
    }
  }
}

template <typename C>
void make_lists(const SamplingPlan& plan, AdjointLists& lists) {
  const int64_t elements = plan.source.rows * plan.source.columns;
  lists.begin.assign(elements + 1, 0);
  for_each_part<C>(plan, [&](int64_t, int64_t element, C) { ++lists.begin[element + 1]; });
  for (int64_t e = 0; e < elements; ++e) lists.begin[e + 1] += lists.begin[e];
  lists.sample.resize(lists.begin[elements]);
  lists.coefficient.resize((lists.sample.size() * sizeof(C) + sizeof(CacheLine) - 1) / sizeof(CacheLine));
  C* const coefficients = reinterpret_cast<C*>(lists.coefficient.data());
  std::vector<uint32_t> next(lists.begin.begin(), lists.begin.end() - 1);
  for_each_part<C>(plan, [&](int64_t sample, int64_t element, C coefficient) {
    const uint32_t place = next[element]++;
    lists.sample[place] = static_cast<uint32_t>(sample);
    coefficients[place] = coefficient;
  });
}

}  // namespace

AdjointView SamplingPlan::adjoint() const {
  std::call_once(adjoint_once_,
                 [&] { float64 ? make_lists<double>(*this, adjoint_) : make_lists<float>(*this, adjoint_); });
  return {source.rows * source.columns, samples, adjoint_.begin.data(), adjoint_.sample.data(),
          adjoint_.coefficient.data()};
}

Directions::Directions(int64_t n_angular) : cos(n_angular), sin(n_angular) {
  for (int64_t k = 0; k < n_angular; ++k) {
    const double phi = 2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n_angular);
    cos[k] = std::cos(phi);
    sin[k] = std::sin(phi);
  }
}

namespace {

// An empty plan of `sampling`.
void start(const Sampling& sampling, bool float64, SamplingPlan& plan) {
  plan.source = sampling.source();
  plan.columns = sampling.columns();
  plan.samples = sampling.rows() * sampling.columns();
  plan.float64 = float64;
  plan.complete = true;
  plan.groups.clear();
  plan.data.clear();
  plan.weight.clear();
}

template <typename C>
void add_rest(const Sampling& sampling, const Directions& directions, const std::vector<uint8_t>& done,
              SamplingPlan& rest) {
  const auto& kernels = selected_resample_kernels();
  const int64_t rows = sampling.rows();
  Placed<C> at;
  for (std::size_t g = 0; g < done.size(); ++g) {
    if (done[g] != 0) continue;
    const int64_t j = static_cast<int64_t>(g) % rows, k = static_cast<int64_t>(g) / rows * kGroup;
    SampleGroup group{};
    group.first = static_cast<uint32_t>(j * rest.columns + k);
    group.count = static_cast<uint8_t>(std::min<int64_t>(kGroup, rest.columns - k));
    kernels.place(sampling, directions.cos.data(), directions.sin.data(), j, k, group.count, rest.float64, &at);
    add_group(at, sampling.grid.nearest, sampling.good, rest, group);
    rest.groups.push_back(group);
  }
}

}  // namespace

void make_plan(const Sampling& sampling, const Directions& directions, bool float64, bool tiles, SamplingPlan& plan) {
  start(sampling, float64, plan);
  if (float64) {
    make<double>(sampling, directions, tiles, plan);
  } else {
    make<float>(sampling, directions, tiles, plan);
  }
}

void sample_once(const Sampling& sampling, const Directions& directions, DType dtype, DType out_dtype,
                 const void* image, const void* next, double fill, void* out, SamplingPlan& rest) {
  start(sampling, dtype == DType::f64, rest);
  const auto& kernels = selected_resample_kernels();
  std::vector<uint8_t> done(sampling.rows() * ((rest.columns + kGroup - 1) / kGroup));
  kernels.forward_once(dtype, out_dtype, image, sampling, directions.cos.data(), directions.sin.data(), next, out,
                       done.data());
  rest.float64 ? add_rest<double>(sampling, directions, done, rest) : add_rest<float>(sampling, directions, done, rest);
  kernels.forward(dtype, out_dtype, image, rest.view(), 0, static_cast<int64_t>(rest.groups.size()), fill, out,
                  Placement::rows, Prefetch{});
}

std::shared_ptr<const SamplingPlan> cached_plan(const Sampling& sampling, bool float64, bool at_once) {
  PlanCache& c = cache();
  const auto is_it = [&](const CachedPlan& entry) { return entry.is_for(sampling, float64); };
  {
    const std::lock_guard lock(c.mutex);
    const auto found = std::ranges::find_if(c.plans, is_it);
    if (found != c.plans.end()) {
      c.plans.splice(c.plans.begin(), c.plans, found);
      ++c.hits;
      return c.plans.front().plan;
    }
    ++c.misses;
    if (!at_once && c.seen.remove_if(is_it) == 0) {
      c.seen.emplace_front(sampling, float64);
      if (c.seen.size() > kSeenGeometries) c.seen.pop_back();
      return nullptr;
    }
  }
  // Made without the lock: two threads may make the same plan, and both are right.
  auto plan = std::make_shared<SamplingPlan>();
  make_plan(sampling, Directions(sampling.grid.n_angular), float64, true, *plan);
  CachedPlan entry(sampling, float64);
  entry.plan = plan;
  const std::lock_guard lock(c.mutex);
  if (entry.bytes() <= kPlanCacheBytes) {
    c.bytes += entry.bytes();
    c.plans.push_front(std::move(entry));
    while (c.bytes > kPlanCacheBytes) {
      c.bytes -= c.plans.back().bytes();
      c.plans.pop_back();
    }
  }
  return plan;
}

PlanCacheState plan_cache_state() {
  PlanCache& c = cache();
  const std::lock_guard lock(c.mutex);
  return {static_cast<int64_t>(c.plans.size()), static_cast<int64_t>(c.bytes), c.hits, c.misses};
}

void clear_plan_cache() {
  PlanCache& c = cache();
  const std::lock_guard lock(c.mutex);
  c.plans.clear();
  c.seen.clear();
  c.bytes = 0;
  c.hits = 0;
  c.misses = 0;
}

}  // namespace cdifast::cpu
