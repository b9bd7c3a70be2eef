// Complex numbers, one a lane, and the small transforms of them that longer ones are made of, all exp(-2 pi i k m / N).
//
// Only for the files that are compiled once per instruction set.
#pragma once

#include "fft_plan.h"
#include "lanes.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

template <typename C>
struct Point {
  Vector<C> re, im;
};

template <typename C>
CDIFAST_HOST Point<C> operator+(const Point<C>& a, const Point<C>& b) {
  return {a.re + b.re, a.im + b.im};
}

template <typename C>
CDIFAST_HOST Point<C> operator-(const Point<C>& a, const Point<C>& b) {
  return {a.re - b.re, a.im - b.im};
}

template <typename C>
CDIFAST_HOST Point<C> conjugate(const Point<C>& a) {
  return {a.re, -a.im};
}

template <typename C>
CDIFAST_HOST Point<C> times(const Point<C>& a, C re, C im) {
  return {a.re * re - a.im * im, a.re * im + a.im * re};
}

template <typename C>
CDIFAST_HOST Point<C> times_minus_i(const Point<C>& a) {
  return {a.im, -a.re};
}

template <typename C>
CDIFAST_HOST void butterfly2(Point<C>* x) {
  const Point<C> sum = x[0] + x[1];
  x[1] = x[0] - x[1];
  x[0] = sum;
}

template <typename C>
CDIFAST_HOST void butterfly4(Point<C>* x) {
  const Point<C> a = x[0] + x[2];
  const Point<C> b = x[0] - x[2];
  const Point<C> c = x[1] + x[3];
  const Point<C> d = times_minus_i(x[1] - x[3]);
  x[0] = a + c;
  x[1] = b + d;
  x[2] = a - c;
  x[3] = b - d;
}

template <typename C>
CDIFAST_HOST void butterfly8(Point<C>* x) {
  constexpr C kHalfRoot = C(0.70710678118654752440);
  Point<C> even[4] = {x[0], x[2], x[4], x[6]};
  Point<C> odd[4] = {x[1], x[3], x[5], x[7]};
  butterfly4(even);
  butterfly4(odd);
  odd[1] = {(odd[1].re + odd[1].im) * kHalfRoot, (odd[1].im - odd[1].re) * kHalfRoot};
  odd[2] = times_minus_i(odd[2]);
  odd[3] = {(odd[3].im - odd[3].re) * kHalfRoot, (odd[3].re + odd[3].im) * -kHalfRoot};
#pragma GCC unroll 4
  for (int64_t t = 0; t < 4; ++t) {
    x[t] = even[t] + odd[t];
    x[t + 4] = even[t] - odd[t];
  }
}

// sin of 2 pi t / radix for 1 <= t <= radix / 2, and cos with its mean over those t taken off, which is -1 / (radix -
// 1): in registers; nothing for radices that need none.
template <int64_t radix, typename C, bool = radix % 2 == 1>
struct Roots {
  explicit Roots(const C*) {}
};

template <int64_t radix, typename C>
struct Roots<radix, C, true> {
  static constexpr int64_t half = (radix - 1) / 2;
  static constexpr C mean = C(-1.0 / (radix - 1));
  Vector<C> cosine[half], sine[half];

  CDIFAST_HOST explicit Roots(const C* roots) {
#pragma GCC unroll 8
    for (int64_t t = 0; t < half; ++t) {
      cosine[t] = in_register(broadcast(roots[t + 1] - mean));
      sine[t] = in_register(broadcast(roots[radix + t + 1]));
    }
  }

  // cos of t u turns, less the mean.
  CDIFAST_HOST Vector<C> cosine_of(int64_t t, int64_t u) const {
    const int64_t turn = t * u % radix;
    return cosine[(turn > half ? radix - turn : turn) - 1];
  }

  // sum_u x_u sin(2 pi t u / radix), of x_1 to x_half at x[0] on.
  CDIFAST_HOST Vector<C> sine_sum(const Vector<C>* x, int64_t t) const {
    Vector<C> sum{};
#pragma GCC unroll 8
    for (int64_t u = 1; u <= half; ++u) {
      const int64_t turn = t * u % radix;
      sum = turn > half ? sum - x[u - 1] * sine[radix - turn - 1] : sum + x[u - 1] * sine[turn - 1];
    }
    return sum;
  }

  // first + sum_u x_u cos(2 pi t u / radix) for t = 1 ... half, of x_1 to x_half at x[0] on; `sum` is that of the x.
  // The cosines less their mean add up to 0 in each, so that they can go to differences from the last x: one product
  // fewer in each sum for an addition in all.
  CDIFAST_HOST void even_parts(Vector<C> first, Vector<C> sum, const Vector<C>* x, Vector<C>* out) const {
    const Vector<C> base = first + sum * mean;
    Vector<C> difference[half];
#pragma GCC unroll 8
    for (int64_t u = 0; u + 1 < half; ++u) difference[u] = x[u] - x[half - 1];
#pragma GCC unroll 8
    for (int64_t t = 1; t <= half; ++t) {
      out[t - 1] = base;
#pragma GCC unroll 8
      for (int64_t u = 0; u + 1 < half; ++u) out[t - 1] += difference[u] * cosine_of(t, u + 1);
    }
  }
};

// An odd radix from sums and differences of the points t and radix - t.
template <int64_t radix, typename C>
CDIFAST_HOST void butterfly_odd(Point<C>* x, const Roots<radix, C>& roots) {
  constexpr int64_t half = (radix - 1) / 2;
  Vector<C> sum_re[half], sum_im[half], even_re[half], even_im[half], odd_re[half], odd_im[half];
  Point<C> total = {Vector<C>{}, Vector<C>{}};
#pragma GCC unroll 8
  for (int64_t u = 0; u < half; ++u) {
    const Point<C> sum = x[u + 1] + x[radix - 1 - u];
    const Point<C> difference = times_minus_i(x[u + 1] - x[radix - 1 - u]);
    sum_re[u] = sum.re;
    sum_im[u] = sum.im;
    odd_re[u] = difference.re;
    odd_im[u] = difference.im;
    total = u == 0 ? sum : total + sum;
  }
  roots.even_parts(x[0].re, total.re, sum_re, even_re);
  roots.even_parts(x[0].im, total.im, sum_im, even_im);
  x[0] = x[0] + total;
#pragma GCC unroll 8
  for (int64_t t = 1; t <= half; ++t) {
    const Point<C> even = {even_re[t - 1], even_im[t - 1]};
    const Point<C> odd = {roots.sine_sum(odd_re, t), roots.sine_sum(odd_im, t)};
    x[t] = even + odd;
    x[radix - t] = even - odd;
  }
}

template <int64_t radix, typename C>
CDIFAST_HOST void butterfly(Point<C>* x, const Roots<radix, C>& roots) {
  if constexpr (radix == 2) {
    butterfly2(x);
  } else if constexpr (radix == 4) {
    butterfly4(x);
  } else if constexpr (radix == 8) {
    butterfly8(x);
  } else {
    butterfly_odd(x, roots);
  }
}

template <typename C>
void butterfly_any(Point<C>* x, int64_t radix, const C* __restrict roots) {
  const int64_t half = (radix - 1) / 2;
  Point<C> sum[(kLargestRadix - 1) / 2], difference[(kLargestRadix - 1) / 2];
  const Point<C> first = x[0];
  for (int64_t u = 0; u < half; ++u) {
    sum[u] = x[u + 1] + x[radix - 1 - u];
    difference[u] = times_minus_i(x[u + 1] - x[radix - 1 - u]);
    x[0] = x[0] + sum[u];
  }
  for (int64_t t = 1; t <= half; ++t) {
    Point<C> even = first;
    Point<C> odd = {Vector<C>{}, Vector<C>{}};
    int64_t turn = 0;
    for (int64_t u = 0; u < half; ++u) {
      turn += t;
      turn -= turn >= radix ? radix : 0;
      const C cosine = roots[turn];
      const C sine = roots[radix + turn];
      even = {even.re + sum[u].re * cosine, even.im + sum[u].im * cosine};
      odd = {odd.re + difference[u].re * sine, odd.im + difference[u].im * sine};
    }
    x[t] = even + odd;
    x[radix - t] = even - odd;
  }
}

}  // namespace
}  // namespace cdifast::cpu::CDIFAST_ISA
