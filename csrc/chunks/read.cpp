// Threads are made for each call and take the next job as they come: a batch is read in milliseconds, and a pool would
// not survive a fork, after which DataLoader workers call this. The file is read at given places (pread), so that
// threads and processes share one descriptor.
#include "read.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

namespace cdifast::chunks {
namespace {

// Jobs that a thread takes at once: neighbours in the file, and few enough to share the last ones evenly.
constexpr size_t kAtOnce = 4;

// No filter makes a chunk larger than twice its size and this: a larger one is a damaged index, and no reason to
// allocate what it says.
constexpr int64_t kOverhead = 1 << 16;

Status read_at(int descriptor, uint8_t* to, int64_t size, int64_t offset) {
  while (size > 0) {
    const ssize_t count = pread(descriptor, to, static_cast<size_t>(size), offset);
    if (count < 0) {
      if (errno == EINTR) continue;
      return {Fault::unreadable, errno};
    }
    if (count == 0) return {Fault::cut_short, 0};
    to += count;
    offset += count;
    size -= count;
  }
  return {};
}

bool one_run(const Block& block, int64_t stride) { return block.rows == 1 || block.row_bytes == stride; }

void copy_block(const uint8_t* from, const Block& block, uint8_t* to) {
  if (one_run(block, block.chunk_stride) && one_run(block, block.frame_stride)) {
    std::memcpy(to, from, static_cast<size_t>(block.rows * block.row_bytes));
    return;
  }
  for (int64_t row = 0; row < block.rows; ++row) {
    std::memcpy(to + row * block.frame_stride, from + row * block.chunk_stride, static_cast<size_t>(block.row_bytes));
  }
}

class Reader {
 public:
  explicit Reader(const Request& request) : request_(request), decoder_(request.filters, request.chunk_bytes) {}

  Status run(const Job& job) {
    const Block& block = request_.blocks[static_cast<size_t>(job.block)];
    if (decoder_.plain() && job.stored_bytes == request_.chunk_bytes && one_run(block, block.chunk_stride)) {
      return read_runs(job, block);
    }
    if (job.stored_bytes > 2 * request_.chunk_bytes + kOverhead) return {Fault::damaged, 0};
    uint8_t* const stored = stored_.room(job.stored_bytes);
    if (const Status status = read_at(static_cast<int>(job.descriptor), stored, job.stored_bytes, job.file_offset);
        status.fault != Fault::none) {
      return status;
    }
    return {place(stored, job.stored_bytes, job), 0};
  }

  Fault place(const uint8_t* stored, int64_t size, const Job& job) {
    const Block& block = request_.blocks[static_cast<size_t>(job.block)];
    const auto copies = request_.copies.subspan(static_cast<size_t>(job.first_copy), static_cast<size_t>(job.copies));
    // The whole chunk for one place: it is decoded there.
    const bool whole = copies.size() == 1 && copies[0].chunk_offset == 0 && one_run(block, block.chunk_stride) &&
                       one_run(block, block.frame_stride) && block.rows * block.row_bytes == request_.chunk_bytes;
    uint8_t* const chunk = whole ? request_.output + copies[0].output_offset : chunk_.room(request_.chunk_bytes);
    const Fault fault = decoder_.decode(stored, size, chunk);
    if (fault != Fault::none || whole) return fault;
    for (const Copy& copy : copies) {
      copy_block(chunk + copy.chunk_offset, block, request_.output + copy.output_offset);
    }
    return Fault::none;
  }

 private:
  // Of a chunk that is stored as it is, only what is asked for is read.
  Status read_runs(const Job& job, const Block& block) {
    const int64_t bytes = block.rows * block.row_bytes;
    const bool straight = one_run(block, block.frame_stride);
    for (int64_t i = job.first_copy; i < job.first_copy + job.copies; ++i) {
      const Copy& copy = request_.copies[static_cast<size_t>(i)];
      uint8_t* const to = request_.output + copy.output_offset;
      uint8_t* const run = straight ? to : chunk_.room(bytes);
      const Status status = read_at(static_cast<int>(job.descriptor), run, bytes, job.file_offset + copy.chunk_offset);
      if (status.fault != Fault::none) return status;
      if (!straight) copy_block(run, block, to);
    }
    return {};
  }

  const Request& request_;
  Decoder decoder_;
  Buffer stored_;
  Buffer chunk_;
};

// Whether `count` runs of `bytes`, `stride` apart from `offset` on, lie within `size`.
bool inside(int64_t offset, int64_t count, int64_t bytes, int64_t stride, int64_t size) {
  return offset >= 0 && offset <= size && bytes <= size - offset && stride >= 0 &&
         (count <= 1 || stride <= (size - offset - bytes) / (count - 1));
}

}  // namespace

void check(const Request& request) {
  const auto refuse = [](const char* what) { throw std::out_of_range(std::string("read_chunks: ") + what); };
  for (const Filter& filter : request.filters) {
    if (filter.element_size < 1 || filter.block_elements < 0) refuse("a filter's element or block size");
  }
  for (const Block& block : request.blocks) {
    if (block.rows < 0 || block.row_bytes < 0) refuse("a block's size");
  }
  for (const Job& job : request.jobs) {
    if (job.block < 0 || job.block >= std::ssize(request.blocks)) refuse("a job's block");
    if (job.stored_bytes < 0 || job.file_offset < 0) refuse("a job's place in the file");
    const int64_t copies = std::ssize(request.copies);
    if (job.first_copy < 0 || job.copies < 0 || job.first_copy > copies || job.copies > copies - job.first_copy) {
      refuse("a job's copies");
    }
    const Block& block = request.blocks[static_cast<size_t>(job.block)];
    for (int64_t i = job.first_copy; i < job.first_copy + job.copies; ++i) {
      const Copy& copy = request.copies[static_cast<size_t>(i)];
      if (!inside(copy.chunk_offset, block.rows, block.row_bytes, block.chunk_stride, request.chunk_bytes) ||
          !inside(copy.output_offset, block.rows, block.row_bytes, block.frame_stride, request.output_bytes)) {
        refuse("a copy reaches outside its chunk or the output");
      }
    }
  }
}

std::vector<Status> read_chunks(const Request& request, int threads) {
  const size_t count = request.jobs.size();
  std::vector<Status> statuses(count);
  std::atomic<size_t> next{0};
  const auto work = [&] {
    Reader reader(request);
    for (size_t first; (first = next.fetch_add(kAtOnce)) < count;) {
      for (size_t i = first; i < std::min(first + kAtOnce, count); ++i) {
        statuses[i] = reader.run(request.jobs[i]);
      }
    }
  };
  const size_t useful = std::min(static_cast<size_t>(std::max(threads, 1)), (count + kAtOnce - 1) / kAtOnce);
  std::vector<std::jthread> others;
  for (size_t i = 1; i < useful; ++i) {
    try {
      others.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // no more threads to be had: the work is done by those there are
    }
  }
  work();
  return others.clear(), statuses;
}

Fault place_chunk(std::span<const uint8_t> stored, const Request& request, const Job& job) {
  return Reader(request).place(stored.data(), std::ssize(stored), job);
}

}  // namespace cdifast::chunks
