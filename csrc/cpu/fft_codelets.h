// Transforms between a few real samples and their spectrum, in registers as far as those go.
//
// Only for the files that are compiled once per instruction set.
#pragma once

#include "fft_butterflies.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// cos(2 pi j / 64) for j <= 16.
constexpr double kCosines[] = {1.0,
                               0.99518472667219688624,
                               0.98078528040323044913,
                               0.95694033573220886494,
                               0.92387953251128675613,
                               0.88192126434835502971,
                               0.83146961230254523708,
                               0.77301045336273696081,
                               0.70710678118654752440,
                               0.63439328416364549822,
                               0.55557023301960222474,
                               0.47139673682599764856,
                               0.38268343236508977173,
                               0.29028467725446236764,
                               0.19509032201612826785,
                               0.09801714032956060199,
                               0.0};

// cos and sin of 2 pi j / n, for n that divides 64.
constexpr double cosine_of(int64_t j, int64_t n) {
  const int64_t turn = j * (64 / n) % 64;
  const int64_t folded = turn > 32 ? 64 - turn : turn;
  return folded <= 16 ? kCosines[folded] : -kCosines[32 - folded];
}

constexpr double sine_of(int64_t j, int64_t n) { return cosine_of(j + 3 * (n / 4), n); }

constexpr double kRootOfTwo = 1.41421356237309504880;

// Real samples from their spectrum, sum_k Y_k exp(2 pi i k m / n), by split radix: the even samples are a transform of
// half the length, those at 4 m + 1 and 4 m + 3 one of a quarter each. y: Y_0 to Y_{n/2}, of which the first and the
// last are real, whatever their imaginary parts are here. set(m, x) gets sample m.
template <int64_t n, typename C, typename Set>
CDIFAST_HOST void real_samples(const Point<C>* y, const Set& set) {
  if constexpr (n == 2) {
    set(0, y[0].re + y[1].re);
    set(1, y[0].re - y[1].re);
  } else if constexpr (n == 4) {
    const Vector<C> sum = y[0].re + y[2].re;
    const Vector<C> difference = y[0].re - y[2].re;
    set(0, sum + C(2) * y[1].re);
    set(1, difference - C(2) * y[1].im);
    set(2, sum - C(2) * y[1].re);
    set(3, difference + C(2) * y[1].im);
  } else {
    constexpr int64_t half = n / 2, quarter = n / 4, eighth = n / 8;
    const Vector<C> zero{};
    Point<C> even[quarter + 1], first[eighth + 1], third[eighth + 1];
    const Vector<C> difference = y[0].re - y[half].re;
    first[0] = {difference - C(2) * y[quarter].im, zero};
    third[0] = {difference + C(2) * y[quarter].im, zero};
#pragma GCC unroll 16
    for (int64_t k = 1; k < eighth; ++k) {
      const Point<C> low = y[k] - conjugate(y[half - k]);
      const Point<C> high = y[quarter - k] - conjugate(y[quarter + k]);
      first[k] = times(Point<C>{low.re - high.im, low.im - high.re}, static_cast<C>(cosine_of(k, n)),
                       static_cast<C>(sine_of(k, n)));
      third[k] = times(Point<C>{low.re + high.im, low.im + high.re}, static_cast<C>(cosine_of(3 * k, n)),
                       static_cast<C>(sine_of(3 * k, n)));
    }
    const Point<C> middle = y[eighth] - conjugate(y[half - eighth]);
    first[eighth] = {(middle.re - middle.im) * static_cast<C>(kRootOfTwo), zero};
    third[eighth] = {(middle.re + middle.im) * static_cast<C>(-kRootOfTwo), zero};
    real_samples<quarter>(first, [&](int64_t m, Vector<C> x) CDIFAST_INLINE_LAMBDA { set(4 * m + 1, x); });
    real_samples<quarter>(third, [&](int64_t m, Vector<C> x) CDIFAST_INLINE_LAMBDA { set(4 * m + 3, x); });
    even[0] = {y[0].re + y[half].re, zero};
#pragma GCC unroll 16
    for (int64_t k = 1; k < quarter; ++k) even[k] = y[k] + conjugate(y[half - k]);
    even[quarter] = {C(2) * y[quarter].re, zero};
    real_samples<half>(even, [&](int64_t m, Vector<C> x) CDIFAST_INLINE_LAMBDA { set(2 * m, x); });
  }
}

// The way back: set(k, Y) gets sum_m x_m exp(-2 pi i k m / n) for k <= n/2. sample(m) is x_m.
template <int64_t n, typename C, typename Sample, typename Set>
CDIFAST_HOST void real_spectrum(const Sample& sample, const Set& set) {
  const Vector<C> zero{};
  if constexpr (n == 2) {
    set(0, Point<C>{sample(0) + sample(1), zero});
    set(1, Point<C>{sample(0) - sample(1), zero});
  } else if constexpr (n == 4) {
    const Vector<C> even = sample(0) + sample(2);
    const Vector<C> odd = sample(1) + sample(3);
    set(0, Point<C>{even + odd, zero});
    set(1, Point<C>{sample(0) - sample(2), sample(3) - sample(1)});
    set(2, Point<C>{even - odd, zero});
  } else {
    constexpr int64_t half = n / 2, quarter = n / 4, eighth = n / 8;
    Point<C> even[quarter + 1], first[eighth + 1], third[eighth + 1];
    real_spectrum<half, C>([&](int64_t m) CDIFAST_INLINE_LAMBDA { return sample(2 * m); },
                           [&](int64_t k, const Point<C>& y) CDIFAST_INLINE_LAMBDA { even[k] = y; });
    real_spectrum<quarter, C>([&](int64_t m) CDIFAST_INLINE_LAMBDA { return sample(4 * m + 1); },
                              [&](int64_t k, const Point<C>& y) CDIFAST_INLINE_LAMBDA { first[k] = y; });
    real_spectrum<quarter, C>([&](int64_t m) CDIFAST_INLINE_LAMBDA { return sample(4 * m + 3); },
                              [&](int64_t k, const Point<C>& y) CDIFAST_INLINE_LAMBDA { third[k] = y; });
    const Vector<C> odd = first[0].re + third[0].re;
    set(0, Point<C>{even[0].re + odd, zero});
    set(half, Point<C>{even[0].re - odd, zero});
    set(quarter, Point<C>{even[quarter].re, third[0].re - first[0].re});
#pragma GCC unroll 16
    for (int64_t k = 1; k < eighth; ++k) {
      const Point<C> a = times(first[k], static_cast<C>(cosine_of(k, n)), static_cast<C>(-sine_of(k, n)));
      const Point<C> b = times(third[k], static_cast<C>(cosine_of(3 * k, n)), static_cast<C>(-sine_of(3 * k, n)));
      const Point<C> sum = a + b;
      const Point<C> turned = times_minus_i(a - b);
      const Point<C> high = conjugate(even[quarter - k]);
      set(k, even[k] + sum);
      set(half - k, conjugate(even[k] - sum));
      set(quarter - k, conjugate(high - turned));
      set(quarter + k, high + turned);
    }
    const Point<C> middle = {(first[eighth].re - third[eighth].re) * static_cast<C>(kRootOfTwo / 2),
                             (first[eighth].re + third[eighth].re) * static_cast<C>(-kRootOfTwo / 2)};
    set(eighth, even[eighth] + middle);
    set(half - eighth, conjugate(even[eighth] - middle));
  }
}

// Both for an odd n. y: Y_0 to Y_{(n - 1) / 2}.
template <int64_t n, typename C, typename Set>
CDIFAST_HOST void real_samples_odd(const Point<C>* y, const Roots<n, C>& roots, const Set& set) {
  constexpr int64_t half = (n - 1) / 2;
  Vector<C> twice_re[half], twice_im[half], even[half];
  Vector<C> total{};
#pragma GCC unroll 8
  for (int64_t u = 0; u < half; ++u) {
    twice_re[u] = y[u + 1].re + y[u + 1].re;
    twice_im[u] = y[u + 1].im + y[u + 1].im;
    total += twice_re[u];
  }
  roots.even_parts(y[0].re, total, twice_re, even);
  set(0, y[0].re + total);
#pragma GCC unroll 8
  for (int64_t t = 1; t <= half; ++t) {
    const Vector<C> sines = roots.sine_sum(twice_im, t);
    set(t, even[t - 1] - sines);
    set(n - t, even[t - 1] + sines);
  }
}

template <int64_t n, typename C, typename Set>
CDIFAST_HOST void real_spectrum_odd(const Vector<C>* x, const Roots<n, C>& roots, const Set& set) {
  constexpr int64_t half = (n - 1) / 2;
  Vector<C> sum[half], difference[half], even[half];
  Vector<C> total{};
#pragma GCC unroll 8
  for (int64_t u = 0; u < half; ++u) {
    sum[u] = x[u + 1] + x[n - 1 - u];
    difference[u] = x[n - 1 - u] - x[u + 1];
    total += sum[u];
  }
  roots.even_parts(x[0], total, sum, even);
  set(0, Point<C>{x[0] + total, Vector<C>{}});
#pragma GCC unroll 8
  for (int64_t t = 1; t <= half; ++t) set(t, Point<C>{even[t - 1], roots.sine_sum(difference, t)});
}

// Both between n samples, followed by n that are their negatives or 0, and the odd frequencies of those 2 n: y[t], or
// set(t, Y), is frequency 2 t + 1, for t < n/2.
template <int64_t n, typename C, typename Set>
CDIFAST_HOST void real_samples_of_odd_frequencies(const Point<C>* y, const Set& set) {
  Point<C> all[n + 1] = {};
#pragma GCC unroll 8
  for (int64_t t = 0; t < n / 2; ++t) all[2 * t + 1] = y[t];
  real_samples<2 * n>(all, [&](int64_t m, Vector<C> x) CDIFAST_INLINE_LAMBDA {
    if (m < n) set(m, x);
  });
}

template <int64_t n, typename C, typename Set>
CDIFAST_HOST void real_spectrum_at_odd_frequencies(const Vector<C>* x, const Set& set) {
  real_spectrum<2 * n, C>([&](int64_t m) CDIFAST_INLINE_LAMBDA { return m < n ? x[m] : Vector<C>{}; },
                          [&](int64_t k, const Point<C>& y) CDIFAST_INLINE_LAMBDA {
                            if (k % 2 == 1) set(k / 2, y);
                          });
}

}  // namespace
}  // namespace cdifast::cpu::CDIFAST_ISA
