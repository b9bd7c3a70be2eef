// The CUDA runtime as the torch-facing files see it, without any CUDA header.
#pragma once

#include <string>

namespace cdifast::cuda {

// "13.0", say: the CUDA runtime that the kernels are linked with.
std::string runtime_version();

// What a cudaError_t means.
const char* error_text(int error);

}  // namespace cdifast::cuda
