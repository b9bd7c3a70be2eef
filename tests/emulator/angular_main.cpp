// Every launcher of the pairs of spectra, in every dtype, for ThreadSanitizer.
#include <cstdint>
#include <vector>

#include "../../csrc/cuda/angular_launch.h"
#include "arrays.h"

namespace {

using namespace cdifast;
using namespace cdifast::emulator;

template <typename C>
void run_spectra(DType dtype) {
  const cuda::SpectraShape shape{3, 2, 3, 33};
  const std::vector<int64_t> pairs{0, 1, 1, 1, 0, 0}, first{0, 3, 6}, entries{0, 4, 5, 1, 2, 3};
  const auto spectra = numbers<C>(shape.count * shape.n_radial * shape.n_frequencies * 2, 1);
  auto product = unwritten<C>(shape.count * shape.n_pairs * shape.n_frequencies * 2);
  auto out = unwritten<C>(shape.count * shape.n_radial * shape.n_frequencies * 2);
  cuda::pair_spectra(dtype, shape, spectra.data(), pairs.data(), product.data(), nullptr);
  cuda::pair_spectra_adjoint(dtype, shape, product.data(), spectra.data(), pairs.data(), first.data(), entries.data(),
                             out.data(), nullptr);
}

// More pairs than a warp has, and two parts of the lags.
void run_samples(const float* inverse) {
  constexpr int64_t kAngles = 136;
  const cuda::SpectraShape shape{2, 3, 17, kAngles / 2 + 1};
  std::vector<int64_t> pairs;
  for (int64_t p = 0; p < shape.n_pairs; ++p) pairs.insert(pairs.end(), {p % 3, p % 2});
  const auto spectra = numbers<float>(shape.count * shape.n_radial * shape.n_frequencies * 2, 1);
  auto out = unwritten<float>(shape.count * shape.n_pairs * kAngles);
  auto workspace = bytes(cuda::pair_samples_workspace(shape.count, shape.n_radial, kAngles));
  cuda::pair_samples(shape, kAngles, spectra.data(), pairs.data(), {inverse, true}, 0.0f, out.data(), workspace.data(),
                     nullptr);
}

}  // namespace

int main() {
  run_spectra<float>(DType::f32);
  run_spectra<double>(DType::f64);
  const auto inverse = numbers<float>(17 * 136, 2);
  run_samples(nullptr);
  run_samples(inverse.data());
  return 0;
}
