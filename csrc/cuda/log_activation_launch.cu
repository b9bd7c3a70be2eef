#include <type_traits>

#include "launch.cuh"
#include "log_activation_kernel.cuh"
#include "log_activation_launch.h"

namespace cdifast::cuda {
namespace {

int blocks_for(int64_t packs) {
  const int64_t blocks = (packs + kThreads - 1) / kThreads;
  return static_cast<int>(blocks < kLogActivationMaxBlocks ? blocks : kLogActivationMaxBlocks);
}

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
// slice of a larger tensor). Calls launch(elements a pack, first element, packs, blocks, blocks launched before).
template <typename T, typename F>
int launch_packed(int64_t count, bool is_aligned, const F& launch) {
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  const int64_t packs = is_aligned ? count / kVector : 0;
  const int64_t rest = count - packs * kVector;
  const int blocks = blocks_for(packs);
  if (packs > 0) launch(std::integral_constant<int, kVector>{}, int64_t{0}, packs, blocks, 0);
  if (rest > 0) launch(std::integral_constant<int, 1>{}, packs * kVector, rest, blocks_for(rest), blocks);
  return blocks + blocks_for(rest);
}

}  // namespace

int log_activation_forward(DType dtype, const void* x, void* y, int64_t count, const AlphaArgument& alpha,
                           const ChannelBias& bias, void* stream) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* source = static_cast<const T*>(x);
    T* target = static_cast<T*>(y);
    const auto a = alpha_source<compute_t<T>>(alpha);
    launch_packed<T>(count, aligned(x) && aligned(y), [&](auto vector, int64_t first, int64_t packs, int blocks, int) {
      launch(log_activation_forward_kernel<T, decltype(vector)::value>, blocks, kThreads, stream, source + first,
             target + first, packs, a, bias_source<compute_t<T>>(bias, first));
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
                     [&](auto vector, int64_t first, int64_t packs, int blocks, int) {
                       launch(log_activation_backward_kernel<T, decltype(vector)::value>, blocks, kThreads, stream,
                              gradient + first, source + first, target + first, packs, a,
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
    parts = launch_packed<T>(count, aligned(grad) && aligned(x) && aligned(grad_x),
                             [&](auto vector, int64_t first, int64_t packs, int blocks, int blocks_before) {
                               launch(log_activation_backward_alpha_kernel<T, decltype(vector)::value>, blocks,
                                      kThreads, stream, gradient + first, source + first, target + first,
                                      workspace + blocks_before, packs, a, bias_source<compute_t<T>>(bias, first));
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
