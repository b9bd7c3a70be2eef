// Limit: arithmetic and gathers. Rows first: what is left of a frame then is a row for each row of cells, and stays in
// the first-level cache until it is reduced to its cells.
#include "reduce_simd.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

template <typename T>
void add_row(const T* pixels, const bool* bad, float weight, int64_t width, float* line) {
  if (bad == nullptr) {
#pragma omp simd
    for (int64_t x = 0; x < width; ++x) line[x] += weight * static_cast<float>(load_element(pixels[x]));
  } else {
#pragma omp simd
    for (int64_t x = 0; x < width; ++x) {
      const float value = static_cast<float>(load_element(pixels[x]));
      line[x] += weight * (bad[x] ? 0.0f : value);
    }
  }
}

void cells_of(const float* line, const Taps& columns, float* out) {
  for (int64_t i = 0; i < columns.cells; ++i) out[i] = 0;
  for (int64_t k = 0; k < columns.taps; ++k) {
    const float* weights = columns.weights + k * columns.cells;
#pragma omp simd
    for (int64_t i = 0; i < columns.cells; ++i) out[i] += weights[i] * line[columns.first[i] + k];
  }
}

void reduce(DType dtype, const void* frame, const bool* bad, const Reduction& reduction, float* line, float* out) {
  const int64_t width = reduction.width;
  dispatch_element(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* pixels = static_cast<const T*>(frame);
    for (int64_t i = 0; i < reduction.rows.cells; ++i) {
      for (int64_t x = 0; x < width; ++x) line[x] = 0;
      for (int64_t k = 0; k < reduction.rows.taps; ++k) {
        const float weight = reduction.rows.weights[i * reduction.rows.taps + k];
        if (weight == 0) continue;
        const int64_t row = (reduction.rows.first[i] + k) * width;
        add_row(pixels + row, bad == nullptr ? nullptr : bad + row, weight, width, line);
      }
      cells_of(line, reduction.columns, out + i * reduction.columns.cells);
    }
  });
}

}  // namespace

const ReduceKernels reduce_kernels = {reduce};

}  // namespace cdifast::cpu::CDIFAST_ISA
