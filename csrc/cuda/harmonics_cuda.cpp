// Angular harmonics and products of spectra on CUDA: checks, launch on torch's stream, registration.
#include <optional>

#include "../correlation_checks.h"
#include "../library.h"
#include "../torch_bridge.h"
#include "device.h"
#include "grid.h"
#include "harmonics_launch.h"
#include "runtime.h"

namespace cdifast::cuda {
namespace {

void check_launch(int error, const char* op) { STD_TORCH_CHECK(error == 0, op, ": CUDA error: ", error_text(error)); }

Tensor workspace_like(const Tensor& tensor, int64_t bytes) {
  return torch::stable::new_empty(tensor, {bytes}, ScalarType::Byte);
}

Tensor checked_orders(const Tensor& orders, const Tensor& like, const char* like_name, const char* op) {
  STD_TORCH_CHECK(orders.dim() == 1, op, ": orders must have shape (O,), got ", orders.dim(), " dimensions");
  return checked_indices(orders, "orders", like, like_name, op);
}

void check_angles(int64_t n_angular, const char* op) {
  STD_TORCH_CHECK(n_angular >= 1 && n_angular <= kMostAngles, op, ": n_angular must be from 1 to 2^25, got ",
                  n_angular);
}

HarmonicsShape shape_of(const UnwrappedInputs& inputs, const Tensor& orders, const char* op) {
  check_angles(inputs.n_angular(), op);
  return {inputs.count(), inputs.n_radial(), inputs.n_angular(), orders.size(0)};
}

void write_harmonics(const UnwrappedInputs& inputs, const HarmonicsShape& shape, const Tensor& orders, Tensor& out,
                     const char* op) {
  const Tensor workspace = workspace_like(out, angular_harmonics_workspace(inputs.dtype, shape));
  check_launch(angular_harmonics(inputs.dtype, shape, inputs.unwrapped.const_data_ptr(), inputs.weight_data(),
                                 inputs.shared_weight(), orders.const_data_ptr<int64_t>(), out.mutable_data_ptr(),
                                 workspace.mutable_data_ptr(), stream_of(out)),
               op);
}

Tensor harmonics(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& orders_) {
  constexpr const char* op = "angular_harmonics";
  const DeviceScope scope(unwrapped);
  const UnwrappedInputs inputs(unwrapped, weight, op);
  const Tensor orders = checked_orders(orders_, unwrapped, "unwrapped", op);
  const HarmonicsShape shape = shape_of(inputs, orders, op);
  Tensor out = torch::stable::new_empty(inputs.unwrapped, {shape.count, shape.n_orders, shape.n_radial, 2},
                                        compute_type(inputs.dtype));
  write_harmonics(inputs, shape, orders, out, op);
  return out;
}

void harmonics_out(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& orders_, Tensor out) {
  constexpr const char* op = "angular_harmonics";
  const DeviceScope scope(unwrapped);
  const UnwrappedInputs inputs(unwrapped, weight, op);
  const Tensor orders = checked_orders(orders_, unwrapped, "unwrapped", op);
  const HarmonicsShape shape = shape_of(inputs, orders, op);
  check_result(out, {shape.count, shape.n_orders, shape.n_radial, 2}, compute_type(inputs.dtype), unwrapped, op);
  write_harmonics(inputs, shape, orders, out, op);
}

// float32 or float64, whose numbers come in pairs of real and imaginary part.
DType complex_parts(const Tensor& tensor, int64_t dimensions, const char* argument, const char* op) {
  STD_TORCH_CHECK(tensor.dim() == dimensions && tensor.size(dimensions - 1) == 2, op, ": ", argument, " must have ",
                  dimensions, " dimensions, the last of size 2");
  const DType dtype = floating_dtype(tensor, op, argument);
  STD_TORCH_CHECK(dtype == DType::f32 || dtype == DType::f64, op, ": ", argument, " has dtype ",
                  torch::headeronly::toString(tensor.scalar_type()), "; expected float32 or float64");
  return dtype;
}

Tensor harmonics_backward(const Tensor& grad_, const std::optional<Tensor>& weight_, const Tensor& orders_,
                          int64_t n_angular) {
  constexpr const char* op = "angular_harmonics_backward";
  const DeviceScope scope(grad_);
  const DType dtype = complex_parts(grad_, 4, "grad", op);
  const Tensor grad = torch::stable::contiguous(grad_);
  const Tensor orders = checked_orders(orders_, grad, "grad", op);
  const HarmonicsShape shape{grad.size(0), grad.size(2), n_angular, grad.size(1)};
  STD_TORCH_CHECK(orders.size(0) == shape.n_orders, op, ": grad is of ", shape.n_orders, " orders, but there are ",
                  orders.size(0));
  check_angles(n_angular, op);
  const std::optional<Tensor> weight =
      checked_weight(weight_, dtype, grad, "grad", shape.count, shape.n_radial, n_angular, op);
  Tensor out = torch::stable::new_empty(grad, {shape.count, shape.n_radial, n_angular});
  const Tensor workspace = workspace_like(out, angular_harmonics_backward_workspace(dtype, shape));
  check_launch(angular_harmonics_backward(dtype, shape, grad.const_data_ptr(),
                                          weight.has_value() ? weight->const_data_ptr() : nullptr,
                                          !weight.has_value() || weight->size(0) == 1, orders.const_data_ptr<int64_t>(),
                                          out.mutable_data_ptr(), workspace.mutable_data_ptr(), stream_of(out)),
               op);
  return out;
}

// Contiguous, and aligned for accesses to whole complex numbers: a slice of a larger tensor may begin in between.
Tensor aligned_complex(const Tensor& tensor) {
  const Tensor dense = torch::stable::contiguous(tensor);
  const auto address = reinterpret_cast<uintptr_t>(dense.const_data_ptr());
  return address % (2 * static_cast<uintptr_t>(dense.element_size())) == 0 ? dense : torch::stable::clone(dense);
}

Tensor checked_pairs(const Tensor& pairs, const Tensor& spectra, const char* op) {
  STD_TORCH_CHECK(pairs.dim() == 2 && pairs.size(1) == 2, op, ": pairs must have shape (P, 2)");
  return checked_indices(pairs, "pairs", spectra, "spectra", op);
}

Tensor spectra_of_pairs(const Tensor& spectra_, const Tensor& pairs_) {
  constexpr const char* op = "pair_spectra";
  const DeviceScope scope(spectra_);
  const DType dtype = complex_parts(spectra_, 4, "spectra", op);
  const Tensor spectra = aligned_complex(spectra_);
  const Tensor pairs = checked_pairs(pairs_, spectra, op);
  const SpectraShape shape{spectra.size(0), spectra.size(1), pairs.size(0), spectra.size(2)};
  STD_TORCH_CHECK(shape.n_radial > 0 || shape.n_pairs == 0, op, ": there are pairs but no rings");
  Tensor out = torch::stable::new_empty(spectra, {shape.count, shape.n_pairs, shape.n_frequencies, 2});
  check_launch(pair_spectra(dtype, shape, spectra.const_data_ptr(), pairs.const_data_ptr<int64_t>(),
                            out.mutable_data_ptr(), stream_of(out)),
               op);
  return out;
}

Tensor spectra_adjoint(const Tensor& product_, const Tensor& spectra_, const Tensor& pairs_, const Tensor& first_,
                       const Tensor& entries_) {
  constexpr const char* op = "pair_spectra_adjoint";
  const DeviceScope scope(spectra_);
  const DType dtype = complex_parts(spectra_, 4, "spectra", op);
  const Tensor spectra = aligned_complex(spectra_);
  const Tensor pairs = checked_pairs(pairs_, spectra, op);
  const SpectraShape shape{spectra.size(0), spectra.size(1), pairs.size(0), spectra.size(2)};
  STD_TORCH_CHECK(product_.dim() == 4 && product_.size(0) == shape.count && product_.size(1) == shape.n_pairs &&
                      product_.size(2) == shape.n_frequencies && product_.size(3) == 2,
                  op, ": product must have shape (N, P, F, 2)");
  STD_TORCH_CHECK(product_.scalar_type() == spectra.scalar_type(), op, ": product and spectra differ in dtype");
  STD_TORCH_CHECK(share_device(product_, spectra), op, ": product is on another device than spectra");
  STD_TORCH_CHECK(first_.dim() == 1 && first_.size(0) == shape.n_radial + 1, op, ": first must have shape (R + 1,)");
  STD_TORCH_CHECK(entries_.dim() == 1 && entries_.size(0) == 2 * shape.n_pairs, op, ": entries must have shape (2 P,)");
  const Tensor product = aligned_complex(product_);
  const Tensor first = checked_indices(first_, "first", spectra, "spectra", op);
  const Tensor entries = checked_indices(entries_, "entries", spectra, "spectra", op);
  Tensor out = torch::stable::new_empty(spectra, {shape.count, shape.n_radial, shape.n_frequencies, 2});
  check_launch(pair_spectra_adjoint(dtype, shape, product.const_data_ptr(), spectra.const_data_ptr(),
                                    pairs.const_data_ptr<int64_t>(), first.const_data_ptr<int64_t>(),
                                    entries.const_data_ptr<int64_t>(), out.mutable_data_ptr(), stream_of(out)),
               op);
  return out;
}

}  // namespace
}  // namespace cdifast::cuda

STABLE_TORCH_LIBRARY_IMPL(CDIFAST_LIBRARY, CDIFAST_CUDA_KEY, m) {
  m.impl("angular_harmonics", TORCH_BOX(&cdifast::cuda::harmonics));
  m.impl("angular_harmonics_out", TORCH_BOX(&cdifast::cuda::harmonics_out));
  m.impl("angular_harmonics_backward", TORCH_BOX(&cdifast::cuda::harmonics_backward));
  m.impl("pair_spectra", TORCH_BOX(&cdifast::cuda::spectra_of_pairs));
  m.impl("pair_spectra_adjoint", TORCH_BOX(&cdifast::cuda::spectra_adjoint));
}
