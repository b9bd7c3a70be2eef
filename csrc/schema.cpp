// Every operator's schema, in one place, nothing else. The Python side (cdifast/ops) adds fake, autograd,
// autocast and vmap rules; csrc/cpu and csrc/cuda add the kernels.
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
      "polar_weight(Tensor center, Tensor? good, SymInt height, SymInt width, SymInt n_radial, SymInt n_angular, "
      "float r_min, float r_max, bool nearest, bool float64) -> Tensor");
  m.def(
      "polar_resample_backward(Tensor grad, Tensor center, Tensor? good, SymInt height, SymInt width, float r_min, "
      "float r_max, bool nearest) -> Tensor");
  m.def(
      "polar_resample_backward_center(Tensor grad, Tensor images, Tensor center, Tensor? good, float r_min, "
      "float r_max, bool nearest) -> Tensor");

  // unwrapped (N, R, K); weight (1 or N, R, K) in [0, 1]; normalize 0 none, 1 mean, 2 pearson.
  m.def(
      "correlation_map(Tensor unwrapped, Tensor? weight, int order, bool modulus, int normalize, float fill, "
      "float min_weight) -> Tensor");
  m.def("correlation_weight(Tensor weight, float min_weight) -> Tensor");
}
