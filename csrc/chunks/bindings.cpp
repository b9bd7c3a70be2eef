// Arrays come in as contiguous buffers of int64 or of bytes; the lock of Python is released while files are read.
#include "bindings.h"

#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "read.h"

namespace py = pybind11;

namespace cdifast::chunks {
namespace {

// code, element size, elements a block, compressed
using FilterRow = std::tuple<int, int64_t, int64_t, bool>;

void need_contiguous(const py::buffer_info& info, const char* name) {
  py::ssize_t stride = info.itemsize;
  for (py::ssize_t axis = info.ndim; axis-- > 0; stride *= info.shape[static_cast<size_t>(axis)]) {
    if (info.shape[static_cast<size_t>(axis)] > 1 && info.strides[static_cast<size_t>(axis)] != stride) {
      throw std::invalid_argument(std::string(name) + ": expected a contiguous array");
    }
  }
}

// Rows of a two-dimensional array of int64 as the structs that they are.
template <typename Row>
std::span<const Row> rows(const py::buffer_info& info, const char* name) {
  constexpr py::ssize_t kColumns = sizeof(Row) / sizeof(int64_t);
  if (info.ndim != 2 || info.itemsize != sizeof(int64_t) || info.shape[1] != kColumns) {
    throw std::invalid_argument(std::string(name) + ": expected int64, (n, " + std::to_string(kColumns) + ")");
  }
  need_contiguous(info, name);
  return {static_cast<const Row*>(info.ptr), static_cast<size_t>(info.shape[0])};
}

std::vector<Filter> filters_of(const std::vector<FilterRow>& given) {
  std::vector<Filter> filters;
  for (const auto& [number, element_size, block_elements, compressed] : given) {
    const auto code = static_cast<FilterCode>(number);
    switch (code) {
      case FilterCode::shuffle:
      case FilterCode::fletcher32:
      case FilterCode::lz4:
      case FilterCode::bitshuffle:
        filters.push_back({code, element_size, block_elements, compressed});
        break;
      default:
        throw std::invalid_argument("filters: found number " + std::to_string(number));
    }
  }
  return filters;
}

// The buffers of a request, and the request that points into them.
struct Held {
  py::buffer_info jobs, copies, blocks, output;
  Request request;

  Held(const py::buffer& jobs_, const py::buffer& copies_, const py::buffer& blocks_, const py::buffer& output_,
       const std::vector<FilterRow>& filters, int64_t chunk_bytes)
      : jobs(jobs_.request()),
        copies(copies_.request()),
        blocks(blocks_.request()),
        output(output_.request(true)),
        request{rows<Job>(jobs, "jobs"),
                rows<Copy>(copies, "copies"),
                rows<Block>(blocks, "blocks"),
                filters_of(filters),
                chunk_bytes,
                static_cast<uint8_t*>(output.ptr),
                output.size * output.itemsize} {
    need_contiguous(output, "output");
    check(request);
  }
};

// (job, fault, error number) of the jobs that failed.
py::list read_chunks_bound(const py::buffer& jobs, const py::buffer& copies, const py::buffer& blocks,
                           const py::buffer& output, const std::vector<FilterRow>& filters, int64_t chunk_bytes,
                           int threads) {
  const Held held(jobs, copies, blocks, output, filters, chunk_bytes);
  std::vector<Status> statuses;
  {
    py::gil_scoped_release released;
    statuses = read_chunks(held.request, threads);
  }
  py::list failed;
  for (size_t i = 0; i < statuses.size(); ++i) {
    if (statuses[i].fault != Fault::none) {
      failed.append(py::make_tuple(i, static_cast<int>(statuses[i].fault), statuses[i].error_number));
    }
  }
  return failed;
}

int place_chunk_bound(const py::buffer& stored, const py::buffer& job, const py::buffer& copies,
                      const py::buffer& blocks, const py::buffer& output, const std::vector<FilterRow>& filters,
                      int64_t chunk_bytes) {
  const Held held(job, copies, blocks, output, filters, chunk_bytes);
  const py::buffer_info bytes = stored.request();
  need_contiguous(bytes, "stored");
  if (held.request.jobs.size() != 1) throw std::invalid_argument("job: expected one");
  py::gil_scoped_release released;
  return static_cast<int>(
      place_chunk({static_cast<const uint8_t*>(bytes.ptr), static_cast<size_t>(bytes.size * bytes.itemsize)},
                  held.request, held.request.jobs[0]));
}

}  // namespace

void bind(py::module_& m) {
  m.def("read_chunks", &read_chunks_bound, "Read, decode and copy stored chunks; returns the jobs that failed.");
  m.def("place_chunk", &place_chunk_bound, "Decode and copy one stored chunk that is in memory; returns its fault.");
}

}  // namespace cdifast::chunks
