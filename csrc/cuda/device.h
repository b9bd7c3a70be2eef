// The GPU as the registration files see it through torch; the emulator (csrc/emulator) has its own.
#pragma once

#include "../torch_bridge.h"
#include "runtime.h"

#if defined(CDIFAST_EMULATOR)

#include "../emulator/device.h"

#else

#include <torch/csrc/stable/accelerator.h>

#include "stream.h"

// Where the kernels are registered.
#define CDIFAST_CUDA_KEY CUDA

namespace cdifast::cuda {

// While it lives, the device of `tensor` is the current one.
class DeviceScope {
 public:
  explicit DeviceScope(const Tensor& tensor) : guard_(tensor.get_device_index()) {}

 private:
  torch::stable::accelerator::DeviceGuard guard_;
};

inline bool on_device(const Tensor& tensor) { return !tensor.is_cpu(); }

inline void* stream_of(const Tensor& tensor) { return current_stream(tensor.get_device_index()); }

}  // namespace cdifast::cuda

#endif

namespace cdifast::cuda {

inline void check_launch(int error, const char* op) {
  STD_TORCH_CHECK(error == 0, op, ": CUDA error: ", error_text(error));
}

inline Tensor workspace_like(const Tensor& tensor, int64_t bytes) {
  return torch::stable::new_empty(tensor, {bytes}, ScalarType::Byte);
}

}  // namespace cdifast::cuda
