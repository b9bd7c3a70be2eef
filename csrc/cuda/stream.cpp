#include "stream.h"

#include <dlfcn.h>

#include <stdexcept>

namespace cdifast::cuda {
namespace {

using GetCurrentStream = int32_t (*)(int32_t device_index, void** stream);

// Looked up at run time, because linking it would tie this module to a CUDA build of torch: the symbol is in
// libtorch_cuda.so, which a CPU build does not have. The library is only asked for, never loaded, here.
GetCurrentStream find_function() {
  void* library = dlopen("libtorch_cuda.so", RTLD_NOLOAD | RTLD_LAZY);
  if (library == nullptr) return nullptr;
  return reinterpret_cast<GetCurrentStream>(dlsym(library, "aoti_torch_get_current_cuda_stream"));
}

}  // namespace

void* current_stream(int32_t device_index) {
  static const GetCurrentStream function = find_function();
  if (function == nullptr) throw std::runtime_error("cdifast: this torch has no CUDA stream to run on");
  void* stream = nullptr;
  if (function(device_index, &stream) != 0) throw std::runtime_error("cdifast: torch did not give its CUDA stream");
  return stream;
}

}  // namespace cdifast::cuda
