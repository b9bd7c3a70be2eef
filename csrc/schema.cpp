// Every operator's schema, in one place, nothing else. The Python side (cdifast/ops) adds fake, autograd,
// autocast and vmap rules; csrc/cpu and csrc/cuda add the kernels. `<op>_out` writes into a given contiguous tensor
// that shares no memory with the inputs.
#include <torch/csrc/stable/library.h>

#include "library.h"

STABLE_TORCH_LIBRARY(CDIFAST_LIBRARY, m) {
  // alpha: one floating element, on the CPU or on x's device. bias (C,): added along dimension 1 of x.
  m.def("log_activation(Tensor x, Tensor alpha, Tensor? bias) -> Tensor");
  m.def("log_activation_out(Tensor x, Tensor alpha, Tensor? bias, Tensor(a!) out) -> ()");
  m.def("log_activation_backward(Tensor grad, Tensor x, Tensor alpha, Tensor? bias) -> Tensor");
  m.def("log_activation_backward_alpha(Tensor grad, Tensor x, Tensor alpha, Tensor? bias) -> (Tensor, Tensor)");
  // The sum over all dimensions but 1, in float32 or float64.
  m.def("log_activation_backward_bias(Tensor grad_x) -> Tensor");

  // images (N, H, W); center (1 or N, 2) float64 as (y, x); good (1 or N, H, W) bool, True where usable.
  m.def(
      "polar_resample(Tensor images, Tensor center, Tensor? good, SymInt n_radial, SymInt n_angular, float r_min, "
      "float r_max, bool nearest, float fill) -> Tensor");
  m.def(
      "polar_resample_out(Tensor images, Tensor center, Tensor? good, float r_min, float r_max, bool nearest, "
      "float fill, Tensor(a!) out) -> ()");
  m.def(
      "polar_weight(Tensor center, Tensor? good, SymInt height, SymInt width, SymInt n_radial, SymInt n_angular, "
      "float r_min, float r_max, bool nearest, bool float64) -> Tensor");
  m.def(
      "polar_resample_backward(Tensor grad, Tensor center, Tensor? good, SymInt height, SymInt width, float r_min, "
      "float r_max, bool nearest) -> Tensor");
  m.def(
      "polar_resample_backward_center(Tensor grad, Tensor images, Tensor center, Tensor? good, float r_min, "
      "float r_max, bool nearest) -> Tensor");

  // unwrapped (N, R, K); center as above; good (1 or N, R, K) bool.
  m.def(
      "cartesian_resample(Tensor unwrapped, Tensor center, Tensor? good, SymInt height, SymInt width, float r_min, "
      "float r_max, bool nearest, float fill) -> Tensor");
  m.def(
      "cartesian_resample_out(Tensor unwrapped, Tensor center, Tensor? good, float r_min, float r_max, bool nearest, "
      "float fill, Tensor(a!) out) -> ()");
  m.def(
      "cartesian_weight(Tensor center, Tensor? good, SymInt n_radial, SymInt n_angular, SymInt height, SymInt width, "
      "float r_min, float r_max, bool nearest, bool float64) -> Tensor");
  m.def(
      "cartesian_resample_backward(Tensor grad, Tensor center, Tensor? good, SymInt n_radial, SymInt n_angular, "
      "float r_min, float r_max, bool nearest) -> Tensor");
  m.def(
      "cartesian_resample_backward_center(Tensor grad, Tensor unwrapped, Tensor center, Tensor? good, float r_min, "
      "float r_max, bool nearest) -> Tensor");

  // unwrapped (N, R, K); weight (1 or N, R, K) in [0, 1]; orders (O,) int64 on unwrapped's device, from -K/2 to K/2.
  // The result is complex as a last dimension of two: (N, O, R, 2), float64 for float64, else float32. The backward
  // pass is linear in grad and gives (N, R, K) in grad's dtype.
  m.def("angular_harmonics(Tensor unwrapped, Tensor? weight, Tensor orders) -> Tensor");
  m.def("angular_harmonics_out(Tensor unwrapped, Tensor? weight, Tensor orders, Tensor(a!) out) -> ()");
  m.def("angular_harmonics_backward(Tensor grad, Tensor? weight, Tensor orders, SymInt n_angular) -> Tensor");

  // unwrapped (N, R, K); weight (1 or N, R, K) in [0, 1]; normalize 0 none, 1 mean, 2 pearson.
  m.def(
      "correlation_map(Tensor unwrapped, Tensor? weight, int order, bool modulus, int normalize, float fill, "
      "float min_weight) -> Tensor");
  m.def(
      "correlation_map_out(Tensor unwrapped, Tensor? weight, int order, bool modulus, int normalize, float fill, "
      "float min_weight, Tensor(a!) out) -> ()");
  m.def(
      "correlation_map_backward(Tensor grad, Tensor unwrapped, Tensor? weight, int order, bool modulus, "
      "int normalize, float min_weight) -> Tensor");
  m.def("correlation_weight(Tensor weight, float min_weight) -> Tensor");

  // correlation_map of polar_resample with polar_weight as its weight; integer images give float32.
  m.def(
      "polar_correlation_map(Tensor images, Tensor center, Tensor? good, SymInt n_radial, SymInt n_angular, "
      "float r_min, float r_max, bool nearest, int order, bool modulus, int normalize, float fill, "
      "float min_weight) -> Tensor");
  m.def(
      "polar_correlation_map_out(Tensor images, Tensor center, Tensor? good, SymInt n_angular, float r_min, "
      "float r_max, bool nearest, int order, bool modulus, int normalize, float fill, float min_weight, "
      "Tensor(a!) out) -> ()");

  // unwrapped (N, R, K); weight as above; pairs (P, 2) int64 on unwrapped's device, rings (i, j).
  // out[n, p, d] = sum_k w[i,k] w[j,k+d] I[i,k] I[j,k+d] / sum_k w[i,k] w[j,k+d], or fill: (N, P, K).
  m.def("angular_correlation(Tensor unwrapped, Tensor? weight, Tensor pairs, float fill, float min_weight) -> Tensor");
  m.def(
      "angular_correlation_out(Tensor unwrapped, Tensor? weight, Tensor pairs, float fill, float min_weight, "
      "Tensor(a!) out) -> ()");
  m.def(
      "angular_correlation_backward(Tensor grad, Tensor unwrapped, Tensor? weight, Tensor pairs, float min_weight) "
      "-> Tensor");
  // Around torch's FFT, where an operator has no transform of its own. Spectra as a last dimension of two.
  // pair_spectra: spectra (N, R, F, 2) -> (N, P, F, 2): conj(S_i) S_j.
  // pair_spectra_adjoint: the adjoint in each factor: product (N, P, F, 2), spectra (N, R, F, 2) -> (N, R, F, 2):
  //   out_r = sum over pairs (r, j) of conj(G_p) S_j + sum over pairs (i, r) of G_p S_i.
  //   first (R + 1,) and entries (2 P,) int64 list each ring's pairs: entry 2 p for (r, j), 2 p + 1 for (i, r).
  m.def("pair_spectra(Tensor spectra, Tensor pairs) -> Tensor");
  // pair_samples: the inverse transforms of K = 2 (F - 1) samples of the same products, times `inverse` (1 or N, P, K),
  //   or `fill` where that is 0: out (N, P, K). float32 and CUDA only.
  m.def("pair_samples_out(Tensor spectra, Tensor pairs, Tensor? inverse, float fill, Tensor(a!) out) -> ()");
  m.def("pair_spectra_adjoint(Tensor product, Tensor spectra, Tensor pairs, Tensor first, Tensor entries) -> Tensor");
}
