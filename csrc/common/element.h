// Element types as the kernels see them: free of torch, shared by the CPU and CUDA layers.
#pragma once

#include <cstdint>

#include "host_device.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace cdifast {

enum class DType : int8_t { u8, u16, i16, i32, f16, bf16, f32, f64 };

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

// The type that arithmetic on an element runs in: double for double, float for everything else.
template <typename T>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <typename T>
using compute_t = typename ComputeType<T>::type;

template <typename T>
CDIFAST_HD compute_t<T> load_element(const T& value) {
  return static_cast<compute_t<T>>(value);
}

CDIFAST_HD float load_element(const Half& value) {
#if defined(__CUDACC__)
  return __half2float(__ushort_as_half(value.bits));
#else
  _Float16 half;
  __builtin_memcpy(&half, &value.bits, sizeof half);
  return static_cast<float>(half);
#endif
}

CDIFAST_HD float load_element(const BFloat16& value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}

template <typename T>
CDIFAST_HD void store_element(T& target, compute_t<T> value) {
  target = static_cast<T>(value);
}

CDIFAST_HD void store_element(Half& target, float value) {
#if defined(__CUDACC__)
  target.bits = __half_as_ushort(__float2half_rn(value));
#else
  const _Float16 half = static_cast<_Float16>(value);
  __builtin_memcpy(&target.bits, &half, sizeof half);
#endif
}

// Round to nearest even; a NaN keeps a set mantissa bit so that it cannot turn into an infinity.
CDIFAST_HD void store_element(BFloat16& target, float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  target.bits = static_cast<uint16_t>(is_nan ? ((bits >> 16) | 0x40u) : rounded);
}

template <typename T>
struct TypeTag {
  using type = T;
};

// Calls f(TypeTag<T>{}) for a floating element type, on the host. The caller has checked the dtype.
template <typename F>
CDIFAST_HOST void dispatch_floating(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f16:
      return f(TypeTag<Half>{});
    case DType::bf16:
      return f(TypeTag<BFloat16>{});
    case DType::f64:
      return f(TypeTag<double>{});
    default:
      return f(TypeTag<float>{});
  }
}

// Calls f(TypeTag<T>{}) for any element type, on the host.
template <typename F>
CDIFAST_HOST void dispatch_element(DType dtype, const F& f) {
  switch (dtype) {
    case DType::u8:
      return f(TypeTag<uint8_t>{});
    case DType::u16:
      return f(TypeTag<uint16_t>{});
    case DType::i16:
      return f(TypeTag<int16_t>{});
    case DType::i32:
      return f(TypeTag<int32_t>{});
    default:
      return dispatch_floating(dtype, f);
  }
}

}  // namespace cdifast
