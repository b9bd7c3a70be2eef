// What every operator's registration file needs of torch, through its stable ABI only (torch >= 2.10).
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/element.h"

namespace cdifast {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline DType element_dtype(const Tensor& tensor, const char* op, const char* argument) {
  switch (tensor.scalar_type()) {
    case ScalarType::Byte:
      return DType::u8;
    case ScalarType::UInt16:
      return DType::u16;
    case ScalarType::Short:
      return DType::i16;
    case ScalarType::Int:
      return DType::i32;
    case ScalarType::Half:
      return DType::f16;
    case ScalarType::BFloat16:
      return DType::bf16;
    case ScalarType::Float:
      return DType::f32;
    case ScalarType::Double:
      return DType::f64;
    default:
      STD_TORCH_CHECK(false, op, ": ", argument, " has dtype ", torch::headeronly::toString(tensor.scalar_type()),
                      "; expected uint8, uint16, int16, int32, float16, bfloat16, float32 or float64");
  }
}

inline DType floating_dtype(const Tensor& tensor, const char* op, const char* argument) {
  switch (tensor.scalar_type()) {
    case ScalarType::Half:
    case ScalarType::BFloat16:
    case ScalarType::Float:
    case ScalarType::Double:
      return element_dtype(tensor, op, argument);
    default:
      STD_TORCH_CHECK(false, op, ": ", argument, " has dtype ", torch::headeronly::toString(tensor.scalar_type()),
                      "; expected float16, bfloat16, float32 or float64");
  }
}

inline bool same_sizes(const Tensor& a, const Tensor& b) {
  if (a.dim() != b.dim()) return false;
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != b.size(d)) return false;
  }
  return true;
}

inline void check_gradient(const Tensor& grad, const Tensor& x, const char* op) {
  STD_TORCH_CHECK(same_sizes(grad, x), op, ": grad and x differ in shape");
  STD_TORCH_CHECK(grad.scalar_type() == x.scalar_type(), op, ": grad and x differ in dtype");
}

// The value of a CPU tensor of one floating element.
inline double scalar_value(const Tensor& tensor, const char* op, const char* argument) {
  double value = 0.0;
  dispatch_floating(floating_dtype(tensor, op, argument), [&](auto tag) {
    using T = typename decltype(tag)::type;
    value = load_element(*static_cast<const T*>(tensor.const_data_ptr()));
  });
  return value;
}

inline bool same_layout(const Tensor& a, const Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    // The stride of an axis of length 1 says nothing about where elements lie.
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// Whether the tensor is contiguous up to the order of its dimensions.
inline bool is_dense(const Tensor& tensor) {
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride and size
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    if (tensor.size(d) != 1) axes.emplace_back(tensor.stride(d), tensor.size(d));
  }
  std::sort(axes.begin(), axes.end());
  int64_t step = 1;
  for (const auto& [stride, size] : axes) {
    if (stride != step) return false;
    step *= size;
  }
  return true;
}

// The out= tensor of an elementwise operator. Python checks more, in its own words (ops/_checks.py).
inline void check_elementwise_out(const Tensor& out, const Tensor& x, const char* op) {
  STD_TORCH_CHECK(same_sizes(out, x), op, ": out and x differ in shape");
  STD_TORCH_CHECK(out.scalar_type() == x.scalar_type(), op, ": out and x differ in dtype");
  STD_TORCH_CHECK(out.device() == x.device(), op, ": out is on another device than x");
  STD_TORCH_CHECK(out.numel() == 0 || is_dense(out), op, ": out is not dense");
}

// `tensor` itself where it lies in memory as `like` does, else a copy that does. `like` is dense, so that
// elementwise kernels can walk both as flat memory.
inline Tensor laid_out_like(const Tensor& tensor, const Tensor& like) {
  if (same_layout(tensor, like)) return tensor;
  Tensor copy = torch::stable::empty_like(like);
  torch::stable::copy_(copy, tensor);
  return copy;
}

}  // namespace cdifast
