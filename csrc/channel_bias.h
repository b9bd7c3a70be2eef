// The bias argument of an operator as its kernels see it.
#pragma once

#include <optional>

#include "common/channel_bias.h"
#include "torch_bridge.h"

namespace cdifast {

// The type of what arithmetic on the tensor's elements gives.
inline ScalarType compute_scalar_type(const Tensor& tensor) {
  return tensor.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// The channels of `like`, a dense tensor with at least two dimensions. No values.
inline ChannelBias channels_of(const Tensor& like) {
  // Where there is one channel, its stride says nothing.
  const int64_t channels = like.size(1);
  return {nullptr, channels, channels > 1 ? like.stride(1) : like.numel()};
}

// Keeps the values alive that `argument` points to.
struct BiasHolder {
  std::optional<Tensor> values;
  ChannelBias argument;
};

// `bias` (C,) along dimension 1 of `like`, which lies in memory as the kernels will walk it.
inline BiasHolder channel_bias(const std::optional<Tensor>& bias, const Tensor& like, const char* op) {
  if (!bias.has_value()) return {std::nullopt, {nullptr, 1, like.numel()}};
  floating_dtype(*bias, op, "bias");
  STD_TORCH_CHECK(like.dim() >= 2 && bias->dim() == 1 && bias->size(0) == like.size(1), op,
                  ": bias must have one element for each of x's channels (dimension 1)");
  STD_TORCH_CHECK(bias->device() == like.device(), op, ": bias is on another device than x");
  Tensor values = torch::stable::contiguous(torch::stable::to(*bias, compute_scalar_type(like)));
  ChannelBias argument = channels_of(like);
  argument.values = values.const_data_ptr();
  return {std::move(values), argument};
}

}  // namespace cdifast
