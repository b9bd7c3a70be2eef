// A bias of one number a channel, as the kernels that walk flat memory see it.
#pragma once

#include <cstdint>

namespace cdifast {

// Position p of a dense tensor's memory is of channel (p / inner) % channels, whatever the order of its dimensions.
struct ChannelBias {
  const void* values;  // in the type that arithmetic runs in; null: no bias
  int64_t channels;
  int64_t inner;  // elements from one channel to the next
};

}  // namespace cdifast
