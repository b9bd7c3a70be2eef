// One chunk of an HDF5 data set, from its stored bytes to its elements: the filters undone, last one first.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace cdifast::chunks {

enum class Fault : int32_t {
  none = 0,
  unreadable,  // the operating system's error number goes with it
  cut_short,   // the file ends before the chunk does
  damaged,     // bytes that the filter cannot have written
  checksum,
  wrong_size,  // decoded to more or fewer bytes than the chunk has
};

// A filter by its number in the HDF Group's registry.
enum class FilterCode : int32_t { shuffle = 2, fletcher32 = 3, lz4 = 32004, bitshuffle = 32008 };

struct Filter {
  FilterCode code;
  int64_t element_size = 1;    // of the shuffles
  int64_t block_elements = 0;  // of bitshuffle without compression
  bool compressed = false;     // bitshuffle: followed by LZ4
};

// Memory that grows and is never initialised: its content is always overwritten.
class Buffer {
 public:
  uint8_t* room(int64_t size) {
    if (size > size_) {
      bytes_ = std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(size));
      size_ = size;
    }
    return bytes_.get();
  }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  int64_t size_ = 0;
};

// One a thread: it keeps its buffers between chunks.
class Decoder {
 public:
  Decoder(std::vector<Filter> filters, int64_t chunk_bytes) : filters_(std::move(filters)), chunk_bytes_(chunk_bytes) {}

  bool plain() const { return filters_.empty(); }

  // Whatever the stored bytes are, `chunk` gets at most chunk_bytes, and only those are read.
  Fault decode(const uint8_t* stored, int64_t size, uint8_t* chunk);

 private:
  std::vector<Filter> filters_;  // in the order in which they were applied
  int64_t chunk_bytes_;
  Buffer scratch_[2];
  Buffer block_;
};

}  // namespace cdifast::chunks
