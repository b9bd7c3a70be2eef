// Every launcher of the angular harmonics, in every dtype, for ThreadSanitizer.
#include <cstdint>
#include <vector>

#include "../../csrc/cuda/harmonics_launch.h"
#include "arrays.h"

namespace {

using namespace cdifast;
using namespace cdifast::emulator;

// Weights for every map, for all, or none.
template <typename T>
void run_harmonics(DType dtype, const cuda::HarmonicsShape& shape, int64_t sets) {
  using C = compute_t<T>;
  const DType compute = dtype == DType::f64 ? DType::f64 : DType::f32;
  const int64_t samples = shape.n_radial * shape.n_angular;
  const auto unwrapped = numbers<T>(shape.count * samples, 1);
  const auto weights = numbers<C>(sets * samples, 2);
  const C* const weight = sets == 0 ? nullptr : weights.data();
  std::vector<int64_t> orders;
  for (int64_t o = 0; o < shape.n_orders; ++o) orders.push_back(o % 5 - 2);

  auto out = unwritten<C>(shape.count * shape.n_orders * shape.n_radial * 2);
  auto workspace = bytes(cuda::angular_harmonics_workspace(dtype, shape));
  cuda::angular_harmonics(dtype, shape, unwrapped.data(), weight, sets == 1, orders.data(), out.data(),
                          workspace.data(), nullptr);
  auto gradient = unwritten<C>(shape.count * samples);
  workspace = bytes(cuda::angular_harmonics_backward_workspace(compute, shape));
  cuda::angular_harmonics_backward(compute, shape, out.data(), weight, sets == 1, orders.data(), gradient.data(),
                                   workspace.data(), nullptr);
}

}  // namespace

int main() {
  // Two tiles of rings and more than a chunk of angles; then few orders and rings.
  run_harmonics<float>(DType::f32, {1, 66, 18, 9}, 1);
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32, DType::f64}) {
    dispatch_floating(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      run_harmonics<T>(dtype, {2, 4, 9, 2}, 0);
      run_harmonics<T>(dtype, {2, 4, 9, 33}, 2);
    });
  }
  return 0;
}
