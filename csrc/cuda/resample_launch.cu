#include "grid.h"
#include "launch.cuh"
#include "resample_kernel.cuh"
#include "resample_launch.h"

namespace cdifast::cuda {
namespace {

// Blocks that keep a large card busy in two rounds or so. More would only repeat the geometry for smaller chunks.
constexpr int64_t kEnoughBlocks = CDIFAST_MAX_BLOCKS < 2048 ? CDIFAST_MAX_BLOCKS : 2048;
constexpr int64_t kMaxGridY = CDIFAST_MAX_BLOCKS < 65535 ? CDIFAST_MAX_BLOCKS : 65535;

int64_t at_least_one(int64_t count) { return count > 1 ? count : 1; }
int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <typename F>
void dispatch_kind(SamplingKind kind, const F& f) {
  if (kind == SamplingKind::polar) {
    f(TypeTag<PolarKind>{});
  } else {
    f(TypeTag<CartesianKind>{});
  }
}

int64_t sample_blocks(SamplingKind kind, const PolarGrid& grid) {
  const Plane plane = kind == SamplingKind::polar ? PolarKind::target(grid) : CartesianKind::target(grid);
  return least(patches_of(plane, kResampleThreads), CDIFAST_MAX_BLOCKS);
}

// Blocks over the work of one image, and images that a thread's geometry serves: as many as leave the card enough
// blocks.
struct Chunks {
  int64_t blocks;
  int64_t chunk;
  int64_t count;
};

Chunks chunks_of(int64_t blocks, int64_t images) {
  const int64_t wanted = least(at_least_one(kEnoughBlocks / blocks), images);
  const int64_t chunk = divide_up(images, at_least_one(wanted));
  return {blocks, chunk, divide_up(images, at_least_one(chunk))};
}

// The same for the gradient of the centre: one image at a time where each has its own centre, and then no more blocks
// an image than it takes to fill the card.
Chunks center_chunks_of(SamplingKind kind, const ResampleGeometry& geometry, int64_t images) {
  if (geometry.center_stride == 0) return chunks_of(sample_blocks(kind, geometry.grid), images);
  return {least(sample_blocks(kind, geometry.grid), at_least_one(kEnoughBlocks / at_least_one(images))), 1, images};
}

dim3 grid_of(int64_t x, int64_t y) { return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)); }

// The table of directions at the start of the workspace.
const Direction* make_directions(int64_t n, double* workspace, void* stream) {
  auto* directions = reinterpret_cast<Direction*>(workspace);
  launch(resample_directions_kernel, grid_of(least(divide_up(n, kResampleThreads), CDIFAST_MAX_BLOCKS), 1),
         kResampleThreads, stream, directions, n);
  return directions;
}

const Direction* directions_for_samples(SamplingKind kind, const PolarGrid& grid, double* workspace, void* stream) {
  return kind == SamplingKind::polar ? make_directions(grid.n_angular, workspace, stream) : nullptr;
}

// Which elements are teams', and how many samples a single thread may get. `lists`: of the gather with lists, where a
// thread should not have more than kList.
GatherSchedule schedule_of(SamplingKind kind, const PolarGrid& grid, bool lists) {
  const int threads = lists ? kListThreads : kResampleThreads;
  const double step = grid.step();
  GatherSchedule schedule{};
  if (kind == SamplingKind::polar) {
    schedule.single = CartesianKind::target(grid);
    double box = -1.0;
    if (lists) {
      // A pixel at distance r is read by the samples of four pixels' area, 4 n_angular / (2 pi r step) of them, or a
      // ring's in its diagonal where the steps are wide. Eighteen leave room for a last sample on every ring.
      box = __builtin_floor(static_cast<double>(grid.n_angular) / (28.27 * (step < 1.4 ? step : 1.4)));
    } else if (grid.n_angular >= 128) {  // with fewer a ring is no work for a warp
      box = static_cast<double>(grid.n_angular / 64);
    }
    // The square has up to four times as many pixels as the image, wherever the centre lies.
    const double most = __builtin_ceil(__builtin_sqrt(static_cast<double>(grid.height * grid.width)));
    schedule.box = static_cast<int64_t>(box < most ? box : most);
    schedule.team_items = schedule.box < 0 ? 0 : (2 * schedule.box + 1) * (2 * schedule.box + 1);
  } else {
    // A sector of two steps by two angles at radius r holds 8 pi r step / n_angular pixels, and no more than at r =
    // step where it reaches the centre.
    const double wide = (lists ? 18.0 : 64.0) * static_cast<double>(grid.n_angular) / (25.13 * step);
    const double first_wide_ring = lists && wide <= step ? 0.0 : (wide - grid.r_min) / step;
    const bool any = first_wide_ring < static_cast<double>(grid.n_radial);
    const int64_t single_rings =
        any ? static_cast<int64_t>(first_wide_ring > 0.0 ? first_wide_ring : 0.0) : grid.n_radial;
    schedule.single = {static_cast<uint32_t>(single_rings), static_cast<uint32_t>(grid.n_angular)};
    schedule.team_items = (grid.n_radial - single_rings) * grid.n_angular;
  }
  schedule.team_units = divide_up(schedule.team_items, threads / kResampleWarp);
  schedule.units = schedule.team_units + patches_of(schedule.single, threads);
  return schedule;
}

}  // namespace

int64_t resample_workspace(const PolarGrid& grid) { return 4 * grid.n_angular; }

int64_t resample_center_workspace(SamplingKind kind, const ResampleGeometry& geometry, int64_t images) {
  const Chunks chunks = center_chunks_of(kind, geometry, images);
  return resample_workspace(geometry.grid) + 2 * chunks.blocks * chunks.count;
}

int resample_forward(SamplingKind kind, DType dtype, const void* source, void* target, const ResampleGeometry& geometry,
                     int64_t images, double fill, double* workspace, void* stream) {
  if (images == 0) return 0;
  const Direction* directions = directions_for_samples(kind, geometry.grid, workspace, stream);
  const Chunks chunks = chunks_of(sample_blocks(kind, geometry.grid), images);
  dispatch_kind(kind, [&](auto kind_tag) {
    using Kind = typename decltype(kind_tag)::type;
    dispatch_element(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(resample_kernel<Kind, T>, grid_of(chunks.blocks, chunks.count), kResampleThreads, stream,
             static_cast<const T*>(source), static_cast<resampled_t<T>*>(target), geometry, directions, images,
             chunks.chunk, static_cast<compute_t<T>>(fill));
    });
  });
  return launch_error();
}

int resample_weight(SamplingKind kind, bool float64, void* target, const ResampleGeometry& geometry, double* workspace,
                    void* stream) {
  if (geometry.count == 0) return 0;
  const Direction* directions = directions_for_samples(kind, geometry.grid, workspace, stream);
  const int64_t blocks = sample_blocks(kind, geometry.grid);
  const int64_t rows = least(geometry.count, at_least_one(CDIFAST_MAX_BLOCKS / blocks));
  dispatch_kind(kind, [&](auto kind_tag) {
    using Kind = typename decltype(kind_tag)::type;
    if (float64) {
      launch(resample_weight_kernel<Kind, double>, grid_of(blocks, rows), kResampleThreads, stream,
             static_cast<double*>(target), geometry, directions);
    } else {
      launch(resample_weight_kernel<Kind, float>, grid_of(blocks, rows), kResampleThreads, stream,
             static_cast<float*>(target), geometry, directions);
    }
  });
  return launch_error();
}

int resample_backward(SamplingKind kind, DType dtype, const void* grad, void* target, const ResampleGeometry& geometry,
                      int64_t images, double* workspace, void* stream) {
  if (images == 0) return 0;
  // The way back also needs the half steps, which bound what nearest takes.
  const Direction* directions = make_directions(
      kind == SamplingKind::polar ? geometry.grid.n_angular : 2 * geometry.grid.n_angular, workspace, stream);
  const bool lists = geometry.count == 1 && images > 1;
  const GatherSchedule schedule = schedule_of(kind, geometry.grid, lists);
  const int64_t blocks = least(schedule.units, CDIFAST_MAX_BLOCKS);
  const Chunks chunks = chunks_of(blocks, images);
  dispatch_kind(kind, [&](auto kind_tag) {
    using Kind = typename decltype(kind_tag)::type;
    dispatch_floating(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto* gradient = static_cast<const T*>(grad);
      auto* to = static_cast<T*>(target);
      if (lists) {
        launch(resample_backward_lists_kernel<Kind, T>, grid_of(blocks, chunks.count), kListThreads, stream, gradient,
               to, geometry, directions, schedule, images, chunks.chunk);
      } else {
        launch(resample_backward_kernel<Kind, T>, grid_of(blocks, least(images, kMaxGridY)), kResampleThreads, stream,
               gradient, to, geometry, directions, schedule, images);
      }
    });
  });
  return launch_error();
}

int resample_backward_center(SamplingKind kind, DType dtype, const void* grad, const void* source, double* target,
                             const ResampleGeometry& geometry, int64_t images, double* workspace, void* stream) {
  const bool shared = geometry.center_stride == 0;
  const int64_t centers = shared ? 1 : images;
  if (centers == 0) return 0;
  const Chunks chunks = center_chunks_of(kind, geometry, images);
  double* parts = workspace + resample_workspace(geometry.grid);
  if (images > 0) {
    const Direction* directions = directions_for_samples(kind, geometry.grid, workspace, stream);
    dispatch_kind(kind, [&](auto kind_tag) {
      using Kind = typename decltype(kind_tag)::type;
      dispatch_element(dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        launch(resample_center_kernel<Kind, T>, grid_of(chunks.blocks, least(chunks.count, kMaxGridY)),
               kResampleThreads, stream, static_cast<const resampled_t<T>*>(grad), static_cast<const T*>(source), parts,
               geometry, directions, images, chunks.chunk);
      });
    });
  }
  launch(resample_sum_parts_kernel, grid_of(least(centers, CDIFAST_MAX_BLOCKS), 1), kResampleThreads, stream, parts,
         shared ? chunks.blocks * chunks.count : chunks.blocks, centers, target);
  return launch_error();
}

}  // namespace cdifast::cuda
