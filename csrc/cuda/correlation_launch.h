// Launchers of the correlation maps: raw pointers and a stream, no torch and no CUDA type, so that g++ can include
// this file. Every launcher returns a cudaError_t as int, 0 for success, and needs a workspace of as many bytes as the
// function beside it says.
#pragma once

#include <cstdint>

#include "../common/correlation_math.h"
#include "../common/element.h"
#include "../common/resample_math.h"

namespace cdifast::cuda {

struct MapShape {
  int64_t count;
  int64_t n_radial;
  int64_t n_angular;
};

// (count, R, K), or (1, R, K) if shared, in the compute type of the maps; null where every sample counts fully.
struct WeightArgument {
  const void* data;
  bool shared;
};

struct MapRule {
  int64_t order;
  bool modulus;
  Normalize normalize;
  double fill;  // forward only
  double min_weight;
};

// Workspace: 2 K numbers of the compute type, R^2 for shared weights, and for each map of a pass (workspace.h) 8 R and
// R K, and R^2 for weights of its own.
int64_t correlation_map_workspace(DType dtype, const MapShape& shape, const WeightArgument& weight);
int correlation_map(DType dtype, const MapShape& shape, const void* unwrapped, const WeightArgument& weight,
                    const MapRule& rule, void* out, void* workspace, void* stream);

// Workspace: as above, and for each map of a pass 2 R, R^2 and R K more.
int64_t correlation_map_backward_workspace(DType dtype, const MapShape& shape, const WeightArgument& weight);
int correlation_map_backward(DType dtype, const MapShape& shape, const void* grad, const void* unwrapped,
                             const WeightArgument& weight, const MapRule& rule, void* grad_unwrapped, void* workspace,
                             void* stream);

// dtype f32 or f64. Workspace: R numbers for each set of weights.
int64_t correlation_weight_workspace(DType dtype, const MapShape& shape);
int correlation_weight(DType dtype, const MapShape& shape, const void* weight, double min_weight, void* out,
                       void* workspace, void* stream);

struct DetectorArgument {
  PolarGrid grid;
  const double* center;  // (count or 1, 2)
  const uint8_t* good;   // (count or 1, H, W), or null
  bool shared_center;
  bool shared_good;
};

// dtype is that of the images; out has it too if it is floating, else f32. Workspace: as correlation_map's with a
// weight, 2 K doubles, and R K numbers of weights for a shared geometry, or for each map of a pass with its own.
int64_t polar_correlation_map_workspace(DType dtype, int64_t count, const DetectorArgument& detector);
int polar_correlation_map(DType dtype, int64_t count, const void* images, const DetectorArgument& detector,
                          const MapRule& rule, void* out, void* workspace, void* stream);

}  // namespace cdifast::cuda
