// What the emulator's operator library (cdifast_emulator::*) has of its own: its settings, and a CUDA runtime.
#include <atomic>
#include <string>

#include "../cuda/runtime.h"
#include "device.h"
#include "emulator.h"

namespace cdifast::cuda {
namespace {

std::atomic<bool> scalars_on_device{false};

}  // namespace

bool on_device(const Tensor&) { return scalars_on_device; }

std::string runtime_version() { return "emulator"; }

const char* error_text(int) { return "the emulator throws its errors"; }

}  // namespace cdifast::cuda

// Called by the tests through ctypes. See emulator::Settings; scalars_on_device: whether a scalar tensor argument
// stands for one on the GPU.
extern "C" __attribute__((visibility("default"))) void cdifast_emulator_configure(uint32_t schedule, uint8_t poison,
                                                                                  bool scalars_on_device,
                                                                                  int compute_capability) {
  cdifast::emulator::settings() = {schedule, poison, compute_capability};
  cdifast::cuda::scalars_on_device = scalars_on_device;
}
