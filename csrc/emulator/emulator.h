// CUDA on the CPU, for tests: what a kernel (.cuh) and its launcher (.cu) need so that g++ compiles the very files
// that nvcc compiles. C++20, no torch.
//
// What it checks, beside the result:
//   - a barrier that some threads of the block do not reach, and a warp operation whose mask does not hold, raise;
//     nothing hangs;
//   - shared memory is filled with a poison byte before every block: 0xff makes every float a NaN, and results that
//     change with the byte (Settings) have read what nobody wrote;
//   - the order in which threads run between two barriers can be changed (Settings): results must not change;
//   - built with -fsanitize=address,undefined: accesses outside a buffer or a shared array, and misaligned vectors;
//   - built with -fsanitize=thread and threads.cpp in place of fibers.cpp: data races, as CUDA's memory model has them.
// What it is not: a GPU. Timing, caches, registers, nvcc's code and CUDA's own arithmetic (half conversions, say) are
// not emulated, and 32 threads of a warp share no instruction.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numbers>
#include <source_location>
#include <stdexcept>

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace cdifast::emulator {

using Site = std::source_location;

constexpr int kWarpSize = 32;
constexpr int kMaxThreads = 1024;
constexpr std::size_t kSharedBytes = 48 * 1024;  // static shared memory a block, on every architecture

// What a kernel did that CUDA leaves undefined.
class KernelError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Settings {
  // Order of a block's threads between two barriers: 0 ascending, 1 descending, any other a permutation of that seed.
  // Fibers only: std::threads run as the machine lets them.
  uint32_t schedule = 0;
  uint8_t poison = 0xff;
  int compute_capability = 90;  // what launchers are told
};
Settings& settings();

struct Coordinates {
  dim3 thread, block, block_size, grid_size;
};
// Of the emulated thread that calls.
const Coordinates& coordinates();

void block_barrier(const Site& site);
void warp_barrier(uint32_t mask, const Site& site);
// Every lane of the mask gives `bits` and gets what lane `source` gave.
uint64_t warp_exchange(const char* operation, uint32_t mask, uint64_t bits, int source, const Site& site);
uint32_t warp_ballot(uint32_t mask, bool predicate, const Site& site);
int lane();
// The block's array that is declared at `site`; every thread of the block gets the same.
void* shared_array(std::size_t bytes, std::size_t alignment, const Site& site);

// Runs `kernel` once for each thread of the grid. Throws KernelError.
void run_grid(dim3 grid, dim3 block, const std::function<void()>& kernel);

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, void* /*stream*/, Arguments... arguments) {
  run_grid(grid, block, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

template <typename T>
T exchange(const char* operation, uint32_t mask, T value, int source, const Site& site) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_exchange(operation, mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// One indivisible update without any ordering of other accesses, as CUDA's atomics are. Returns the old value.
template <typename T, typename F>
T atomic_update(T* address, const F& update) {
  std::atomic_ref<T> target(*address);
  T old = target.load(std::memory_order_relaxed);
  while (!target.compare_exchange_weak(old, update(old), std::memory_order_relaxed)) {
  }
  return old;
}

}  // namespace cdifast::emulator

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// __shared__ itself has no meaning here, so that a kernel that uses it, and would share zeroed memory between all
// blocks, does not compile.
#define CDIFAST_SHARED(type, name, count)            \
  type(&name)[count] = *static_cast<type(*)[count]>( \
      ::cdifast::emulator::shared_array(sizeof(type) * (count), alignof(type), ::cdifast::emulator::Site::current()))

#define threadIdx (::cdifast::emulator::coordinates().thread)
#define blockIdx (::cdifast::emulator::coordinates().block)
#define blockDim (::cdifast::emulator::coordinates().block_size)
#define gridDim (::cdifast::emulator::coordinates().grid_size)
constexpr int warpSize = cdifast::emulator::kWarpSize;

inline void __syncthreads(cdifast::emulator::Site site = cdifast::emulator::Site::current()) {
  cdifast::emulator::block_barrier(site);
}

inline void __syncwarp(uint32_t mask = 0xffffffffu, cdifast::emulator::Site site = cdifast::emulator::Site::current()) {
  cdifast::emulator::warp_barrier(mask, site);
}

template <typename T>
T __shfl_sync(uint32_t mask, T value, int source, int width = warpSize,
              cdifast::emulator::Site site = cdifast::emulator::Site::current()) {
  const int lane = cdifast::emulator::lane();
  return cdifast::emulator::exchange("__shfl_sync", mask, value, (lane & -width) | (source & (width - 1)), site);
}

template <typename T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = warpSize,
                 cdifast::emulator::Site site = cdifast::emulator::Site::current()) {
  const int lane = cdifast::emulator::lane();
  const int source = lane - static_cast<int>(delta);
  return cdifast::emulator::exchange("__shfl_up_sync", mask, value, source < (lane & -width) ? lane : source, site);
}

template <typename T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = warpSize,
                   cdifast::emulator::Site site = cdifast::emulator::Site::current()) {
  const int lane = cdifast::emulator::lane();
  const int source = lane + static_cast<int>(delta);
  return cdifast::emulator::exchange("__shfl_down_sync", mask, value, source >= (lane & -width) + width ? lane : source,
                                     site);
}

template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int lane_mask, int width = warpSize,
                  cdifast::emulator::Site site = cdifast::emulator::Site::current()) {
  const int lane = cdifast::emulator::lane();
  const int source = lane ^ lane_mask;
  return cdifast::emulator::exchange("__shfl_xor_sync", mask, value, source >= (lane & -width) + width ? lane : source,
                                     site);
}

inline uint32_t __ballot_sync(uint32_t mask, bool predicate,
                              cdifast::emulator::Site site = cdifast::emulator::Site::current()) {
  return cdifast::emulator::warp_ballot(mask, predicate, site);
}

template <typename T>
T atomicAdd(T* address, T value) {
  return cdifast::emulator::atomic_update(address, [&](T old) { return static_cast<T>(old + value); });
}

template <typename T>
T atomicMin(T* address, T value) {
  return cdifast::emulator::atomic_update(address, [&](T old) { return value < old ? value : old; });
}

template <typename T>
T atomicMax(T* address, T value) {
  return cdifast::emulator::atomic_update(address, [&](T old) { return old < value ? value : old; });
}

template <typename T>
T atomicExch(T* address, T value) {
  return cdifast::emulator::atomic_update(address, [&](T) { return value; });
}

template <typename T>
T atomicCAS(T* address, T compare, T value) {
  return cdifast::emulator::atomic_update(address, [&](T old) { return old == compare ? value : old; });
}

// Quarter turns are exact, as CUDA's are.
inline void sincospi(double x, double* sine, double* cosine) {
  const double quarters = std::nearbyint(2.0 * std::fmod(x, 2.0));
  const double rest = std::numbers::pi * (std::fmod(x, 2.0) - 0.5 * quarters);
  const double s = std::sin(rest), c = std::cos(rest);
  const int quarter = static_cast<int>(quarters) & 3;
  *sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
  *cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
}
