// Chunks of files into a batch of frames: read, decoded and copied by several threads, without HDF5's lock.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode.h"

namespace cdifast::chunks {

// A rectangle of a chunk, and how its rows lie on either side; in bytes.
struct Block {
  int64_t rows;
  int64_t row_bytes;
  int64_t chunk_stride;
  int64_t frame_stride;
};

// Where a block begins in the decoded chunk and in the output.
struct Copy {
  int64_t chunk_offset;
  int64_t output_offset;
};

// A stored chunk, and what of it is asked for.
struct Job {
  int64_t descriptor;
  int64_t file_offset;
  int64_t stored_bytes;
  int64_t first_copy;
  int64_t copies;
  int64_t block;
};

struct Status {
  Fault fault = Fault::none;
  int error_number = 0;
};

struct Request {
  std::span<const Job> jobs;
  std::span<const Copy> copies;
  std::span<const Block> blocks;
  std::vector<Filter> filters;
  int64_t chunk_bytes;
  uint8_t* output;
  int64_t output_bytes;
};

// Throws std::out_of_range where a job's copies lie outside the chunk or the output: nothing has been written then.
void check(const Request& request);

// One status a job. What a failed job should have written is undefined; the others are whole.
std::vector<Status> read_chunks(const Request& request, int threads);

// As a job of read_chunks, for stored bytes that are in memory already.
Fault place_chunk(std::span<const uint8_t> stored, const Request& request, const Job& job);

}  // namespace cdifast::chunks
