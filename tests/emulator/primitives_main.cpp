// What kernels call of CUDA, each against its definition for every lane. Says what is wrong, if anything.
#include <cmath>
#include <cstdio>
#include <vector>

#include "../../csrc/cuda/launch.cuh"

namespace {

constexpr int kThreads = 96;
constexpr int kResults = 12;

__global__ void primitives(int* results, int* counters) {
  const int i = static_cast<int>(threadIdx.x + blockDim.x * threadIdx.y);
  int* mine = results + i * kResults;
  mine[0] = __shfl_sync(0xffffffffu, i, 5);
  mine[1] = __shfl_sync(0xffffffffu, i, 5, 8);
  mine[2] = __shfl_up_sync(0xffffffffu, i, 3u);
  mine[3] = __shfl_up_sync(0xffffffffu, i, 3u, 16);
  mine[4] = __shfl_down_sync(0xffffffffu, i, 3u);
  mine[5] = __shfl_down_sync(0xffffffffu, i, 3u, 16);
  mine[6] = __shfl_xor_sync(0xffffffffu, i, 9);
  mine[7] = static_cast<int>(__ballot_sync(0xffffffffu, i % 3 == 0));
  // Halves of a warp, each by itself.
  const uint32_t half = i % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  mine[8] = static_cast<int>(__ballot_sync(half, true));
  mine[9] = static_cast<int>(__shfl_xor_sync(half, 0.5 * i, 1) * 2);  // eight bytes
  mine[10] = static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x);
  mine[11] = static_cast<int>(blockDim.y * 1000 + gridDim.y);
  atomicAdd(&counters[0], i);
  atomicMin(&counters[1], -i);
  atomicMax(&counters[2], i);
  if (i == 7) atomicExch(&counters[3], 42);
  atomicCAS(&counters[4], i, i + 1);  // from 0: counts up where thread i meets i
}

int failures = 0;

void expect(const char* what, int thread, int found, int expected) {
  if (found == expected) return;
  std::printf("%s of thread %d: %d, expected %d\n", what, thread, found, expected);
  ++failures;
}

}  // namespace

int main() {
  std::vector<int> results(kThreads * kResults), counters(5);
  cdifast::cuda::launch(primitives, dim3(1, 2), dim3(48, 2), nullptr, results.data(), counters.data());
  for (int i = 0; i < kThreads; ++i) {
    const int* found = results.data() + i * kResults;
    const int warp = i / 32 * 32, lane = i % 32;
    expect("__shfl_sync", i, found[0], warp + 5);
    expect("__shfl_sync, width 8", i, found[1], i / 8 * 8 + 5);
    expect("__shfl_up_sync", i, found[2], lane < 3 ? i : i - 3);
    expect("__shfl_up_sync, width 16", i, found[3], i % 16 < 3 ? i : i - 3);
    expect("__shfl_down_sync", i, found[4], lane > 28 ? i : i + 3);
    expect("__shfl_down_sync, width 16", i, found[5], i % 16 > 12 ? i : i + 3);
    expect("__shfl_xor_sync", i, found[6], warp + (lane ^ 9));
    uint32_t multiples = 0;
    for (int other = 0; other < 32; ++other) multiples |= (warp + other) % 3 == 0 ? 1u << other : 0u;
    expect("__ballot_sync", i, found[7], static_cast<int>(multiples));
    expect("__ballot_sync of half a warp", i, found[8], static_cast<int>(lane < 16 ? 0x0000ffffu : 0xffff0000u));
    expect("__shfl_xor_sync of a double", i, found[9], i ^ 1);
    expect("blockIdx", i, found[10], 1);  // the last block to write
    expect("blockDim, gridDim", i, found[11], 2002);
  }
  expect("atomicAdd", -1, counters[0], 2 * kThreads * (kThreads - 1) / 2);
  expect("atomicMin", -1, counters[1], -(kThreads - 1));
  expect("atomicMax", -1, counters[2], kThreads - 1);
  expect("atomicExch", -1, counters[3], 42);
  expect("atomicCAS, threads in order", -1, counters[4], kThreads);
  for (int eighth = -40; eighth <= 40; ++eighth) {
    double sine = 0, cosine = 0;
    sincospi(eighth / 8.0, &sine, &cosine);
    const double phi = 3.14159265358979323846 * eighth / 8.0;
    expect("sincospi", eighth, std::abs(sine - std::sin(phi)) + std::abs(cosine - std::cos(phi)) < 1e-14, 1);
    if (eighth % 4 == 0) expect("sincospi of a quarter turn", eighth, sine * cosine == 0.0, 1);
  }
  return failures == 0 ? 0 : 1;
}
