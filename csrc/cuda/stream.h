// The CUDA stream that torch is working on.
#pragma once

#include <cstdint>

namespace cdifast::cuda {

// torch's current stream of a device, as a cudaStream_t. Throws std::runtime_error under a torch without CUDA.
void* current_stream(int32_t device_index);

}  // namespace cdifast::cuda
