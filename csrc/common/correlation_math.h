// The merged angular correlation map (P1, eq. 13-15) of one unwrapped map I[j, k] with validity weights w[j, k]:
// which numbers a ring needs, and when a cell has no value.
//
//   lower triangle and diagonal   C0[i,j] = sum_k Y[i,k] Y[j,k] / D[i,j],  D[i,j] = sum_k w[i,k] w[j,k]
//   strict upper triangle         Cn[i,j] = conj(Z[i]) Z[j], its real part or its modulus
//     Y[j,k] = w (I - b_j) a_j
//     Z[j]   = a_j / W_j  sum_k w (I - m_j) exp(-2 pi i n k / K)
//   with W_j = sum_k w, the weighted mean m_j and standard deviation s_j of the ring, and
//     none: a = 1, b = 0    mean: a = 1/m, b = 0    pearson: a = 1/s, b = m
#pragma once

#include <cstdint>

#include "element.h"

namespace cdifast {

enum class Normalize : int64_t { none = 0, mean = 1, pearson = 2 };

// Least weight of a ring or a pair of rings, in angles. The slack keeps weights meant to lie on the threshold on its
// valid side, whatever the last digit of their sum; cdifast/ops/correlation.py has the same rule for the backward pass.
CDIFAST_HD double needed_weight(double min_weight, int64_t n_angular) {
  return (min_weight - 1e-5) * static_cast<double>(n_angular);
}

struct RingStatistics {
  double offset;  // b
  double scale;   // a, 0 where the normalisation is undefined
  bool usable;    // the weight reaches the threshold and the normalisation is defined
};

// Resolution of the type that the ring's samples came in.
template <typename C>
struct Epsilon;
template <>
struct Epsilon<float> {
  static constexpr double value = 1.1920928955078125e-07;
};
template <>
struct Epsilon<double> {
  static constexpr double value = 2.220446049250313e-16;
};

// Statistics from a ring's sums. `mean_square` is the weighted mean of I^2, `variance` that of (I - m)^2: a ring
// whose spread is rounding noise against its size counts as constant, and has no Pearson scale.
CDIFAST_HD RingStatistics ring_statistics(double weight, double mean, double mean_square, double variance,
                                          double needed_weight, double epsilon, Normalize normalize) {
  RingStatistics ring{0.0, 1.0, weight > 0.0 && weight >= needed_weight};
  if (normalize == Normalize::mean) {
    const bool defined = mean != 0.0;
    ring.scale = defined ? 1.0 / mean : 0.0;
    ring.usable = ring.usable && defined;
  } else if (normalize == Normalize::pearson) {
    const double noise = 8.0 * epsilon;
    // Written so that a NaN ring stays usable and its NaN is seen, not hidden behind the fill value.
    const bool constant = variance <= noise * noise * mean_square;
    ring.offset = mean;
    ring.scale = constant ? 0.0 : 1.0 / __builtin_sqrt(variance);
    ring.usable = ring.usable && !constant;
  }
  return ring;
}

}  // namespace cdifast
