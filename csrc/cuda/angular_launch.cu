#include "angular_kernel.cuh"
#include "angular_launch.h"
#include "angular_tensor.cuh"
#include "grid.h"
#include "launch.cuh"
#include "workspace.h"

namespace cdifast::cuda {
namespace {

constexpr int64_t kMostMaps = CDIFAST_MAX_BLOCKS < 32768 ? CDIFAST_MAX_BLOCKS : 32768;  // of a launch: second dimension

struct Arrays {
  float* planar;
  Vector<float>* basis;
  int64_t bytes;
};

int64_t basis_quads(int n_angular) {
  return int64_t{2} * frequency_steps(n_angular) * lag_parts(n_angular) * kLagTiles * 2 * kWarp;
}

Arrays arrays(int64_t count, int64_t n_radial, int n_angular, void* memory) {
  Workspace workspace(memory);
  Arrays result{};
  result.planar = workspace.take<float>(count * n_radial * planar_pitch(n_angular));
  result.basis = workspace.take<Vector<float>>(basis_quads(n_angular));
  result.bytes = workspace.used();
  return result;
}

}  // namespace

int pair_spectra(DType dtype, const SpectraShape& shape, const void* spectra, const int64_t* pairs, void* out,
                 void* stream) {
  if (shape.count == 0 || shape.n_pairs == 0 || shape.n_frequencies == 0) return 0;
  const auto run = [&](auto tag) {
    using C = typename decltype(tag)::type;
    launch(pair_spectra_kernel<C>, blocks_for(divide_up(shape.count * shape.n_pairs, kSpectraRows)), kSpectraThreads,
           stream, static_cast<const Complex<C>*>(spectra), pairs, shape.count, shape.n_radial, shape.n_pairs,
           shape.n_frequencies, static_cast<Complex<C>*>(out));
  };
  dtype == DType::f64 ? run(TypeTag<double>{}) : run(TypeTag<float>{});
  return launch_error();
}

int pair_spectra_adjoint(DType dtype, const SpectraShape& shape, const void* product, const void* spectra,
                         const int64_t* pairs, const int64_t* first, const int64_t* entries, void* out, void* stream) {
  if (shape.count == 0 || shape.n_radial == 0 || shape.n_frequencies == 0) return 0;
  const auto run = [&](auto tag) {
    using C = typename decltype(tag)::type;
    const int64_t items = shape.count * shape.n_radial * divide_up(shape.n_frequencies, kWarp);
    launch(pair_spectra_adjoint_kernel<C>, blocks_for(divide_up(items, kSpectraRows)), kSpectraThreads, stream,
           static_cast<const Complex<C>*>(product), static_cast<const Complex<C>*>(spectra), pairs, first, entries,
           shape.count, shape.n_radial, shape.n_pairs, shape.n_frequencies, static_cast<Complex<C>*>(out));
  };
  dtype == DType::f64 ? run(TypeTag<double>{}) : run(TypeTag<float>{});
  return launch_error();
}

int64_t pair_samples_workspace(int64_t count, int64_t n_radial, int64_t n_angular) {
  return arrays(count, n_radial, static_cast<int>(n_angular), nullptr).bytes;
}

int pair_samples(const SpectraShape& shape, int64_t n_angular, const float* spectra, const int64_t* pairs,
                 const InverseWeights& inverse, float fill, float* out, void* workspace, void* stream) {
  if (shape.count == 0 || shape.n_pairs == 0) return 0;
  const int angles = static_cast<int>(n_angular);
  const Arrays memory = arrays(shape.count, shape.n_radial, angles, workspace);
  const int64_t rings = shape.count * shape.n_radial;
  const int64_t pitch = planar_pitch(angles);
  launch(planar_spectra_kernel, blocks_for(divide_up(rings * pitch / 4, 128)), 128, stream, spectra, rings, angles,
         reinterpret_cast<Quad<float>*>(memory.planar));
  if (basis_quads(angles) > 0) {
    launch(lag_basis_kernel, blocks_for(divide_up(basis_quads(angles), 128)), 128, stream, angles, memory.basis);
  }
  const int64_t tasks = divide_up(shape.n_pairs, kTensorRows) * lag_parts(angles);
  for (int64_t first = 0; first < shape.count; first += kMostMaps) {
    const int64_t maps = kMostMaps < shape.count - first ? kMostMaps : shape.count - first;
    const int64_t cells = first * shape.n_pairs * n_angular;
    const Scale scale{inverse.data == nullptr || inverse.shared ? inverse.data : inverse.data + cells, inverse.shared,
                      fill};
    launch(pair_samples_kernel, dim3(static_cast<unsigned>(divide_up(tasks, kLagWarps)), static_cast<unsigned>(maps)),
           kLagThreads, stream, memory.planar + first * shape.n_radial * pitch, pairs, memory.basis, shape.n_radial,
           shape.n_pairs, angles, scale, out + cells);
  }
  return launch_error();
}

}  // namespace cdifast::cuda
