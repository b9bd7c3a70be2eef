#include "launch.cuh"
#include "resample_kernel.cuh"
#include "resample_launch.h"

namespace cdifast::cuda {
namespace {

// Blocks that keep a large card busy in two rounds or so. More would only repeat the geometry for smaller chunks.
constexpr int64_t kEnoughBlocks = CDIFAST_MAX_BLOCKS < 2048 ? CDIFAST_MAX_BLOCKS : 2048;
constexpr int64_t kMaxGridY = CDIFAST_MAX_BLOCKS < 65535 ? CDIFAST_MAX_BLOCKS : 65535;

int64_t rounded_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit; }
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
  const int64_t samples = kind == SamplingKind::polar ? grid.n_radial * grid.n_angular : grid.height * grid.width;
  return least(rounded_up(samples, kResampleThreads), CDIFAST_MAX_BLOCKS);
}

// Blocks over the samples, and images that a thread's geometry serves: as many as leave the card enough blocks.
struct Chunks {
  int64_t blocks;
  int64_t chunk;
  int64_t count;
};

Chunks chunks_of(SamplingKind kind, const PolarGrid& grid, int64_t images) {
  const int64_t blocks = sample_blocks(kind, grid);
  const int64_t wanted = least(at_least_one(kEnoughBlocks / blocks), images);
  const int64_t chunk = rounded_up(images, at_least_one(wanted));
  return {blocks, chunk, rounded_up(images, at_least_one(chunk))};
}

// The same for the gradient of the centre: one image at a time where each has its own centre, and then no more blocks
// an image than it takes to fill the card.
Chunks center_chunks_of(SamplingKind kind, const ResampleGeometry& geometry, int64_t images) {
  if (geometry.center_stride == 0) return chunks_of(kind, geometry.grid, images);
  return {least(sample_blocks(kind, geometry.grid), at_least_one(kEnoughBlocks / at_least_one(images))), 1, images};
}

dim3 grid_of(int64_t x, int64_t y) { return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)); }

// The table of directions at the start of the workspace.
const Direction* make_directions(int64_t n, double* workspace, void* stream) {
  auto* directions = reinterpret_cast<Direction*>(workspace);
  launch(resample_directions_kernel, grid_of(least(rounded_up(n, kResampleThreads), CDIFAST_MAX_BLOCKS), 1),
         kResampleThreads, stream, directions, n);
  return directions;
}

const Direction* directions_for_samples(SamplingKind kind, const PolarGrid& grid, double* workspace, void* stream) {
  return kind == SamplingKind::polar ? make_directions(grid.n_angular, workspace, stream) : nullptr;
}

constexpr int64_t kTeamItemsInBlock = kResampleThreads / kResampleWarp;

GatherSchedule schedule_of(SamplingKind kind, const PolarGrid& grid) {
  GatherSchedule schedule{};
  int64_t single_items = 0;
  if (kind == SamplingKind::polar) {
    // With few angles a ring is no work for a warp, and no pixel is in the square.
    const int64_t longer = grid.height > grid.width ? grid.height : grid.width;
    schedule.box = grid.n_angular < 128 ? -1 : least(grid.n_angular / 64, longer);
    schedule.team_items = schedule.box < 0 ? 0 : (2 * schedule.box + 1) * (2 * schedule.box + 1);
    single_items = grid.height * grid.width;
  } else {
    // A sector of two steps by two angles at radius r holds 8 pi r step / n_angular pixels: wide from 64.
    const double first_wide_ring =
        (64.0 * static_cast<double>(grid.n_angular) / (25.13 * grid.step()) - grid.r_min) / grid.step();
    const int64_t n_radial = grid.n_radial;
    const bool any = first_wide_ring < static_cast<double>(n_radial);
    schedule.first_wide =
        (any ? static_cast<int64_t>(first_wide_ring > 0.0 ? first_wide_ring : 0.0) : n_radial) * grid.n_angular;
    schedule.team_items = n_radial * grid.n_angular - schedule.first_wide;
    single_items = schedule.first_wide;
  }
  schedule.team_units = rounded_up(schedule.team_items, kTeamItemsInBlock);
  schedule.units = schedule.team_units + rounded_up(single_items, kResampleThreads);
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
  const Chunks chunks = chunks_of(kind, geometry.grid, images);
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
  const GatherSchedule schedule = schedule_of(kind, geometry.grid);
  const int64_t blocks = least(schedule.units, CDIFAST_MAX_BLOCKS);
  const bool grouped = geometry.count == 1 && images > 1;
  const int64_t groups = least(grouped ? rounded_up(images, kResampleGroup) : images, kMaxGridY);
  dispatch_kind(kind, [&](auto kind_tag) {
    using Kind = typename decltype(kind_tag)::type;
    dispatch_floating(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto* gradient = static_cast<const T*>(grad);
      auto* to = static_cast<T*>(target);
      if (grouped) {
        launch(resample_backward_kernel<Kind, T, kResampleGroup>, grid_of(blocks, groups), kResampleThreads, stream,
               gradient, to, geometry, directions, schedule, images);
      } else {
        launch(resample_backward_kernel<Kind, T, 1>, grid_of(blocks, groups), kResampleThreads, stream, gradient, to,
               geometry, directions, schedule, images);
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
