// Kernels with one planted bug each, beside the same kernel without it. All sum or move 64 numbers in one block.
#pragma once

#include "../../csrc/cuda/launch.cuh"

namespace cdifast::planted {

constexpr int kThreads = 64;

// Reverses the block's numbers by way of shared memory.
template <bool kBarrier>
__global__ void reverse(const float* __restrict__ in, float* __restrict__ out) {
  CDIFAST_SHARED(float, tile, kThreads);
  tile[threadIdx.x] = in[threadIdx.x];
  if (kBarrier) __syncthreads();
  out[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}

// Reverses twice with one array: the second barrier keeps fast threads from overwriting what slow ones still read.
template <bool kSecondBarrier>
__global__ void reverse_twice(const float* __restrict__ in, float* __restrict__ out) {
  CDIFAST_SHARED(float, tile, kThreads);
  float value = in[threadIdx.x];
  for (int turn = 0; turn < 2; ++turn) {
    tile[threadIdx.x] = value;
    __syncthreads();
    value = tile[kThreads - 1 - threadIdx.x];
    if (kSecondBarrier) __syncthreads();
  }
  out[threadIdx.x] = value;
}

// A sum over the block; without `kAllReach`, threads of the upper half leave before the barrier.
template <bool kAllReach>
__global__ void leave_early(const float* __restrict__ in, float* __restrict__ out) {
  CDIFAST_SHARED(float, partial, kThreads);
  partial[threadIdx.x] = in[threadIdx.x];
  if (!kAllReach && threadIdx.x >= kThreads / 2) return;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (int i = 0; i < kThreads; ++i) sum += partial[i];
    out[0] = sum;
  }
}

// The two halves of the block wait at the same barrier, or each at its own.
template <bool kSame>
__global__ void two_barriers(const float* __restrict__ in, float* __restrict__ out) {
  if (kSame) {
    __syncthreads();
  } else if (threadIdx.x < kThreads / 2) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = in[threadIdx.x];
}

// The loop that every grid-stride kernel has, with the right bound or one too many.
template <bool kRight>
__global__ void copy(const float* __restrict__ in, float* __restrict__ out, int count) {
  const int last = kRight ? count - 1 : count;
  for (int i = threadIdx.x; i <= last; i += kThreads) out[i < count ? i : 0] = in[i];
}

template <bool kRight>
__global__ void fill(float* __restrict__ out, int count) {
  const int last = kRight ? count - 1 : count;
  for (int i = threadIdx.x; i <= last; i += kThreads) out[i] = 1.0f;
}

// Each thread reads its right neighbour's number; the last thread has none.
template <bool kRight>
__global__ void neighbour(const float* __restrict__ in, float* __restrict__ out) {
  CDIFAST_SHARED(float, tile, kThreads);
  tile[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  const int next = threadIdx.x + 1;
  const float* numbers = tile;  // a pointer, so that only the red zone behind the array can tell
  out[threadIdx.x] = kRight && next == kThreads ? 0.0f : numbers[next];
}

// A histogram of parity; counting starts at zero, or at whatever is there.
template <bool kZeroed>
__global__ void histogram(const float* __restrict__ in, float* __restrict__ out) {
  CDIFAST_SHARED(int, bins, 2);
  if (kZeroed && threadIdx.x < 2) bins[threadIdx.x] = 0;
  __syncthreads();
  atomicAdd(&bins[static_cast<int>(in[threadIdx.x]) & 1], 1);
  __syncthreads();
  if (threadIdx.x < 2) out[threadIdx.x] = static_cast<float>(bins[threadIdx.x]);
}

// Sum over the block of which the upper half of the array is never written, or is.
template <bool kWhole>
__global__ void unwritten(const float* __restrict__ in, float* __restrict__ out) {
  CDIFAST_SHARED(float, partial, kThreads);
  if (kWhole || threadIdx.x < kThreads / 2) partial[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = partial[kThreads - 1 - threadIdx.x];
}

struct alignas(16) Four {
  float element[4];
};

// 16 bytes at a time, from an address that is a multiple of 16 or only of 4.
template <bool kAligned>
__global__ void vector_load(const float* __restrict__ in, float* __restrict__ out) {
  if (threadIdx.x >= kThreads / 4 - 1) return;
  const Four four = reinterpret_cast<const Four*>(in + (kAligned ? 0 : 1))[threadIdx.x];
  for (int v = 0; v < 4; ++v) out[4 * threadIdx.x + v] = four.element[v];
}

// Sum over a warp by shuffles, with all lanes in the mask or a mask that names lanes that have left.
template <bool kAllStay>
__global__ void warp_sum(const float* __restrict__ in, float* __restrict__ out) {
  float value = in[threadIdx.x];
  if (!kAllStay && threadIdx.x % 32 >= 16) return;
  for (int delta = 16; delta > 0; delta /= 2) value += __shfl_down_sync(0xffffffffu, value, delta);
  if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = value;
}

// One warp hands numbers over through shared memory; a shuffle is no barrier, __syncwarp is.
template <bool kSyncWarp>
__global__ void warp_exchange(const float* __restrict__ in, float* __restrict__ out) {
  CDIFAST_SHARED(float, tile, kThreads);
  tile[threadIdx.x] = in[threadIdx.x];
  if (kSyncWarp) {
    __syncwarp();
  } else {
    __shfl_sync(0xffffffffu, 0.0f, 0);
  }
  out[threadIdx.x] = tile[threadIdx.x ^ 1];
}

// Every block adds its sum to one number, atomically or not.
template <bool kAtomic>
__global__ void blocks_add(const float* __restrict__ in, float* __restrict__ out) {
  if (threadIdx.x != 0) return;
  if (kAtomic) {
    atomicAdd(out, in[blockIdx.x]);
  } else {
    *out += in[blockIdx.x];
  }
}

}  // namespace cdifast::planted
