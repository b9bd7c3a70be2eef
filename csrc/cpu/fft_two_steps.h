// Transforms of K real samples in two steps, K = M L with L a power of two: between M sequences of samples and their
// spectra, each of length L, and over M for each k mod L. As the samples are real, the second is needed for L/2 + 1
// values of k mod L only. With an odd M the steps follow Good (1958) and Thomas (1963): frequency k is the one at
// (k mod M, k mod L), and sample n = L a + M b (mod K) at (a, b), so that nothing has to be turned between them. Else
// they are Cooley and Tukey's, n = a + M b, and are twisted by exp(2 pi i a k / K). For K = 224 = 7 x 32 that is a
// quarter fewer operations than a complex transform of K/2 points with a split beside it, and two passes over memory
// instead of three.
//
// Only for the files that are compiled once per instruction set.
#pragma once

#include "fft_butterflies.h"
#include "fft_codelets.h"
#include "fft_plan.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

template <int64_t number>
struct Constant {
  static constexpr int64_t value = number;
};

// f with the plan's radix, and its length, as constants.
template <typename C, typename F>
CDIFAST_HOST void with_radix(const TwoStepPlan<C>& plan, const F& f) {
  switch (plan.radix) {
    case 2:
      return f(Constant<2>{});
    case 3:
      return f(Constant<3>{});
    case 4:
      return f(Constant<4>{});
    case 5:
      return f(Constant<5>{});
    case 7:
      return f(Constant<7>{});
    default:
      return f(Constant<8>{});
  }
}

template <typename C, typename F>
CDIFAST_HOST void with_length(const TwoStepPlan<C>& plan, const F& f) {
  switch (plan.length) {
    case 16:
      return f(Constant<16>{});
    case 32:
      return f(Constant<32>{});
    default:
      return f(Constant<64>{});
  }
}

// Between the two steps a sequence has L vectors: its frequencies 0 and L/2, which are real, then the real and
// imaginary parts of 1, 2, ... The frequencies k mod L of all sequences are a column. Those of the whole that a column
// makes are in slots that follow each other, column by column; the conjugates among those of the two real columns are
// in none.
template <int64_t radix, bool last>
constexpr int64_t kRealColumnSlots = radix % 2 == 1 ? (radix + 1) / 2 : radix / 2 + (last ? 0 : 1);

template <int64_t radix, bool last, typename C, typename Spectrum>
CDIFAST_HOST void real_column_to_sequences(const TwoStepPlan<C>& plan, const Roots<radix, C>& roots, int64_t slot,
                                           const Spectrum& spectrum, Vector<C>* out) {
  const auto set = [&](int64_t a, Vector<C> x) CDIFAST_INLINE_LAMBDA { out[a * plan.stride()] = x; };
  Point<C> y[kRealColumnSlots<radix, last>];
#pragma GCC unroll 8
  for (int64_t t = 0; t < kRealColumnSlots<radix, last>; ++t) y[t] = spectrum(slot + t);
  if constexpr (radix % 2 == 1) {
    real_samples_odd<radix>(y, roots, set);
  } else if constexpr (last) {
    real_samples_of_odd_frequencies<radix>(y, set);
  } else {
    real_samples<radix>(y, set);
  }
}

template <int64_t radix, bool last, typename C, typename Visit>
CDIFAST_HOST void real_column_of_sequences(const TwoStepPlan<C>& plan, const Roots<radix, C>& roots, int64_t slot,
                                           const Vector<C>* in, const Visit& visit) {
  const auto set = [&](int64_t t, const Point<C>& y) CDIFAST_INLINE_LAMBDA { visit(slot + t, y); };
  Vector<C> x[radix];
#pragma GCC unroll 8
  for (int64_t a = 0; a < radix; ++a) x[a] = in[a * plan.stride()];
  if constexpr (radix % 2 == 1) {
    real_spectrum_odd<radix>(x, roots, set);
  } else if constexpr (last) {
    real_spectrum_at_odd_frequencies<radix, C>(x, set);
  } else {
    real_spectrum<radix, C>([&](int64_t a) CDIFAST_INLINE_LAMBDA { return x[a]; }, set);
  }
}

template <int64_t radix, typename C, typename Spectrum>
CDIFAST_HOST void columns_to_sequences(const TwoStepPlan<C>& plan, const Spectrum& spectrum, Vector<C>* buffer) {
  const Roots<radix, C> roots(plan.roots);
  const C* __restrict twiddle = plan.twiddle;
  real_column_to_sequences<radix, false>(plan, roots, 0, spectrum, buffer);
  int64_t slot = kRealColumnSlots<radix, false>;
  for (int64_t k = 1; 2 * k < plan.length; ++k) {
    Point<C> x[radix];
#pragma GCC unroll 8
    for (int64_t t = 0; t < radix; ++t) x[t] = spectrum(slot + t);
    butterfly(x, roots);
#pragma GCC unroll 8
    for (int64_t a = 0; a < radix; ++a) {
      Point<C> value = x[(radix - a) % radix];  // the butterfly turns the other way round
      if (radix % 2 == 0 && a > 0) value = times(value, twiddle[2 * a - 2], twiddle[2 * a - 1]);
      buffer[a * plan.stride() + 2 * k] = value.re;
      buffer[a * plan.stride() + 2 * k + 1] = value.im;
    }
    slot += radix;
    if (radix % 2 == 0) twiddle += 2 * (radix - 1);
  }
  real_column_to_sequences<radix, true>(plan, roots, slot, spectrum, buffer + 1);
}

template <int64_t radix, typename C, typename Visit>
CDIFAST_HOST void columns_of_sequences(const TwoStepPlan<C>& plan, const Vector<C>* buffer, const Visit& visit) {
  const Roots<radix, C> roots(plan.roots);
  const C* __restrict twiddle = plan.twiddle;
  real_column_of_sequences<radix, false>(plan, roots, 0, buffer, visit);
  int64_t slot = kRealColumnSlots<radix, false>;
  for (int64_t k = 1; 2 * k < plan.length; ++k) {
    Point<C> x[radix];
#pragma GCC unroll 8
    for (int64_t a = 0; a < radix; ++a) {
      x[a] = {in_register(buffer[a * plan.stride() + 2 * k]), in_register(buffer[a * plan.stride() + 2 * k + 1])};
      if (radix % 2 == 0 && a > 0) x[a] = times(x[a], twiddle[2 * a - 2], -twiddle[2 * a - 1]);
    }
    butterfly(x, roots);
#pragma GCC unroll 8
    for (int64_t t = 0; t < radix; ++t) visit(slot + t, x[t]);
    slot += radix;
    if (radix % 2 == 0) twiddle += 2 * (radix - 1);
  }
  real_column_of_sequences<radix, true>(plan, roots, slot, buffer + 1, visit);
}

// In place: a sequence's samples in order.
template <int64_t length, typename C>
void sequences_to_samples(const TwoStepPlan<C>& plan, Vector<C>* buffer) {
  for (int64_t a = 0; a < plan.radix; ++a) {
    Vector<C>* x = buffer + a * plan.stride();
    Point<C> y[length / 2 + 1];
    y[0] = {x[0], Vector<C>{}};
    y[length / 2] = {x[1], Vector<C>{}};
#pragma GCC unroll 32
    for (int64_t k = 1; k < length / 2; ++k) y[k] = {x[2 * k], x[2 * k + 1]};
    real_samples<length>(y, [&](int64_t m, Vector<C> value) CDIFAST_INLINE_LAMBDA { x[m] = value; });
  }
}

template <int64_t length, typename C>
void samples_to_sequences(const TwoStepPlan<C>& plan, Vector<C>* buffer) {
  for (int64_t a = 0; a < plan.radix; ++a) {
    Vector<C>* x = buffer + a * plan.stride();
    Vector<C> samples[length];
#pragma GCC unroll 64
    for (int64_t m = 0; m < length; ++m) samples[m] = x[m];
    real_spectrum<length, C>([&](int64_t m) CDIFAST_INLINE_LAMBDA { return samples[m]; },
                             [&](int64_t k, const Point<C>& y) CDIFAST_INLINE_LAMBDA {
                               const bool real = k == 0 || k == length / 2;
                               x[k == length / 2 ? 1 : 2 * k] = y.re;
                               if (!real) x[2 * k + 1] = y.im;
                             });
  }
}

template <typename C, typename Spectrum>
CDIFAST_HOST void inverse_in_two_steps(const TwoStepPlan<C>& plan, const Spectrum& spectrum, Vector<C>* buffer) {
  with_radix(plan, [&](auto radix)
                       CDIFAST_INLINE_LAMBDA { columns_to_sequences<decltype(radix)::value>(plan, spectrum, buffer); });
  with_length(plan, [&](auto length) { sequences_to_samples<decltype(length)::value, C>(plan, buffer); });
}

template <typename C, typename Visit>
CDIFAST_HOST void forward_in_two_steps(const TwoStepPlan<C>& plan, Vector<C>* buffer, const Visit& visit) {
  with_length(plan, [&](auto length) { samples_to_sequences<decltype(length)::value, C>(plan, buffer); });
  with_radix(plan, [&](auto radix)
                       CDIFAST_INLINE_LAMBDA { columns_of_sequences<decltype(radix)::value>(plan, buffer, visit); });
}

}  // namespace
}  // namespace cdifast::cpu::CDIFAST_ISA
