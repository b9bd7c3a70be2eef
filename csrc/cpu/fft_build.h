// Makes the tables of fft_plan.h. Not for the files that are compiled once per instruction set: it needs the standard
// library.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <numbers>
#include <vector>

#include "fft_plan.h"

namespace cdifast::cpu {

// exp(2 pi i numerator / denominator), the phase reduced as an integer so that it stays exact for large numerators.
template <typename C>
void push_phase(std::vector<C>& table, int64_t numerator, int64_t denominator) {
  const double phase = 2.0 * std::numbers::pi * static_cast<double>(numerator % denominator) / denominator;
  table.push_back(static_cast<C>(std::cos(phase)));
  table.push_back(static_cast<C>(std::sin(phase)));
}

// cos, then sin, of 2 pi t / radix for t < radix.
template <typename C>
std::vector<C> unit_roots(int64_t radix) {
  std::vector<C> roots(2 * radix);
  for (int64_t t = 0; t < radix; ++t) {
    const double phase = 2.0 * std::numbers::pi * static_cast<double>(t) / radix;
    roots[t] = static_cast<C>(std::cos(phase));
    roots[radix + t] = static_cast<C>(std::sin(phase));
  }
  return roots;
}

// Radices in the order of the passes. The last pass has no twiddle factors, so that it is the one with most points.
inline std::vector<int64_t> fft_radices(int64_t length) {
  std::vector<int64_t> radices;
  while (length % 4 == 0) {
    radices.push_back(4);
    length /= 4;
  }
  for (int64_t radix = 2; length > 1; ++radix) {
    while (length % radix == 0) {
      radices.push_back(radix);
      length /= radix;
    }
  }
  return radices;
}

// The transform by its recursion, for tables only. turn: exp(-2 pi i n / N) for the whole length N.
inline void plain_transform(const std::complex<double>* in, int64_t stride, int64_t length, std::complex<double>* out,
                            const std::vector<std::complex<double>>& turn) {
  if (length == 1) {
    out[0] = in[0];
    return;
  }
  const int64_t radix = fft_radices(length).front();
  const int64_t part = length / radix;
  const int64_t step = static_cast<int64_t>(turn.size()) / length;
  for (int64_t t = 0; t < radix; ++t) plain_transform(in + t * stride, stride * radix, part, out + t * part, turn);
  std::vector<std::complex<double>> combined(radix);
  for (int64_t q = 0; q < part; ++q) {
    for (int64_t u = 0; u < radix; ++u) {
      combined[u] = 0.0;
      for (int64_t t = 0; t < radix; ++t) combined[u] += out[t * part + q] * turn[(t * (q + u * part)) % length * step];
    }
    for (int64_t u = 0; u < radix; ++u) out[u * part + q] = combined[u];
  }
}

template <typename C>
class FftTables {
 public:
  explicit FftTables(int64_t length) {
    plan_.length = length;
    const std::vector<int64_t> radices = fft_radices(length);
    if (!radices.empty() && radices.back() > kLargestRadix) {
      build_bluestein(length);
      return;
    }
    int64_t block = length;
    for (const int64_t radix : radices) {
      std::vector<C>& twiddle = tables_.emplace_back();
      for (int64_t q = 0; q < block / radix; ++q) {
        for (int64_t t = 1; t < radix; ++t) push_phase(twiddle, block - (q * t) % block, block);
      }
      const std::vector<C>& roots = tables_.emplace_back(unit_roots<C>(radix));
      pass_.push_back({radix, block, twiddle.data(), roots.data()});
      block /= radix;
    }
    for (int64_t k = 0; k < length; ++k) {
      int64_t rest = k, step = length, place = 0;
      for (const int64_t radix : radices) {
        step /= radix;
        place += (rest % radix) * step;
        rest /= radix;
      }
      position_.push_back(place);
    }
    publish();
  }

  FftTables(const FftTables&) = delete;
  FftTables& operator=(const FftTables&) = delete;

  const FftPlan<C>& plan() const { return plan_; }

 private:
  void publish() {
    plan_.passes = static_cast<int64_t>(pass_.size());
    plan_.pass = pass_.data();
    plan_.position = position_.data();
  }

  void build_bluestein(int64_t length) {
    int64_t longer = 2 * length - 1;
    while (fft_radices(longer).back() > 7) ++longer;
    inner_ = std::make_unique<FftTables>(longer);
    plan_.inner = &inner_->plan();
    std::vector<C>& chirp = tables_.emplace_back();
    for (int64_t n = 0; n < length; ++n) {
      // n^2 modulo 2 N without overflow: N is far below 2^31.
      push_phase(chirp, 2 * length - (n * n) % (2 * length), 2 * length);
    }
    std::vector<std::complex<double>> conjugate(longer), transformed(longer);
    for (int64_t n = 0; n < length; ++n) {
      const double phase = std::numbers::pi * static_cast<double>((n * n) % (2 * length)) / length;
      conjugate[n] = std::polar(1.0, phase);
      if (n > 0) conjugate[longer - n] = conjugate[n];
    }
    std::vector<std::complex<double>> turn;
    for (int64_t n = 0; n < longer; ++n) {
      turn.push_back(std::polar(1.0, -2.0 * std::numbers::pi * static_cast<double>(n) / longer));
    }
    plain_transform(conjugate.data(), 1, longer, transformed.data(), turn);
    std::vector<C>& response = tables_.emplace_back();
    for (const std::complex<double>& value : transformed) {
      response.push_back(static_cast<C>(value.real() / static_cast<double>(longer)));
      response.push_back(static_cast<C>(value.imag() / static_cast<double>(longer)));
    }
    plan_.chirp = chirp.data();
    plan_.response = response.data();
    for (int64_t k = 0; k < length; ++k) position_.push_back(k);
    publish();
  }

  FftPlan<C> plan_{};
  std::list<std::vector<C>> tables_;  // a list: the plan points into it
  std::vector<FftPass<C>> pass_;
  std::vector<int64_t> position_;
  std::unique_ptr<FftTables> inner_;
};

// The radix of transforms of K samples in two steps (fft_two_steps.h), which leaves the rows a length of 16, 32 or 64;
// 0 where there is none. For a power of two the fastest of those tried.
inline int64_t two_step_radix(int64_t n_angular) {
  int64_t binary = 1;
  while (n_angular % (2 * binary) == 0) binary *= 2;
  const int64_t odd = n_angular / binary;
  if (odd == 3 || odd == 5 || odd == 7) return 16 <= binary && binary <= 64 ? odd : 0;
  if (odd > 1 || binary < 32 || binary > 512) return 0;
  return std::clamp<int64_t>(binary / 32, 2, 8);
}

template <typename C>
class RealFftTables {
 public:
  explicit RealFftTables(int64_t n_angular) : complex_(n_angular % 2 == 0 ? n_angular / 2 : n_angular) {
    plan_.n_angular = n_angular;
    plan_.bins = n_angular / 2 + 1;
    plan_.halved = n_angular % 2 == 0;
    plan_.complex = complex_.plan();
    for (int64_t k = 0; k <= n_angular / 4; ++k) push_phase(half_twiddle_, k, n_angular);
    const int64_t radix = two_step_radix(n_angular);
    if (radix > 0) {
      build_two_steps(radix, n_angular / radix);
    } else {
      build_halves();
    }
    plan_.half_twiddle = half_twiddle_.data();
    plan_.sample = sample_.data();
  }

  RealFftTables(const RealFftTables&) = delete;
  RealFftTables& operator=(const RealFftTables&) = delete;

  const RealFftPlan<C>& plan() const { return plan_; }

 private:
  void build_halves() {
    for (int64_t n = 0; n < plan_.n_angular; ++n) {
      const int64_t* position = plan_.complex.position;
      sample_.push_back(plan_.halved ? 2 * position[n / 2] + n % 2 : 2 * position[n]);
    }
  }

  void build_two_steps(int64_t radix, int64_t length) {
    const int64_t count = radix * length;
    const bool coprime = radix % 2 == 1;
    roots_ = unit_roots<C>(radix);
    for (int64_t k = 1; 2 * k < length; ++k) {
      for (int64_t a = 1; a < radix; ++a) push_phase(twiddle_, a * k, count);
    }
    plan_.two_steps = {radix, length, roots_.data(), twiddle_.data()};
    sample_.resize(count);
    for (int64_t a = 0; a < radix; ++a) {
      for (int64_t b = 0; b < length; ++b) {
        const int64_t n = coprime ? (length * a + radix * b) % count : a + radix * b;
        sample_[n] = a * plan_.two_steps.stride() + b;
      }
    }
  }

  FftTables<C> complex_;
  RealFftPlan<C> plan_{};
  std::vector<C> half_twiddle_, roots_, twiddle_;
  std::vector<int64_t> sample_;
};

// The tables for rings of K samples. The last few K are kept: a run of images has one, tests and mixed runs a handful.
template <typename C>
std::shared_ptr<const RealFftTables<C>> real_fft_tables(int64_t n_angular) {
  constexpr size_t kept = 8;
  static std::mutex mutex;
  static std::list<std::shared_ptr<const RealFftTables<C>>> recent;
  const std::lock_guard lock(mutex);
  for (auto it = recent.begin(); it != recent.end(); ++it) {
    if ((*it)->plan().n_angular == n_angular) {
      recent.splice(recent.begin(), recent, it);
      return recent.front();
    }
  }
  recent.push_front(std::make_shared<const RealFftTables<C>>(n_angular));
  if (recent.size() > kept) recent.pop_back();
  return recent.front();
}

}  // namespace cdifast::cpu
