// Formats: HDF5's own filters (H5Zshuffle.c, H5Zfletcher32.c), and two registered ones, LZ4 (32004) and bitshuffle
// (32008), whose chunks begin with the decoded size (8 bytes) and the size of a block (4 bytes), big-endian; every
// block has its compressed size (4 bytes, big-endian) before it.
#include "decode.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../cpu/unshuffle_simd.h"
#include "lz4.h"

namespace cdifast::chunks {
namespace {

constexpr int64_t kHeader = 12;
constexpr int64_t kBlockHeader = 4;
constexpr int64_t kLargestBlock = int64_t{1} << 31;
constexpr int64_t kBitshuffleBlock = 8192;  // bytes, where the header leaves it open
constexpr int64_t kBitshuffleMultiple = 8;  // elements that are shuffled together

template <typename T>
T big_endian(const uint8_t* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | bytes[i]);
  return value;
}

// Reads what stands before and between the blocks.
struct Blocks {
  const uint8_t* at;
  const uint8_t* end;
  int64_t block_bytes = 0;

  Fault open(int64_t expected) {
    if (end - at < kHeader) return Fault::damaged;
    if (big_endian<uint64_t>(at) != static_cast<uint64_t>(expected)) return Fault::wrong_size;
    block_bytes = big_endian<uint32_t>(at + 8);
    at += kHeader;
    return block_bytes < kLargestBlock ? Fault::none : Fault::damaged;
  }

  // The next block's compressed size, or -1.
  int64_t next() {
    if (end - at < kBlockHeader) return -1;
    const int64_t size = big_endian<uint32_t>(at);
    at += kBlockHeader;
    return size <= end - at ? size : -1;
  }
};

Fault decode_lz4(const uint8_t* in, int64_t size, uint8_t* out, int64_t out_size) {
  Blocks blocks{in, in + size};
  if (const Fault fault = blocks.open(out_size); fault != Fault::none) return fault;
  if (blocks.block_bytes == 0) return out_size == 0 ? Fault::none : Fault::damaged;
  for (int64_t done = 0; done < out_size; done += blocks.block_bytes) {
    const int64_t bytes = std::min(blocks.block_bytes, out_size - done);
    const int64_t stored = blocks.next();
    if (stored < 0) return Fault::damaged;
    if (stored == bytes) {  // did not get smaller, and was kept as it was
      std::memcpy(out + done, blocks.at, static_cast<size_t>(bytes));
    } else if (lz4_decode(blocks.at, stored, out + done, bytes) != bytes) {
      return Fault::damaged;
    }
    blocks.at += stored;
  }
  return Fault::none;
}

// Blocks of a multiple of eight elements, the last one shorter; up to seven elements at the end are as they were.
Fault decode_bitshuffle(const Filter& filter, const uint8_t* in, int64_t size, uint8_t* out, int64_t out_size,
                        Buffer& buffer) {
  const auto& kernels = cpu::selected_unshuffle_kernels();
  const int64_t group = kBitshuffleMultiple * filter.element_size;
  const int64_t whole = out_size / group * group, rest = out_size - whole;
  Blocks blocks{in, in + size};
  int64_t block_bytes = filter.block_elements * filter.element_size;
  if (filter.compressed) {
    if (const Fault fault = blocks.open(out_size); fault != Fault::none) return fault;
    block_bytes = blocks.block_bytes;
  } else if (size != out_size) {
    return Fault::wrong_size;
  }
  if (block_bytes == 0) block_bytes = std::max<int64_t>(kBitshuffleBlock / group, 16) * group;
  if (block_bytes % group != 0) return Fault::damaged;
  uint8_t* const shuffled = filter.compressed ? buffer.room(std::min(block_bytes, whole)) : nullptr;
  for (int64_t done = 0; done < whole; done += block_bytes) {
    const int64_t bytes = std::min(block_bytes, whole - done);
    const uint8_t* block = blocks.at;
    if (filter.compressed) {
      const int64_t stored = blocks.next();
      if (stored < 0 || lz4_decode(blocks.at, stored, shuffled, bytes) != bytes) return Fault::damaged;
      block = shuffled;
      blocks.at += stored;
    } else {
      blocks.at += bytes;
    }
    kernels.bits(block, bytes / filter.element_size, filter.element_size, out + done);
  }
  if (blocks.end - blocks.at < rest) return Fault::damaged;
  std::memcpy(out + whole, blocks.at, static_cast<size_t>(rest));
  return Fault::none;
}

Fault unshuffle(const Filter& filter, const uint8_t* in, int64_t size, uint8_t* out, int64_t out_size) {
  if (size != out_size) return Fault::wrong_size;
  const int64_t elements = size / filter.element_size, whole = elements * filter.element_size;
  cpu::selected_unshuffle_kernels().bytes(in, elements, filter.element_size, out);
  std::memcpy(out + whole, in + whole, static_cast<size_t>(size - whole));
  return Fault::none;
}

// Fletcher's sum over 16-bit words, the high byte first, as H5_checksum_fletcher32 has it.
uint32_t fletcher32(const uint8_t* bytes, int64_t size) {
  constexpr int64_t kBeforeOverflow = 360;  // words whose sums stay below 2^32
  uint32_t low = 0, high = 0;
  int64_t words = size / 2;
  while (words > 0) {
    const int64_t part = std::min(words, kBeforeOverflow);
    for (int64_t i = 0; i < part; ++i, bytes += 2) {
      low += static_cast<uint32_t>(bytes[0] << 8 | bytes[1]);
      high += low;
    }
    low = (low & 0xffff) + (low >> 16);
    high = (high & 0xffff) + (high >> 16);
    words -= part;
  }
  if (size % 2 != 0) {
    low += static_cast<uint32_t>(*bytes << 8);
    high += low;
    low = (low & 0xffff) + (low >> 16);
    high = (high & 0xffff) + (high >> 16);
  }
  low = (low & 0xffff) + (low >> 16);
  high = (high & 0xffff) + (high >> 16);
  return high << 16 | low;
}

}  // namespace

Fault Decoder::decode(const uint8_t* stored, int64_t size, uint8_t* chunk) {
  int writing = 0;
  for (const Filter& filter : filters_) writing += filter.code != FilterCode::fletcher32;
  int next = 0;
  for (auto filter = filters_.rbegin(); filter != filters_.rend(); ++filter) {
    if (filter->code == FilterCode::fletcher32) {
      if (size < 4) return Fault::damaged;
      size -= 4;
      uint32_t sum;
      std::memcpy(&sum, stored + size, sizeof sum);  // little-endian, as every machine that this runs on
      if (sum != fletcher32(stored, size)) return Fault::checksum;
      continue;
    }
    --writing;
    uint8_t* const out = writing == 0 ? chunk : scratch_[next ^= 1].room(chunk_bytes_);
    Fault fault = Fault::none;
    switch (filter->code) {
      case FilterCode::lz4:
        fault = decode_lz4(stored, size, out, chunk_bytes_);
        break;
      case FilterCode::bitshuffle:
        fault = decode_bitshuffle(*filter, stored, size, out, chunk_bytes_, block_);
        break;
      default:
        fault = unshuffle(*filter, stored, size, out, chunk_bytes_);
    }
    if (fault != Fault::none) return fault;
    stored = out;
    size = chunk_bytes_;
  }
  if (stored == chunk) return Fault::none;
  if (size != chunk_bytes_) return Fault::wrong_size;
  std::memcpy(chunk, stored, static_cast<size_t>(size));
  return Fault::none;
}

}  // namespace cdifast::chunks
