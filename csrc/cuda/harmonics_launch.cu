#include "grid.h"
#include "harmonics_kernel.cuh"
#include "harmonics_launch.h"
#include "harmonics_tensor.cuh"
#include "launch.cuh"
#include "workspace.h"

namespace cdifast::cuda {
namespace {

constexpr int kFewColumns = 1;   // a tile of 8 orders
constexpr int kManyColumns = 4;  // 32

template <typename C>
struct Arrays {
  MeanOfRing<C>* means;
  Vector<float>* basis;  // for tensor cores
  Complex<C>* circle;    // and what the tiles of double look up
  Order* orders;
  int64_t bytes;
};

template <typename C>
constexpr bool kOnTensorCores = sizeof(C) == sizeof(float);

int64_t basis_quads(const HarmonicsShape& shape) {
  return divide_up(shape.n_orders, kOrdersTogether) * divide_up(shape.n_angular, kTensorDepth) * 2 * kWarp;
}

template <typename C>
Arrays<C> arrays(const HarmonicsShape& shape, bool with_means, void* memory) {
  Workspace workspace(memory);
  Arrays<C> result{};
  if (kOnTensorCores<C>) {
    result.basis = workspace.take<Vector<float>>(basis_quads(shape));
  } else {
    result.circle = workspace.take<Complex<C>>(shape.n_angular);
    result.orders = workspace.take<Order>(shape.n_orders);
  }
  if (with_means && !kOnTensorCores<C>) {
    result.means = workspace.take<MeanOfRing<C>>(shape.count * shape.n_radial);
  }
  result.bytes = workspace.used();
  return result;
}

template <bool kAdjoint>
void prepare(const HarmonicsShape& shape, const int64_t* orders, const Arrays<float>& memory, void* stream) {
  if (shape.n_orders == 0) return;
  launch(tensor_basis_kernel<kAdjoint>, blocks_for(divide_up(basis_quads(shape), 128)), 128, stream, orders,
         shape.n_orders, shape.n_angular, memory.basis);
}

template <bool kAdjoint>
void prepare(const HarmonicsShape& shape, const int64_t* orders, const Arrays<double>& memory, void* stream) {
  using C = double;
  launch(unit_circle_kernel<C>, blocks_for(divide_up(shape.n_angular, 256)), 256, stream, int64_t{1}, shape.n_angular,
         memory.circle);
  if (shape.n_orders == 0) return;
  launch(orders_kernel, blocks_for(divide_up(shape.n_orders, 256)), 256, stream, orders, shape.n_orders,
         shape.n_angular, memory.orders);
}

template <typename T>
void ring_means(const UnwrappedMaps<T>& maps, const HarmonicsShape& shape, const Arrays<compute_t<T>>& memory,
                void* stream) {
  launch(ring_mean_kernel<T>, blocks_for(divide_up(shape.count * shape.n_radial, kRingsPerBlock)), kRingThreads, stream,
         maps, shape.count, memory.means);
}

template <typename T>
void harmonics(const UnwrappedMaps<T>& maps, const HarmonicsShape& shape, const int64_t* orders,
               const Arrays<float>& memory, float* out, void* stream) {
  const auto run = [&](auto kernel) {
    launch(kernel, blocks_for_each(divide_up(shape.count * shape.n_radial, kQuadWarps * kTensorRows)), kQuadThreads,
           stream, maps, shape.count, memory.basis, orders, shape.n_orders, out);
  };
  const bool weighted = maps.weights != nullptr;
  const bool whole =
      whole_quads(maps.values, shape.n_angular) && (!weighted || whole_quads(maps.weights, shape.n_angular));
  if (whole && shape.n_angular <= kHeldSteps * kTensorDepth) {
    weighted ? run(harmonics_tensor_kernel<T, true, true>) : run(harmonics_tensor_kernel<T, false, true>);
  } else {
    weighted ? run(harmonics_tensor_kernel<T, true, false>) : run(harmonics_tensor_kernel<T, false, false>);
  }
}

void harmonics(const UnwrappedMaps<double>& maps, const HarmonicsShape& shape, const int64_t* /*orders*/,
               const Arrays<double>& memory, double* out, void* stream) {
  ring_means(maps, shape, memory, stream);
  const auto run = [&](auto kernel, int64_t orders_of_a_tile) {
    const int64_t tiles = divide_up(shape.n_radial, kTileRows) * divide_up(shape.n_orders, orders_of_a_tile);
    launch(kernel, blocks_for(shape.count * tiles), kTileThreads, stream, maps, shape.count, memory.means,
           memory.circle, memory.orders, shape.n_orders, out);
  };
  constexpr int kFew = kThreadsAcross * kFewColumns / 2, kMany = kThreadsAcross * kManyColumns / 2;
  shape.n_orders <= kFew ? run(harmonics_kernel<double, kFewColumns>, kFew)
                         : run(harmonics_kernel<double, kManyColumns>, kMany);
}

void harmonics_adjoint(const float* grad, const HarmonicsShape& shape, const Arrays<float>& memory, float factor,
                       float* out, void* stream) {
  const int64_t steps = divide_up(shape.n_angular, kTensorDepth);
  const int64_t tasks = divide_up(shape.count * shape.n_radial, kTensorRows) * divide_up(steps, kAngleSteps);
  launch(harmonics_backward_tensor_kernel, blocks_for(divide_up(tasks, kQuadWarps)), kQuadThreads, stream, grad,
         shape.n_orders, shape.count, shape.n_radial, shape.n_angular, memory.basis, factor, out);
}

void harmonics_adjoint(const double* grad, const HarmonicsShape& shape, const Arrays<double>& memory, double factor,
                       double* out, void* stream) {
  launch(harmonics_backward_kernel<double>,
         blocks_for(shape.count * divide_up(shape.n_radial, kTileRows) * divide_up(shape.n_angular, kTileRows)),
         kTileThreads, stream, grad, memory.orders, shape.n_orders, shape.count, shape.n_radial, shape.n_angular,
         memory.circle, factor, out);
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
    prepare<false>(shape, orders, memory, stream);
    harmonics(maps, shape, orders, memory, static_cast<C*>(out), stream);
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
    prepare<true>(shape, orders, memory, stream);
    harmonics_adjoint(gradient, shape, memory, weights == nullptr ? C(1) / static_cast<C>(shape.n_angular) : C(1),
                      target, stream);
    if (weights != nullptr) {
      launch(harmonics_finish_kernel<C>, blocks_for(divide_up(shape.count * shape.n_radial, kRingsPerBlock)),
             kRingThreads, stream, gradient, orders, shape.n_orders, weights, shared_weight, shape.count,
             shape.n_radial, shape.n_angular, target);
    }
  });
  return launch_error();
}

}  // namespace cdifast::cuda
