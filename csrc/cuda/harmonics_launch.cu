#include "grid.h"
#include "harmonics_kernel.cuh"
#include "harmonics_launch.h"
#include "launch.cuh"
#include "workspace.h"

namespace cdifast::cuda {
namespace {

constexpr int kFewColumns = 1;   // a tile of 8 orders
constexpr int kManyColumns = 4;  // 32

template <typename C>
struct Arrays {
  Complex<C>* circle;
  Order* orders;
  MeanOfRing<C>* means;
  Complex<C>* basis;
  int64_t bytes;
};

bool is_short(const HarmonicsShape& shape) {
  return shape.n_angular <= kMostHeld * kWarp && shape.n_orders <= kFewOrders;
}

template <typename C>
Arrays<C> arrays(const HarmonicsShape& shape, bool with_means, void* memory) {
  Workspace workspace(memory);
  Arrays<C> result{};
  if (with_means && is_short(shape)) {
    result.basis = workspace.take<Complex<C>>(shape.n_orders * shape.n_angular);
    result.bytes = workspace.used();
    return result;
  }
  result.circle = workspace.take<Complex<C>>(shape.n_angular);
  result.orders = workspace.take<Order>(shape.n_orders);
  if (with_means) result.means = workspace.take<MeanOfRing<C>>(shape.count * shape.n_radial);
  result.bytes = workspace.used();
  return result;
}

// The table of the unit circle and the orders, which the tiles look up.
template <typename C>
void prepare(const HarmonicsShape& shape, const int64_t* orders, const Arrays<C>& memory, void* stream) {
  launch(unit_circle_kernel<C>, blocks_for(divide_up(shape.n_angular, 256)), 256, stream, int64_t{1}, shape.n_angular,
         memory.circle);
  if (shape.n_orders == 0) return;
  launch(orders_kernel, blocks_for(divide_up(shape.n_orders, 256)), 256, stream, orders, shape.n_orders,
         shape.n_angular, memory.orders);
}

template <typename T, int kColumns>
void harmonics(const UnwrappedMaps<T>& maps, const HarmonicsShape& shape, const Arrays<compute_t<T>>& memory,
               compute_t<T>* out, void* stream) {
  const int64_t tiles = divide_up(shape.n_radial, kTileRows) * divide_up(shape.n_orders, kThreadsAcross * kColumns / 2);
  launch(harmonics_kernel<T, kColumns>, blocks_for(shape.count * tiles), kTileThreads, stream, maps, shape.count,
         memory.means, memory.circle, memory.orders, shape.n_orders, out);
}

// Calls f(TypeTag<C>{}) for float or double.
template <typename F>
void dispatch_compute(DType dtype, const F& f) {
  dtype == DType::f64 ? f(TypeTag<double>{}) : f(TypeTag<float>{});
}

}  // namespace

int64_t angular_harmonics_workspace(DType dtype, const HarmonicsShape& shape) {
  return dtype == DType::f64 ? arrays<double>(shape, true, nullptr).bytes : arrays<float>(shape, true, nullptr).bytes;
}

int angular_harmonics(DType dtype, const HarmonicsShape& shape, const void* unwrapped, const void* weight,
                      bool shared_weight, const int64_t* orders, void* out, void* workspace, void* stream) {
  if (shape.count == 0 || shape.n_radial == 0 || shape.n_orders == 0) return 0;
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const auto memory = arrays<C>(shape, true, workspace);
    const UnwrappedMaps<T> maps{static_cast<const T*>(unwrapped), static_cast<const C*>(weight), shared_weight,
                                shape.n_radial, shape.n_angular};
    if (is_short(shape)) {
      launch(basis_kernel<C>, blocks_for(divide_up(shape.n_orders * shape.n_angular, 256)), 256, stream, orders,
             shape.n_orders, shape.n_angular, memory.basis);
      const auto run = [&](auto kernel) {
        launch(kernel, blocks_for(divide_up(shape.count * shape.n_radial, kRingsPerBlock * kRingsTogether)),
               kRingThreads, stream, maps, shape.count, memory.basis, orders, shape.n_orders, static_cast<C*>(out));
      };
      weight == nullptr ? run(short_harmonics_kernel<T, false>) : run(short_harmonics_kernel<T, true>);
      return;
    }
    prepare(shape, orders, memory, stream);
    launch(ring_mean_kernel<T>, blocks_for(divide_up(shape.count * shape.n_radial, kRingsPerBlock)), kRingThreads,
           stream, maps, shape.count, memory.means);
    if (shape.n_orders <= kThreadsAcross * kFewColumns / 2) {
      harmonics<T, kFewColumns>(maps, shape, memory, static_cast<C*>(out), stream);
    } else {
      harmonics<T, kManyColumns>(maps, shape, memory, static_cast<C*>(out), stream);
    }
  });
  return launch_error();
}

int64_t angular_harmonics_backward_workspace(DType dtype, const HarmonicsShape& shape) {
  return dtype == DType::f64 ? arrays<double>(shape, false, nullptr).bytes : arrays<float>(shape, false, nullptr).bytes;
}

int angular_harmonics_backward(DType dtype, const HarmonicsShape& shape, const void* grad, const void* weight,
                               bool shared_weight, const int64_t* orders, void* out, void* workspace, void* stream) {
  if (shape.count == 0 || shape.n_radial == 0) return 0;
  dispatch_compute(dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    const auto memory = arrays<C>(shape, false, workspace);
    const C* const gradient = static_cast<const C*>(grad);
    const C* const weights = static_cast<const C*>(weight);
    C* const target = static_cast<C*>(out);
    prepare(shape, orders, memory, stream);
    launch(harmonics_backward_kernel<C>,
           blocks_for(shape.count * divide_up(shape.n_radial, kTileRows) * divide_up(shape.n_angular, kTileRows)),
           kTileThreads, stream, gradient, memory.orders, shape.n_orders, shape.count, shape.n_radial, shape.n_angular,
           memory.circle, weights == nullptr ? C(1) / static_cast<C>(shape.n_angular) : C(1), target);
    if (weights != nullptr) {
      launch(harmonics_finish_kernel<C>, blocks_for(divide_up(shape.count * shape.n_radial, kRingsPerBlock)),
             kRingThreads, stream, gradient, memory.orders, shape.n_orders, weights, shared_weight, shape.count,
             shape.n_radial, shape.n_angular, target);
    }
  });
  return launch_error();
}

int pair_spectra(DType dtype, const SpectraShape& shape, const void* spectra, const int64_t* pairs, void* out,
                 void* stream) {
  if (shape.count == 0 || shape.n_pairs == 0 || shape.n_frequencies == 0) return 0;
  dispatch_compute(dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    launch(pair_spectra_kernel<C>, blocks_for(divide_up(shape.count * shape.n_pairs, kSpectraRows)), kSpectraThreads,
           stream, static_cast<const Complex<C>*>(spectra), pairs, shape.count, shape.n_radial, shape.n_pairs,
           shape.n_frequencies, static_cast<Complex<C>*>(out));
  });
  return launch_error();
}

int pair_spectra_adjoint(DType dtype, const SpectraShape& shape, const void* product, const void* spectra,
                         const int64_t* pairs, const int64_t* first, const int64_t* entries, void* out, void* stream) {
  if (shape.count == 0 || shape.n_radial == 0 || shape.n_frequencies == 0) return 0;
  dispatch_compute(dtype, [&](auto tag) {
    using C = typename decltype(tag)::type;
    const int64_t items = shape.count * shape.n_radial * divide_up(shape.n_frequencies, kWarp);
    launch(pair_spectra_adjoint_kernel<C>, blocks_for(divide_up(items, kSpectraRows)), kSpectraThreads, stream,
           static_cast<const Complex<C>*>(product), static_cast<const Complex<C>*>(spectra), pairs, first, entries,
           shape.count, shape.n_radial, shape.n_pairs, shape.n_frequencies, static_cast<Complex<C>*>(out));
  });
  return launch_error();
}

}  // namespace cdifast::cuda
