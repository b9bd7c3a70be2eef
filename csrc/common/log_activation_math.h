// The log activation of P1 (eq. 11, 12) and its derivative for one element, for CPU and CUDA alike.
//
//   h(x)  = alpha sign(x) (log(|x| + 1/e) + 1) = alpha sign(x) log1p(e |x|)
//   h'(x) = alpha / (|x| + 1/e)
//
// The log1p form has no cancellation near 0. h is continuous there with slope alpha e on both sides.
#pragma once

#include "element.h"

namespace cdifast {

CDIFAST_HD uint64_t bits_of(double value) {
  uint64_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

CDIFAST_HD double double_of(uint64_t bits) {
  double value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

CDIFAST_HD float absolute(float x) { return __builtin_fabsf(x); }
CDIFAST_HD double absolute(double x) { return __builtin_fabs(x); }
CDIFAST_HD float with_sign_of(float magnitude, float x) { return __builtin_copysignf(magnitude, x); }
CDIFAST_HD double with_sign_of(double magnitude, double x) { return __builtin_copysign(magnitude, x); }

// a b + c, in one rounding where there is an instruction for it (elsewhere fma() would be a call).
CDIFAST_HD float multiply_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return fmaf(a, b, c);
#elif defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

CDIFAST_HD double multiply_add(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return fma(a, b, c);
#elif defined(__FP_FAST_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// sign(x) log1p(e |x|): the activation for alpha = 1, and the derivative with respect to alpha.
//
// A polynomial, because a call into libm keeps a loop from being vectorised. 1 + e |x| = 2^k (1 + f) is never formed:
// k is read off |x| + 1/e, which does not overflow, and f = e |x| 2^-k + (2^-k - 1) is rounded like one number, so that
// no correction for a rounded 1 + e |x| is needed, nor its divisions. e comes in two parts, of which the second joins
// the small terms. The error stays below 2 ulp (tests/ops/test_log_activation.py measures it for each instruction set).
CDIFAST_HD float log_activation_unit(float x) {
  constexpr float inverse_e = 0.36787944117144232f;
  constexpr float e_high = 2.7182817459f, e_low = 8.2548405e-08f;
  const float magnitude = absolute(x);
  const float shifted = magnitude + inverse_e;

  // k in the place of the exponent, with 1 + f in [3/4, 3/2): at 3/4, `shifted` is 3/4 of 1/e.
  const uint32_t exponent = (bits_of(shifted) - bits_of(0.75f * inverse_e)) & 0xff800000u;
  const float scaled = float_of(bits_of(magnitude) - exponent);
  const float power = float_of(bits_of(16.0f) - exponent);  // 2^(4 - k): 2^-k itself may be subnormal
  const float f = multiply_add(e_high, scaled, multiply_add(power, 0.0625f, -1.0f));

  // log(1 + f) = f - f^2 / 2 + ...: minimax for the relative error on [-1/4, 1/2], which is 4.8e-9.
  const float square = f * f;
  float even = multiply_add(-0.044909615f, square, -0.13162231f);
  float odd = multiply_add(0.104483314f, square, 0.14482062f);
  even = multiply_add(even, square, -0.16647767f);
  odd = multiply_add(odd, square, 0.19990607f);
  even = multiply_add(even, square, -0.25000054f);
  float series = multiply_add(odd, f, even);
  series = multiply_add(series, f, 0.33333454f);
  series = multiply_add(series, f, -0.5f);
  const float logarithm = multiply_add(series, square, e_low * scaled) + f;

  constexpr float log_2 = 0.69314718056f * 1.1920928955078125e-07f;  // 2^-23: the exponent's place
  const float result = multiply_add(static_cast<float>(static_cast<int32_t>(exponent)), log_2, logarithm);
  // Infinity has no mantissa to work on. A NaN fails the comparison too.
  return with_sign_of(shifted < float_of(0x7f800000u) ? result : shifted, x);
}

// The same in double. log(1 + f) by s = f / (2 + f), with the coefficients of FreeBSD's msun (e_log.c): one division
// is cheaper than the terms that a series in f would need.
CDIFAST_HD double log_activation_unit(double x) {
  constexpr double inverse_e = 0.36787944117144232;
  constexpr double e_high = 2.7182818284590451, e_low = 1.4456468917292502e-16;
  const double magnitude = absolute(x);
  const double shifted = magnitude + inverse_e;

  // 1 + f in [sqrt(1/2), sqrt(2)).
  const uint64_t exponent = (bits_of(shifted) - bits_of(0.70710678118654752 * inverse_e)) & 0xfff0000000000000u;
  const double scaled = double_of(bits_of(magnitude) - exponent);
  const double power = double_of(bits_of(16.0) - exponent);
  const double f = multiply_add(e_high, scaled, multiply_add(power, 0.0625, -1.0));

  const double s = f / (2.0 + f);
  const double z = s * s;
  const double w = z * z;
  const double even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double odd =
      z * (6.666666666666735130e-01 +
           w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  const double half_square = 0.5 * f * f;

  // k as a number: in the last bits of 2^52. (Few instruction sets convert 64-bit integers.)
  const double k = double_of((exponent >> 52) | 0x4330000000000000u) - 4503599627370496.0;
  const double low = k * 1.90821492927058770002e-10 + e_low * scaled;
  const double result = k * 6.93147180369123816490e-01 - ((half_square - (s * (half_square + odd + even) + low)) - f);
  return with_sign_of(shifted < double_of(0x7ff0000000000000u) ? result : shifted, x);
}

template <typename C>
CDIFAST_HD C log_activation_value(C x, C alpha) {
  return alpha * log_activation_unit(x);
}

template <typename C>
CDIFAST_HD C log_activation_slope(C x, C alpha) {
  return alpha / (absolute(x) + static_cast<C>(0.36787944117144232));
}

}  // namespace cdifast
