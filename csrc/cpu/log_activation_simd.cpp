// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
#include "log_activation_simd.h"

#include "../common/log_activation_math.h"
#include "tiles.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

// What is added to the elements of one tile after the other. Without a bias that is -0.0, which changes no number, not
// even the sign of a zero, so that there is one loop for both cases.
template <typename C, int64_t kSize>
class BiasTiles {
 public:
  BiasTiles(const ChannelBias& bias, int64_t first)
      : values_(static_cast<const C*>(bias.values)), channels_(bias.channels), inner_(bias.inner) {
    if (values_ == nullptr) {
      fill(0, kSize, C(-0.0));
      return;
    }
    channel_ = first / inner_ % channels_;
    left_ = inner_ - first % inner_;
  }

  // For the next `count` elements, at most kSize.
  CDIFAST_HOST const C* next(int64_t count) {
    if (values_ == nullptr) return tile_;
    if (left_ >= count) {
      if (filled_with_ != channel_) fill(0, kSize, values_[channel_]);
      filled_with_ = channel_;
      advance(count);
    } else {
      gather(count);
    }
    return tile_;
  }

 private:
  void fill(int64_t first, int64_t count, C value) {
    for (int64_t i = 0; i < count; ++i) tile_[first + i] = value;
  }

  void advance(int64_t count) {
    left_ -= count;
    if (left_ > 0) return;
    left_ = inner_;
    if (++channel_ == channels_) channel_ = 0;
  }

  __attribute__((noinline)) void gather(int64_t count) {
    filled_with_ = -1;
    for (int64_t i = 0; i < count;) {
      const int64_t rest = count - i;
      if (inner_ == 1) {  // channels lie side by side
        const int64_t run = channels_ - channel_ < rest ? channels_ - channel_ : rest;
        for (int64_t j = 0; j < run; ++j) tile_[i + j] = values_[channel_ + j];
        channel_ += run;
        if (channel_ == channels_) channel_ = 0;
        i += run;
      } else {
        const int64_t run = left_ < rest ? left_ : rest;
        fill(i, run, values_[channel_]);
        advance(run);
        i += run;
      }
    }
  }

  const C* values_;
  int64_t channels_;
  int64_t inner_;
  int64_t channel_ = 0;
  int64_t left_ = 0;          // elements of this channel that are still to come
  int64_t filled_with_ = -1;  // the channel that the whole tile holds
  alignas(kLineBytes) C tile_[kSize];
};

void forward(const LogActivationArguments& arguments, const void* x, void* y, Span span) {
  dispatch_floating(arguments.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* source = static_cast<const T*>(x) + span.first;
    T* target = static_cast<T*>(y) + span.first;
    const C alpha = static_cast<C>(arguments.alpha);
    BiasTiles<C, kTile<T>> biases(arguments.bias, span.first);
    for_each_tile(target, span.count, arguments.stream, [&](int64_t i, int64_t count, T* out) CDIFAST_INLINE_LAMBDA {
      const C* bias = biases.next(count);
      const T* in = source + i;
      prefetch_tile(in);
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) {
        store_element(out[j], log_activation_value(load_element(in[j]) + bias[j], alpha));
      }
    });
  });
}

void backward(const LogActivationArguments& arguments, const void* grad_y, const void* x, void* grad_x, Span span) {
  dispatch_floating(arguments.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* gradient = static_cast<const T*>(grad_y) + span.first;
    const T* source = static_cast<const T*>(x) + span.first;
    T* target = static_cast<T*>(grad_x) + span.first;
    const C alpha = static_cast<C>(arguments.alpha);
    BiasTiles<C, kTile<T>> biases(arguments.bias, span.first);
    for_each_tile(target, span.count, arguments.stream, [&](int64_t i, int64_t count, T* out) CDIFAST_INLINE_LAMBDA {
      const C* bias = biases.next(count);
      const T* g = gradient + i;
      const T* in = source + i;
      prefetch_tile(g);
      prefetch_tile(in);
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) {
        store_element(out[j], load_element(g[j]) * log_activation_slope(load_element(in[j]) + bias[j], alpha));
      }
    });
  });
}

double backward_alpha(const LogActivationArguments& arguments, const void* grad_y, const void* x, void* grad_x,
                      Span span) {
  double total = 0.0;
  dispatch_floating(arguments.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* gradient = static_cast<const T*>(grad_y) + span.first;
    const T* source = static_cast<const T*>(x) + span.first;
    T* target = static_cast<T*>(grad_x) + span.first;
    const C alpha = static_cast<C>(arguments.alpha);
    BiasTiles<C, kTile<T>> biases(arguments.bias, span.first);
    for_each_tile(target, span.count, arguments.stream, [&](int64_t i, int64_t count, T* out) CDIFAST_INLINE_LAMBDA {
      const C* bias = biases.next(count);
      const T* g = gradient + i;
      const T* in = source + i;
      prefetch_tile(g);
      prefetch_tile(in);
      double sum = 0.0;
#pragma omp simd reduction(+ : sum)
      for (int64_t j = 0; j < count; ++j) {
        const C value = load_element(in[j]) + bias[j];
        const C slope = load_element(g[j]) * log_activation_slope(value, alpha);
        sum += static_cast<double>(load_element(g[j]) * log_activation_unit(value));
        store_element(out[j], slope);
      }
      total += sum;
    });
  });
  return total;
}

template <typename T>
CDIFAST_HOST double sum_of(const T* values, int64_t count) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(load_element(values[i]));
  return sum;
}

void channel_sums(DType dtype, const void* grad_x, const ChannelBlock& block, double* sums) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (block.channels == 1) {  // the rows are one run
      sums[0] = sum_of(static_cast<const T*>(grad_x) + block.rows.first * block.inner, block.rows.count * block.inner);
      return;
    }
    double total[kChannelsAtATime] = {};
    const int64_t channels = block.of_channels.count;
    for (int64_t r = 0; r < block.rows.count; ++r) {
      const int64_t first = (block.rows.first + r) * block.channels + block.of_channels.first;
      const T* row = static_cast<const T*>(grad_x) + first * block.inner;
      if (block.inner == 1) {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) total[c] += static_cast<double>(load_element(row[c]));
      } else {
        for (int64_t c = 0; c < channels; ++c) total[c] += sum_of(row + c * block.inner, block.inner);
      }
    }
    for (int64_t c = 0; c < channels; ++c) sums[c] = total[c];
  });
}

}  // namespace

const LogActivationKernels log_activation_kernels = {forward, backward, backward_alpha, channel_sums};

}  // namespace cdifast::cpu::CDIFAST_ISA
