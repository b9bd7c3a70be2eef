// Angular harmonics on the CPU: checks, the table of phases, the parallel loop over maps and rings, registration.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <optional>
#include <vector>

#include "../correlation_checks.h"
#include "buffer.h"
#include "harmonics_simd.h"

namespace cdifast::cpu {
namespace {

// Vectors of rings that a thread takes at least: starting one costs more than a few orders of one map.
constexpr int64_t kGrain = 8;
// Bytes of a gradient from which it is written past the caches.
constexpr int64_t kStreamed = int64_t{1} << 20;

// The orders as the kernels want them, with their table.
template <typename C>
class Orders {
 public:
  Orders(const Tensor& orders, int64_t n_radial, int64_t n_angular)
      : n_radial_(n_radial), n_angular_(n_angular), slot_(orders.numel()) {
    const int64_t* order = orders.const_data_ptr<int64_t>();
    std::iota(slot_.begin(), slot_.end(), 0);
    const auto odd = n_angular % 2 != 0 ? slot_.end()
                                        : std::stable_partition(slot_.begin(), slot_.end(),
                                                                [&](int64_t o) { return order[o] % 2 == 0; });
    n_even_ = odd - slot_.begin();
    for (const int64_t o : slot_) order_.push_back(order[o]);
    table_.reserve(2 * slot_.size() * (n_angular / 2 + 5));
    for (int64_t k = 0; k <= n_angular / 2 + 4; ++k) {
      for (const int64_t n : order_) {
        // Reduced as an integer, so that the phase stays exact for large order times k.
        const int64_t turn = (n * k % n_angular + n_angular) % n_angular;
        const double phase = 2.0 * std::numbers::pi * static_cast<double>(turn) / static_cast<double>(n_angular);
        table_.push_back(static_cast<C>(std::cos(phase)));
        table_.push_back(static_cast<C>(std::sin(phase)));
      }
    }
  }

  HarmonicsProblem problem() const {
    return {n_radial_,    n_angular_,   static_cast<int64_t>(slot_.size()), n_even_, order_.data(),
            slot_.data(), table_.data()};
  }

 private:
  int64_t n_radial_, n_angular_, n_even_;
  std::vector<int64_t> slot_, order_;
  std::vector<C> table_;
};

Tensor checked_orders(const Tensor& orders_, int64_t n_angular, const Tensor& like, const char* like_name,
                      const char* op) {
  STD_TORCH_CHECK(orders_.dim() == 1, op, ": orders must have shape (O,), got ", orders_.dim(), " dimensions");
  STD_TORCH_CHECK(n_angular >= 1, op, ": n_angular must be at least 1, got ", n_angular);
  const Tensor orders = checked_indices(orders_, "orders", like, like_name, op);
  const int64_t* order = orders.const_data_ptr<int64_t>();
  for (int64_t o = 0; o < orders.numel(); ++o) {
    STD_TORCH_CHECK(order[o] >= -(n_angular / 2) && order[o] <= n_angular / 2, op, ": order ", order[o],
                    " is not between -n_angular / 2 and n_angular / 2 = ", n_angular / 2);
  }
  return orders;
}

// Calls f(map, ring, weight of the map, buffer) for every vector of rings of every map.
template <typename C, typename F>
void for_each_block(const HarmonicsProblem& problem, int64_t count, const std::optional<Tensor>& weight, const F& f) {
  const auto& kernels = selected_harmonics_kernels();
  const int64_t lanes = sizeof(C) == 4 ? kernels.lanes32 : kernels.lanes64;
  const int64_t blocks = (problem.n_radial + lanes - 1) / lanes;
  const C* w = weight.has_value() ? weight->const_data_ptr<C>() : nullptr;
  const int64_t stride = weight.has_value() && weight->size(0) > 1 ? problem.n_radial * problem.n_angular : 0;
  torch::stable::parallel_for(0, count * blocks, kGrain, [&](int64_t begin, int64_t end) {
    Buffer buffer(2 * (problem.n_angular + problem.n_orders) * lanes * sizeof(C));
    for (int64_t e = begin; e < end; ++e) {
      const int64_t n = e / blocks;
      f(n, e % blocks * lanes, w == nullptr ? nullptr : w + n * stride, buffer.as<C>());
    }
  });
}

void harmonics_into(const UnwrappedInputs& inputs, const Tensor& orders, Tensor& out) {
  if (out.numel() == 0) return;
  const auto& kernels = selected_harmonics_kernels();
  const int64_t n_radial = inputs.n_radial();
  const int64_t n_angular = inputs.n_angular();
  dispatch_floating(inputs.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const Orders<C> prepared(orders, n_radial, n_angular);
    const HarmonicsProblem problem = prepared.problem();
    const T* source = static_cast<const T*>(inputs.unwrapped.const_data_ptr());
    C* target = static_cast<C*>(out.mutable_data_ptr());
    for_each_block<C>(problem, inputs.count(), inputs.weight,
                      [&](int64_t n, int64_t ring, const C* map_weight, C* buffer) {
                        kernels.forward(inputs.dtype, source + n * n_radial * n_angular, map_weight, problem, ring,
                                        buffer, target + n * 2 * problem.n_orders * n_radial);
                      });
  });
}

Tensor angular_harmonics(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& orders_) {
  constexpr const char* op = "angular_harmonics";
  const UnwrappedInputs inputs(unwrapped, weight, op);
  const Tensor orders = checked_orders(orders_, inputs.n_angular(), unwrapped, "unwrapped", op);
  Tensor out = torch::stable::new_empty(inputs.unwrapped, {inputs.count(), orders.size(0), inputs.n_radial(), 2},
                                        compute_type(inputs.dtype));
  harmonics_into(inputs, orders, out);
  return out;
}

void angular_harmonics_out(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& orders_,
                           Tensor out) {
  constexpr const char* op = "angular_harmonics";
  const UnwrappedInputs inputs(unwrapped, weight, op);
  const Tensor orders = checked_orders(orders_, inputs.n_angular(), unwrapped, "unwrapped", op);
  check_result(out, {inputs.count(), orders.size(0), inputs.n_radial(), 2}, compute_type(inputs.dtype),
               inputs.unwrapped, op);
  harmonics_into(inputs, orders, out);
}

Tensor angular_harmonics_backward(const Tensor& grad_, const std::optional<Tensor>& weight_, const Tensor& orders_,
                                  int64_t n_angular) {
  constexpr const char* op = "angular_harmonics_backward";
  const Tensor orders = checked_orders(orders_, n_angular, grad_, "grad", op);
  STD_TORCH_CHECK(grad_.dim() == 4 && grad_.size(1) == orders.size(0) && grad_.size(3) == 2, op,
                  ": grad must have shape (N, O, n_radial, 2)");
  const DType dtype = floating_dtype(grad_, op, "grad");
  STD_TORCH_CHECK(dtype == DType::f32 || dtype == DType::f64, op, ": grad must be float32 or float64");
  const Tensor grad = torch::stable::contiguous(grad_);
  const int64_t count = grad.size(0);
  const int64_t n_radial = grad.size(2);
  const auto weight = checked_weight(weight_, dtype, grad, "grad", count, n_radial, n_angular, op);
  Tensor out = torch::stable::new_empty(grad, {count, n_radial, n_angular});
  if (out.numel() == 0) return out;
  const auto& kernels = selected_harmonics_kernels();
  dispatch_floating(dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    const Orders<C> prepared(orders, n_radial, n_angular);
    const HarmonicsProblem problem = prepared.problem();
    const C* source = static_cast<const C*>(grad.const_data_ptr());
    C* target = static_cast<C*>(out.mutable_data_ptr());
    const bool stream = out.numel() * static_cast<int64_t>(sizeof(C)) >= kStreamed && n_angular * sizeof(C) % 64 == 0 &&
                        reinterpret_cast<uintptr_t>(target) % 64 == 0;
    for_each_block<C>(problem, count, weight, [&](int64_t n, int64_t ring, const C* map_weight, C* buffer) {
      kernels.backward(dtype, source + n * 2 * problem.n_orders * n_radial, map_weight, problem, ring, stream, buffer,
                       target + n * n_radial * n_angular);
    });
  });
  return out;
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  m.impl("angular_harmonics", TORCH_BOX(&cdifast::cpu::angular_harmonics));
  m.impl("angular_harmonics_out", TORCH_BOX(&cdifast::cpu::angular_harmonics_out));
  m.impl("angular_harmonics_backward", TORCH_BOX(&cdifast::cpu::angular_harmonics_backward));
}
