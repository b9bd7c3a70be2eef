#include <type_traits>

#include "correlation_gradient.cuh"
#include "correlation_gradient_tensor.cuh"
#include "correlation_kernel.cuh"
#include "correlation_launch.h"
#include "correlation_sampling.cuh"
#include "correlation_tensor.cuh"
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
  C* kept = nullptr;  // the samples as the products need them
  C* symmetric = nullptr;
  C* product = nullptr;
  int* partial = nullptr;
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
                        (backward ? (2 * shape.n_radial + cells + samples) * size : 0) + samples * size +
                        (fused && own ? samples * size : 0);
  Arrays<C> result;
  result.pass = maps_of_a_pass(shape.count, a_map);
  Workspace workspace(memory);
  result.harmonic = workspace.take<Complex<C>>(shape.n_angular);
  result.rings = workspace.take<Ring<C>>(result.pass * shape.n_radial);
  result.kept = workspace.take<C>(result.pass * samples);
  if (weighted) result.pairs = workspace.take<C>((own ? result.pass : 1) * cells);
  if (backward) {
    result.to_parts = workspace.take<Complex<C>>(result.pass * shape.n_radial);
    result.symmetric = workspace.take<C>(result.pass * cells);
    result.product = workspace.take<C>(result.pass * samples);
  }
  if (fused) {
    result.partial = workspace.take<int>(1);
    result.directions = workspace.take<Complex<double>>(shape.n_angular);
    result.values = result.kept;  // made from one another in place
    result.weights = workspace.take<C>((own ? result.pass : 1) * samples);
  }
  result.bytes = workspace.used();
  return result;
}

// A block for each tile of a pass, whose maps would not fit into memory before they are 2^31.
unsigned blocks(int64_t tiles) { return static_cast<unsigned>(tiles); }

// Groups of rows that are cut into spans of as many groups each, at most those of a tile.
struct Cut {
  int64_t spans;
  int groups;
};

Cut cut(int64_t rows, int rows_of_a_group, int most_groups) {
  const int64_t groups = divide_up(rows, rows_of_a_group);
  const int64_t spans = divide_up(groups, most_groups);
  return {spans, static_cast<int>(divide_up(groups, spans))};
}

template <typename C>
Cut cut(int64_t rows) {
  return cut(rows, Micro<C>::kRows, Micro<C>::kGroups);
}

// Threads for so many microtiles, in whole warps.
unsigned micro_threads(int microtiles) { return static_cast<unsigned>(kWarp * divide_up(microtiles, kWarp)); }

// Calls f(diagonal, spans, blocks) for the tiles on the diagonal of `count` maps, then for those below it, where there
// are any.
template <typename F>
void for_all_tiles(const Cut& rings, int64_t count, const F& f) {
  const Spans spans{static_cast<uint32_t>(rings.spans), rings.groups};
  f(std::true_type{}, spans, blocks(count * rings.spans));
  if (rings.spans > 1) f(std::false_type{}, spans, blocks(count * rings.spans * (rings.spans - 1) / 2));
}

// Threads for the microtiles of a tile of so many groups along a side.
unsigned tile_threads(bool diagonal, int groups) {
  return micro_threads(diagonal ? groups * (groups + 1) / 2 : groups * groups);
}

template <typename C>
void unit_circle(int64_t turns, int64_t count, Complex<C>* table, void* stream) {
  launch(unit_circle_kernel<C>, blocks_for(divide_up(count, 256)), 256, stream, turns, count, table);
}

// For `count` sets of weights. `ring_weights`: the finished weights of the cells of maps are wanted.
template <typename T>
void pair_weights(const UnwrappedMaps<T>& maps, int64_t count, const compute_t<T>* ring_weights, compute_t<T> needed,
                  compute_t<T>* pairs, void* stream) {
  using C = compute_t<T>;
  const UnwrappedMaps<C> weights{nullptr,       maps.weights,   maps.shared_weights,
                                 maps.n_radial, maps.n_angular, maps.partial};
  for_all_tiles(cut<C>(maps.n_radial), count, [&](auto diagonal, const Spans& spans, unsigned tiles) {
    launch(pair_weights_kernel<C, decltype(diagonal)::value>, tiles, tile_threads(diagonal, spans.groups), stream,
           weights, spans, ring_weights, needed, pairs);
  });
}

template <typename T>
void ring_statistics(const UnwrappedMaps<T>& maps, int64_t count, const MapRule& rule,
                     const Arrays<compute_t<T>>& arrays, void* stream) {
  const unsigned blocks = blocks_for(divide_up(count * maps.n_radial, kRingsPerBlock * kRingsOfAWarp));
  const double needed = needed_weight(rule.min_weight, maps.n_angular);
  const auto run = [&](auto kernel) {
    launch(kernel, blocks, kRingThreads, stream, maps, count, arrays.harmonic, rule.normalize, needed, arrays.kept,
           arrays.rings);
  };
  // Whether samples of detector frames have weights is known on the GPU alone.
  const bool weighted = maps.weights != nullptr;
  const bool plain = !weighted || maps.partial != nullptr;
  if constexpr (sizeof(compute_t<T>) == sizeof(float)) {
    const bool whole = whole_quads(maps.values, maps.n_angular) && whole_quads(maps.weights, maps.n_angular);
    if (whole && maps.n_angular <= kHeldSteps * kTensorDepth) {
      const auto run_quads = [&](auto kernel) {
        launch(kernel, blocks_for_each(divide_up(count * maps.n_radial, kQuadWarps * kTensorRows)), kQuadThreads,
               stream, maps, count, arrays.harmonic, rule.normalize, needed, arrays.kept, arrays.rings);
      };
      if (weighted) run_quads(quad_ring_statistics_kernel<T, true>);
      if (plain) run_quads(quad_ring_statistics_kernel<T, false>);
      return;
    }
  }
  constexpr int kLong = sizeof(compute_t<T>) == 4 ? 23 : 8;
  if (maps.n_angular <= 8 * kWarp) {
    if (weighted) run(short_ring_statistics_kernel<T, 8, true>);
    if (plain) run(short_ring_statistics_kernel<T, 8, false>);
  } else if (maps.n_angular <= kLong * kWarp) {
    if (weighted) run(short_ring_statistics_kernel<T, kLong, true>);
    if (plain) run(short_ring_statistics_kernel<T, kLong, false>);
  } else {
    run(ring_statistics_kernel<T>);
  }
}

template <typename C>
Cells<C> cells(const MapRule& rule, const MapShape& shape, bool weighted, bool shared, const Arrays<C>& arrays) {
  return {weighted ? arrays.pairs : nullptr, shared, rule.modulus,
          static_cast<C>(needed_weight(rule.min_weight, shape.n_angular)), static_cast<C>(rule.fill)};
}

template <typename T>
void own_pair_weights(const UnwrappedMaps<T>& maps, int64_t count, const Arrays<compute_t<T>>& arrays, void* stream) {
  const compute_t<T>* const unfinished = nullptr;
  pair_weights(maps, count, unfinished, compute_t<T>(0), arrays.pairs, stream);
}

// Of weights that all maps share.
template <typename T>
void shared_pair_weights(const MapShape& shape, const WeightArgument& weight, const Arrays<compute_t<T>>& arrays,
                         void* stream) {
  using C = compute_t<T>;
  own_pair_weights(UnwrappedMaps<T>{nullptr, static_cast<const C*>(weight.data), true, shape.n_radial, shape.n_angular},
                   1, arrays, stream);
}

// Statistics, pairs where every map has its own, and the maps, of one pass.
template <typename T, typename Out>
void maps_of_pass(const UnwrappedMaps<T>& maps, int64_t count, const MapShape& shape, const MapRule& rule,
                  const Arrays<compute_t<T>>& arrays, Out* out, void* stream) {
  using C = compute_t<T>;
  const bool weighted = maps.weights != nullptr;
  ring_statistics(maps, count, rule, arrays, stream);
  if (weighted && !maps.shared_weights) own_pair_weights(maps, count, arrays, stream);
  const UnwrappedMaps<C> shaped{nullptr,       maps.weights,   maps.shared_weights,
                                maps.n_radial, maps.n_angular, maps.partial};
  const auto run = [&](auto kernel, unsigned tiles, unsigned threads, const Spans& spans) {
    launch(kernel, tiles, threads, stream, static_cast<const C*>(arrays.kept), shaped, spans,
           static_cast<const Ring<C>*>(arrays.rings), cells<C>(rule, shape, weighted, maps.shared_weights, arrays),
           out);
  };
  if constexpr (sizeof(C) == sizeof(float)) {
    if (fast_tensor_cores(compute_capability())) {
      for_all_tiles(cut(shape.n_radial, kTensorRows, kTensorGroups), count,
                    [&](auto diagonal, const Spans& spans, unsigned tiles) {
                      const int warps = diagonal ? (spans.groups + 1) / 2 * 2 : spans.groups;
                      run(map_tensor_kernel<Out, decltype(diagonal)::value>, diagonal ? tiles : 2 * tiles,
                          static_cast<unsigned>(kWarp * warps), spans);
                    });
      return;
    }
  }
  for_all_tiles(cut<C>(shape.n_radial), count, [&](auto diagonal, const Spans& spans, unsigned tiles) {
    run(map_kernel<C, Out, decltype(diagonal)::value>, tiles, tile_threads(diagonal, spans.groups), spans);
  });
}

// The product of the gradient's lower triangle, as triangles_gradient_kernel left it, and the kept samples.
template <typename C>
void lower_gradient(int64_t count, const MapShape& shape, const Arrays<C>& arrays, void* stream) {
  const auto run = [&](auto kernel, const Cut& rings, const Cut& angles, unsigned threads) {
    launch(kernel, blocks(count * rings.spans * angles.spans), threads, stream, static_cast<const C*>(arrays.symmetric),
           static_cast<const C*>(arrays.kept), static_cast<int>(shape.n_radial), static_cast<int>(shape.n_angular),
           RingAngleTiles{rings.spans, angles.spans, rings.groups, angles.groups}, arrays.product);
  };
  if constexpr (sizeof(C) == sizeof(float)) {
    if (fast_tensor_cores(compute_capability())) {
      using Block = GradientBlock;
      run(lower_gradient_tensor_kernel<Block>, cut(shape.n_radial, kTensorRows, Block::kRingGroups),
          cut(shape.n_angular, kTensorRows, Block::kAngleGroups), Block::kThreads);
      return;
    }
  }
  const Cut rings = cut<C>(shape.n_radial), angles = cut<C>(shape.n_angular);
  run(lower_gradient_kernel<C>, rings, angles, micro_threads(rings.groups * angles.groups));
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

constexpr int64_t kEnoughBlocks = CDIFAST_MAX_BLOCKS < 2048 ? CDIFAST_MAX_BLOCKS : 2048;

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
    if (weight.data != nullptr && weight.shared) shared_pair_weights<T>(shape, weight, memory, stream);
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
    if (weighted && weight.shared) shared_pair_weights<T>(shape, weight, memory, stream);
    for_each_pass<T>(
        shape, unwrapped, weight, memory.pass, [&](int64_t first, int64_t count, const UnwrappedMaps<T>& maps) {
          const T* const gradient = static_cast<const T*>(grad) + first * n_radial * n_radial;
          ring_statistics(maps, count, rule, memory, stream);
          if (weighted && !weight.shared) own_pair_weights(maps, count, memory, stream);
          launch(triangles_gradient_kernel<T>, blocks_for(count * divide_up(n_radial, kGradientRings)),
                 kGradientRings * kGradientWarps, stream, gradient, maps, count, rings,
                 cells<C>(rule, shape, weighted, weight.shared, memory), memory.to_parts, memory.symmetric);
          lower_gradient(count, shape, memory, stream);
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
    pair_weights(UnwrappedMaps<C>{nullptr, weights, false, shape.n_radial, shape.n_angular}, shape.count,
                 static_cast<const C*>(sums), static_cast<C>(needed_weight(min_weight, shape.n_angular)),
                 static_cast<C*>(out), stream);
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
    using Out = resampled_t<T>;
    const auto memory = arrays<C>(Operation::fused, shape, true, shared, workspace);
    const Detector geometry{grid, detector.center, detector.good, detector.shared_center, detector.shared_good};
    unit_circle(rule.order, grid.n_angular, memory.harmonic, stream);
    unit_circle(int64_t{1}, grid.n_angular, memory.directions, stream);
    const UnwrappedMaps<C> maps{memory.values, memory.weights, shared, grid.n_radial, grid.n_angular, memory.partial};
    const Plane plane{static_cast<uint32_t>(grid.n_radial), static_cast<uint32_t>(grid.n_angular)};
    launch(zero_kernel, 1, 1, stream, memory.partial);
    for (int64_t first = 0; first < count; first += memory.pass) {
      const int64_t pass = memory.pass < count - first ? memory.pass : count - first;
      // As many images for a thread of a shared geometry as leave a large card enough blocks.
      const int64_t of_a_slice =
          shared ? divide_up(pass, divide_up(kEnoughBlocks, patches_of(plane, kSampleThreads))) : 1;
      const int64_t slices = divide_up(pass, of_a_slice);
      launch(sample_kernel<T>, blocks_for(patches_of(plane, kSampleThreads) * slices), kSampleThreads, stream,
             static_cast<const T*>(images), geometry, of_a_slice, memory.directions, first, pass, memory.values,
             memory.weights, memory.partial);
      if (shared && first == 0) own_pair_weights(maps, 1, memory, stream);
      maps_of_pass(maps, pass, shape, rule, memory, static_cast<Out*>(out) + first * grid.n_radial * grid.n_radial,
                   stream);
    }
  });
  return launch_error();
}

}  // namespace cdifast::cuda
