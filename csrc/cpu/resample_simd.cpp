// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "resample_simd.h"

#include "vec.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// --- planning

// The largest integer not above `value`, which lies within the range of int32.
CDIFAST_HOST F64 floor_of(F64 value) {
#if defined(__AVX512F__)
  return reinterpret_cast<F64>(_mm512_roundscale_pd(value, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
#elif defined(__AVX2__)
  return reinterpret_cast<F64>(_mm256_floor_pd(value));
#else
  const F64 toward_zero = __builtin_convertvector(__builtin_convertvector(value, I32Half), F64);
  return toward_zero > value ? toward_zero - 1.0 : toward_zero;
#endif
}

// `value` where it lies between the bounds; NaN gives the lower one.
CDIFAST_HOST F64 bounded(F64 value, double low, double high) {
  value = value > low ? value : F64{} + low;
  return value < high ? value : F64{} + high;
}

template <typename C>
CDIFAST_HOST void place_at(const SourceShape& source, bool nearest, Placed<C>& at) {
  typedef C Fraction __attribute__((vector_size(kWidth64 * sizeof(C))));
  const double last_row = static_cast<double>(source.rows - 2);
  const double last_column = static_cast<double>(source.columns - 2);
  const double half = nearest ? 0.5 : 0.0;
  const double keep = nearest ? 0.0 : 1.0;
  for (int k = 0; k < kGroup; k += kWidth64) {
    // Positions outside stay outside within these bounds, and fit int32.
    const F64 at_y = bounded(load<F64>(at.y + k), -2.0, last_row + 4.0) + half;
    const F64 at_x = bounded(load<F64>(at.x + k), -2.0, last_column + 4.0) + half;
    // A sample within rounding of a pixel centre is put on it: what it does not reach has coefficient 0 exactly.
    const F64 base_y = floor_of(at_y + kNegligibleWeight);
    const F64 base_x = floor_of(at_x + kNegligibleWeight);
    const F64 rest_y = (at_y - base_y) * keep;
    const F64 rest_x = (at_x - base_x) * keep;
    const auto whole = (base_y >= 0.0) & (base_y <= last_row) & (base_x >= 0.0) & (base_x <= last_column);
    const F64 first = whole ? base_y * static_cast<double>(source.columns) + base_x : F64{};  // exact: below 2^31
    store(at.fy + k, __builtin_convertvector(rest_y > kNegligibleWeight ? rest_y : F64{}, Fraction));
    store(at.fx + k, __builtin_convertvector(rest_x > kNegligibleWeight ? rest_x : F64{}, Fraction));
    store(at.element + k, __builtin_convertvector(first, I32Half));
    store(at.inside + k, __builtin_convertvector(whole, I32Half));
  }
}

template <typename C>
CDIFAST_HOST void place_typed(const Sampling& sampling, const double* cosines, const double* sines, int64_t row,
                              int64_t first, int64_t count, Placed<C>& at) {
  const PolarGrid& grid = sampling.grid;
  if (sampling.kind == SamplingKind::polar) {
    const double radius = grid.radius(row);
#pragma omp simd
    for (int64_t k = 0; k < count; ++k) {
      const Position place =
          polar_position(radius, cosines[first + k], sines[first + k], sampling.center_y, sampling.center_x);
      at.y[k] = place.y;
      at.x[k] = place.x;
    }
    place_at(polar_source(grid), grid.nearest, at);
  } else {
    for (int64_t k = 0; k < count; ++k) {
      const Position place = cartesian_position(grid, row, first + k, sampling.center_y, sampling.center_x);
      at.y[k] = place.y;
      at.x[k] = place.x;
    }
    place_at(cartesian_source(grid), grid.nearest, at);
  }
}

void place(const Sampling& sampling, const double* cosines, const double* sines, int64_t row, int64_t first,
           int64_t count, bool float64, void* placed) {
  if (float64) {
    place_typed(sampling, cosines, sines, row, first, count, *static_cast<Placed<double>*>(placed));
  } else {
    place_typed(sampling, cosines, sines, row, first, count, *static_cast<Placed<float>*>(placed));
  }
}

// --- forward

// A coefficient of 0 says that the neighbour does not count, and 0 * NaN is NaN: its value is replaced.
CDIFAST_HOST F32 where_used(F32 coefficient, F32 value) { return coefficient != 0.0f ? value : F32{}; }

// The four neighbours of a vector of samples, side by side two by two.
template <bool gather, typename T>
CDIFAST_HOST void neighbours(const T* image, int64_t columns, int32_t last, const int32_t* element, F32 (&value)[4]) {
  gather_pairs<gather>(image, element, last, value[0], value[1]);
  gather_pairs<gather>(image + columns, element, static_cast<int32_t>(last - columns), value[2], value[3]);
}

template <bool gather, bool simple, typename T>
CDIFAST_HOST void whole_samples(const T* image, int64_t columns, int32_t last, const int32_t* element, const float* fy,
                                const float* fx, float* values) {
  for (int v = 0; v < kGroup; v += kWidth) {
    F32 value[4]{}, coefficient[4];
    neighbours<gather>(image, columns, last, element + v, value);
    between(load<F32>(fy + v), load<F32>(fx + v), coefficient);
    F32 sum = coefficient[0] * value[0];
    for (int t = 1; t < 4; ++t) {
      sum = multiply_add(coefficient[t], simple ? value[t] : where_used(coefficient[t], value[t]), sum);
    }
    store(values + v, sum);
  }
}

template <bool gather, typename T>
CDIFAST_HOST void weighted_samples(const T* image, int64_t columns, int32_t last, const GroupData<float>& data,
                                   float* values) {
  for (int v = 0; v < kGroup; v += kWidth) {
    F32 value[4]{};
    neighbours<gather>(image, columns, last, data.element + v, value);
    F32 sum{};
    for (int t = 0; t < 4; ++t) {
      const F32 coefficient = load<F32>(data.number + t * kGroup + v);
      const F32 used = where_used(coefficient, value[t]);
      sum = t == 0 ? coefficient * used : multiply_add(coefficient, used, sum);
    }
    store(values + v, sum);
  }
}

template <typename T, typename C>
CDIFAST_HOST void scattered_samples(const T* image, const GroupData<C>& data, C* values) {
  for (int lane = 0; lane < kGroup; ++lane) {
    C sum = 0;
    for (int t = 0; t < 4; ++t) {
      const C coefficient = data.number[t * kGroup + lane];
      if (coefficient == 0) continue;
      sum = multiply_add(coefficient, static_cast<C>(load_element(image[data.element[t * kGroup + lane]])), sum);
    }
    values[lane] = sum;
  }
}

// Double: the images are few and the gathers left to the compiler.
CDIFAST_HOST double sample(const double* corner, int64_t columns, const double (&coefficient)[4]) {
  const double value[4] = {corner[0], corner[1], corner[columns], corner[columns + 1]};
  double sum = 0.0;
  for (int t = 0; t < 4; ++t) sum = multiply_add(coefficient[t], coefficient[t] != 0.0 ? value[t] : 0.0, sum);
  return sum;
}

template <bool gather, bool simple>
CDIFAST_HOST void whole_samples(const double* image, int64_t columns, int32_t /*last*/, const int32_t* element,
                                const double* fy, const double* fx, double* values) {
#pragma omp simd
  for (int lane = 0; lane < kGroup; ++lane) {
    double coefficient[4];
    between(fy[lane], fx[lane], coefficient);
    values[lane] = sample(image + element[lane], columns, coefficient);
  }
}

template <bool gather>
CDIFAST_HOST void weighted_samples(const double* image, int64_t columns, int32_t /*last*/,
                                   const GroupData<double>& data, double* values) {
#pragma omp simd
  for (int lane = 0; lane < kGroup; ++lane) {
    const double coefficient[4] = {data.number[lane], data.number[kGroup + lane], data.number[2 * kGroup + lane],
                                   data.number[3 * kGroup + lane]};
    values[lane] = sample(image + data.element[lane], columns, coefficient);
  }
}

// Whole cache lines only, so that nothing has to be read to write them. Returns whether it stored.
template <typename O, typename C>
CDIFAST_HOST bool store_past_caches(O* /*target*/, const C* /*values*/) {
  return false;
}

CDIFAST_HOST bool store_past_caches(float* target, const float* values) {
#if defined(__AVX2__)
  if (reinterpret_cast<uintptr_t>(target) % (kWidth * 4) != 0) return false;
  for (int v = 0; v < kGroup; v += kWidth) {
#if defined(__AVX512F__)
    _mm512_stream_ps(target + v, _mm512_load_ps(values + v));
#else
    _mm256_stream_ps(target + v, _mm256_load_ps(values + v));
#endif
  }
  return true;
#else
  return target == nullptr && values == nullptr;
#endif
}

// The kGroup values of a group.
template <bool gather, typename T>
CDIFAST_HOST void sample_group(const T* image, const PlanView& plan, const SampleGroup& group, compute_t<T> fill,
                               compute_t<T>* values) {
  using C = compute_t<T>;
  const int64_t columns = plan.source.columns;
  const auto last = static_cast<int32_t>(plan.source.rows * columns - 1);
  const GroupData<C> data = data_of<C>(plan, group);
  switch (group.kind) {
    case GroupKind::whole:
      whole_samples<gather, false>(image, columns, last, data.element, data.number, data.number + kGroup, values);
      break;
    case GroupKind::weighted:
      weighted_samples<gather>(image, columns, last, data, values);
      break;
    default:
      scattered_samples(image, data, values);
  }
  if (group.fill != 0) {
    for (int lane = 0; lane < kGroup; ++lane) values[lane] = (group.fill >> lane) & 1 ? fill : values[lane];
  }
}

template <typename C, typename O>
CDIFAST_HOST void store_row(const C* values, int64_t count, O* target, bool stream) {
  if (stream && count == kGroup && store_past_caches(target, values)) return;
  if (count == kGroup) {
    for (int64_t v = 0; v < kGroup; v += kLanes<C>) store_numbers(target + v, load_vector<C>(values + v));
  } else {
    for (int lane = 0; lane < count; ++lane) store_element(target[lane], values[lane]);
  }
}

// A tile whose columns are `values`, at `target` of rows of `columns`.
template <typename C, typename O>
CDIFAST_HOST void store_columns(const C (*values)[kGroup], O* target, int64_t columns, bool stream) {
  constexpr int64_t width = kLanes<C>;
  const int64_t row_bytes = columns * static_cast<int64_t>(sizeof(O));
  const bool lines = reinterpret_cast<uintptr_t>(target) % kLineBytes == 0 && row_bytes % kLineBytes == 0;
  for (int64_t j = 0; j < kGroup; j += width) {
    const auto row = [&](int64_t r) { return target + (j + r) * columns; };
    for (int64_t i = 0; i < kGroup; i += width * kLineVectors) {
      Vector<C> tiles[kLineVectors][width];
      for (int64_t v = 0; v < kLineVectors; ++v) {
        for (int64_t c = 0; c < width; ++c) tiles[v][c] = load_vector<C>(values[i + v * width + c] + j);
      }
      if constexpr (__is_same(C, O)) {
        if (stream && lines) {
          stream_tiles<C>(tiles, row, i);
          continue;
        }
      }
      for (int64_t v = 0; v < kLineVectors; ++v) store_whole_tile<O, C>(tiles[v], row, i + v * width);
    }
  }
}

// Asks for the lines that groups need, some time before.
class Asking {
 public:
  Asking(const Prefetch& prefetch, const void* image)
      : prefetch_(prefetch),
        image_(static_cast<const char*>(image)),
        ahead_(prefetch.count < kAheadLines ? prefetch.count : kAheadLines),
        limit_(prefetch.next == nullptr ? prefetch.count : prefetch.count + ahead_),
        asked_(prefetch.asked) {}

  CDIFAST_HOST void before(int64_t group) {
    if (prefetch_.count == 0) return;
    const int64_t wanted = prefetch_.before[group] + ahead_;
    for (; asked_ < (wanted < limit_ ? wanted : limit_); ++asked_) {
      const bool here = asked_ < prefetch_.count;
      const int64_t line = prefetch_.line[here ? asked_ : asked_ - prefetch_.count];
      __builtin_prefetch((here ? image_ : prefetch_.next) + kLineBytes * line, 0, 2);
    }
  }

 private:
  const Prefetch& prefetch_;
  const char* image_;
  int64_t ahead_;
  int64_t limit_;
  int64_t asked_;
};

// Where a group's tile goes: its rows, or in panels its columns, are `step` elements apart. A group outside tiles is a
// row of its own.
template <typename O>
struct TilePlace {
  O* target;
  int64_t step;
  bool turned;  // groups do not go along what is contiguous

  CDIFAST_HOST TilePlace(const PlanView& plan, const SampleGroup& group, O* out, bool panels) {
    const int64_t first = group.first - group.place * (group.down ? 1 : plan.columns);
    step = panels ? kGroup : plan.columns;
    turned = group.down != panels;
    target = out + (panels ? (first / (kGroup * plan.columns) * plan.columns + first % plan.columns) * kGroup : first);
  }
};

// Every kGroup samples cost what their loads do, so that whatever a tile can do once is not done for each group.
template <bool gather, typename T, typename O>
void run_simple_tile(const T* image, const PlanView& plan, const SampleGroup& first, TilePlace<O> place, bool stream) {
  using C = compute_t<T>;
  const int64_t columns = plan.source.columns;
  const auto last = static_cast<int32_t>(plan.source.rows * columns - 1);
  GroupData<C> data = data_of<C>(plan, first);
  const auto next = [&](C* values) {
    whole_samples<gather, true>(image, columns, last, data.element, data.number, data.number + kGroup, values);
    data.element = reinterpret_cast<const int32_t*>(data.number + 2 * kGroup);
    data.number = reinterpret_cast<const C*>(data.element + kGroup);
  };
  if (place.turned) {
    alignas(64) C values[kGroup][kGroup];
    for (int c = 0; c < kGroup; ++c) next(values[c]);
    store_columns(values, place.target, place.step, stream);
  } else {
    for (int r = 0; r < kGroup; ++r, place.target += place.step) {
      alignas(64) C values[kGroup];
      next(values);
      store_row(values, kGroup, place.target, stream);
    }
  }
}

template <bool gather, typename T, typename O>
void run(const T* image, const PlanView& plan, int64_t begin, int64_t end, compute_t<T> fill, O* out,
         Placement placement, const Prefetch& prefetch) {
  const bool stream = placement == Placement::streamed_rows;
  Asking asking(prefetch, image);
  alignas(64) compute_t<T> values[kGroup][kGroup];
  for (int64_t g = begin; g < end; ++g) {
    const SampleGroup& group = plan.groups[g];
    asking.before(g);
    const TilePlace<O> place(plan, group, out, placement == Placement::panels);
    if (group.simple) {
      run_simple_tile<gather>(image, plan, group, place, stream);
      g += kGroup - 1;
      continue;
    }
    sample_group<gather>(image, plan, group, fill, values[group.place]);
    if (!place.turned) {
      store_row(values[group.place], group.count, place.target + group.place * place.step, stream);
    } else if (group.place == kGroup - 1) {
      store_columns(values, place.target, place.step, stream);
    }
  }
}

// Calls f(images' type, that of the result) with typed pointers' tags: see ResampleKernels::forward.
template <typename F>
void dispatch_result(DType dtype, DType out_dtype, const F& f) {
  dispatch_element(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    if (out_dtype == DType::f32 && sizeof(C) == 4) {
      f(T{}, C{});
    } else {
      f(T{}, resampled_t<T>{});
    }
  });
}

void forward(DType dtype, DType out_dtype, const void* image, const PlanView& plan, int64_t begin, int64_t end,
             double fill, void* out, Placement placement, const Prefetch& prefetch) {
  dispatch_result(dtype, out_dtype, [&](auto source, auto result) {
    using T = decltype(source);
    using O = decltype(result);
    with_gathers([&](auto gather) {
      run<gather.value>(static_cast<const T*>(image), plan, begin, end, static_cast<compute_t<T>>(fill),
                        static_cast<O*>(out), placement, prefetch);
    });
  });
  if (placement == Placement::streamed_rows) finish_streaming();
}

template <typename C>
CDIFAST_HOST bool all_neighbours_valid(const Placed<C>& at, int64_t count, const uint8_t* good, int64_t columns) {
  int32_t whole = -1;
  for (int64_t lane = 0; lane < count; ++lane) whole &= at.inside[lane];
  if (good == nullptr || whole == 0) return whole != 0;
  for (int64_t lane = 0; lane < count; ++lane) {
    const uint8_t* corner = good + at.element[lane];
    whole &= corner[0] & corner[1] & corner[columns] & corner[columns + 1];
  }
  return whole != 0;
}

template <bool gather, typename T, typename O>
void once(const T* image, const Sampling& sampling, const double* cosines, const double* sines, const void* next,
          O* out, uint8_t* done) {
  using C = compute_t<T>;
  const SourceShape source = sampling.source();
  const int64_t rows = sampling.rows(), columns = sampling.columns();
  const auto last = static_cast<int32_t>(source.rows * source.columns - 1);
  const int64_t next_bytes = next == nullptr ? 0 : source.rows * source.columns * static_cast<int64_t>(sizeof(T));
  const int64_t step = next_bytes / (rows * ((columns + kGroup - 1) / kGroup)) + 1;
  int64_t asked = 0;
  for (int64_t k = 0; k < columns; k += kGroup) {
    const int64_t count = columns - k < kGroup ? columns - k : kGroup;
    // One group is placed while the one before is sampled, which would wait for what has just been stored.
    Placed<C> groups[2];
    const auto place_group = [&](int64_t j) { place_typed(sampling, cosines, sines, j, k, count, groups[j & 1]); };
    place_group(0);
    for (int64_t j = 0; j < rows; ++j) {
      if (j + 1 < rows) place_group(j + 1);
      for (const int64_t end = asked + step; asked < end && asked < next_bytes; asked += kLineBytes) {
        __builtin_prefetch(static_cast<const char*>(next) + asked, 0, 2);
      }
      const Placed<C>& group = groups[j & 1];
      const bool whole = all_neighbours_valid(group, count, sampling.good, source.columns);
      *done++ = whole ? 1 : 0;
      if (!whole) continue;
      alignas(64) C values[kGroup];
      whole_samples<gather, false>(image, source.columns, last, group.element, group.fy, group.fx, values);
      store_row(values, count, out + j * columns + k, false);
    }
  }
}

void forward_once(DType dtype, DType out_dtype, const void* image, const Sampling& sampling, const double* cosines,
                  const double* sines, const void* next, void* out, uint8_t* done) {
  dispatch_result(dtype, out_dtype, [&](auto source, auto result) {
    with_gathers([&](auto gather) {
      once<gather.value>(static_cast<const decltype(source)*>(image), sampling, cosines, sines, next,
                         static_cast<decltype(result)*>(out), done);
    });
  });
}

// --- adjoint

// Sums in the order and with the roundings of lanes_simd.cpp, which gathers for every element what its samples give.
template <typename T>
void add_adjoint(const T* __restrict gradient, const PlanView& plan, compute_t<T>* __restrict image) {
  using C = compute_t<T>;
  const int64_t columns = plan.source.columns;
  const int64_t from_corner[4] = {0, 1, columns, columns + 1};
  for (const SampleGroup* group = plan.groups; group != plan.groups + plan.group_count; ++group) {
    const GroupData<C> data = data_of<C>(plan, *group);
    C whole[4][kGroup];
    const C(*coefficient)[kGroup] = reinterpret_cast<const C(*)[kGroup]>(data.number);
    if (group->kind == GroupKind::whole) {
#pragma omp simd
      for (int lane = 0; lane < kGroup; ++lane) {
        C all[4];
        between(data.number[lane], data.number[kGroup + lane], all);
        for (int t = 0; t < 4; ++t) whole[t][lane] = all[t];
      }
      coefficient = whole;
    }
    const int64_t step = group->down ? plan.columns : 1;
    const T* from = gradient + group->first;
    if (group->simple) {
      for (int lane = 0; lane < kGroup; ++lane, from += step) {
        const C g = load_element(*from);
        C* corner = image + data.element[lane];
#pragma GCC unroll 4
        for (int t = 0; t < 4; ++t) {
          C& sum = corner[from_corner[t]];
          sum = multiply_add(coefficient[t][lane], g, sum);
        }
      }
      continue;
    }
    const bool scattered = group->kind == GroupKind::scattered;
    for (int lane = 0; lane < group->count; ++lane, from += step) {
      const C g = load_element(*from);
      for (int t = 0; t < 4; ++t) {
        // What a sample does not reach gets nothing of a gradient that is no number either.
        if (coefficient[t][lane] == 0) continue;
        C& sum = image[scattered ? data.element[t * kGroup + lane] : data.element[lane] + from_corner[t]];
        sum = multiply_add(coefficient[t][lane], g, sum);
      }
    }
  }
}

void adjoint(DType dtype, const void* grad, const PlanView& plan, void* grad_image) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    add_adjoint(static_cast<const T*>(grad), plan, static_cast<compute_t<T>*>(grad_image));
  });
}

}  // namespace

const ResampleKernels resample_kernels = {place, forward, forward_once, adjoint};

}  // namespace cdifast::cpu::CDIFAST_ISA
