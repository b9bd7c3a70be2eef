#include "correlation_kernel.cuh"
#include "correlation_launch.h"
#include "grid.h"
#include "launch.cuh"
#include "workspace.h"

namespace cdifast::cuda {
namespace {

// The arrays of the operators; those of a pass hold `pass` maps. Null without memory or where an operator has no use.
template <typename C>
struct Arrays {
  Complex<C>* harmonic = nullptr;
  C* pairs = nullptr;  // of the shared weights, or of a pass
  Ring<C>* rings = nullptr;
  Complex<C>* to_parts = nullptr;
  C* product = nullptr;
  Complex<double>* directions = nullptr;
  C* values = nullptr;
  C* weights = nullptr;
  int64_t pass = 1;
  int64_t bytes = 0;
};

enum class Operation { forward, backward, fused };

// `weighted`, `shared`: whether there are weights, and whether all maps have the same.
template <typename C>
Arrays<C> arrays(Operation operation, const MapShape& shape, bool weighted, bool shared, void* memory) {
  const int64_t samples = shape.n_radial * shape.n_angular;
  const int64_t cells = shape.n_radial * shape.n_radial;
  const bool backward = operation == Operation::backward;
  const bool fused = operation == Operation::fused;
  const bool own = weighted && !shared;
  const int64_t size = static_cast<int64_t>(sizeof(C));
  const int64_t a_map = shape.n_radial * static_cast<int64_t>(sizeof(Ring<C>)) + (own ? cells * size : 0) +
                        (backward ? (2 * shape.n_radial + samples) * size : 0) +
                        (fused ? samples * size * (own ? 2 : 1) : 0);
  Arrays<C> result;
  result.pass = maps_of_a_pass(shape.count, a_map);
  Workspace workspace(memory);
  result.harmonic = workspace.take<Complex<C>>(shape.n_angular);
  result.rings = workspace.take<Ring<C>>(result.pass * shape.n_radial);
  if (weighted) result.pairs = workspace.take<C>((own ? result.pass : 1) * cells);
  if (backward) {
    result.to_parts = workspace.take<Complex<C>>(result.pass * shape.n_radial);
    result.product = workspace.take<C>(result.pass * samples);
  }
  if (fused) {
    result.directions = workspace.take<Complex<double>>(shape.n_angular);
    result.values = workspace.take<C>(result.pass * samples);
    result.weights = workspace.take<C>((own ? result.pass : 1) * samples);
  }
  result.bytes = workspace.used();
  return result;
}

int64_t triangle(int64_t n_radial) {
  const int64_t across = divide_up(n_radial, kTileRows);
  return across * (across + 1) / 2;
}

template <typename C>
void unit_circle(int64_t turns, int64_t count, Complex<C>* table, void* stream) {
  launch(unit_circle_kernel<C>, blocks_for(divide_up(count, 256)), 256, stream, turns, count, table);
}

template <typename C>
void pair_weights(const C* weights, int64_t count, const MapShape& shape, C* pairs, void* stream) {
  const C* const raw = nullptr;
  launch(pair_weights_kernel<C>, blocks_for(count * triangle(shape.n_radial)), kTileThreads, stream, weights, count,
         shape.n_radial, shape.n_angular, raw, C(0), pairs);
}

template <typename T>
void ring_statistics(const UnwrappedMaps<T>& maps, int64_t count, const MapRule& rule,
                     const Arrays<compute_t<T>>& arrays, void* stream) {
  launch(ring_statistics_kernel<T>, blocks_for(divide_up(count * maps.n_radial, kRingsPerBlock)), kRingThreads, stream,
         maps, count, arrays.harmonic, rule.normalize, needed_weight(rule.min_weight, maps.n_angular), arrays.rings);
}

template <typename C>
Cells<C> cells(const MapRule& rule, const MapShape& shape, bool weighted, bool shared, const Arrays<C>& arrays) {
  return {weighted ? arrays.pairs : nullptr,
          shared,
          rule.modulus,
          rule.normalize == Normalize::pearson,
          static_cast<C>(needed_weight(rule.min_weight, shape.n_angular)),
          static_cast<C>(rule.fill)};
}

// Statistics, pairs where every map has its own, and the maps, of one pass.
template <typename T, typename Out>
void maps_of_pass(const UnwrappedMaps<T>& maps, int64_t count, const MapShape& shape, const MapRule& rule,
                  const Arrays<compute_t<T>>& arrays, Out* out, void* stream) {
  using C = compute_t<T>;
  const bool weighted = maps.weights != nullptr;
  ring_statistics(maps, count, rule, arrays, stream);
  if (weighted && !maps.shared_weights) pair_weights(maps.weights, count, shape, arrays.pairs, stream);
  launch(map_kernel<T, Out>, blocks_for(count * triangle(shape.n_radial)), kTileThreads, stream, maps, count,
         static_cast<const Ring<C>*>(arrays.rings), cells<C>(rule, shape, weighted, maps.shared_weights, arrays), out);
}

// Calls f(first map, count, the maps of the pass) for each pass.
template <typename T, typename F>
void for_each_pass(const MapShape& shape, const void* unwrapped, const WeightArgument& weight, int64_t pass,
                   const F& f) {
  using C = compute_t<T>;
  const int64_t samples = shape.n_radial * shape.n_angular;
  for (int64_t first = 0; first < shape.count; first += pass) {
    const C* const weights = static_cast<const C*>(weight.data);
    const UnwrappedMaps<T> maps{static_cast<const T*>(unwrapped) + first * samples,
                                weights == nullptr || weight.shared ? weights : weights + first * samples,
                                weight.shared, shape.n_radial, shape.n_angular};
    f(first, pass < shape.count - first ? pass : shape.count - first, maps);
  }
}

bool empty(const MapShape& shape) { return shape.count == 0 || shape.n_radial == 0; }

template <typename T>
struct FusedOutput {
  using type = float;
};
template <>
struct FusedOutput<Half> {
  using type = Half;
};
template <>
struct FusedOutput<BFloat16> {
  using type = BFloat16;
};
template <>
struct FusedOutput<double> {
  using type = double;
};

bool shared_geometry(const DetectorArgument& detector) {
  return detector.shared_center && (detector.good == nullptr || detector.shared_good);
}

}  // namespace

int64_t correlation_map_workspace(DType dtype, const MapShape& shape, const WeightArgument& weight) {
  const bool weighted = weight.data != nullptr;
  return dtype == DType::f64 ? arrays<double>(Operation::forward, shape, weighted, weight.shared, nullptr).bytes
                             : arrays<float>(Operation::forward, shape, weighted, weight.shared, nullptr).bytes;
}

int correlation_map(DType dtype, const MapShape& shape, const void* unwrapped, const WeightArgument& weight,
                    const MapRule& rule, void* out, void* workspace, void* stream) {
  if (empty(shape)) return 0;
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const auto memory = arrays<C>(Operation::forward, shape, weight.data != nullptr, weight.shared, workspace);
    unit_circle(rule.order, shape.n_angular, memory.harmonic, stream);
    if (weight.data != nullptr && weight.shared) {
      pair_weights(static_cast<const C*>(weight.data), 1, shape, memory.pairs, stream);
    }
    for_each_pass<T>(shape, unwrapped, weight, memory.pass,
                     [&](int64_t first, int64_t count, const UnwrappedMaps<T>& maps) {
                       maps_of_pass(maps, count, shape, rule, memory,
                                    static_cast<T*>(out) + first * shape.n_radial * shape.n_radial, stream);
                     });
  });
  return launch_error();
}

int64_t correlation_map_backward_workspace(DType dtype, const MapShape& shape, const WeightArgument& weight) {
  const bool weighted = weight.data != nullptr;
  return dtype == DType::f64 ? arrays<double>(Operation::backward, shape, weighted, weight.shared, nullptr).bytes
                             : arrays<float>(Operation::backward, shape, weighted, weight.shared, nullptr).bytes;
}

int correlation_map_backward(DType dtype, const MapShape& shape, const void* grad, const void* unwrapped,
                             const WeightArgument& weight, const MapRule& rule, void* grad_unwrapped, void* workspace,
                             void* stream) {
  if (empty(shape)) return 0;
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const bool weighted = weight.data != nullptr;
    const int64_t n_radial = shape.n_radial;
    const auto memory = arrays<C>(Operation::backward, shape, weighted, weight.shared, workspace);
    const Ring<C>* const rings = memory.rings;
    unit_circle(rule.order, shape.n_angular, memory.harmonic, stream);
    if (weighted && weight.shared) {
      pair_weights(static_cast<const C*>(weight.data), 1, shape, memory.pairs, stream);
    }
    for_each_pass<T>(
        shape, unwrapped, weight, memory.pass, [&](int64_t first, int64_t count, const UnwrappedMaps<T>& maps) {
          const T* const gradient = static_cast<const T*>(grad) + first * n_radial * n_radial;
          ring_statistics(maps, count, rule, memory, stream);
          if (weighted && !weight.shared) pair_weights(maps.weights, count, shape, memory.pairs, stream);
          launch(upper_gradient_kernel<T>, blocks_for(count * divide_up(n_radial, kGradientRings)),
                 kGradientRings * kGradientWarps, stream, gradient, count, n_radial, rings, rule.modulus,
                 memory.to_parts);
          launch(lower_gradient_kernel<T>,
                 blocks_for(count * divide_up(n_radial, kTileRows) * divide_up(shape.n_angular, kTileRows)),
                 kTileThreads, stream, gradient, maps, count, rings,
                 cells<C>(rule, shape, weighted, weight.shared, memory), memory.product);
          launch(ring_gradient_kernel<T>, blocks_for(divide_up(count * n_radial, kRingsPerBlock)), kRingThreads, stream,
                 maps, count, memory.harmonic, rule.normalize, rule.modulus, rings, memory.product, memory.to_parts,
                 static_cast<T*>(grad_unwrapped) + first * n_radial * shape.n_angular);
        });
  });
  return launch_error();
}

int64_t correlation_weight_workspace(DType dtype, const MapShape& shape) {
  Workspace workspace(nullptr);
  const int64_t rings = shape.count * shape.n_radial;
  dtype == DType::f64 ? static_cast<void>(workspace.take<double>(rings))
                      : static_cast<void>(workspace.take<float>(rings));
  return workspace.used();
}

int correlation_weight(DType dtype, const MapShape& shape, const void* weight, double min_weight, void* out,
                       void* workspace, void* stream) {
  if (empty(shape)) return 0;
  const auto run = [&](auto tag) {
    using C = typename decltype(tag)::type;
    const int64_t rings = shape.count * shape.n_radial;
    const C* const weights = static_cast<const C*>(weight);
    C* const sums = static_cast<C*>(workspace);
    launch(ring_weights_kernel<C>, blocks_for(divide_up(rings, kRingsPerBlock)), kRingThreads, stream, weights, rings,
           shape.n_angular, sums);
    launch(pair_weights_kernel<C>, blocks_for(shape.count * triangle(shape.n_radial)), kTileThreads, stream, weights,
           shape.count, shape.n_radial, shape.n_angular, sums,
           static_cast<C>(needed_weight(min_weight, shape.n_angular)), static_cast<C*>(out));
  };
  dtype == DType::f64 ? run(TypeTag<double>{}) : run(TypeTag<float>{});
  return launch_error();
}

int64_t polar_correlation_map_workspace(DType dtype, int64_t count, const DetectorArgument& detector) {
  const MapShape shape{count, detector.grid.n_radial, detector.grid.n_angular};
  const bool shared = shared_geometry(detector);
  return dtype == DType::f64 ? arrays<double>(Operation::fused, shape, true, shared, nullptr).bytes
                             : arrays<float>(Operation::fused, shape, true, shared, nullptr).bytes;
}

int polar_correlation_map(DType dtype, int64_t count, const void* images, const DetectorArgument& detector,
                          const MapRule& rule, void* out, void* workspace, void* stream) {
  const PolarGrid& grid = detector.grid;
  const MapShape shape{count, grid.n_radial, grid.n_angular};
  if (empty(shape)) return 0;
  const bool shared = shared_geometry(detector);
  dispatch_element(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    using Out = typename FusedOutput<T>::type;
    const auto memory = arrays<C>(Operation::fused, shape, true, shared, workspace);
    const Detector geometry{grid, detector.center, detector.good, detector.shared_center, detector.shared_good};
    unit_circle(rule.order, grid.n_angular, memory.harmonic, stream);
    unit_circle(int64_t{1}, grid.n_angular, memory.directions, stream);
    const UnwrappedMaps<C> maps{memory.values, memory.weights, shared, grid.n_radial, grid.n_angular};
    for (int64_t first = 0; first < count; first += memory.pass) {
      const int64_t pass = memory.pass < count - first ? memory.pass : count - first;
      const int64_t slices = divide_up(pass, shared ? kImagesOfASample : 1);
      launch(sample_kernel<T>, blocks_for(divide_up(grid.n_radial * grid.n_angular, kSampleThreads) * slices),
             kSampleThreads, stream, static_cast<const T*>(images), geometry, shared, memory.directions, first, pass,
             memory.values, memory.weights);
      if (shared && first == 0) pair_weights(maps.weights, 1, shape, memory.pairs, stream);
      maps_of_pass(maps, pass, shape, rule, memory, static_cast<Out*>(out) + first * grid.n_radial * grid.n_radial,
                   stream);
    }
  });
  return launch_error();
}

}  // namespace cdifast::cuda
