// Every launcher, dtype, alignment and kind of length of the log activation, for ThreadSanitizer; and the channels that its
// kernels find for positions which no array here reaches.
#include <cstdint>
#include <cstdlib>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../csrc/cuda/log_activation_kernel.cuh"
#include "../../csrc/cuda/log_activation_launch.h"

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

  const Buffer channels(3 * sizeof(compute_t<T>), 0);
  fill<compute_t<T>>(channels, 4);
  const ChannelBias none{nullptr, 1, count};
  const ChannelBias bias{channels.data(), 3, 5};

  cuda::log_activation_forward(dtype, x.data(), out.data(), count, number, none, nullptr);
  cuda::log_activation_backward(dtype, grad.data(), x.data(), out.data(), count, number, bias, nullptr);
  cuda::log_activation_backward_alpha(dtype, grad.data(), x.data(), out.data(), grad_alpha.data(), alpha_dtype,
                                      reinterpret_cast<double*>(workspace.data()), count, device, bias, nullptr);
  cuda::log_activation_forward(dtype, x.data(), x.data(), count, device, bias, nullptr);
}

void check_channels(int64_t channels, int64_t inner, int64_t position) {
  std::vector<double> values(static_cast<std::size_t>(channels));
  for (std::size_t c = 0; c < values.size(); ++c) values[c] = static_cast<double>(c);
  const cuda::BiasSource<double> source{
      values.data(), channels, inner, cuda::divider(channels), cuda::divider(inner), position};
  double found[4];
  source.get(0, found);
  for (int64_t v = 0; v < 4; ++v) {
    if (found[v] == static_cast<double>((position + v) / inner % channels)) continue;
    std::fprintf(stderr, "element %lld of %lld channels of %lld: channel %g\n", static_cast<long long>(position + v),
                 static_cast<long long>(channels), static_cast<long long>(inner), found[v]);
    std::exit(1);
  }
}

}  // namespace

int main() {
  for (const int64_t inner : {1LL, 2LL, 3LL, 4LL, 7LL, 12544LL, 65537LL, (1LL << 31) - 1, 1LL << 31, (1LL << 33) + 5}) {
    for (const int64_t channels : {1, 2, 3, 64, 1000, 65536}) {
      for (int64_t bit = 0; bit < 40; ++bit) {
        for (int64_t off = -6; off <= 6; ++off) {
          const int64_t position = (int64_t{1} << bit) + off;
          if (position >= 0) check_channels(channels, inner, position);
        }
      }
    }
  }
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
