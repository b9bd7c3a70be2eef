// Every launcher, dtype, alignment and kind of length of the log activation, for ThreadSanitizer.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "../../csrc/cuda/log_activation_launch.h"
#include "../../csrc/emulator/emulator.h"

namespace {

using namespace cdifast;

// `bytes` on the heap from a multiple of 16 (cudaMalloc's are of 256) plus `offset`, to the last byte.
class Buffer {
 public:
  Buffer(std::size_t bytes, std::size_t offset) : offset_(offset), bytes_(bytes) {
    if (posix_memalign(&base_, 16, offset + bytes) != 0) std::abort();
    std::memset(data(), 0xff, bytes);  // NaN until written
  }
  ~Buffer() { std::free(base_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  char* data() const { return static_cast<char*>(base_) + offset_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* base_ = nullptr;
  std::size_t offset_;
  std::size_t bytes_;
};

template <typename T>
void fill(const Buffer& buffer, int seed) {
  T* target = reinterpret_cast<T*>(buffer.data());
  for (std::size_t i = 0; i < buffer.bytes() / sizeof(T); ++i) {
    const auto step = static_cast<int>((i * 7919 + static_cast<std::size_t>(seed)) % 2001);
    store_element(target[i], static_cast<compute_t<T>>(0.01 * (step - 1000)));
  }
}

template <typename T>
void run(DType dtype, int64_t count, bool aligned, DType alpha_dtype) {
  const std::size_t offset = aligned ? 0 : sizeof(T);
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  const Buffer x(bytes, offset), grad(bytes, 0), out(bytes, 0);
  const std::size_t alpha_bytes = alpha_dtype == DType::f64 ? 8 : 4;
  const Buffer alpha(alpha_bytes, 0), grad_alpha(alpha_bytes, 0);
  const Buffer workspace(sizeof(double) * cuda::kLogActivationWorkspace, 0);
  fill<T>(x, 1);
  fill<T>(grad, 2);
  if (alpha_dtype == DType::f64) {
    fill<double>(alpha, 3);
  } else {
    fill<float>(alpha, 3);
  }
  const cuda::AlphaArgument number{0.2, nullptr, DType::f64};
  const cuda::AlphaArgument device{0.0, alpha.data(), alpha_dtype};

  cuda::log_activation_forward(dtype, x.data(), out.data(), count, number, nullptr);
  cuda::log_activation_backward(dtype, grad.data(), x.data(), out.data(), count, number, nullptr);
  cuda::log_activation_backward_alpha(dtype, grad.data(), x.data(), out.data(), grad_alpha.data(), alpha_dtype,
                                      reinterpret_cast<double*>(workspace.data()), count, device, nullptr);
}

}  // namespace

int main() {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32, DType::f64}) {
    dispatch_floating(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const int64_t whole_grid = cuda::kLogActivationMaxBlocks * 256 * static_cast<int64_t>(16 / sizeof(T));
      run<T>(dtype, 0, true, DType::f64);
      run<T>(dtype, 257, false, DType::f32);
      run<T>(dtype, whole_grid + 3, true, DType::f32);
    });
  }
  return 0;
}
