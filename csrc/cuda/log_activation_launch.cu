#include <type_traits>

#include "launch.cuh"
#include "log_activation_kernel.cuh"
#include "log_activation_launch.h"

namespace cdifast::cuda {
namespace {

template <typename C>
AlphaSource<C> alpha_source(const AlphaArgument& alpha) {
  const bool f32 = alpha.device_dtype == DType::f32;
  return {alpha.value, f32 ? static_cast<const float*>(alpha.device) : nullptr,
          f32 ? nullptr : static_cast<const double*>(alpha.device)};
}

template <typename C>
BiasSource<C> bias_source(const ChannelBias& bias, int64_t first) {
  return {static_cast<const C*>(bias.values),
          bias.channels,
          bias.inner,
          divider(bias.channels),
          divider(bias.inner),
          first};
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % kVectorBytes == 0; }

// Splits a flat array into 16-byte packs and what is left over (all of it where a pointer is not aligned, as in a
// slice of a larger tensor). Calls launch(elements a pack, first element, packs, pieces) for both, a piece being what
// the threads of a block have at a time.
template <typename T, typename F>
void launch_packed(int64_t count, bool is_aligned, const F& launch) {
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  const int64_t packs = is_aligned ? count / kVector : 0;
  const int64_t rest = count - packs * kVector;
  if (packs > 0) launch(std::integral_constant<int, kVector>{}, int64_t{0}, packs, divide_up(packs, kThreads));
  if (rest > 0) launch(std::integral_constant<int, 1>{}, packs * kVector, rest, divide_up(rest, kThreads));
}

// Of threads that have a pack once: for four floats the card starts blocks faster than they come round. Eight elements
// of a half type take longer, behind which a block's next pack is on its way.
template <typename T>
unsigned blocks_of(int64_t pieces) {
  return sizeof(T) < sizeof(float) ? blocks_for(pieces) : blocks_for_each(pieces);
}

}  // namespace

int log_activation_forward(DType dtype, const void* x, void* y, int64_t count, const AlphaArgument& alpha,
                           const ChannelBias& bias, void* stream) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* source = static_cast<const T*>(x);
    T* target = static_cast<T*>(y);
    const auto a = alpha_source<compute_t<T>>(alpha);
    launch_packed<T>(count, aligned(x) && aligned(y), [&](auto vector, int64_t first, int64_t packs, int64_t pieces) {
      launch(log_activation_forward_kernel<T, decltype(vector)::value>, blocks_of<T>(pieces), kThreads, stream,
             source + first, target + first, packs, a, bias_source<compute_t<T>>(bias, first));
    });
  });
  return launch_error();
}

int log_activation_backward(DType dtype, const void* grad, const void* x, void* grad_x, int64_t count,
                            const AlphaArgument& alpha, const ChannelBias& bias, void* stream) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* gradient = static_cast<const T*>(grad);
    const T* source = static_cast<const T*>(x);
    T* target = static_cast<T*>(grad_x);
    const auto a = alpha_source<compute_t<T>>(alpha);
    launch_packed<T>(count, aligned(grad) && aligned(x) && aligned(grad_x),
                     [&](auto vector, int64_t first, int64_t packs, int64_t pieces) {
                       launch(log_activation_backward_kernel<T, decltype(vector)::value>, blocks_of<T>(pieces),
                              kThreads, stream, gradient + first, source + first, target + first, packs, a,
                              bias_source<compute_t<T>>(bias, first));
                     });
  });
  return launch_error();
}

int log_activation_backward_alpha(DType dtype, const void* grad, const void* x, void* grad_x, void* grad_alpha,
                                  DType grad_alpha_dtype, double* workspace, int64_t count, const AlphaArgument& alpha,
                                  const ChannelBias& bias, void* stream) {
  int parts = 0;
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* gradient = static_cast<const T*>(grad);
    const T* source = static_cast<const T*>(x);
    T* target = static_cast<T*>(grad_x);
    const auto a = alpha_source<compute_t<T>>(alpha);
    launch_packed<T>(count, aligned(grad) && aligned(x) && aligned(grad_x),
                     [&](auto vector, int64_t first, int64_t packs, int64_t pieces) {
                       const unsigned blocks = blocks_for(pieces);
                       launch(log_activation_backward_alpha_kernel<T, decltype(vector)::value>, blocks, kThreads,
                              stream, gradient + first, source + first, target + first, workspace + parts, packs, a,
                              bias_source<compute_t<T>>(bias, first));
                       parts += static_cast<int>(blocks);
                     });
  });
  if (grad_alpha_dtype == DType::f64) {
    launch(log_activation_sum_parts_kernel<double>, 1, kThreads, stream, workspace, parts,
           static_cast<double*>(grad_alpha));
  } else {
    launch(log_activation_sum_parts_kernel<float>, 1, kThreads, stream, workspace, parts,
           static_cast<float*>(grad_alpha));
  }
  return launch_error();
}

}  // namespace cdifast::cuda
