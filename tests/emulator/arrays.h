// Arrays for the programs that call launchers without torch.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../../csrc/common/element.h"

namespace cdifast::emulator {

// `bytes` of the heap, aligned as an allocation is; NaN until written.
inline std::vector<char> bytes(int64_t count) { return std::vector<char>(static_cast<std::size_t>(count), '\xff'); }

template <typename T>
std::vector<T> unwritten(int64_t count) {
  std::vector<T> array(static_cast<std::size_t>(count));
  if (count > 0) std::memset(static_cast<void*>(array.data()), 0xff, array.size() * sizeof(T));
  return array;
}

// Numbers from 0 to 100.
template <typename T>
std::vector<T> numbers(int64_t count, int seed) {
  std::vector<T> array(static_cast<std::size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    store_element(array[static_cast<std::size_t>(i)], static_cast<compute_t<T>>((i * 7919 + seed) % 101));
  }
  return array;
}

}  // namespace cdifast::emulator
