// Products of spectra and functions of all lags on CUDA: checks, launch on torch's stream, registration.
#include <optional>

#include "../correlation_checks.h"
#include "../library.h"
#include "../torch_bridge.h"
#include "angular_launch.h"
#include "device.h"
#include "grid.h"

namespace cdifast::cuda {
namespace {

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

void samples_of_pairs(const Tensor& spectra_, const Tensor& pairs_, const std::optional<Tensor>& inverse_, double fill,
                      Tensor out) {
  constexpr const char* op = "pair_samples";
  const DeviceScope scope(spectra_);
  STD_TORCH_CHECK(complex_parts(spectra_, 4, "spectra", op) == DType::f32, op, ": spectra must be float32");
  const Tensor spectra = torch::stable::contiguous(spectra_);
  const Tensor pairs = checked_pairs(pairs_, spectra, op);
  const SpectraShape shape{spectra.size(0), spectra.size(1), pairs.size(0), spectra.size(2)};
  const int64_t n_angular = 2 * (shape.n_frequencies - 1);
  STD_TORCH_CHECK(n_angular >= 2 && n_angular <= kMostAngles, op,
                  ": spectra must have the frequencies 0 to K / 2 of 2 to 2^25 angles");
  STD_TORCH_CHECK(shape.n_radial > 0 || shape.n_pairs == 0, op, ": there are pairs but no rings");
  check_result(out, {shape.count, shape.n_pairs, n_angular}, ScalarType::Float, spectra, op);
  std::optional<Tensor> inverse;
  if (inverse_.has_value()) {
    STD_TORCH_CHECK(inverse_->dim() == 3 && (inverse_->size(0) == 1 || inverse_->size(0) == shape.count) &&
                        inverse_->size(1) == shape.n_pairs && inverse_->size(2) == n_angular &&
                        inverse_->scalar_type() == ScalarType::Float,
                    op, ": inverse must have shape (1 or N, P, K) and be float32");
    STD_TORCH_CHECK(share_device(*inverse_, spectra), op, ": inverse is on another device than spectra");
    inverse = torch::stable::contiguous(*inverse_);
  }
  const InverseWeights weights{inverse.has_value() ? inverse->const_data_ptr<float>() : nullptr,
                               inverse.has_value() && inverse->size(0) == 1};
  const Tensor workspace = workspace_like(out, pair_samples_workspace(shape.count, shape.n_radial, n_angular));
  check_launch(pair_samples(shape, n_angular, spectra.const_data_ptr<float>(), pairs.const_data_ptr<int64_t>(), weights,
                            static_cast<float>(fill), static_cast<float*>(out.mutable_data_ptr()),
                            workspace.mutable_data_ptr(), stream_of(out)),
               op);
}

}  // namespace
}  // namespace cdifast::cuda

STABLE_TORCH_LIBRARY_IMPL(CDIFAST_LIBRARY, CDIFAST_CUDA_KEY, m) {
  m.impl("pair_spectra", TORCH_BOX(&cdifast::cuda::spectra_of_pairs));
  m.impl("pair_spectra_adjoint", TORCH_BOX(&cdifast::cuda::spectra_adjoint));
  m.impl("pair_samples_out", TORCH_BOX(&cdifast::cuda::samples_of_pairs));
}
