// One allocation of the caller's cut into the arrays that a launcher needs. No torch and no CUDA type.
#pragma once

#include <cstdint>

namespace cdifast::cuda {

// Work that grows with the number of maps goes in passes over as many maps as fit into this, so that an operator's
// memory beyond its result has a bound. A pass of 2,000 maps of 112 x 224 gives each of a large card's multiprocessors
// a dozen or more; with passes that the L2 cache holds (50 MB on an H100) it would be four or five, and one in six
// would wait. The emulator is built with little, so that a few small maps already take several passes.
#if !defined(CDIFAST_PASS_BYTES)
#define CDIFAST_PASS_BYTES (256 << 20)
#endif

// Maps of a pass; at least one.
inline int64_t maps_of_a_pass(int64_t maps, int64_t bytes_per_map) {
  const int64_t fit = bytes_per_map > 0 ? CDIFAST_PASS_BYTES / bytes_per_map : maps;
  const int64_t pass = fit < maps ? fit : maps;
  return pass > 1 ? pass : 1;
}

// Hands out arrays from the front. Without memory it only counts, so that the same lines say how much to allocate.
class Workspace {
 public:
  explicit Workspace(void* memory) : memory_(static_cast<char*>(memory)) {}

  template <typename T>
  T* take(int64_t count) {
    T* const array = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }

  int64_t used() const { return used_; }

 private:
  static constexpr int64_t kAlignment = 256;  // that of torch's own allocations on a GPU

  char* memory_;
  int64_t used_ = 0;
};

}  // namespace cdifast::cuda
