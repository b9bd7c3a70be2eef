// The log activation of P1 (eq. 11, 12) and its derivative for one element, for CPU and CUDA alike.
//
//   h(x)  = alpha sign(x) (log(|x| + 1/e) + 1) = alpha sign(x) log1p(e |x|)
//   h'(x) = alpha / (|x| + 1/e)
//
// The log1p form has no cancellation near 0. h is continuous there with slope alpha e on both sides.
#pragma once

#include "element.h"

namespace cdifast {

template <typename C>
struct LogActivationConstants;
template <>
struct LogActivationConstants<float> {
  static constexpr float e = 2.7182818284590452f;
  static constexpr float large = 1e30f;
  static constexpr float inverse_e = 0.36787944117144232f;
};
template <>
struct LogActivationConstants<double> {
  static constexpr double e = 2.7182818284590452;
  static constexpr double large = 1e300;
  static constexpr double inverse_e = 0.36787944117144232;
};

// log(1 + t) for t >= 0, infinity or NaN. On the host the logarithm is a polynomial, because a call into libm
// keeps the loop from being vectorised. Argument reduction and coefficients are those of FreeBSD's msun
// (e_logf.c, s_log1p.c); the error stays below 2 ulp (tests/ops/test_log_activation.py measures it).
CDIFAST_HD float log1p_nonnegative(float t) {
#if defined(__CUDACC__)
  return log1pf(t);
#else
  const float u = 1.0f + t;
  // What rounding took away when 1 was added, exact in either branch (Sterbenz).
  const float lost = t < 1.0f ? t - (u - 1.0f) : 1.0f - (u - t);

  // u = 2^k m with m in [sqrt(1/2), sqrt(2)).
  int32_t bits;
  __builtin_memcpy(&bits, &u, sizeof bits);
  const int32_t shifted = bits - 0x3f3504f3;
  const float k = static_cast<float>(shifted >> 23);
  const int32_t mantissa_bits = (shifted & 0x007fffff) + 0x3f3504f3;
  float m;
  __builtin_memcpy(&m, &mantissa_bits, sizeof m);

  const float f = m - 1.0f;
  const float s = f / (2.0f + f);
  const float z = s * s;
  const float w = z * z;
  const float r = z * (0.66666662693f + w * 0.28498786688f) + w * (0.40000972152f + w * 0.24279078841f);
  const float half_square = 0.5f * f * f;
  const float low = k * 9.0580006145e-06f + lost / u;
  const float result = k * 6.9313812256e-01f - ((half_square - (s * (half_square + r) + low)) - f);
  // 1 + infinity has no mantissa to work on. A NaN fails the comparison, and 1 + NaN passes it on.
  return u < __builtin_inff() ? result : u;
#endif
}

CDIFAST_HD double log1p_nonnegative(double t) {
#if defined(__CUDACC__)
  return log1p(t);
#else
  const double u = 1.0 + t;
  const double lost = t < 1.0 ? t - (u - 1.0) : 1.0 - (u - t);

  int64_t bits;
  __builtin_memcpy(&bits, &u, sizeof bits);
  const int64_t shifted = bits - 0x3fe6a09e667f3bcd;
  const double k = static_cast<double>(shifted >> 52);
  const int64_t mantissa_bits = (shifted & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd;
  double m;
  __builtin_memcpy(&m, &mantissa_bits, sizeof m);

  const double f = m - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double w = z * z;
  const double even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double odd =
      z * (6.666666666666735130e-01 +
           w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  const double half_square = 0.5 * f * f;
  const double low = k * 1.90821492927058770002e-10 + lost / u;
  const double result = k * 6.93147180369123816490e-01 - ((half_square - (s * (half_square + odd + even) + low)) - f);
  return u < __builtin_inf() ? result : u;
#endif
}

CDIFAST_HD float absolute(float x) { return __builtin_fabsf(x); }
CDIFAST_HD double absolute(double x) { return __builtin_fabs(x); }
CDIFAST_HD float with_sign_of(float magnitude, float x) { return __builtin_copysignf(magnitude, x); }
CDIFAST_HD double with_sign_of(double magnitude, double x) { return __builtin_copysign(magnitude, x); }

// sign(x) log1p(e |x|): the activation for alpha = 1, and the derivative with respect to alpha.
// e |x| of a very large x is infinite though the result is not: there x is taken 2^8 times smaller, and log 2^8 added.
template <typename C>
CDIFAST_HD C log_activation_unit(C x) {
  const C magnitude = absolute(x);
  const bool large = magnitude > LogActivationConstants<C>::large;
  const C scaled = LogActivationConstants<C>::e * (large ? magnitude * C(0.00390625) : magnitude);
  return with_sign_of(log1p_nonnegative(scaled) + (large ? C(5.5451774444795625) : C(0)), x);
}

template <typename C>
CDIFAST_HD C log_activation_value(C x, C alpha) {
  return alpha * log_activation_unit(x);
}

template <typename C>
CDIFAST_HD C log_activation_slope(C x, C alpha) {
  return alpha / (absolute(x) + LogActivationConstants<C>::inverse_e);
}

}  // namespace cdifast
