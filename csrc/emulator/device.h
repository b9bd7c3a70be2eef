// What csrc/cuda/device.h is to the GPU: CPU tensors taken for device memory, so that the emulator runs the very
// registration files of the CUDA operators.
#pragma once

#include "../torch_bridge.h"

#define CDIFAST_CUDA_KEY CPU

namespace cdifast::cuda {

class DeviceScope {
 public:
  explicit DeviceScope(const Tensor&) {}
};

// Asked of scalar arguments, which may be on either side: cdifast_emulator_configure says where.
bool on_device(const Tensor& tensor);

inline void* stream_of(const Tensor&) { return nullptr; }

}  // namespace cdifast::cuda
