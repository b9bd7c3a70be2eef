// The block format (github.com/lz4/lz4, doc/lz4_Block_format.md): sequences of literals, and of a match with what came
// before. Short copies are made in whole registers where there is room behind them: most are short, and their lengths
// cannot be predicted.
#include "lz4.h"

#include <cstring>

namespace cdifast::chunks {
namespace {

constexpr int64_t kLeastMatch = 4;
constexpr int64_t kLongLength = 15;  // of four bits: more follows
constexpr int64_t kStep = 16;
constexpr int64_t kHalfStep = 8;

// What follows a length of kLongLength: bytes to add, up to the first that is not 255. False where the block ends.
inline bool extend(const uint8_t*& in, const uint8_t* end, int64_t& length) {
  uint8_t more;
  do {
    if (in == end) return false;
    more = *in++;
    length += more;
  } while (more == 255);
  return true;
}

template <int64_t kBytes>
inline void copy_step(uint8_t* to, const uint8_t* from) {
  uint8_t bytes[kBytes];
  std::memcpy(bytes, from, kBytes);
  std::memcpy(to, bytes, kBytes);
}

template <int64_t kBytes>
inline void copy_steps(uint8_t* to, const uint8_t* from, int64_t length) {
  for (int64_t done = 0; done < length; done += kBytes) copy_step<kBytes>(to + done, from + done);
}

// A match may overlap what it writes: then the last `offset` bytes repeat.
inline void copy_match(uint8_t* out, int64_t offset, int64_t length, const uint8_t* end) {
  const uint8_t* from = out - offset;
  // Whole steps as far as there is room, which is nearly all of a long match at the end of a block, and then bytes.
  const int64_t room = end - out - kStep;
  if (length > room) {
    int64_t i = room > 0 ? room : 0;
    if (i > 0) copy_match(out, offset, i, end);
    for (; i < length; ++i) out[i] = from[i];
  } else if (offset >= kStep) {
    copy_steps<kStep>(out, from, length);
  } else if (offset == 1) {
    std::memset(out, *from, static_cast<size_t>(length));
  } else if (offset >= kHalfStep) {
    copy_steps<kHalfStep>(out, from, length);
  } else {
    // Eight bytes one by one. From there on, what lies the least multiple of the offset from eight on back is the same
    // bytes, and a step of eight does not reach what it writes.
    for (int64_t i = 0; i < kHalfStep; ++i) out[i] = from[i];
    const int64_t period = (kHalfStep + offset - 1) / offset * offset;
    copy_steps<kHalfStep>(out + kHalfStep, out + kHalfStep - period, length - kHalfStep);
  }
}

}  // namespace

int64_t lz4_decode(const uint8_t* in, int64_t in_size, uint8_t* out, int64_t out_size) {
  const uint8_t* const in_end = in + in_size;
  uint8_t* const begin = out;
  uint8_t* const end = out + out_size;
  while (in != in_end) {
    const int token = *in++;
    int64_t literals = token >> 4;
    if (literals < kLongLength && in_end - in >= kStep && end - out >= kStep) {
      copy_step<kStep>(out, in);
    } else {
      if (literals == kLongLength && !extend(in, in_end, literals)) return -1;
      if (literals > in_end - in || literals > end - out) return -1;
      std::memcpy(out, in, static_cast<size_t>(literals));
    }
    in += literals;
    out += literals;
    if (in == in_end) return out - begin;  // the last sequence has no match
    if (in_end - in < 2) return -1;
    const int64_t offset = in[0] | in[1] << 8;
    in += 2;
    int64_t length = token & 15;
    if (length == kLongLength && !extend(in, in_end, length)) return -1;
    length += kLeastMatch;
    if (offset == 0 || offset > out - begin || length > end - out) return -1;
    copy_match(out, offset, length, end);
    out += length;
  }
  return -1;
}

}  // namespace cdifast::chunks
