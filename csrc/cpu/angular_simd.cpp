// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "angular_simd.h"

#include "fft_simd.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

template <typename C>
constexpr C kNoise = sizeof(C) == 4 ? C(2e-6) : C(4e-15);

// Spectra of one map (angular_simd.h); k is the slot of a frequency.
template <typename C>
struct Spectra {
  C* data;

  CDIFAST_HOST C* re(int64_t k, int64_t place) const { return data + 2 * kLanes<C> * k + place; }
  CDIFAST_HOST C* im(int64_t k, int64_t place) const { return re(k, place) + kLanes<C>; }

  CDIFAST_HOST Point<C> of_one(int64_t k, int64_t row) const {
    return {broadcast(data[row + 2 * k]), broadcast(data[row + 2 * k + 1])};
  }
  CDIFAST_HOST Point<C> of_lanes(int64_t k, int64_t place) const {
    return {in_register(load_vector<C>(re(k, place))), in_register(load_vector<C>(im(k, place)))};
  }
};

// From rings in the buffer, at their samples' places, to their spectra from `place` on. Transforms are functions of
// their own, for one type of numbers whatever that of the rings.
template <typename C>
void transform_rings(const RealFftPlan<C>& plan, Vector<C>* buffer, const Spectra<C>& spectra, int64_t place) {
  const C scale = C(1.0 / static_cast<double>(plan.n_angular));
  forward_transform(plan, buffer, [&](int64_t k, const Point<C>& value) CDIFAST_INLINE_LAMBDA {
    store_vector<C>(spectra.re(k, place), value.re * scale);
    store_vector<C>(spectra.im(k, place), value.im * scale);
  });
}

// The spectra of a block of rings as rows.
template <typename C>
void copy_to_rows(const Spectra<C>& spectra, int64_t bins, int64_t ring) {
  constexpr int64_t lanes = kLanes<C>;
  const C* vectors = spectra.data + place_of_ring(ring, bins, lanes);
  C* rows = spectra.data + row_of_ring(ring, bins, lanes);
  const auto row = [&](int64_t r) { return rows + r * 2 * bins; };
  for (int64_t column = 0; column < 2 * bins; column += lanes) {
    const int64_t columns = 2 * bins - column < lanes ? 2 * bins - column : lanes;
    Vector<C> tile[lanes] = {};
    for (int64_t c = 0; c < columns; ++c) tile[c] = load_vector<C>(vectors + (column + c) * lanes);
    store_tile<C, C>(tile, row, lanes, column, columns);
  }
}

template <typename T>
void ring_spectra(const T* rings, const compute_t<T>* weight, int64_t n_radial, const RealFftPlan<compute_t<T>>& plan,
                  bool rows, Vector<compute_t<T>>* buffer, compute_t<T>* out) {
  using C = compute_t<T>;
  constexpr int64_t lanes = kLanes<C>;
  const int64_t count = plan.n_angular;
  const Spectra<C> spectra{out};
  for (int64_t j = 0; j < n_radial; j += lanes) {
    // Lanes beyond the last ring repeat it; nobody reads them.
    const auto row = [&](int64_t r) { return rings + (j + r < n_radial ? j + r : n_radial - 1) * count; };
    const auto weight_row = [&](int64_t r) { return weight + (j + r < n_radial ? j + r : n_radial - 1) * count; };
    for (int64_t column = 0; column < count; column += lanes) {
      const int64_t columns = count - column < lanes ? count - column : lanes;
      Vector<C> tile[lanes];
      load_tile<T, C>(row, column, columns, tile);
      if (weight != nullptr) {
        Vector<C> w[lanes];
        load_tile<C, C>(weight_row, column, columns, w);
        // A sample without weight may hold NaN, and 0 * NaN is NaN: it counts as 0.
        for (int64_t c = 0; c < columns; ++c) tile[c] = w[c] > C{0} ? tile[c] * w[c] : Vector<C>{};
      }
      for (int64_t c = 0; c < columns; ++c) buffer[sample_place(plan, column + c)] = tile[c];
    }
    if (!plan.halved) {
      for (int64_t n = 0; n < count; ++n) buffer[2 * n + 1] = Vector<C>{};
    }
    transform_rings(plan, buffer, spectra, place_of_ring(j, plan.bins, lanes));
    if (rows) copy_to_rows(spectra, plan.bins, j);
  }
}

// The lanes of `mask` from `value`, the others from `other`.
template <typename C>
CDIFAST_HOST Point<C> select(const Mask<C>& mask, const Point<C>& value, const Point<C>& other) {
  return {mask ? value.re : other.re, mask ? value.im : other.im};
}

// Which rings' spectra a group multiplies: one whole segment of either kind, two of one first ring each, or several.
template <typename C>
struct RowPairs {
  PairSegment segment;

  CDIFAST_HOST Point<C> first(const Spectra<C>& s, int64_t k) const { return s.of_one(k, segment.row); }
  CDIFAST_HOST Point<C> second(const Spectra<C>& s, int64_t k) const { return s.of_lanes(k, segment.second); }
};

template <typename C>
struct DiagonalPairs {
  PairSegment segment;

  CDIFAST_HOST Point<C> first(const Spectra<C>& s, int64_t k) const { return s.of_lanes(k, segment.first); }
  CDIFAST_HOST Point<C> second(const Spectra<C>& s, int64_t k) const { return s.of_lanes(k, segment.second); }
};

template <typename C>
struct TwoPairs {
  PairSegment low, high;
  Mask<C> mask;  // the lanes of `high`

  CDIFAST_HOST Point<C> first(const Spectra<C>& s, int64_t k) const {
    return select<C>(mask, s.of_one(k, high.row), s.of_one(k, low.row));
  }
  CDIFAST_HOST Point<C> second(const Spectra<C>& s, int64_t k) const {
    return select<C>(mask, s.of_lanes(k, high.second), s.of_lanes(k, low.second));
  }
};

template <typename C>
struct AnyPairs {
  const PairSegment* begin;
  const PairSegment* end;

  CDIFAST_HOST static Point<C> first_of(const PairSegment& segment, const Spectra<C>& s, int64_t k) {
    return segment.row >= 0 ? s.of_one(k, segment.row) : s.of_lanes(k, segment.first);
  }
  CDIFAST_HOST Point<C> first(const Spectra<C>& s, int64_t k) const {
    Point<C> value = first_of(*begin, s, k);
    for (const PairSegment* segment = begin + 1; segment < end; ++segment) {
      value = select<C>(lanes_from<C>(segment->begin), first_of(*segment, s, k), value);
    }
    return value;
  }
  CDIFAST_HOST Point<C> second(const Spectra<C>& s, int64_t k) const {
    Point<C> value = s.of_lanes(k, begin->second);
    for (const PairSegment* segment = begin + 1; segment < end; ++segment) {
      value = select<C>(lanes_from<C>(segment->begin), s.of_lanes(k, segment->second), value);
    }
    return value;
  }
};

// Calls f with a group's pairs.
template <typename C, typename F>
CDIFAST_HOST void with_pairs(const PairGroups& groups, int64_t g, const F& f) {
  const PairSegment* begin = groups.segment + groups.first_segment[g];
  const PairSegment* end = groups.segment + groups.first_segment[g + 1];
  if (end - begin > 1 || begin->end < kLanes<C>) {
    f(AnyPairs<C>{begin, end});
  } else if (begin->row >= 0) {
    f(RowPairs<C>{*begin});
  } else {
    f(DiagonalPairs<C>{*begin});
  }
}

CDIFAST_HOST int64_t used_lanes(const PairGroups& groups, int64_t g) {
  return groups.segment[groups.first_segment[g + 1] - 1].end;
}

// a conj(b)
template <typename C>
CDIFAST_HOST Point<C> times_conjugate(const Point<C>& a, const Point<C>& b) {
  return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}

template <typename C>
CDIFAST_HOST Point<C> product(const Point<C>& a, const Point<C>& b) {
  return {a.re * b.re - a.im * b.im, a.im * b.re + a.re * b.im};
}

template <typename C>
void correlate_group(const RealFftPlan<C>& plan, const Spectra<C>& spectra, const PairGroups& groups, int64_t g,
                     Vector<C>* buffer) {
  const auto transform = [&](const auto& pairs) {
    inverse_transform(plan, buffer, [&](int64_t k) CDIFAST_INLINE_LAMBDA {
      return times_conjugate(pairs.second(spectra, k), pairs.first(spectra, k));
    });
  };
  const PairSegment* begin = groups.segment + groups.first_segment[g];
  if (groups.first_segment[g + 1] - groups.first_segment[g] == 2 && begin[0].row >= 0 && begin[1].row >= 0) {
    transform(TwoPairs<C>{begin[0], begin[1], lanes_from<C>(begin[1].begin)});
  } else {
    with_pairs<C>(groups, g, transform);
  }
}

// 1 / the pairs' weights, as fractions of K, in the transform's order of samples; 0 where there is too little. A weight
// as small as its transform's rounding errors is none, whatever the threshold.
template <typename C>
void inverse_weights(const RealFftPlan<C>& plan, const Spectra<C>& weights, const PairGroups& groups, int64_t g,
                     C needed, Vector<C>* buffer) {
  correlate_group(plan, weights, groups, g, buffer);
  const C least = needed > kNoise<C> ? needed : kNoise<C>;
  for (int64_t n = 0; n < plan.n_angular; ++n) {
    const Vector<C> weight = buffer[plan.sample[n]];
    buffer[plan.sample[n]] = weight >= least ? C{1} / weight : Vector<C>{};
  }
}

template <bool weighted, typename T>
void correlate(const RealFftPlan<compute_t<T>>& plan, const PairGroups& groups, int64_t begin, int64_t end,
               const compute_t<T>* spectra, int64_t images, int64_t pairs, const compute_t<T>* weight_spectra,
               double fill, double needed, int64_t spectra_stride, bool stream, Vector<compute_t<T>>* buffer, T* out) {
  using C = compute_t<T>;
  constexpr int64_t lanes = kLanes<C>;
  const int64_t count = plan.n_angular;
  Vector<C>* inverse = buffer + plan.workspace();
  const Vector<C> fills = broadcast(static_cast<C>(fill));
  for (int64_t g = begin; g < end; ++g) {
    if constexpr (weighted) {
      const Spectra<C> weights{const_cast<C*>(weight_spectra)};
      inverse_weights(plan, weights, groups, g, static_cast<C>(needed), inverse);
    }
    for (int64_t n = 0; n < images; ++n) {
      const Spectra<C> image{const_cast<C*>(spectra) + n * spectra_stride};
      correlate_group(plan, image, groups, g, buffer);
      T* target = out + n * pairs * count;
      T* rows[lanes];
      for (int64_t l = 0; l < lanes; ++l) rows[l] = target + groups.pair[g * lanes + l] * count;
      const auto row = [&](int64_t r) CDIFAST_INLINE_LAMBDA { return rows[r]; };
      const auto value = [&](int64_t n_sample) CDIFAST_INLINE_LAMBDA {
        const int64_t place = plan.sample[n_sample];
        if constexpr (weighted) {
          const Vector<C> factor = inverse[place];
          return factor > C{0} ? buffer[place] * factor : fills;
        } else {
          return buffer[place];
        }
      };
      const int64_t used = used_lanes(groups, g);
      const int64_t whole = used == lanes ? count / lanes * lanes : 0;
      if constexpr (sizeof(T) == sizeof(C)) {
        if (stream && whole == count) {
          for (int64_t column = 0; column < count; column += kLineVectors * lanes) {
            Vector<C> tiles[kLineVectors][lanes];
            for (int64_t v = 0; v < kLineVectors; ++v) {
#pragma GCC unroll 16
              for (int64_t c = 0; c < lanes; ++c) tiles[v][c] = value(column + v * lanes + c);
            }
            stream_tiles<C>(tiles, row, column);
          }
          continue;
        }
      }
      for (int64_t column = 0; column < whole; column += lanes) {
        Vector<C> tile[lanes];
#pragma GCC unroll 16
        for (int64_t c = 0; c < lanes; ++c) tile[c] = value(column + c);
        store_whole_tile<T, C>(tile, row, column);
      }
      for (int64_t column = whole; column < count; column += lanes) {
        const int64_t columns = count - column < lanes ? count - column : lanes;
        Vector<C> tile[lanes] = {};
        for (int64_t c = 0; c < columns; ++c) tile[c] = value(column + c);
        store_tile<T, C>(tile, row, used, column, columns);
      }
    }
  }
  if (stream) finish_streaming();
}

// Adds a group's gradient G to the rings' adjoint spectra: conj(G) F_j to ring i, G F_i to ring j.
template <typename C>
struct Adjoint {
  Spectra<C> spectra;  // F
  Spectra<C> sum;
  // What a row of pairs adds to its one first ring, a lane for each second one, until the row ends.
  Vector<C>* row_sum;
  int64_t row = -1;  // its place

  void flush(int64_t bins) {
    if (row < 0) return;
    for (int64_t k = 0; k < bins; ++k) {
      for (int64_t part = 0; part < 2; ++part) {
        const Vector<C> values = row_sum[2 * k + part];
        C total = 0;
        for (int64_t l = 0; l < kLanes<C>; ++l) total += values[l];
        *(part == 0 ? sum.re(k, row) : sum.im(k, row)) += total;
      }
    }
    row = -1;
  }

  void start_row(int64_t i, int64_t bins) {
    if (row == i) return;
    flush(bins);
    row = i;
    for (int64_t k = 0; k < 2 * bins; ++k) row_sum[k] = Vector<C>{};
  }

  CDIFAST_HOST void add_row(const RowPairs<C>& pairs, int64_t k, const Point<C>& g) const {
    const Point<C> to_second = product(g, pairs.first(spectra, k));
    const Point<C> to_first = times_conjugate(pairs.second(spectra, k), g);
    add_lanes(k, pairs.segment.second, to_second);
    row_sum[2 * k] += to_first.re;
    row_sum[2 * k + 1] += to_first.im;
  }

  CDIFAST_HOST void add_diagonal(const DiagonalPairs<C>& pairs, int64_t k, const Point<C>& g) const {
    const Point<C> to_second = product(g, pairs.first(spectra, k));
    const Point<C> to_first = times_conjugate(pairs.second(spectra, k), g);
    // One after the other: the rings may be the same.
    add_lanes(k, pairs.segment.second, to_second);
    add_lanes(k, pairs.segment.first, to_first);
  }

  CDIFAST_HOST void add_lanes(int64_t k, int64_t place, const Point<C>& value) const {
    const Point<C> total = sum.of_lanes(k, place) + value;
    store_vector<C>(sum.re(k, place), total.re);
    store_vector<C>(sum.im(k, place), total.im);
  }

  void add_any(const AnyPairs<C>& pairs, int64_t k, const Point<C>& g) const {
    const Point<C> to_second = product(g, pairs.first(spectra, k));
    const Point<C> to_first = times_conjugate(pairs.second(spectra, k), g);
    // One segment after the other: a ring may be in several.
    for (const PairSegment* segment = pairs.begin; segment < pairs.end; ++segment) {
      const auto mask = lanes_from<C>(segment->begin) & ~lanes_from<C>(segment->end);
      add_masked(k, segment->second, to_second, mask);
      if (segment->row < 0) {
        add_masked(k, segment->first, to_first, mask);
        continue;
      }
      C re = 0, im = 0;
      for (int64_t l = segment->begin; l < segment->end; ++l) {
        re += to_first.re[l];
        im += to_first.im[l];
      }
      *sum.re(k, segment->first) += re;
      *sum.im(k, segment->first) += im;
    }
  }

  template <typename Mask>
  CDIFAST_HOST void add_masked(int64_t k, int64_t place, const Point<C>& value, Mask mask) const {
    const Point<C> before = sum.of_lanes(k, place);
    store_vector<C>(sum.re(k, place), mask ? before.re + value.re : before.re);
    store_vector<C>(sum.im(k, place), mask ? before.im + value.im : before.im);
  }

  CDIFAST_HOST void add(const RowPairs<C>& pairs, int64_t k, const Point<C>& g) const { add_row(pairs, k, g); }
  CDIFAST_HOST void add(const DiagonalPairs<C>& pairs, int64_t k, const Point<C>& g) const {
    add_diagonal(pairs, k, g);
  }
  CDIFAST_HOST void add(const AnyPairs<C>& pairs, int64_t k, const Point<C>& g) const { add_any(pairs, k, g); }
  void start(const RowPairs<C>& pairs, int64_t bins) { start_row(pairs.segment.first, bins); }
  void start(const DiagonalPairs<C>&, int64_t) {}
  void start(const AnyPairs<C>&, int64_t) {}
};

// The rows of a group to come. No core sees by itself that so many are read side by side: they are asked for, two
// vectors of a row at each frequency of the group before.
struct RowsAhead {
  const void* rows;
  const int64_t* pair;  // of the lanes
  int64_t row_bytes;
  int64_t vector_bytes;

  template <typename C>
  CDIFAST_HOST void ask(int64_t k) const {
    const char* vectors = static_cast<const char*>(rows) + pair[k % kLanes<C>] * row_bytes;
    __builtin_prefetch(vectors + k / kLanes<C> * 2 * vector_bytes);
    __builtin_prefetch(vectors + (k / kLanes<C> * 2 + 1) * vector_bytes);
  }
};

// The gradient of a group's results, in the buffer at its samples' places.
template <typename C>
void add_group(const RealFftPlan<C>& plan, const PairGroups& groups, int64_t g, Vector<C>* buffer,
               const RowsAhead& ahead, Adjoint<C>& sums) {
  with_pairs<C>(groups, g, [&](const auto& pairs) {
    sums.start(pairs, plan.bins);
    forward_transform(plan, buffer, [&](int64_t k, const Point<C>& value) CDIFAST_INLINE_LAMBDA {
      ahead.template ask<C>(k);
      sums.add(pairs, k, value);
    });
  });
}

template <typename C>
void transform_sums(const RealFftPlan<C>& plan, const Adjoint<C>& sums, int64_t place, Vector<C>* buffer) {
  inverse_transform(plan, buffer, [&](int64_t k) CDIFAST_INLINE_LAMBDA { return sums.sum.of_lanes(k, place); });
}

template <typename T>
void backward(const T* grad, const RealFftPlan<compute_t<T>>& plan, int64_t n_radial, const PairGroups& groups,
              const compute_t<T>* spectra, const compute_t<T>* weight, const compute_t<T>* weight_spectra,
              double needed, Vector<compute_t<T>>* buffer, compute_t<T>* adjoint, T* grad_rings) {
  using C = compute_t<T>;
  constexpr int64_t lanes = kLanes<C>;
  const int64_t count = plan.n_angular;
  const int64_t bins = plan.bins;
  Vector<C>* inverse = buffer + plan.workspace();
  Adjoint<C> sums{{const_cast<C*>(spectra)}, {adjoint}, buffer + 2 * plan.workspace()};
  const int64_t size = spectra_size(n_radial, bins, lanes);
  for (int64_t e = -lanes; e < size + lanes; ++e) adjoint[e] = 0;

  for (int64_t g = 0; g < groups.count; ++g) {
    if (weight_spectra != nullptr) {
      inverse_weights(plan, Spectra<C>{const_cast<C*>(weight_spectra)}, groups, g, static_cast<C>(needed), inverse);
    }
    const auto row = [&](int64_t r) { return grad + groups.pair[g * lanes + r] * count; };
    for (int64_t column = 0; column < count; column += lanes) {
      const int64_t columns = count - column < lanes ? count - column : lanes;
      Vector<C> tile[lanes];
      load_tile<T, C>(row, column, columns, tile);
      if (weight_spectra == nullptr && columns == lanes) {
#pragma GCC unroll 16
        for (int64_t c = 0; c < lanes; ++c) buffer[sample_place(plan, column + c)] = tile[c];
        continue;
      }
      if (weight_spectra != nullptr) {
        for (int64_t c = 0; c < columns; ++c) {
          const Vector<C> factor = inverse[plan.sample[column + c]];
          // A cell without enough weight is a constant, whatever gradient comes in.
          tile[c] = factor > C{0} ? tile[c] * factor : Vector<C>{};
        }
      }
      for (int64_t c = 0; c < columns; ++c) buffer[sample_place(plan, column + c)] = tile[c];
    }
    if (!plan.halved) {
      for (int64_t n = 0; n < count; ++n) buffer[2 * n + 1] = Vector<C>{};
    }
    const int64_t next = g + 1 < groups.count ? g + 1 : g;
    const RowsAhead ahead{grad, groups.pair + next * lanes, count * static_cast<int64_t>(sizeof(T)),
                          lanes * static_cast<int64_t>(sizeof(T))};
    add_group(plan, groups, g, buffer, ahead, sums);
  }
  sums.flush(bins);

  // The weights' inverses are of fractions of K: either way the sum over angles is divided by K once.
  const C scale = C(1.0 / static_cast<double>(count));
  for (int64_t j = 0; j < n_radial; j += lanes) {
    transform_sums(plan, sums, place_of_ring(j, bins, lanes), buffer);
    const int64_t used = n_radial - j < lanes ? n_radial - j : lanes;
    const auto weight_row = [&](int64_t r) { return weight + (r < used ? j + r : j) * count; };
    const auto row = [&](int64_t r) { return grad_rings + (j + r) * count; };
    for (int64_t column = 0; column < count; column += lanes) {
      const int64_t columns = count - column < lanes ? count - column : lanes;
      Vector<C> tile[lanes] = {};
      for (int64_t c = 0; c < columns; ++c) tile[c] = buffer[plan.sample[column + c]] * scale;
      if (weight != nullptr) {
        Vector<C> w[lanes];
        load_tile<C, C>(weight_row, column, columns, w);
        for (int64_t c = 0; c < columns; ++c) tile[c] = w[c] > C{0} ? tile[c] * w[c] : Vector<C>{};
      }
      store_tile<T, C>(tile, row, used, column, columns);
    }
  }
}

void spectra_entry(DType dtype, const void* rings, const void* weight, int64_t n_radial, const void* plan, bool rows,
                   void* buffer, void* spectra) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    ring_spectra<T>(static_cast<const T*>(rings), static_cast<const C*>(weight), n_radial,
                    *static_cast<const RealFftPlan<C>*>(plan), rows, static_cast<Vector<C>*>(buffer),
                    static_cast<C*>(spectra));
  });
}

void correlate_entry(DType dtype, const void* plan, const PairGroups& groups, int64_t begin, int64_t end,
                     const void* spectra, int64_t images, int64_t pairs, const void* weight_spectra, double fill,
                     double needed, int64_t spectra_stride, bool stream, void* buffer, void* out) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const auto run = weight_spectra == nullptr ? correlate<false, T> : correlate<true, T>;
    run(*static_cast<const RealFftPlan<C>*>(plan), groups, begin, end, static_cast<const C*>(spectra), images, pairs,
        static_cast<const C*>(weight_spectra), fill, needed, spectra_stride, stream, static_cast<Vector<C>*>(buffer),
        static_cast<T*>(out));
  });
}

void backward_entry(DType dtype, const void* grad, const void* plan, int64_t n_radial, const PairGroups& groups,
                    const void* spectra, const void* weight, const void* weight_spectra, double needed, void* buffer,
                    void* adjoint, void* grad_rings) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    backward<T>(static_cast<const T*>(grad), *static_cast<const RealFftPlan<C>*>(plan), n_radial, groups,
                static_cast<const C*>(spectra), static_cast<const C*>(weight), static_cast<const C*>(weight_spectra),
                needed, static_cast<Vector<C>*>(buffer), static_cast<C*>(adjoint), static_cast<T*>(grad_rings));
  });
}

template <typename C>
void interleaved_product(const C* __restrict a, const C* __restrict b, int64_t bins, C* __restrict out) {
#pragma omp simd
  for (int64_t k = 0; k < bins; ++k) {
    out[2 * k] = a[2 * k] * b[2 * k] + a[2 * k + 1] * b[2 * k + 1];
    out[2 * k + 1] = a[2 * k] * b[2 * k + 1] - a[2 * k + 1] * b[2 * k];
  }
}

void product_entry(DType dtype, const void* first, const void* second, int64_t bins, void* out) {
  if (dtype == DType::f64) {
    interleaved_product(static_cast<const double*>(first), static_cast<const double*>(second), bins,
                        static_cast<double*>(out));
  } else {
    interleaved_product(static_cast<const float*>(first), static_cast<const float*>(second), bins,
                        static_cast<float*>(out));
  }
}

// sum += G S, or conj(G) S.
template <typename C>
void add_interleaved(const C* __restrict g, const C* __restrict s, bool conjugate, int64_t bins, C* __restrict sum) {
  const C sign = conjugate ? C{-1} : C{1};
#pragma omp simd
  for (int64_t k = 0; k < bins; ++k) {
    const C imaginary = sign * g[2 * k + 1];
    sum[2 * k] += g[2 * k] * s[2 * k] - imaginary * s[2 * k + 1];
    sum[2 * k + 1] += g[2 * k] * s[2 * k + 1] + imaginary * s[2 * k];
  }
}

void add_product_entry(DType dtype, const void* product, const void* spectrum, bool conjugate, int64_t bins,
                       void* sum) {
  if (dtype == DType::f64) {
    add_interleaved(static_cast<const double*>(product), static_cast<const double*>(spectrum), conjugate, bins,
                    static_cast<double*>(sum));
  } else {
    add_interleaved(static_cast<const float*>(product), static_cast<const float*>(spectrum), conjugate, bins,
                    static_cast<float*>(sum));
  }
}

}  // namespace

const AngularKernels angular_kernels = {kLanes<float>,  kLanes<double>, spectra_entry,    correlate_entry,
                                        backward_entry, product_entry,  add_product_entry};

}  // namespace cdifast::cpu::CDIFAST_ISA
