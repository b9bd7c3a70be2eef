// The Fourier transform of kLanes rings at once, one a lane: the transform itself never mixes lanes, so that every
// operation is one on whole vectors and no K is awkward. See fft_plan.h for the algorithm and the order of results.
//
// Only for the files that are compiled once per instruction set.
#pragma once

#include "fft_butterflies.h"
#include "fft_plan.h"
#include "fft_two_steps.h"
#include "lanes.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// Complex numbers with their real and imaginary parts two vectors apart. Swapping the two pointers turns the forward
// transform into the inverse one.
template <typename C>
struct Points {
  Vector<C>* re;
  Vector<C>* im;

  CDIFAST_HOST Point<C> load(int64_t i) const { return {in_register(re[2 * i]), in_register(im[2 * i])}; }
  CDIFAST_HOST void store(int64_t i, const Point<C>& value) const {
    re[2 * i] = value.re;
    im[2 * i] = value.im;
  }
};

// One pass of a known radix over `length` points.
template <int64_t radix, typename C>
void run_pass(const FftPass<C>& pass, int64_t length, Points<C> points) {
  const int64_t step = pass.block / radix;
  const Roots<radix, C> roots(pass.roots);
  for (int64_t q = 0; q < step; ++q) {
    const C* __restrict twiddle = pass.twiddle + 2 * (radix - 1) * q;
    for (int64_t first = q; first < length; first += pass.block) {
      Point<C> x[radix];
#pragma GCC unroll 8
      for (int64_t t = 0; t < radix; ++t) x[t] = points.load(first + t * step);
      butterfly(x, roots);
      points.store(first, x[0]);
      if (q == 0) {
#pragma GCC unroll 8
        for (int64_t t = 1; t < radix; ++t) points.store(first + t * step, x[t]);
      } else {
#pragma GCC unroll 8
        for (int64_t t = 1; t < radix; ++t) {
          points.store(first + t * step, times(x[t], twiddle[2 * t - 2], twiddle[2 * t - 1]));
        }
      }
    }
  }
}

template <typename C>
void run_any_pass(const FftPass<C>& pass, int64_t length, Points<C> points) {
  const int64_t step = pass.block / pass.radix;
  Point<C> x[kLargestRadix];
  for (int64_t q = 0; q < step; ++q) {
    const C* __restrict twiddle = pass.twiddle + 2 * (pass.radix - 1) * q;
    for (int64_t first = q; first < length; first += pass.block) {
      for (int64_t t = 0; t < pass.radix; ++t) x[t] = points.load(first + t * step);
      butterfly_any(x, pass.radix, pass.roots);
      points.store(first, x[0]);
      for (int64_t t = 1; t < pass.radix; ++t) {
        points.store(first + t * step, times(x[t], twiddle[2 * t - 2], twiddle[2 * t - 1]));
      }
    }
  }
}

template <typename C>
void run_passes(const FftPlan<C>& plan, Points<C> points, int64_t begin = 0) {
  for (int64_t p = begin; p < plan.passes; ++p) {
    const FftPass<C>& pass = plan.pass[p];
    switch (pass.radix) {
      case 2:
        run_pass<2>(pass, plan.length, points);
        break;
      case 3:
        run_pass<3>(pass, plan.length, points);
        break;
      case 4:
        run_pass<4>(pass, plan.length, points);
        break;
      case 5:
        run_pass<5>(pass, plan.length, points);
        break;
      case 7:
        run_pass<7>(pass, plan.length, points);
        break;
      default:
        run_any_pass(pass, plan.length, points);
    }
  }
}

// sum_m x_m exp(-2 pi i k m / N) = c_k sum_m (x_m c_m) conj(c_{k-m}) with the chirp c_n = exp(-pi i n^2 / N): a
// convolution, which is a product between two transforms of the inner length.
template <typename C>
void run_bluestein(const FftPlan<C>& plan, Points<C> points, Vector<C>* workspace) {
  const FftPlan<C>& inner = *plan.inner;
  const Points<C> a{workspace, workspace + 1};
  const Points<C> b{workspace + 2 * inner.length, workspace + 2 * inner.length + 1};
  for (int64_t n = 0; n < plan.length; ++n) {
    a.store(n, times(points.load(n), plan.chirp[2 * n], plan.chirp[2 * n + 1]));
  }
  for (int64_t n = plan.length; n < inner.length; ++n) a.store(n, {Vector<C>{}, Vector<C>{}});
  run_passes(inner, a);
  for (int64_t f = 0; f < inner.length; ++f) {
    b.store(f, times(a.load(inner.position[f]), plan.response[2 * f], plan.response[2 * f + 1]));
  }
  run_passes(inner, Points<C>{b.im, b.re});
  for (int64_t k = 0; k < plan.length; ++k) {
    points.store(k, times(b.load(inner.position[k]), plan.chirp[2 * k], plan.chirp[2 * k + 1]));
  }
}

template <typename C>
void complex_transform(const FftPlan<C>& plan, Points<C> points, Vector<C>* workspace) {
  if (plan.inner == nullptr) {
    run_passes(plan, points);
  } else {
    run_bluestein(plan, points, workspace);
  }
}

// Where sample n of a ring belongs before forward_transform, in vectors.
template <typename C>
CDIFAST_HOST int64_t sample_place(const RealFftPlan<C>& plan, int64_t n) {
  if (plan.two_steps.radix > 0) return plan.sample[n];
  return plan.halved ? n : 2 * n;
}

// The transform of the real samples in `buffer`; visit(p, value) gets the frequency in slot p = 0 .. K/2 (fft_plan.h).
// `buffer` holds plan.workspace() vectors, of which the samples take the places above, and those between them are 0.
template <typename C, typename Visit>
CDIFAST_HOST void forward_transform(const RealFftPlan<C>& plan, Vector<C>* buffer, const Visit& visit) {
  if (plan.two_steps.radix > 0) {
    forward_in_two_steps(plan.two_steps, buffer, visit);
    return;
  }
  const int64_t length = plan.complex.length;
  const Points<C> z{buffer, buffer + 1};
  complex_transform(plan.complex, z, buffer + 2 * length);
  const int64_t* position = plan.complex.position;
  if (!plan.halved) {
    for (int64_t k = 0; k < plan.bins; ++k) visit(k, z.load(position[k]));
    return;
  }
  // Z = E + i O of the even and the odd samples: E and O are Z's Hermitian parts.
  const Vector<C> zero{};
  const Point<C> z0 = z.load(0);
  visit(0, Point<C>{z0.re + z0.im, zero});
  visit(length, Point<C>{z0.re - z0.im, zero});
  for (int64_t k = 1; 2 * k < length; ++k) {
    const Point<C> low = z.load(position[k]);
    const Point<C> high = z.load(position[length - k]);
    const Point<C> a = {(low.re + high.re) * C(0.5), (low.im - high.im) * C(0.5)};
    const Point<C> b = {(low.re - high.re) * C(0.5), (low.im + high.im) * C(0.5)};
    const Point<C> turned = times(b, plan.half_twiddle[2 * k], -plan.half_twiddle[2 * k + 1]);
    visit(k, Point<C>{a.re + turned.im, a.im - turned.re});
    visit(length - k, Point<C>{a.re - turned.im, -a.im - turned.re});
  }
  if (length % 2 == 0) visit(length / 2, conjugate(z.load(position[length / 2])));
}

// The points of the complex transform that stand for a real sequence of twice as many samples: Z_k = E_k + i O_k, of
// the spectra E and O of its even and its odd samples, which X_k and X_{L-k} make up. Points 0, L/2, and k with L - k.
template <typename C, typename Spectrum>
CDIFAST_HOST Point<C> first_point(const RealFftPlan<C>& plan, const Spectrum& spectrum) {
  const Point<C> first = spectrum(0);
  const Point<C> last = spectrum(plan.complex.length);
  return {first.re + last.re, first.re - last.re};
}

template <typename C, typename Spectrum>
CDIFAST_HOST Point<C> middle_point(const RealFftPlan<C>& plan, const Spectrum& spectrum) {
  const Point<C> middle = spectrum(plan.complex.length / 2);
  return {middle.re + middle.re, -(middle.im + middle.im)};
}

template <typename C>
struct TwoPoints {
  Point<C> low, high;
};

template <typename C, typename Spectrum>
CDIFAST_HOST TwoPoints<C> two_points(const RealFftPlan<C>& plan, int64_t k, const Spectrum& spectrum) {
  const Point<C> low = spectrum(k);
  const Point<C> high = spectrum(plan.complex.length - k);
  const Point<C> a = {low.re + high.re, low.im - high.im};
  const Point<C> b = {low.re - high.re, low.im + high.im};
  const Point<C> turned = times(b, plan.half_twiddle[2 * k], plan.half_twiddle[2 * k + 1]);
  return {{a.re - turned.im, a.im + turned.re}, {a.re + turned.im, turned.re - a.im}};
}

// The first pass of radix 4 of an inverse transform on these points, while they are in registers: butterflies q and
// length / 4 - q have the points k and length - k of each other.
template <typename C, typename Spectrum>
CDIFAST_HOST void halved_first_pass(const RealFftPlan<C>& plan, Vector<C>* buffer, const Spectrum& spectrum) {
  const int64_t step = plan.complex.length / 4;
  const Points<C> points{buffer + 1, buffer};
  const auto swapped = [](const Point<C>& a) CDIFAST_INLINE_LAMBDA { return Point<C>{a.im, a.re}; };
  const auto finish = [&](int64_t q, Point<C>* x) CDIFAST_INLINE_LAMBDA {
    const C* __restrict twiddle = plan.complex.pass[0].twiddle + 6 * q;
    butterfly4(x);
    points.store(q, x[0]);
#pragma GCC unroll 4
    for (int64_t t = 1; t < 4; ++t) {
      points.store(q + t * step, times(x[t], twiddle[2 * t - 2], twiddle[2 * t - 1]));
    }
  };
  {
    const auto [low, high] = two_points<C>(plan, step, spectrum);
    Point<C> x[4] = {swapped(first_point<C>(plan, spectrum)), swapped(low), swapped(middle_point<C>(plan, spectrum)),
                     swapped(high)};
    finish(0, x);
  }
  int64_t q = 1;
  for (; 2 * q < step; ++q) {
    const int64_t other = step - q;
    Point<C> x[4], y[4];
    const auto set = [&](int64_t k, Point<C>& low, Point<C>& high) CDIFAST_INLINE_LAMBDA {
      const auto [l, h] = two_points<C>(plan, k, spectrum);
      low = swapped(l);
      high = swapped(h);
    };
    set(q, x[0], y[3]);
    set(q + step, x[1], y[2]);
    set(other, y[0], x[3]);
    set(other + step, y[1], x[2]);
    finish(q, x);
    finish(other, y);
  }
  if (2 * q == step) {
    const auto [first, fourth] = two_points<C>(plan, q, spectrum);
    const auto [second, third] = two_points<C>(plan, q + step, spectrum);
    Point<C> x[4] = {swapped(first), swapped(second), swapped(third), swapped(fourth)};
    finish(q, x);
  }
}

// The unnormalised inverse, sum_f X_f exp(2 pi i f n / K), of the frequencies that spectrum(p) gives in the plan's
// order for p = 0 .. K/2 (each asked for once). Sample n is left in buffer[plan.sample[n]].
template <typename C, typename Spectrum>
CDIFAST_HOST void inverse_transform(const RealFftPlan<C>& plan, Vector<C>* buffer, const Spectrum& spectrum) {
  if (plan.two_steps.radix > 0) {
    inverse_in_two_steps(plan.two_steps, spectrum, buffer);
    return;
  }
  const int64_t length = plan.complex.length;
  const Points<C> z{buffer, buffer + 1};
  if (plan.halved) {
    if (plan.complex.inner == nullptr && plan.complex.passes > 0 && plan.complex.pass[0].radix == 4) {
      halved_first_pass(plan, buffer, spectrum);
      run_passes(plan.complex, Points<C>{buffer + 1, buffer}, 1);
      return;
    }
    z.store(0, first_point<C>(plan, spectrum));
    for (int64_t k = 1; 2 * k < length; ++k) {
      const auto [low, high] = two_points<C>(plan, k, spectrum);
      z.store(k, low);
      z.store(length - k, high);
    }
    if (length % 2 == 0) z.store(length / 2, middle_point<C>(plan, spectrum));
  } else {
    z.store(0, Point<C>{spectrum(0).re, Vector<C>{}});
    for (int64_t k = 1; k < plan.bins; ++k) {
      const Point<C> value = spectrum(k);
      z.store(k, value);
      z.store(length - k, Point<C>{value.re, -value.im});
    }
  }
  complex_transform(plan.complex, Points<C>{buffer + 1, buffer}, buffer + 2 * length);
}

}  // namespace
}  // namespace cdifast::cpu::CDIFAST_ISA
