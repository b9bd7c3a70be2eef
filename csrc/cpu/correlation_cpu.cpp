// Correlation maps on the CPU: checks, the parallel loop over images, registration.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "../torch_bridge.h"
#include "correlation_simd.h"

namespace cdifast::cpu {
namespace {

// cos, then sin, of 2 pi order k / K. The phase is reduced as an integer, so that it stays exact for large k.
template <typename C>
std::vector<C> harmonic_table(int64_t order, int64_t n_angular) {
  std::vector<C> table(2 * n_angular);
  for (int64_t k = 0; k < n_angular; ++k) {
    const double phase = 2.0 * std::numbers::pi * static_cast<double>((order * k) % n_angular) / n_angular;
    table[k] = static_cast<C>(std::cos(phase));
    table[n_angular + k] = static_cast<C>(std::sin(phase));
  }
  return table;
}

template <typename C>
std::vector<C> pair_weights(DType dtype, const Tensor& weight) {
  const int64_t n_radial = weight.size(1);
  const int64_t n_angular = weight.size(2);
  std::vector<C> pairs(weight.size(0) * n_radial * n_radial);
  const auto& kernels = selected_correlation_kernels();
  const C* source = weight.const_data_ptr<C>();
  torch::stable::parallel_for(0, weight.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      kernels.pair_weights(dtype, source + n * n_radial * n_angular, n_radial, n_angular,
                           pairs.data() + n * n_radial * n_radial);
    }
  });
  return pairs;
}

Tensor correlation_map(const Tensor& unwrapped_, const std::optional<Tensor>& weight_, int64_t order, bool modulus,
                       int64_t normalize, double fill, double min_weight) {
  constexpr const char* op = "correlation_map";
  STD_TORCH_CHECK(unwrapped_.dim() == 3, op, ": unwrapped must have shape (N, n_radial, n_angular), got ",
                  unwrapped_.dim(), " dimensions");
  STD_TORCH_CHECK(normalize >= 0 && normalize <= 2, op, ": normalize must be 0 (none), 1 (mean) or 2 (pearson)");
  const DType dtype = floating_dtype(unwrapped_, op, "unwrapped");
  const Tensor unwrapped = torch::stable::contiguous(unwrapped_);
  const int64_t count = unwrapped.size(0);
  const int64_t n_radial = unwrapped.size(1);
  const int64_t n_angular = unwrapped.size(2);
  STD_TORCH_CHECK(order >= 1 && order <= n_angular / 2, op, ": order ", order,
                  " is not between 1 and n_angular / 2 = ", n_angular / 2);

  std::optional<Tensor> weight;
  if (weight_.has_value()) {
    STD_TORCH_CHECK(weight_->is_cpu(), op, ": weight is on another device than unwrapped, which is on the CPU");
    STD_TORCH_CHECK(weight_->dim() == 3 && (weight_->size(0) == 1 || weight_->size(0) == count) &&
                        weight_->size(1) == n_radial && weight_->size(2) == n_angular,
                    op, ": weight must have shape (1 or N, n_radial, n_angular)");
    floating_dtype(*weight_, op, "weight");
    weight = torch::stable::contiguous(
        torch::stable::to(*weight_, dtype == DType::f64 ? ScalarType::Double : ScalarType::Float));
  }

  const CorrelationProblem problem{
      n_radial, n_angular, modulus, static_cast<Normalize>(normalize), fill, needed_weight(min_weight, n_angular)};
  Tensor out = torch::stable::new_empty(unwrapped, {count, n_radial, n_radial});
  const auto& kernels = selected_correlation_kernels();
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const std::vector<C> harmonic = harmonic_table<C>(order, n_angular);
    const C* w = weight.has_value() ? weight->const_data_ptr<C>() : nullptr;
    const std::vector<C> pairs = weight.has_value() ? pair_weights<C>(dtype, *weight) : std::vector<C>{};
    const bool shared = !weight.has_value() || weight->size(0) == 1;
    const T* source = static_cast<const T*>(unwrapped.const_data_ptr());
    T* target = static_cast<T*>(out.mutable_data_ptr());
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      std::vector<C> workspace(n_radial * (n_angular + 3));
      for (int64_t n = begin; n < end; ++n) {
        const int64_t g = shared ? 0 : n;
        kernels.map(dtype, source + n * n_radial * n_angular, w == nullptr ? nullptr : w + g * n_radial * n_angular,
                    w == nullptr ? nullptr : pairs.data() + g * n_radial * n_radial, harmonic.data(), problem,
                    workspace.data(), target + n * n_radial * n_radial);
      }
    });
  });
  return out;
}

// The weight of every cell of the map as a fraction of K: that of the pair in the lower triangle, of the ring with
// less in the upper one; 0 where the map holds the fill value for want of weight.
Tensor correlation_weight(const Tensor& weight_, double min_weight) {
  constexpr const char* op = "correlation_weight";
  STD_TORCH_CHECK(weight_.dim() == 3, op, ": weight must have shape (N, n_radial, n_angular)");
  const DType dtype = floating_dtype(weight_, op, "weight");
  const DType compute_dtype = dtype == DType::f64 ? DType::f64 : DType::f32;
  const ScalarType compute_type = dtype == DType::f64 ? ScalarType::Double : ScalarType::Float;
  const Tensor weight = torch::stable::contiguous(torch::stable::to(weight_, compute_type));
  const int64_t n_radial = weight.size(1);
  const int64_t n_angular = weight.size(2);
  Tensor out = torch::stable::new_empty(weight, {weight.size(0), n_radial, n_radial});
  dispatch_floating(compute_dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    const std::vector<C> pairs = pair_weights<C>(compute_dtype, weight);
    const C* source = weight.const_data_ptr<C>();
    C* target = out.mutable_data_ptr<C>();
    for (int64_t n = 0; n < weight.size(0); ++n) {
      std::vector<C> ring(n_radial);
      for (int64_t j = 0; j < n_radial; ++j) {
        double sum = 0.0;
        for (int64_t k = 0; k < n_angular; ++k) sum += source[(n * n_radial + j) * n_angular + k];
        ring[j] = static_cast<C>(sum);
      }
      for (int64_t i = 0; i < n_radial; ++i) {
        for (int64_t j = 0; j < n_radial; ++j) {
          const int64_t cell = (n * n_radial + i) * n_radial + j;
          const C cell_weight = j <= i ? pairs[cell] : std::min(ring[i], ring[j]);
          const bool enough = cell_weight >= static_cast<C>(needed_weight(min_weight, n_angular));
          target[cell] = enough ? cell_weight / static_cast<C>(n_angular) : C{0};
        }
      }
    }
  });
  return out;
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  m.impl("correlation_map", TORCH_BOX(&cdifast::cpu::correlation_map));
  m.impl("correlation_weight", TORCH_BOX(&cdifast::cpu::correlation_weight));
}
