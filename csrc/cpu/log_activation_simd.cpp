// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "log_activation_simd.h"

#include "../common/log_activation_math.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

void forward(DType dtype, const void* x, void* y, int64_t count, double alpha) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* __restrict source = static_cast<const T*>(x);
    T* __restrict target = static_cast<T*>(y);
    const C a = static_cast<C>(alpha);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      store_element(target[i], log_activation_value(load_element(source[i]), a));
    }
  });
}

void backward(DType dtype, const void* grad_y, const void* x, void* grad_x, int64_t count, double alpha) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* __restrict gradient = static_cast<const T*>(grad_y);
    const T* __restrict source = static_cast<const T*>(x);
    T* __restrict target = static_cast<T*>(grad_x);
    const C a = static_cast<C>(alpha);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      store_element(target[i], load_element(gradient[i]) * log_activation_slope(load_element(source[i]), a));
    }
  });
}

double backward_alpha(DType dtype, const void* grad_y, const void* x, void* grad_x, int64_t count, double alpha) {
  double total = 0.0;
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* __restrict gradient = static_cast<const T*>(grad_y);
    const T* __restrict source = static_cast<const T*>(x);
    T* __restrict target = static_cast<T*>(grad_x);
    const C a = static_cast<C>(alpha);
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) {
      const C value = load_element(source[i]);
      const C g = load_element(gradient[i]);
      store_element(target[i], g * log_activation_slope(value, a));
      sum += static_cast<double>(g * log_activation_unit(value));
    }
    total = sum;
  });
  return total;
}

}  // namespace

const LogActivationKernels log_activation_kernels = {forward, backward, backward_alpha};

}  // namespace cdifast::cpu::CDIFAST_ISA
