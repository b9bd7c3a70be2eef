// Every launcher of polar resampling and its way back, with one geometry for all images and one for each, for
// ThreadSanitizer.
#include <cstdint>
#include <vector>

#include "../../csrc/cuda/resample_launch.h"

namespace {

using namespace cdifast;

template <typename T>
std::vector<T> filled(int64_t count) {
  std::vector<T> buffer(static_cast<std::size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    store_element(buffer[static_cast<std::size_t>(i)], static_cast<compute_t<T>>(i * 7919 % 201));
  }
  return buffer;
}

template <typename T, typename Out>
void run(SamplingKind kind, DType dtype, bool shared) {
  // More than a block's worth of samples, and warps that share some elements of the adjoint.
  constexpr int64_t images = 3;
  const bool polar = kind == SamplingKind::polar;
  const PolarGrid grid{20, 18, 3, polar ? 130 : 10, 0.0, 8.5, false};
  const int64_t pixels = grid.height * grid.width, elements = grid.n_radial * grid.n_angular;
  const int64_t source_size = polar ? pixels : elements, target_size = polar ? elements : pixels;
  const std::vector<double> center{9.1, 8.3, 9.6, 8.8, 10.1, 9.2};
  std::vector<uint8_t> good(static_cast<std::size_t>(images * source_size), 1);
  for (std::size_t i = 0; i < good.size(); i += 5) good[i] = 0;
  const cuda::ResampleGeometry geometry{
      grid, center.data(), shared ? 0 : 2, good.data(), shared ? 0 : source_size, shared ? 1 : images};

  const std::vector<T> source = filled<T>(images * source_size);
  std::vector<Out> target = filled<Out>(images * target_size);
  std::vector<Out> to_source = filled<Out>(images * source_size);
  std::vector<double> weight = filled<double>(images * target_size);
  std::vector<double> to_center = filled<double>(2 * images);
  std::vector<double> workspace = filled<double>(cuda::resample_center_workspace(kind, geometry, images));
  const DType out_dtype = sizeof(Out) == sizeof(float) ? DType::f32 : DType::f64;

  cuda::resample_forward(kind, dtype, source.data(), target.data(), geometry, images, 0.0, workspace.data(), nullptr);
  cuda::resample_weight(kind, true, weight.data(), geometry, workspace.data(), nullptr);
  cuda::resample_backward(kind, out_dtype, target.data(), to_source.data(), geometry, images, workspace.data(),
                          nullptr);
  cuda::resample_backward_center(kind, dtype, target.data(), source.data(), to_center.data(), geometry, images,
                                 workspace.data(), nullptr);
}

}  // namespace

int main() {
  for (const SamplingKind kind : {SamplingKind::polar, SamplingKind::cartesian}) {
    run<uint16_t, float>(kind, DType::u16, true);
    run<double, double>(kind, DType::f64, false);
  }
  return 0;
}
