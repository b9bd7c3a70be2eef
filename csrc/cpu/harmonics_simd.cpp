// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "harmonics_simd.h"

#include "lanes.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// Terms that are added to one sum before it joins the total: rounding errors grow with the terms of a sum.
constexpr int64_t kTerms = 64;

// What is left to sum for orders of one parity: sum_k s_k cos(2 pi n k / K) and -sum_k d_k sin(2 pi n k / K) over
// k = 1 .. terms, beside the terms of k = 0 and of the middle.
template <typename C>
struct Folded {
  const Vector<C>* sum;  // s_1
  int64_t sum_step;
  const Vector<C>* difference;  // d_1
  int64_t difference_step;
  int64_t terms;
  const Vector<C>* first;
  const Vector<C>* middle;  // of k = K/4, or null; belongs to the cosines of even orders, to the sines of odd ones
  int64_t middle_row;       // its row of the table
  bool odd;
};

// Folds samples u_k that were folded once: s_k = u_k + u_{K-k} in buffer[k], d_k = u_k - u_{K-k} in buffer[K-k], since
// cosine and sine are even and odd about K/2. For even K they are also even or odd about K/4, by the order's parity: a
// quarter of the products is left. `center`: what the samples are to be less, see fold.
template <typename C>
CDIFAST_HOST void fold_again(Vector<C>* buffer, int64_t count, Vector<C> center) {
  const Vector<C> twice = center + center;
  const int64_t half = count / 2;
  if (count % 2 != 0) {
    buffer[0] -= center;
    for (int64_t k = 1; k <= half; ++k) buffer[k] -= twice;
    return;
  }
  const Vector<C> start = buffer[0] - center;
  const Vector<C> opposite = buffer[half] - center;
  buffer[0] = start + opposite;
  buffer[half] = start - opposite;
  for (int64_t k = 1; 2 * k < half; ++k) {
    const Vector<C> low_sum = buffer[k] - twice;
    const Vector<C> high_sum = buffer[half - k] - twice;
    const Vector<C> low_difference = buffer[count - k];
    const Vector<C> high_difference = buffer[half + k];
    buffer[k] = low_sum + high_sum;
    buffer[half - k] = low_sum - high_sum;
    buffer[half + k] = low_difference - high_difference;
    buffer[count - k] = low_difference + high_difference;
  }
  if (half % 2 == 0) buffer[half / 2] -= twice;
}

template <typename C>
CDIFAST_HOST Folded<C> folded(const Vector<C>* buffer, int64_t count, bool odd) {
  const int64_t half = count / 2;
  if (count % 2 != 0) return {buffer + 1, 1, buffer + count - 1, -1, half, buffer, nullptr, 0, false};
  const Vector<C>* middle = half % 2 == 0 ? buffer + (odd ? count - half / 2 : half / 2) : nullptr;
  const int64_t terms = (half - 1) / 2;
  if (odd) return {buffer + half - 1, -1, buffer + count - 1, -1, terms, buffer + half, middle, half / 2, true};
  return {buffer + 1, 1, buffer + half + 1, 1, terms, buffer, middle, half / 2, false};
}

// The harmonics of `orders` orders of one parity. `split`: sums of every order and part side by side, where a few
// orders alone would wait for one addition after the other.
template <int64_t orders, int64_t split, typename C>
CDIFAST_HOST void sum_orders(const Folded<C>& samples, const C* __restrict table, int64_t stride, Vector<C>* re,
                             Vector<C>* im) {
  for (int64_t o = 0; o < orders; ++o) {
    re[o] = *samples.first;
    im[o] = Vector<C>{};
    if (samples.middle != nullptr) {
      const C* row = table + samples.middle_row * stride + 2 * o;
      if (samples.odd) {
        im[o] -= *samples.middle * row[1];
      } else {
        re[o] += *samples.middle * row[0];
      }
    }
  }
  const Vector<C>* sum = samples.sum;
  const Vector<C>* difference = samples.difference;
  const C* __restrict row = table + stride;
  for (int64_t begin = 0; begin < samples.terms; begin += kTerms) {
    int64_t left = samples.terms - begin < kTerms ? samples.terms - begin : kTerms;
    Vector<C> real[split][orders] = {}, imaginary[split][orders] = {};
    const auto add = [&](int64_t s) {
#pragma GCC unroll 8
      for (int64_t o = 0; o < orders; ++o) {
        real[s][o] += *sum * row[2 * o];
        imaginary[s][o] -= *difference * row[2 * o + 1];
      }
      sum += samples.sum_step;
      difference += samples.difference_step;
      row += stride;
    };
    for (; left >= split; left -= split) {
#pragma GCC unroll 4
      for (int64_t s = 0; s < split; ++s) add(s);
    }
    for (; left > 0; --left) add(0);
    for (int64_t o = 0; o < orders; ++o) {
      for (int64_t s = 0; s < split; ++s) {
        re[o] += real[s][o];
        im[o] += imaginary[s][o];
      }
    }
  }
}

// The rings' weights, and the inverse of each ring's total; 0 where it has none.
template <typename C>
CDIFAST_HOST Vector<C> load_weights(const C* weight, int64_t ring, int64_t used, int64_t count, Vector<C>* out) {
  constexpr int64_t lanes = kLanes<C>;
  const auto row = [&](int64_t r) { return weight + (ring + (r < used ? r : 0)) * count; };
  Vector<C> total[2] = {};
  for (int64_t column = 0; column < count; column += lanes) {
    const int64_t columns = count - column < lanes ? count - column : lanes;
    Vector<C> tile[lanes];
    load_tile<C, C>(row, column, columns, tile);
    for (int64_t c = 0; c < columns; ++c) {
      out[column + c] = tile[c];
      total[c % 2] += tile[c];
    }
  }
  total[0] += total[1];
  return total[0] > C{0} ? C{1} / total[0] : Vector<C>{};
}

// Both kinds of preparation leave samples folded once in `buffer`, and return the rings' means. Samples count from a
// reference that is subtracted first, as differences as small as the ring's structure: the harmonics of a bright ring
// keep their digits.

// Without weights the reference is a ring's first sample, so that the samples are read once; `center` is the mean of
// the differences.
template <typename T, typename C, typename Row>
CDIFAST_HOST Vector<C> fold(const Row& row, int64_t count, Vector<C>* buffer, Vector<C>& center) {
  constexpr int64_t lanes = kLanes<C>;
  const auto column_of = [&](int64_t column) {
    C values[lanes];
    for (int64_t r = 0; r < lanes; ++r) values[r] = load_element(row(r)[column]);
    return load_vector<C>(values);
  };
  Vector<C> reference = column_of(0);
  reference = reference - reference == C{0} ? reference : Vector<C>{};  // an infinite one is none
  const int64_t pairs = (count - 1) / 2;
  Vector<C> sums[4] = {};
  int64_t k = 1;
  if (count >= 2 * lanes) {
    for (; k <= pairs; k += lanes) {
      // Columns k, k + 1, ... and their mirror images, which end with column K - k.
      Vector<C> low[lanes], high[lanes];
      load_tile<T, C>(row, k, lanes, low);
      load_tile<T, C>(row, count - k - (lanes - 1), lanes, high);
      // The next rings follow these in memory.
      for (int64_t r = 0; r < lanes; ++r) {
        __builtin_prefetch(row(r) + lanes * count + k, 0, 2);
        __builtin_prefetch(row(r) + lanes * count + count - k - (lanes - 1), 0, 2);
      }
      const int64_t used = pairs - k + 1 < lanes ? pairs - k + 1 : lanes;
      const auto store = [&](int64_t c) {
        const Vector<C> sum = (low[c] - reference) + (high[lanes - 1 - c] - reference);
        buffer[k + c] = sum;
        buffer[count - k - c] = low[c] - high[lanes - 1 - c];
        sums[c % 4] += sum;
      };
      if (used == lanes) {
#pragma GCC unroll 16
        for (int64_t c = 0; c < lanes; ++c) store(c);
      } else {
        for (int64_t c = 0; c < used; ++c) store(c);
      }
    }
  } else {
    for (; k <= pairs; ++k) {
      const Vector<C> low = column_of(k), high = column_of(count - k);
      buffer[k] = (low - reference) + (high - reference);
      buffer[count - k] = low - high;
      sums[0] += buffer[k];
    }
  }
  buffer[0] = column_of(0) - reference;
  Vector<C> total = (sums[0] + sums[1]) + (sums[2] + sums[3]) + buffer[0];
  if (count % 2 == 0) {
    buffer[count / 2] = column_of(count / 2) - reference;
    total += buffer[count / 2];
  }
  center = total * C(1.0 / static_cast<double>(count));
  return reference + center;
}

// With weights the reference has to be the mean: first as good as one sum gives it, then what rounding left of it.
template <typename T, typename C, typename Row>
CDIFAST_HOST Vector<C> fold_weighted(const Row& row, const Vector<C>* w, Vector<C> inverse, int64_t count,
                                     Vector<C>* buffer) {
  constexpr int64_t lanes = kLanes<C>;
  Vector<C> sums[2] = {};
  for (int64_t column = 0; column < count; column += lanes) {
    const int64_t columns = count - column < lanes ? count - column : lanes;
    Vector<C> tile[lanes];
    load_tile<T, C>(row, column, columns, tile);
    for (int64_t c = 0; c < columns; ++c) {
      // A sample without weight may hold NaN, and 0 * NaN is NaN: it counts as 0.
      const Vector<C> value = w[column + c] > C{0} ? tile[c] : Vector<C>{};
      sums[c % 2] += value * w[column + c];
      buffer[column + c] = value;
    }
  }
  const Vector<C> mean = (sums[0] + sums[1]) * inverse;
  Vector<C> even{}, odd{};
  int64_t k = 0;
  for (; k + 1 < count; k += 2) {
    even += (buffer[k] - mean) * w[k];
    odd += (buffer[k + 1] - mean) * w[k + 1];
  }
  if (k < count) even += (buffer[k] - mean) * w[k];
  const Vector<C> rest = (even + odd) * inverse;
  buffer[0] = (buffer[0] - mean - rest) * w[0];
  for (k = 1; 2 * k < count; ++k) {
    const Vector<C> low = (buffer[k] - mean - rest) * w[k];
    const Vector<C> high = (buffer[count - k] - mean - rest) * w[count - k];
    buffer[k] = low + high;
    buffer[count - k] = low - high;
  }
  if (count % 2 == 0) buffer[k] = (buffer[k] - mean - rest) * w[k];
  return mean - mean == C{0} ? mean + rest : mean;  // an infinite mean has no rest
}

template <bool weighted, typename T>
void forward(const T* rings, const compute_t<T>* weight, const HarmonicsProblem& problem, int64_t ring,
             Vector<compute_t<T>>* buffer, compute_t<T>* out) {
  using C = compute_t<T>;
  constexpr int64_t lanes = kLanes<C>;
  const int64_t count = problem.n_angular;
  const int64_t used = problem.n_radial - ring < lanes ? problem.n_radial - ring : lanes;
  // Lanes beyond the last ring repeat the first one; nobody reads them.
  const auto row = [&](int64_t r) { return rings + (ring + (r < used ? r : 0)) * count; };
  Vector<C> inverse, mean, center{};
  if constexpr (weighted) {
    inverse = load_weights(weight, ring, used, count, buffer + count);
    mean = fold_weighted<T, C>(row, buffer + count, inverse, count, buffer);
  } else {
    inverse = broadcast(C(1.0 / static_cast<double>(count)));
    mean = used == lanes ? fold<T, C>([&](int64_t r) { return rings + (ring + r) * count; }, count, buffer, center)
                         : fold<T, C>(row, count, buffer, center);
  }
  fold_again<C>(buffer, count, center);
  // A ring with an infinity has no harmonics: NaN, not an infinity in some and NaN in others.
  const Vector<C> nothing = mean - mean;

  const C* table = static_cast<const C*>(problem.table);
  const int64_t stride = 2 * problem.n_orders;
  for (int64_t o = 0; o < problem.n_orders;) {
    Vector<C> re[8], im[8];
    const bool odd = o >= problem.n_even;
    const Folded<C> samples = folded<C>(buffer, count, odd);
    const int64_t left = (odd ? problem.n_orders : problem.n_even) - o;
    int64_t done = 8;
    if (left >= 8) {
      sum_orders<8, 1, C>(samples, table + 2 * o, stride, re, im);
    } else if (left >= 4) {
      sum_orders<4, 1, C>(samples, table + 2 * o, stride, re, im);
      done = 4;
    } else if (left >= 2) {
      sum_orders<2, 2, C>(samples, table + 2 * o, stride, re, im);
      done = 2;
    } else {
      sum_orders<1, 4, C>(samples, table + 2 * o, stride, re, im);
      done = 1;
    }
    for (int64_t e = 0; e < done; ++e, ++o) {
      Vector<C> real = re[e] * inverse + nothing;
      Vector<C> imaginary = im[e] * inverse + nothing;
      if (problem.order[o] == 0) {
        real = mean;
        imaginary = Vector<C>{};
      }
      C* target = out + 2 * (problem.slot[o] * problem.n_radial + ring);
      Vector<C> low, high;
      interleave<C>(real, imaginary, low, high);
      if (used == lanes) {
        store_vector<C>(target, low);
        store_vector<C>(target + lanes, high);
      } else {
        C values[2 * lanes];
        store_vector<C>(values, low);
        store_vector<C>(values + lanes, high);
        for (int64_t v = 0; v < 2 * used; ++v) target[v] = values[v];
      }
    }
  }
}

// The gradient of one harmonic's parts with respect to sample k is w_k / W (e_k - mean of e) with e = cos, -sin: the
// kernel sums e over the orders, subtracts its weighted mean and weighs. Order 0 is the mean: w_k / W.
template <bool weighted, typename C>
void backward(const C* grad, const C* weight, const HarmonicsProblem& problem, int64_t ring, bool stream,
              Vector<C>* buffer, C* grad_rings) {
  constexpr int64_t lanes = kLanes<C>;
  const int64_t count = problem.n_angular;
  const int64_t orders = problem.n_orders;
  const int64_t used = problem.n_radial - ring < lanes ? problem.n_radial - ring : lanes;
  Vector<C>* w = buffer + count;
  Vector<C>* real = w + count;
  Vector<C>* imaginary = real + orders;
  const C* __restrict table = static_cast<const C*>(problem.table);

  Vector<C> to_mean{};
  for (int64_t o = 0; o < orders; ++o) {
    const C* source = grad + 2 * (problem.slot[o] * problem.n_radial + ring);
    Vector<C> low, high;
    if (used == lanes) {
      low = load_vector<C>(source);
      high = load_vector<C>(source + lanes);
    } else {
      C values[2 * lanes] = {};
      for (int64_t v = 0; v < 2 * used; ++v) values[v] = source[v];
      low = load_vector<C>(values);
      high = load_vector<C>(values + lanes);
    }
    separate<C>(low, high, real[o], imaginary[o]);
    if (problem.order[o] == 0) {
      to_mean += real[o];
      real[o] = imaginary[o] = Vector<C>{};
    }
  }

  Vector<C> inverse = broadcast(C(1.0 / static_cast<double>(count)));
  if constexpr (weighted) inverse = load_weights(weight, ring, used, count, w);

  // Sums over the even and over the odd orders of angles 0 .. K/4 give those of all angles, see fold_again; for odd K
  // all orders count as even here, and go to K/2. Four angles at a time, so that what is loaded of an order serves
  // four.
  constexpr int64_t block = 4;
  const int64_t half = count / 2;
  const bool quarter = count % 2 == 0;
  const int64_t last = quarter ? half / 2 : half;
  for (int64_t begin = 0; begin <= last; begin += block) {
    Vector<C> cosines[2][block] = {}, sines[2][block] = {};
    const auto add = [&](int64_t parity, int64_t from, int64_t to) {
      for (int64_t o = from; o < to; ++o) {
        // Rows past the last angle are read too, and their sums left alone: the table has them.
#pragma GCC unroll 4
        for (int64_t b = 0; b < block; ++b) {
          const C* entry = table + 2 * ((begin + b) * orders + o);
          cosines[parity][b] += real[o] * entry[0];
          sines[parity][b] += imaginary[o] * entry[1];
        }
      }
    };
    add(0, 0, problem.n_even);
    add(1, problem.n_even, orders);
    for (int64_t b = 0; b < block && begin + b <= last; ++b) {
      const int64_t k = begin + b;
      const Vector<C> cosine = cosines[0][b] + cosines[1][b];
      const Vector<C> sine = sines[0][b] + sines[1][b];
      buffer[k] = cosine - sine;
      if (k > 0) buffer[count - k] = cosine + sine;
      if (quarter) {
        const Vector<C> far_cosine = cosines[0][b] - cosines[1][b];
        const Vector<C> far_sine = sines[1][b] - sines[0][b];
        buffer[half - k] = far_cosine - far_sine;
        if (k > 0) buffer[half + k] = far_cosine + far_sine;
      }
    }
  }

  // Without weights the mean of every e is 0.
  Vector<C> mean{};
  if constexpr (weighted) {
    Vector<C> even{}, odd{};
    int64_t k = 0;
    for (; k + 1 < count; k += 2) {
      even += buffer[k] * w[k];
      odd += buffer[k + 1] * w[k + 1];
    }
    if (k < count) even += buffer[k] * w[k];
    mean = even + odd;
  }
  const Vector<C> shift = to_mean - mean * inverse;
  const auto row = [&](int64_t r) { return grad_rings + (ring + r) * count; };
  const auto value = [&](int64_t k) {
    const Vector<C> unweighted = (buffer[k] + shift) * inverse;
    if constexpr (weighted) {
      return w[k] > C{0} ? unweighted * w[k] : Vector<C>{};
    } else {
      return unweighted;
    }
  };
  if (stream && used == lanes) {
    for (int64_t column = 0; column < count; column += kLineVectors * lanes) {
      Vector<C> tiles[kLineVectors][lanes];
      for (int64_t v = 0; v < kLineVectors; ++v) {
#pragma GCC unroll 16
        for (int64_t c = 0; c < lanes; ++c) tiles[v][c] = value(column + v * lanes + c);
      }
      stream_tiles<C>(tiles, row, column);
    }
    finish_streaming();
    return;
  }
  for (int64_t column = 0; column < count; column += lanes) {
    const int64_t columns = count - column < lanes ? count - column : lanes;
    Vector<C> tile[lanes] = {};
    for (int64_t c = 0; c < columns; ++c) tile[c] = value(column + c);
    store_tile<C, C>(tile, row, used, column, columns);
  }
}

void forward_entry(DType dtype, const void* rings, const void* weight, const HarmonicsProblem& problem, int64_t ring,
                   void* buffer, void* out) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const auto run = weight == nullptr ? forward<false, T> : forward<true, T>;
    run(static_cast<const T*>(rings), static_cast<const C*>(weight), problem, ring, static_cast<Vector<C>*>(buffer),
        static_cast<C*>(out));
  });
}

template <typename C>
void backward_of(const void* grad, const void* weight, const HarmonicsProblem& problem, int64_t ring, bool stream,
                 void* buffer, void* grad_rings) {
  const auto run = weight == nullptr ? backward<false, C> : backward<true, C>;
  run(static_cast<const C*>(grad), static_cast<const C*>(weight), problem, ring, stream,
      static_cast<Vector<C>*>(buffer), static_cast<C*>(grad_rings));
}

void backward_entry(DType dtype, const void* grad, const void* weight, const HarmonicsProblem& problem, int64_t ring,
                    bool stream, void* buffer, void* grad_rings) {
  (dtype == DType::f64 ? backward_of<double> : backward_of<float>)(grad, weight, problem, ring, stream, buffer,
                                                                   grad_rings);
}

}  // namespace

const HarmonicsKernels harmonics_kernels = {kLanes<float>, kLanes<double>, forward_entry, backward_entry};

}  // namespace cdifast::cpu::CDIFAST_ISA
