// What the operators of unwrapped maps ask of their tensors, on the CPU and on CUDA alike: correlation maps and angular
// harmonics. Messages name the operator and the argument.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "torch_bridge.h"

namespace cdifast {

inline bool share_device(const Tensor& a, const Tensor& b) {
  return a.is_cpu() == b.is_cpu() && a.get_device_index() == b.get_device_index();
}

// The type that arithmetic on elements of `dtype` runs in, which weights are converted to.
inline ScalarType compute_type(DType dtype) { return dtype == DType::f64 ? ScalarType::Double : ScalarType::Float; }

// Weights as the kernels read them: (1 or N, R, K), contiguous, in the compute type of `dtype`.
inline std::optional<Tensor> checked_weight(const std::optional<Tensor>& weight, DType dtype, const Tensor& like,
                                            const char* like_name, int64_t count, int64_t n_radial, int64_t n_angular,
                                            const char* op) {
  if (!weight.has_value()) return std::nullopt;
  STD_TORCH_CHECK(share_device(*weight, like), op, ": weight is on another device than ", like_name);
  STD_TORCH_CHECK(weight->dim() == 3 && (weight->size(0) == 1 || weight->size(0) == count) &&
                      weight->size(1) == n_radial && weight->size(2) == n_angular,
                  op, ": weight must have shape (1 or N, n_radial, n_angular)");
  floating_dtype(*weight, op, "weight");
  return torch::stable::contiguous(torch::stable::to(*weight, compute_type(dtype)));
}

// A batch of unwrapped maps and their weights, contiguous.
struct UnwrappedInputs {
  DType dtype;
  Tensor unwrapped;
  std::optional<Tensor> weight;

  UnwrappedInputs(const Tensor& unwrapped_, const std::optional<Tensor>& weight_, const char* op)
      : dtype(floating_dtype(unwrapped_, op, "unwrapped")), unwrapped(torch::stable::contiguous(unwrapped_)) {
    STD_TORCH_CHECK(unwrapped.dim() == 3, op, ": unwrapped must have shape (N, n_radial, n_angular), got ",
                    unwrapped.dim(), " dimensions");
    weight = checked_weight(weight_, dtype, unwrapped, "unwrapped", count(), n_radial(), n_angular(), op);
  }

  int64_t count() const { return unwrapped.size(0); }
  int64_t n_radial() const { return unwrapped.size(1); }
  int64_t n_angular() const { return unwrapped.size(2); }
  bool shared_weight() const { return !weight.has_value() || weight->size(0) == 1; }
  const void* weight_data() const { return weight.has_value() ? weight->const_data_ptr() : nullptr; }
};

inline void check_correlation_options(int64_t order, int64_t normalize, int64_t n_angular, const char* op) {
  STD_TORCH_CHECK(normalize >= 0 && normalize <= 2, op, ": normalize must be 0 (none), 1 (mean) or 2 (pearson), got ",
                  normalize);
  STD_TORCH_CHECK(order >= 1 && order <= n_angular / 2, op, ": order ", order,
                  " is not between 1 and n_angular / 2 = ", n_angular / 2);
}

// The gradient of a batch of maps: as the map itself would be.
inline void check_map_gradient(const Tensor& grad, const Tensor& unwrapped, const char* op) {
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == unwrapped.size(0) && grad.size(1) == unwrapped.size(1) &&
                      grad.size(2) == unwrapped.size(1),
                  op, ": grad must have shape (N, n_radial, n_radial)");
  STD_TORCH_CHECK(grad.scalar_type() == unwrapped.scalar_type(), op, ": grad and unwrapped differ in dtype");
  STD_TORCH_CHECK(share_device(grad, unwrapped), op, ": grad is on another device than unwrapped");
}

// float32 or float64, whose numbers come in pairs of real and imaginary part.
inline DType complex_parts(const Tensor& tensor, int64_t dimensions, const char* argument, const char* op) {
  STD_TORCH_CHECK(tensor.dim() == dimensions && tensor.size(dimensions - 1) == 2, op, ": ", argument, " must have ",
                  dimensions, " dimensions, the last of size 2");
  const DType dtype = floating_dtype(tensor, op, argument);
  STD_TORCH_CHECK(dtype == DType::f32 || dtype == DType::f64, op, ": ", argument, " has dtype ",
                  torch::headeronly::toString(tensor.scalar_type()), "; expected float32 or float64");
  return dtype;
}

// Orders, pairs and lists of pairs: int64, whose values lie on the device and are not looked at here.
inline Tensor checked_indices(const Tensor& indices, const char* argument, const Tensor& like, const char* like_name,
                              const char* op) {
  STD_TORCH_CHECK(indices.scalar_type() == ScalarType::Long, op, ": ", argument, " must be int64");
  STD_TORCH_CHECK(share_device(indices, like), op, ": ", argument, " is on another device than ", like_name);
  return torch::stable::contiguous(indices);
}

// The result of an `_out` operator, which kernels write as it is.
inline void check_result(const Tensor& out, std::initializer_list<int64_t> sizes, ScalarType type, const Tensor& like,
                         const char* op) {
  bool same = out.dim() == static_cast<int64_t>(sizes.size());
  std::string expected;
  int64_t d = 0;
  for (const int64_t size : sizes) {
    same = same && out.size(d++) == size;
    expected += (expected.empty() ? "" : ", ") + std::to_string(size);
  }
  STD_TORCH_CHECK(same, op, ": out must have shape (", expected, ")");
  STD_TORCH_CHECK(out.scalar_type() == type, op, ": out has dtype ", torch::headeronly::toString(out.scalar_type()),
                  "; expected ", torch::headeronly::toString(type));
  STD_TORCH_CHECK(share_device(out, like), op, ": out is on another device than the input");
  STD_TORCH_CHECK(out.is_contiguous(), op, ": out must be contiguous");
}

}  // namespace cdifast
