// Elements that move as one 16-byte access. No torch and no CUDA type.
#pragma once

namespace cdifast::cuda {

template <typename C>
struct alignas(16) Vector {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(C));
  C element[kCount];
};

}  // namespace cdifast::cuda
