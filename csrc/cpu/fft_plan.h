// The discrete Fourier transform of a ring of K real samples, as the kernels see it: tables, no code. Frequencies are
// in slots 0 to K/2, in an order of the plan's that both directions share; products of two spectra have the same.
//
// Some K go in two steps (fft_two_steps.h). For the others slot k has frequency k, from a complex transform. That has
// N = K/2 points for even K (samples 2n and 2n+1 are a point's real and imaginary part) and N = K for odd K. It is
// decimated in frequency and in place, with radices 2, 3, 4, 5, 7 and any prime up to kLargestRadix: natural order in,
// frequency k out at position[k]. An N with a larger prime factor is a convolution (Bluestein) through a longer
// transform without one.
#pragma once

#include <cstdint>

#include "../common/host_device.h"

namespace cdifast::cpu {

constexpr int64_t kLargestRadix = 31;

template <typename C>
struct FftPass {
  int64_t radix;
  int64_t block;     // points of the transforms that this pass splits into `radix` smaller ones
  const C* twiddle;  // exp(-2 pi i q t / block) for q < block / radix, 1 <= t < radix, real then imaginary part
  const C* roots;    // cos, then sin, of 2 pi t / radix for t < radix
};

template <typename C>
struct FftPlan {
  int64_t length;
  int64_t passes;
  const FftPass<C>* pass;
  const int64_t* position;
  // Bluestein, else null. chirp: exp(-pi i n^2 / length); response: the transform of its conjugate over the inner
  // length, divided by that.
  const FftPlan* inner;
  const C* chirp;
  const C* response;
};

// K = radix * length, see fft_two_steps.h; radix is 0 where K is no such product.
template <typename C>
struct TwoStepPlan {
  int64_t radix;     // 2, 3, 4, 5, 7 or 8
  int64_t length;    // 16, 32 or 64
  const C* roots;    // cos, then sin, of 2 pi t / radix for t < radix
  const C* twiddle;  // with an even radix: exp(2 pi i a k / K) for 1 <= k < length / 2, 1 <= a < radix

  // Vectors from a sequence to the next: were it a power of two, those of a column would share a set of the first-level
  // cache.
  CDIFAST_HOST int64_t stride() const { return length + 4; }
};

template <typename C>
struct RealFftPlan {
  int64_t n_angular;
  int64_t bins;  // K/2 + 1
  bool halved;   // K is even
  FftPlan<C> complex;
  const C* half_twiddle;  // exp(2 pi i k / K) for k <= K/4
  TwoStepPlan<C> two_steps;
  const int64_t* sample;  // where the inverse transform leaves sample n, in reals

  // Reals that a transform needs at hand: its points, and the two longer sequences of Bluestein.
  CDIFAST_HOST int64_t workspace() const {
    if (two_steps.radix > 0) return two_steps.radix * two_steps.stride();
    return 2 * complex.length + (complex.inner == nullptr ? 0 : 4 * complex.inner->length);
  }
};

}  // namespace cdifast::cpu
