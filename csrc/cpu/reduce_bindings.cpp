#include "reduce_bindings.h"

#include <torch/csrc/stable/ops.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "reduce_simd.h"

namespace py = pybind11;

namespace cdifast::cpu {
namespace {

void need(bool good, const char* what) {
  if (!good) throw std::invalid_argument(std::string("reduce_frames: ") + what);
}

py::buffer_info contiguous(const py::buffer& buffer, int64_t dimensions, bool writable = false) {
  py::buffer_info info = buffer.request(writable);
  need(info.ndim == dimensions, "an array of another number of dimensions");
  py::ssize_t stride = info.itemsize;
  for (auto axis = static_cast<size_t>(info.ndim); axis-- > 0; stride *= info.shape[axis]) {
    need(info.shape[axis] <= 1 || info.strides[axis] == stride, "an array that is not contiguous");
  }
  return info;
}

DType dtype_of(const std::string& format) {
  if (format == py::format_descriptor<uint8_t>::format()) return DType::u8;
  if (format == py::format_descriptor<uint16_t>::format()) return DType::u16;
  if (format == py::format_descriptor<int16_t>::format()) return DType::i16;
  if (format == py::format_descriptor<int32_t>::format()) return DType::i32;
  if (format == "e") return DType::f16;
  if (format == py::format_descriptor<float>::format()) return DType::f32;
  if (format == py::format_descriptor<double>::format()) return DType::f64;
  throw std::invalid_argument("reduce_frames: elements of format '" + format + "'");
}

Taps taps_of(const py::buffer_info& first, const py::buffer_info& weights, bool cells_first, int64_t pixels) {
  const auto cell = static_cast<size_t>(cells_first ? 0 : 1);
  need(first.format == py::format_descriptor<int32_t>::format(), "first pixels that are not int32");
  need(weights.format == py::format_descriptor<float>::format(), "weights that are not float32");
  const Taps taps{first.shape[0], weights.shape[1 - cell], static_cast<const int32_t*>(first.ptr),
                  static_cast<const float*>(weights.ptr)};
  need(weights.shape[cell] == taps.cells, "weights for another number of cells");
  for (int64_t i = 0; i < taps.cells; ++i) {
    need(taps.first[i] >= 0 && taps.first[i] + taps.taps <= pixels, "a cell of pixels outside the frame");
  }
  return taps;
}

void reduce_frames(const py::buffer& frames_, const py::object& bad_, const py::buffer& first_row,
                   const py::buffer& row_weights, const py::buffer& first_column, const py::buffer& column_weights,
                   const py::buffer& out_) {
  const py::buffer_info frames = contiguous(frames_, 3), out = contiguous(out_, 3, true);
  const py::buffer_info rows[] = {contiguous(first_row, 1), contiguous(row_weights, 2)};
  const py::buffer_info columns[] = {contiguous(first_column, 1), contiguous(column_weights, 2)};
  const int64_t count = frames.shape[0], height = frames.shape[1], width = frames.shape[2];
  const Reduction reduction{height, width, taps_of(rows[0], rows[1], true, height),
                            taps_of(columns[0], columns[1], false, width)};
  const int64_t cells = reduction.rows.cells * reduction.columns.cells;
  need(out.format == py::format_descriptor<float>::format() && out.shape[0] == count &&
           out.shape[1] == reduction.rows.cells && out.shape[2] == reduction.columns.cells,
       "an output of another shape or type");
  py::buffer_info bad;
  if (!bad_.is_none()) {
    bad = contiguous(py::cast<py::buffer>(bad_), 3);
    need(bad.format == py::format_descriptor<bool>::format() && (bad.shape[0] == 1 || bad.shape[0] == count) &&
             bad.shape[1] == height && bad.shape[2] == width,
         "bad pixels of another shape or type");
  }
  const DType dtype = dtype_of(frames.format);
  const auto* source = static_cast<const uint8_t*>(frames.ptr);
  const auto* marks = static_cast<const bool*>(bad.ptr);
  const int64_t frame_bytes = height * width * frames.itemsize;
  const int64_t mark_stride = !bad_.is_none() && bad.shape[0] > 1 ? height * width : 0;
  auto* const target = static_cast<float*>(out.ptr);
  py::gil_scoped_release released;
  torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> line(static_cast<size_t>(width));
    for (int64_t n = begin; n < end; ++n) {
      selected_reduce_kernels().reduce(dtype, source + n * frame_bytes,
                                       marks == nullptr ? nullptr : marks + n * mark_stride, reduction, line.data(),
                                       target + n * cells);
    }
  });
}

}  // namespace

void bind_reduce(py::module_& m) { m.def("reduce_frames", &reduce_frames, "Reduce frames by a separable filter."); }

}  // namespace cdifast::cpu
