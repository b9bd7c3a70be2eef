// Every launcher of the correlation maps, for ThreadSanitizer.
#include <cstdint>
#include <vector>

#include "../../csrc/cuda/correlation_launch.h"
#include "../../csrc/emulator/emulator.h"
#include "arrays.h"

namespace {

using namespace cdifast;
using namespace cdifast::emulator;

// Weights for every map, for all, or none.
template <typename T>
void run_maps(DType dtype, const cuda::MapShape& shape, int64_t sets, const cuda::MapRule& rule) {
  using C = compute_t<T>;
  const int64_t samples = shape.n_radial * shape.n_angular;
  const int64_t cells = shape.n_radial * shape.n_radial;
  const auto unwrapped = numbers<T>(shape.count * samples, 1);
  const auto grad = numbers<T>(shape.count * cells, 2);
  auto weights = numbers<C>(sets * samples, 3);
  for (C& weight : weights) weight = weight < C(20) ? C(0) : weight / C(100);
  const cuda::WeightArgument weight{sets == 0 ? nullptr : weights.data(), sets == 1};
  auto out = unwritten<T>(shape.count * cells);
  auto grad_unwrapped = unwritten<T>(shape.count * samples);

  auto workspace = bytes(cuda::correlation_map_workspace(dtype, shape, weight));
  cuda::correlation_map(dtype, shape, unwrapped.data(), weight, rule, out.data(), workspace.data(), nullptr);
  workspace = bytes(cuda::correlation_map_backward_workspace(dtype, shape, weight));
  cuda::correlation_map_backward(dtype, shape, grad.data(), unwrapped.data(), weight, rule, grad_unwrapped.data(),
                                 workspace.data(), nullptr);
}

template <typename C>
void run_weight(DType dtype, const cuda::MapShape& shape) {
  const auto weight = numbers<C>(shape.count * shape.n_radial * shape.n_angular, 3);
  auto out = unwritten<C>(shape.count * shape.n_radial * shape.n_radial);
  auto workspace = bytes(cuda::correlation_weight_workspace(dtype, shape));
  cuda::correlation_weight(dtype, shape, weight.data(), 0.05, out.data(), workspace.data(), nullptr);
}

template <typename T>
void run_polar(DType dtype, int64_t count, bool shared, const cuda::MapRule& rule) {
  const PolarGrid grid{11, 13, 4, 8, 1.0, 5.0, false};
  const auto images = numbers<T>(count * grid.height * grid.width, 1);
  std::vector<double> centers;
  for (int64_t n = 0; n < (shared ? 1 : count); ++n) {
    centers.push_back(4.7 + 0.3 * static_cast<double>(n));
    centers.push_back(6.1);
  }
  std::vector<uint8_t> good(static_cast<std::size_t>(grid.height * grid.width), 1);
  good[70] = good[71] = 0;
  const cuda::DetectorArgument detector{grid, centers.data(), good.data(), shared, true};
  auto out = unwritten<double>(count * grid.n_radial * grid.n_radial);  // room for any type
  auto workspace = bytes(cuda::polar_correlation_map_workspace(dtype, count, detector));
  cuda::polar_correlation_map(dtype, count, images.data(), detector, rule, out.data(), workspace.data(), nullptr);
}

}  // namespace

int main() {
  const cuda::MapRule rule{3, false, Normalize::pearson, 0.0, 0.05};
  const cuda::MapRule other{2, true, Normalize::mean, 0.0, 0.05};
  // Three tiles and more than a chunk of angles; then as little as possible.
  run_maps<float>(DType::f32, {1, 66, 18}, 1, rule);
  // Of the dtypes only how an element is read and written differs, and how many angles a chunk holds.
  settings().compute_capability = 86;  // without fast tensor cores
  run_maps<float>(DType::f32, {1, 66, 18}, 1, rule);
  settings().compute_capability = 90;
  run_maps<double>(DType::f64, {2, 4, 9}, 2, other);
  run_maps<float>(DType::f32, {2, 4, 9}, 0, rule);
  run_maps<float>(DType::f32, {1, 134, 9}, 0, rule);  // tiles off the diagonal
  run_weight<float>(DType::f32, {1, 66, 9});
  run_weight<double>(DType::f64, {2, 4, 9});
  run_polar<float>(DType::f32, 2, false, other);
  run_polar<double>(DType::f64, 2, true, rule);
  return 0;
}
