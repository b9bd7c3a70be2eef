// One block of LZ4, decoded.
#pragma once

#include <cstdint>

namespace cdifast::chunks {

// Decodes `in_size` bytes into `out`, which has room for `out_size`; returns how many were written, or -1 where the
// block is damaged. Neither reads nor writes outside the two, whatever the block holds.
int64_t lz4_decode(const uint8_t* in, int64_t in_size, uint8_t* out, int64_t out_size);

}  // namespace cdifast::chunks
