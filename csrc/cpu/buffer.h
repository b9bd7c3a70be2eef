// Working memory for the kernels' vectors, aligned to a cache line. Not for the files that are compiled once per
// instruction set: it needs the standard library.
#pragma once

#include <cstdint>
#include <vector>

namespace cdifast::cpu {

// Outputs that caches will not hold until they are read are stored past them: a line that is written as a whole need
// not be read from memory first. They hold none where a call moves that much, what it reads included.
constexpr int64_t kStreamedBytes = int64_t{32} << 20;

class Buffer {
 public:
  explicit Buffer(int64_t bytes) : lines_((bytes + 63) / 64) {}
  template <typename C>
  C* as() {
    return reinterpret_cast<C*>(lines_.data());
  }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> lines_;
};

}  // namespace cdifast::cpu
