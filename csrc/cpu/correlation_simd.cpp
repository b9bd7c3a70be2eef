// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "correlation_simd.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

template <typename C>
C dot(const C* __restrict a, const C* __restrict b, int64_t count) {
  C sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < count; ++k) sum += a[k] * b[k];
  return sum;
}

void pair_weights(DType dtype, const void* weight, int64_t n_radial, int64_t n_angular, void* pairs) {
  dispatch_floating(dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    const C* w = static_cast<const C*>(weight);
    C* out = static_cast<C*>(pairs);
    for (int64_t i = 0; i < n_radial; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        out[i * n_radial + j] = dot(w + i * n_angular, w + j * n_angular, n_angular);
      }
    }
  });
}

float square_root(float x) { return __builtin_sqrtf(x); }
double square_root(double x) { return __builtin_sqrt(x); }

// Reads a ring, weighs and normalises it into y, and returns whether it can be used, and its harmonic. The sums run
// in double: the variance of a bright ring with weak structure is the small difference that Pearson divides by.
template <typename T, typename C>
bool prepare_ring(const T* __restrict ring, const C* __restrict w, const C* __restrict harmonic,
                  const CorrelationProblem& problem, C* __restrict y, C& real, C& imaginary) {
  const int64_t count = problem.n_angular;
  double total = 0, first = 0, second = 0;
#pragma omp simd reduction(+ : total, first, second)
  for (int64_t k = 0; k < count; ++k) {
    const double weight = w == nullptr ? 1.0 : static_cast<double>(w[k]);
    // A sample without weight may hold NaN, and 0 * NaN is NaN: it counts as 0.
    const double value = weight > 0 ? static_cast<double>(load_element(ring[k])) : 0.0;
    total += weight;
    first += weight * value;
    second += weight * value * value;
  }
  const double inverse_total = total > 0 ? 1.0 / total : 0.0;
  const double mean = first * inverse_total;
  double spread = 0;
#pragma omp simd reduction(+ : spread)
  for (int64_t k = 0; k < count; ++k) {
    const double weight = w == nullptr ? 1.0 : static_cast<double>(w[k]);
    const double difference = weight > 0 ? static_cast<double>(load_element(ring[k])) - mean : 0.0;
    spread += weight * difference * difference;
  }
  const RingStatistics statistics = ring_statistics(total, mean, second * inverse_total, spread * inverse_total,
                                                    problem.needed_weight, Epsilon<C>::value, problem.normalize);

  double along = 0, across = 0;
#pragma omp simd reduction(+ : along, across)
  for (int64_t k = 0; k < count; ++k) {
    const double weight = w == nullptr ? 1.0 : static_cast<double>(w[k]);
    const double value = weight > 0 ? static_cast<double>(load_element(ring[k])) : 0.0;
    const double centred = weight > 0 ? weight * (value - mean) : 0.0;
    y[k] = static_cast<C>(weight * (value - statistics.offset) * statistics.scale);
    along += centred * static_cast<double>(harmonic[k]);
    across -= centred * static_cast<double>(harmonic[count + k]);
  }
  real = static_cast<C>(along * inverse_total * statistics.scale);
  imaginary = static_cast<C>(across * inverse_total * statistics.scale);
  return statistics.usable;
}

void map(DType dtype, const void* unwrapped, const void* weight, const void* pairs, const void* harmonic,
         const CorrelationProblem& problem, void* workspace, void* out) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const int64_t n = problem.n_radial;
    const int64_t count = problem.n_angular;
    const T* rings = static_cast<const T*>(unwrapped);
    const C* w = static_cast<const C*>(weight);
    const C* pair = static_cast<const C*>(pairs);
    C* y = static_cast<C*>(workspace);
    C* real = y + n * count;
    C* imaginary = real + n;
    C* usable = imaginary + n;
    T* target = static_cast<T*>(out);
    const C fill = static_cast<C>(problem.fill);
    const C needed = static_cast<C>(problem.needed_weight);

    for (int64_t j = 0; j < n; ++j) {
      const bool defined =
          prepare_ring<T, C>(rings + j * count, w == nullptr ? nullptr : w + j * count, static_cast<const C*>(harmonic),
                             problem, y + j * count, real[j], imaginary[j]);
      usable[j] = defined ? C{1} : C{0};
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        C value = fill;
        if (usable[i] != 0 && usable[j] != 0) {
          if (j <= i) {
            const C weight = pair == nullptr ? static_cast<C>(count) : pair[i * n + j];
            if (weight > 0 && weight >= needed) value = dot(y + i * count, y + j * count, count) / weight;
          } else if (problem.modulus) {
            value = square_root(real[i] * real[i] + imaginary[i] * imaginary[i]) *
                    square_root(real[j] * real[j] + imaginary[j] * imaginary[j]);
          } else {
            value = real[i] * real[j] + imaginary[i] * imaginary[j];
          }
        }
        store_element(target[i * n + j], value);
      }
    }
  });
}

}  // namespace

const CorrelationKernels correlation_kernels = {pair_weights, map};

}  // namespace cdifast::cpu::CDIFAST_ISA
