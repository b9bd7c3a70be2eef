// Launchers of polar resampling and its way back: raw pointers and a stream, no torch and no CUDA type, so that g++
// can include this file. Every launcher returns a cudaError_t as int, 0 for success. Tensors are contiguous and on
// one device; detector images and unwrapped maps have fewer than 2^31 elements each.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "../common/resample_math.h"

namespace cdifast::cuda {

// Bounds the blocks of a launch; the kernels stride over the rest. The emulator is built with fewer, so that small
// images already make them stride.
#if !defined(CDIFAST_MAX_BLOCKS)
#define CDIFAST_MAX_BLOCKS 4096
#endif

struct ResampleGeometry {
  PolarGrid grid;
  const double* center;   // (y, x)
  int64_t center_stride;  // from one image's centre to the next: 2, or 0 where all share one
  const uint8_t* good;    // a byte an element of what is sampled, or null
  int64_t good_stride;    // from one image's mask to the next, or 0 where all share one
  int64_t count;          // of geometries: 1, or one an image
};

// Elements of double workspace that each launcher needs; resample_backward_center has a second need on top.
int64_t resample_workspace(const PolarGrid& grid);
int64_t resample_center_workspace(SamplingKind kind, const ResampleGeometry& geometry, int64_t images);

// `target` has the type of `source` where that is floating, else float.
int resample_forward(SamplingKind kind, DType dtype, const void* source, void* target, const ResampleGeometry& geometry,
                     int64_t images, double fill, double* workspace, void* stream);
// `target`: geometry.count maps of double or float.
int resample_weight(SamplingKind kind, bool float64, void* target, const ResampleGeometry& geometry, double* workspace,
                    void* stream);
// `dtype` is that of both, and floating.
int resample_backward(SamplingKind kind, DType dtype, const void* grad, void* target, const ResampleGeometry& geometry,
                      int64_t images, double* workspace, void* stream);
// `grad` has the type that resample_forward gives for `dtype`, that of `source`. `target`: (y, x) for each centre.
int resample_backward_center(SamplingKind kind, DType dtype, const void* grad, const void* source, double* target,
                             const ResampleGeometry& geometry, int64_t images, double* workspace, void* stream);

}  // namespace cdifast::cuda
