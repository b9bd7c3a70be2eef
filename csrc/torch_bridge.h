// What every operator's registration file needs of torch, through its stable ABI only (torch >= 2.10).
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>

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

// `tensor` itself where it lies in memory as `like` does, else a copy that does. `like` is dense, so that
// elementwise kernels can walk both as flat memory.
inline Tensor laid_out_like(const Tensor& tensor, const Tensor& like) {
  if (same_layout(tensor, like)) return tensor;
  Tensor copy = torch::stable::empty_like(like);
  torch::stable::copy_(copy, tensor);
  return copy;
}

}  // namespace cdifast
