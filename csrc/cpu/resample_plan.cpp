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

// Columns of a block of the output, see resample_plan.h. A multiple of kGroup; one, because an arc of 16 samples
// already crosses up to 60 rows of a large image, each a page of its own, and the first-level TLB has 64 to 96.
constexpr int64_t kBlockColumns = kGroup;

struct GroupPositions {
  double y[kGroup];
  double x[kGroup];
};

// Where the samples of one output row lie, as place_row gives it.
template <typename C>
struct Row {
  std::vector<double> y, x;
  std::vector<int32_t> element;
  std::vector<C> fy, fx;
  std::vector<int32_t> inside;

  explicit Row(int64_t columns)
      : y(columns + kGroup),
        x(columns + kGroup),
        element(columns + kGroup),
        fy(columns + kGroup),
        fx(columns + kGroup),
        inside(columns + kGroup) {}
};

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

// Adds a group of samples between four valid neighbours each; returns whether it is one.
template <typename C>
bool add_whole_group(const Row<C>& row, int64_t k, const uint8_t* good, SamplingPlan& plan, SampleGroup& group) {
  const int64_t end = k + group.count;
  int32_t inside = -1;
  for (int64_t s = k; s < end; ++s) inside &= row.inside[s];
  if (inside == 0) return false;
  if (good != nullptr) {
    unsigned all = 1;
    for (int64_t s = k; s < end; ++s) {
      const uint8_t* corner = good + row.element[s];
      all &= corner[0] & corner[1] & corner[plan.source.columns] & corner[plan.source.columns + 1];
    }
    if (all == 0) return false;
  }
  group.kind = GroupKind::whole;
  group.data = static_cast<uint32_t>(plan.data.size());
  auto* element = reinterpret_cast<int32_t*>(append(plan, lines_of<C>(1, 2)));
  C* fraction = reinterpret_cast<C*>(element + kGroup);
  std::copy_n(row.element.data() + k, group.count, element);
  std::copy_n(row.fy.data() + k, group.count, fraction);
  std::copy_n(row.fx.data() + k, group.count, fraction + kGroup);
  return true;
}

// Any other group: the taps of resample_math.h, side by side in memory where they can be.
template <typename C>
void add_other_group(const SourceShape& source, const GroupPositions& at, bool nearest, const uint8_t* good,
                     SamplingPlan& plan, SampleGroup& group) {
  Taps taps[kGroup];
  int64_t corner[kGroup];
  bool side_by_side = source.rows >= 2 && source.columns >= 2;
  group.fill = 0;
  for (int lane = 0; lane < group.count; ++lane) {
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
    for (int t = 0; t < 4; ++t) {
      if (taps[lane].weight[t] == 0.0) continue;
      const int64_t from_corner = taps[lane].element[t] - corner[lane];
      const int slot = !side_by_side ? t
                                     : static_cast<int>(from_corner >= source.columns ? 2 + from_corner - source.columns
                                                                                      : from_corner);
      coefficient[slot * kGroup + lane] = static_cast<C>(taps[lane].weight[t] / taps[lane].total);
      if (!side_by_side) element[slot * kGroup + lane] = static_cast<int32_t>(taps[lane].element[t]);
    }
  }

  for (int lane = 0; lane < group.count; ++lane) {
    if (taps[lane].total == 1.0) continue;
    if (plan.complete) plan.weight.assign(plan.samples, 1.0);
    plan.complete = false;
    plan.weight[group.first + lane] = taps[lane].total;
  }
}

template <typename C>
void make(const Sampling& sampling, const Directions& directions, SamplingPlan& plan) {
  const bool nearest = sampling.grid.nearest;
  const int64_t rows = sampling.rows();
  const int64_t columns = sampling.columns();
  const auto& kernels = selected_resample_kernels();
  Row<C> row(columns);

  const int64_t groups_a_row = (columns + kGroup - 1) / kGroup;
  constexpr int64_t kGroupsABlock = kBlockColumns / kGroup;
  plan.groups.resize(rows * groups_a_row);
  plan.data.reserve(rows * groups_a_row * lines_of<C>(1, 2));
  for (int64_t j = 0; j < rows; ++j) {
    kernels.place_row(sampling, directions.cos.data(), directions.sin.data(), j, plan.float64, row.y.data(),
                      row.x.data(), row.element.data(), row.fy.data(), row.fx.data(), row.inside.data());
    for (int64_t g = 0; g < groups_a_row; ++g) {
      const int64_t k = g * kGroup;
      SampleGroup group{};
      group.first = static_cast<uint32_t>(j * columns + k);
      group.count = static_cast<uint8_t>(std::min<int64_t>(kGroup, columns - k));
      if (!add_whole_group(row, k, sampling.good, plan, group)) {
        GroupPositions at;
        for (int lane = 0; lane < group.count; ++lane) {
          at.y[lane] = row.y[k + lane];
          at.x[lane] = row.x[k + lane];
        }
        add_other_group<C>(plan.source, at, nearest, sampling.good, plan, group);
      }
      // Block after block, in each row after row.
      const int64_t block = g / kGroupsABlock * kGroupsABlock;
      const int64_t wide = std::min(kGroupsABlock, groups_a_row - block);
      plan.groups[block * rows + j * wide + g - block] = group;
    }
  }
}

struct CachedPlan {
  Sampling sampling;
  std::vector<uint8_t> good;
  std::shared_ptr<const SamplingPlan> plan;

  bool is_for(const Sampling& other, bool float64) const {
    const PolarGrid &a = sampling.grid, &b = other.grid;
    return sampling.kind == other.kind && plan->float64 == float64 && a.height == b.height && a.width == b.width &&
           a.n_radial == b.n_radial && a.n_angular == b.n_angular && a.r_min == b.r_min && a.r_max == b.r_max &&
           a.nearest == b.nearest && sampling.center_y == other.center_y && sampling.center_x == other.center_x &&
           good.empty() == (other.good == nullptr) &&
           (good.empty() || std::memcmp(good.data(), other.good, good.size()) == 0);
  }
  std::size_t bytes() const { return plan->bytes() + good.size(); }
};

struct PlanCache {
  std::mutex mutex;
  std::list<CachedPlan> plans;  // the last used first
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
      for (int t = 0; t < 4; ++t) {
        C coefficient = number[t * kGroup + lane];
        if (group.kind == GroupKind::whole) {
          const C fy = number[lane], fx = number[kGroup + lane];
          coefficient = (t >= 2 ? fy : C{1} - fy) * (t % 2 == 1 ? fx : C{1} - fx);
        }
        if (coefficient == 0) continue;
        f(group.first + lane, scattered ? element[t * kGroup + lane] : element[lane] + from_corner[t], coefficient);
      }
    }
  }
}

template <typename C>
void make_lists(const SamplingPlan& plan, AdjointLists& lists) {
  const int64_t elements = plan.source.rows * plan.source.columns;
  lists.begin.assign(elements + 1, 0);
  for_each_part<C>(plan, [&](uint32_t, int64_t element, C) { ++lists.begin[element + 1]; });
  for (int64_t e = 0; e < elements; ++e) lists.begin[e + 1] += lists.begin[e];
  lists.sample.resize(lists.begin[elements]);
  lists.coefficient.resize((lists.sample.size() * sizeof(C) + sizeof(CacheLine) - 1) / sizeof(CacheLine));
  C* const coefficients = reinterpret_cast<C*>(lists.coefficient.data());
  std::vector<uint32_t> next(lists.begin.begin(), lists.begin.end() - 1);
  for_each_part<C>(plan, [&](uint32_t sample, int64_t element, C coefficient) {
    const uint32_t place = next[element]++;
    lists.sample[place] = sample;
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

void make_plan(const Sampling& sampling, const Directions& directions, bool float64, SamplingPlan& plan) {
  plan.source = sampling.source();
  plan.samples = sampling.rows() * sampling.columns();
  plan.float64 = float64;
  plan.complete = true;
  plan.groups.clear();
  plan.data.clear();
  plan.weight.clear();
  if (float64) {
    make<double>(sampling, directions, plan);
  } else {
    make<float>(sampling, directions, plan);
  }
}

std::shared_ptr<const SamplingPlan> cached_plan(const Sampling& sampling, bool float64) {
  PlanCache& c = cache();
  {
    const std::lock_guard lock(c.mutex);
    for (auto it = c.plans.begin(); it != c.plans.end(); ++it) {
      if (!it->is_for(sampling, float64)) continue;
      c.plans.splice(c.plans.begin(), c.plans, it);
      ++c.hits;
      return c.plans.front().plan;
    }
    ++c.misses;
  }
  // Made without the lock: two threads may make the same plan, and both are right.
  auto plan = std::make_shared<SamplingPlan>();
  make_plan(sampling, Directions(sampling.grid.n_angular), float64, *plan);
  CachedPlan entry{sampling, {}, plan};
  if (sampling.good != nullptr) {
    const SourceShape source = sampling.source();
    entry.good.assign(sampling.good, sampling.good + source.rows * source.columns);
    entry.sampling.good = nullptr;
  }
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
  c.bytes = 0;
  c.hits = 0;
  c.misses = 0;
}

}  // namespace cdifast::cpu
