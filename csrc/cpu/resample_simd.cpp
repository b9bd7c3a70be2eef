// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "resample_simd.h"

#include "vec.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// --- planning

// The largest integer not above `value`, which lies within the range of int32.
CDIFAST_HOST F64 floor_of(F64 value) {
  const F64 toward_zero = __builtin_convertvector(__builtin_convertvector(value, I32Half), F64);
  return toward_zero > value ? toward_zero - 1.0 : toward_zero;
}

// `value` where it lies between the bounds; NaN gives the lower one.
CDIFAST_HOST F64 bounded(F64 value, double low, double high) {
  value = value > low ? value : F64{} + low;
  return value < high ? value : F64{} + high;
}

template <typename C>
void place(const SourceShape& source, bool nearest, int64_t columns, const double* __restrict y,
           const double* __restrict x, int32_t* __restrict element, C* __restrict fy, C* __restrict fx,
           int32_t* __restrict inside) {
  typedef C Fraction __attribute__((vector_size(kLanes64 * sizeof(C))));
  const double last_row = static_cast<double>(source.rows - 2);
  const double last_column = static_cast<double>(source.columns - 2);
  const double half = nearest ? 0.5 : 0.0;
  const double keep = nearest ? 0.0 : 1.0;
  for (int64_t k = 0; k < columns; k += kLanes64) {  // the arrays have room for a whole last vector
    // Positions outside stay outside within these bounds, and fit int32.
    const F64 at_y = bounded(load<F64>(y + k), -2.0, last_row + 4.0) + half;
    const F64 at_x = bounded(load<F64>(x + k), -2.0, last_column + 4.0) + half;
    // A sample within rounding of a pixel centre is put on it: what it does not reach has coefficient 0 exactly.
    const F64 base_y = floor_of(at_y + kNegligibleWeight);
    const F64 base_x = floor_of(at_x + kNegligibleWeight);
    const F64 rest_y = (at_y - base_y) * keep;
    const F64 rest_x = (at_x - base_x) * keep;
    const auto whole = (base_y >= 0.0) & (base_y <= last_row) & (base_x >= 0.0) & (base_x <= last_column);
    const F64 first = whole ? base_y * static_cast<double>(source.columns) + base_x : F64{};  // exact: below 2^31
    store(fy + k, __builtin_convertvector(rest_y > kNegligibleWeight ? rest_y : F64{}, Fraction));
    store(fx + k, __builtin_convertvector(rest_x > kNegligibleWeight ? rest_x : F64{}, Fraction));
    store(element + k, __builtin_convertvector(first, I32Half));
    store(inside + k, __builtin_convertvector(whole, I32Half));
  }
}

void place_row(const Sampling& sampling, const double* cosines, const double* sines, int64_t row, bool float64,
               double* y, double* x, int32_t* element, void* fy, void* fx, int32_t* inside) {
  const PolarGrid& grid = sampling.grid;
  int64_t columns = 0;
  SourceShape source{};
  if (sampling.kind == SamplingKind::polar) {
    source = polar_source(grid);
    columns = grid.n_angular;
    const double radius = grid.radius(row);
#pragma omp simd
    for (int64_t k = 0; k < columns; ++k) {
      const Position at = polar_position(radius, cosines[k], sines[k], sampling.center_y, sampling.center_x);
      y[k] = at.y;
      x[k] = at.x;
    }
  } else {
    source = cartesian_source(grid);
    columns = grid.width;
    for (int64_t k = 0; k < columns; ++k) {
      const Position at = cartesian_position(grid, row, k, sampling.center_y, sampling.center_x);
      y[k] = at.y;
      x[k] = at.x;
    }
  }
  if (float64) {
    place(source, grid.nearest, columns, y, x, element, static_cast<double*>(fy), static_cast<double*>(fx), inside);
  } else {
    place(source, grid.nearest, columns, y, x, element, static_cast<float*>(fy), static_cast<float*>(fx), inside);
  }
}

// --- forward

// A coefficient of 0 says that the neighbour does not count, and 0 * NaN is NaN: its value is replaced.
CDIFAST_HOST F32 where_used(F32 coefficient, F32 value) { return coefficient != 0.0f ? value : F32{}; }

template <typename T>
CDIFAST_HOST void whole_samples(const T* image, int64_t columns, int32_t last, const GroupData<float>& data,
                                float* values) {
  for (int v = 0; v < kGroup; v += kLanes) {
    const int32_t* element = data.element + v;
    const F32 fy = load<F32>(data.number + v);
    const F32 fx = load<F32>(data.number + kGroup + v);
    F32 a{}, b{}, c{}, d{};
    gather_pairs(image, element, last, a, b);
    gather_pairs(image + columns, element, static_cast<int32_t>(last - columns), c, d);
    const F32 gx = 1.0f - fx;
    // In the order of roundings of lanes_simd.cpp.
    const F32 top = multiply_add(gx, a, fx * where_used(fx, b));
    const F32 bottom = multiply_add(gx, c, fx * where_used(fx, d));
    store(values + v, multiply_add(1.0f - fy, top, fy * where_used(fy, bottom)));
  }
}

template <typename T>
CDIFAST_HOST void weighted_samples(const T* image, int64_t columns, int32_t last, const GroupData<float>& data,
                                   float* values) {
  for (int v = 0; v < kGroup; v += kLanes) {
    const int32_t* element = data.element + v;
    F32 neighbour[4]{};
    gather_pairs(image, element, last, neighbour[0], neighbour[1]);
    gather_pairs(image + columns, element, static_cast<int32_t>(last - columns), neighbour[2], neighbour[3]);
    F32 sum{};
    for (int t = 0; t < 4; ++t) {
      const F32 coefficient = load<F32>(data.number + t * kGroup + v);
      sum = multiply_add(coefficient, where_used(coefficient, neighbour[t]), sum);
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
      if (coefficient != 0) sum += coefficient * load_element(image[data.element[t * kGroup + lane]]);
    }
    values[lane] = sum;
  }
}

// Double: the images are few and the gathers left to the compiler.
CDIFAST_HOST void whole_samples(const double* image, int64_t columns, int32_t /*last*/, const GroupData<double>& data,
                                double* values) {
#pragma omp simd
  for (int lane = 0; lane < kGroup; ++lane) {
    const double* corner = image + data.element[lane];
    const double fy = data.number[lane];
    const double fx = data.number[kGroup + lane];
    const double b = corner[1], c = corner[columns], d = corner[columns + 1];
    const double top = (1.0 - fx) * corner[0] + fx * (fx != 0.0 ? b : 0.0);
    const double bottom = (1.0 - fx) * c + fx * (fx != 0.0 ? d : 0.0);
    values[lane] = (1.0 - fy) * top + fy * (fy != 0.0 ? bottom : 0.0);
  }
}

CDIFAST_HOST void weighted_samples(const double* image, int64_t columns, int32_t /*last*/,
                                   const GroupData<double>& data, double* values) {
#pragma omp simd
  for (int lane = 0; lane < kGroup; ++lane) {
    const double* corner = image + data.element[lane];
    const double neighbour[4] = {corner[0], corner[1], corner[columns], corner[columns + 1]};
    double sum = 0.0;
    for (int t = 0; t < 4; ++t) {
      const double coefficient = data.number[t * kGroup + lane];
      sum += coefficient * (coefficient != 0.0 ? neighbour[t] : 0.0);
    }
    values[lane] = sum;
  }
}

// Whole cache lines only, so that nothing has to be read to write them. Returns whether it stored.
template <typename O, typename C>
CDIFAST_HOST bool store_past_caches(O* /*target*/, const C* /*values*/) {
  return false;
}

CDIFAST_HOST bool store_past_caches(float* target, const float* values) {
#if defined(__AVX2__)
  if (reinterpret_cast<uintptr_t>(target) % (kLanes * 4) != 0) return false;
  for (int v = 0; v < kGroup; v += kLanes) {
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

template <typename T, typename O>
CDIFAST_HOST void run_group(const T* image, const PlanView& plan, const SampleGroup& group, compute_t<T> fill, O* out,
                            bool stream) {
  using C = compute_t<T>;
  const int64_t columns = plan.source.columns;
  const auto last = static_cast<int32_t>(plan.source.rows * columns - 1);
  const GroupData<C> data = data_of<C>(plan, group);
  alignas(64) C values[kGroup];
  switch (group.kind) {
    case GroupKind::whole:
      whole_samples(image, columns, last, data, values);
      break;
    case GroupKind::weighted:
      weighted_samples(image, columns, last, data, values);
      break;
    default:
      scattered_samples(image, data, values);
  }
  if (group.fill != 0) {
    for (int lane = 0; lane < kGroup; ++lane) values[lane] = (group.fill >> lane) & 1 ? fill : values[lane];
  }
  O* target = out + group.first;
  if (stream && group.count == kGroup && store_past_caches(target, values)) return;
  if (group.count == kGroup) {
    for (int lane = 0; lane < kGroup; ++lane) store_element(target[lane], values[lane]);
  } else {
    for (int lane = 0; lane < group.count; ++lane) store_element(target[lane], values[lane]);
  }
}

template <typename T, typename O>
void run(const T* image, const PlanView& plan, int64_t begin, int64_t end, compute_t<T> fill, O* out, bool stream,
         const Prefetch& prefetch) {
  if (prefetch.count == 0) {
    for (int64_t g = begin; g < end; ++g) run_group(image, plan, plan.groups[g], fill, out, stream);
    return;
  }
  const int64_t ahead = prefetch.count < kAheadLines ? prefetch.count : kAheadLines;
  const int64_t limit = prefetch.next == nullptr ? prefetch.count : prefetch.count + ahead;
  int64_t asked = prefetch.asked;
  for (int64_t g = begin; g < end; ++g) {
    const int64_t wanted = prefetch.before[g] + ahead;
    for (; asked < (wanted < limit ? wanted : limit); ++asked) {
      const char* base = asked < prefetch.count ? reinterpret_cast<const char*>(image) : prefetch.next;
      __builtin_prefetch(base + int64_t{64} * prefetch.line[asked < prefetch.count ? asked : asked - prefetch.count], 0,
                         2);
    }
    run_group(image, plan, plan.groups[g], fill, out, stream);
  }
}

void forward(DType dtype, DType out_dtype, const void* image, const PlanView& plan, int64_t begin, int64_t end,
             double fill, void* out, bool stream, const Prefetch& prefetch) {
  dispatch_element(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using O = resampled_t<T>;
    using C = compute_t<T>;
    const T* source = static_cast<const T*>(image);
    if (out_dtype == DType::f32 && sizeof(C) == 4) {
      run(source, plan, begin, end, static_cast<C>(fill), static_cast<C*>(out), stream, prefetch);
    } else {
      run(source, plan, begin, end, static_cast<C>(fill), static_cast<O*>(out), stream, prefetch);
    }
  });
#if defined(__AVX2__)
  if (stream) _mm_sfence();  // such stores are not ordered with those by which threads say that they are done
#endif
}

// --- adjoint

// Adds to two neighbours at once.
template <typename C>
CDIFAST_HOST void add_pair(C* target, C first, C second) {
  typedef C Pair __attribute__((vector_size(2 * sizeof(C))));
  Pair pair;
  __builtin_memcpy(&pair, target, sizeof pair);
  pair += Pair{first, second};
  __builtin_memcpy(target, &pair, sizeof pair);
}

template <typename T>
void add_adjoint(const T* __restrict gradient, const PlanView& plan, compute_t<T>* __restrict image) {
  using C = compute_t<T>;
  const int64_t columns = plan.source.columns;
  for (const SampleGroup* group = plan.groups; group != plan.groups + plan.group_count; ++group) {
    const GroupData<C> data = data_of<C>(plan, *group);
    C g[kGroup], part[4][kGroup];
    for (int lane = 0; lane < kGroup; ++lane) {
      g[lane] = lane < group->count ? load_element(gradient[group->first + lane]) : C{0};
    }
    if (group->kind == GroupKind::whole) {
#pragma omp simd
      for (int lane = 0; lane < kGroup; ++lane) {
        const C fy = data.number[lane], fx = data.number[kGroup + lane];
        const C bottom = fy * g[lane], top = (C{1} - fy) * g[lane];
        // What a sample does not reach gets nothing of a gradient that is no number either.
        part[0][lane] = (C{1} - fx) * top;
        part[1][lane] = fx != 0 ? fx * top : C{0};
        part[2][lane] = fy != 0 ? (C{1} - fx) * bottom : C{0};
        part[3][lane] = fx != 0 && fy != 0 ? fx * bottom : C{0};
      }
    } else {
      for (int t = 0; t < 4; ++t) {
        for (int lane = 0; lane < kGroup; ++lane) {
          const C coefficient = data.number[t * kGroup + lane];
          part[t][lane] = coefficient != 0 ? coefficient * g[lane] : C{0};
        }
      }
    }
    if (group->kind == GroupKind::scattered) {
      for (int lane = 0; lane < group->count; ++lane) {
        for (int t = 0; t < 4; ++t) image[data.element[t * kGroup + lane]] += part[t][lane];
      }
    } else {
      for (int lane = 0; lane < group->count; ++lane) {
        C* corner = image + data.element[lane];
        add_pair(corner, part[0][lane], part[1][lane]);
        add_pair(corner + columns, part[2][lane], part[3][lane]);
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

const ResampleKernels resample_kernels = {place_row, forward, adjoint};

}  // namespace cdifast::cpu::CDIFAST_ISA
