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

// Integer images give float maps; floating ones keep their type.
template <typename T>
struct ResampledType {
  using type = float;
};
template <>
struct ResampledType<Half> {
  using type = Half;
};
template <>
struct ResampledType<BFloat16> {
  using type = BFloat16;
};
template <>
struct ResampledType<double> {
  using type = double;
};
template <typename T>
using resampled_t = typename ResampledType<T>::type;

template <typename T>
CDIFAST_HD compute_t<T> load_element(const T& value) {
  return static_cast<compute_t<T>>(value);
}

CDIFAST_HD uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

CDIFAST_HD float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

CDIFAST_HD float load_element(const Half& value) {
#if defined(__CUDACC__)
  return __half2float(__ushort_as_half(value.bits));
#else
  // Exponent and mantissa at their places in a float, whose exponent counts from another zero: 2^112 makes up for it,
  // for subnormal numbers too. Infinity and NaN take the largest exponent.
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(value.bits & 0x7fffu) << 13;
  const uint32_t finite = bits_of(float_of(magnitude) * 0x1p112f);
  return float_of(sign | (magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : finite));
#endif
}

CDIFAST_HD float load_element(const BFloat16& value) { return float_of(static_cast<uint32_t>(value.bits) << 16); }

template <typename T>
CDIFAST_HD void store_element(T& target, compute_t<T> value) {
  target = static_cast<T>(value);
}

// Round to nearest even, as torch does. A NaN keeps a set mantissa bit so that it cannot turn into an infinity.
CDIFAST_HD void store_element(Half& target, float value) {
#if defined(__CUDACC__)
  target.bits = __half_as_ushort(__float2half_rn(value));
#else
  const uint32_t bits = bits_of(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // From 2^-14 on: drop 13 bits with rounding, and count the exponent from the other zero.
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  // Below: 1/2 has its last bit where a subnormal half has its own, so that the addition does the rounding.
  const uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;  // 65520 and more round to infinity
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  target.bits = static_cast<uint16_t>(sign | half);
#endif
}

CDIFAST_HD void store_element(BFloat16& target, float value) {
  const uint32_t bits = bits_of(value);
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
