// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "polar_simd.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// Integer images give float maps; floating ones keep their type.
template <typename T>
struct OutputType {
  using type = float;
};
template <>
struct OutputType<Half> {
  using type = Half;
};
template <>
struct OutputType<BFloat16> {
  using type = BFloat16;
};
template <>
struct OutputType<double> {
  using type = double;
};

void forward(DType dtype, const void* image, const void* plan, int64_t samples, double fill, void* out) {
  dispatch_element(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* pixels = static_cast<const T*>(image);
    const auto* planned = static_cast<const PlannedSample<C>*>(plan);
    auto* target = static_cast<typename OutputType<T>::type*>(out);
    const C fill_value = static_cast<C>(fill);
    for (int64_t s = 0; s < samples; ++s) {
      const PlannedSample<C>& sample = planned[s];
      C value = 0;
      for (int t = 0; t < 4; ++t) {
        // A masked pixel may hold NaN, and 0 * NaN is NaN: it is not read at all.
        if (sample.coefficient[t] != 0) value += sample.coefficient[t] * load_element(pixels[sample.pixel[t]]);
      }
      store_element(target[s], sample.pixel[0] < 0 ? fill_value : value);
    }
  });
}

void adjoint(DType dtype, const void* grad, const void* plan, int64_t samples, void* grad_image) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* gradient = static_cast<const T*>(grad);
    const auto* planned = static_cast<const PlannedSample<C>*>(plan);
    C* target = static_cast<C*>(grad_image);
    for (int64_t s = 0; s < samples; ++s) {
      const PlannedSample<C>& sample = planned[s];
      const C g = load_element(gradient[s]);
      for (int t = 0; t < 4; ++t) {
        if (sample.coefficient[t] != 0) target[sample.pixel[t]] += sample.coefficient[t] * g;
      }
    }
  });
}

}  // namespace

const PolarKernels polar_kernels = {forward, adjoint};

}  // namespace cdifast::cpu::CDIFAST_ISA
