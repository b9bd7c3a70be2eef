// How kernels are written and launched, for nvcc and for the emulator (csrc/emulator) alike. The only file of this
// folder's kernels and launchers that knows of either.
//
//   CDIFAST_SHARED(type, name, count);          declares a shared array
//   launch(kernel, grid, block, stream, ...);   kernel<<<grid, block, 0, stream>>>(...)
//   launch_error()                              cudaGetLastError() as int
//   compute_capability()                        of the current device, 90 for 9.0
#pragma once

#if defined(CDIFAST_EMULATOR)

#include "../emulator/emulator.h"

namespace cdifast::cuda {

using emulator::launch;
inline int launch_error() { return 0; }  // the emulator throws
inline int compute_capability() { return emulator::settings().compute_capability; }

}  // namespace cdifast::cuda

#else

#include <cuda_runtime.h>

#define CDIFAST_SHARED(type, name, count) __shared__ type name[count]

namespace cdifast::cuda {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, void* stream, Arguments... arguments) {
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  // clang-format off: it takes >>> after a name for the end of three templates
  kernel<<<grid, block, 0, cuda_stream>>>(static_cast<Parameters>(arguments)...);
  // clang-format on
}

inline int launch_error() { return cudaGetLastError(); }

inline int compute_capability() {
  int device = 0, major = 0, minor = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return 10 * major + minor;
}

}  // namespace cdifast::cuda

#endif
