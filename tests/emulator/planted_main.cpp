// planted NAME right|wrong [SCHEDULE [POISON]]: runs a kernel of planted.cuh and prints what it wrote.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "planted.cuh"

namespace {

using cdifast::cuda::launch;
using Buffer = std::vector<float>;
using Run = std::function<void(const float*, float*)>;

#define KERNEL(name, flag) \
  Run([](const float* in, float* out) { launch(cdifast::planted::name<flag>, 1, 64, nullptr, in, out); })
#define PAIR(name)                                     \
  {                                                    \
    #name, { KERNEL(name, true), KERNEL(name, false) } \
  }

template <bool kRight>
void copy(const float* in, float* out) {
  launch(cdifast::planted::copy<kRight>, 1, 64, nullptr, in, out, 64);
}

template <bool kRight>
void fill(const float*, float* out) {
  launch(cdifast::planted::fill<kRight>, 1, 64, nullptr, out, 64);
}

template <bool kAtomic>
void blocks_add(const float* in, float* out) {
  launch(cdifast::planted::blocks_add<kAtomic>, 6, 64, nullptr, in, out);
}

// Never zero: what a kernel leaves out shows.
constexpr float kUntouched = -7.0f;

}  // namespace

int main(int count, char** arguments) {
  const std::map<std::string, std::pair<Run, Run>> kernels = {
      PAIR(reverse),
      PAIR(reverse_twice),
      PAIR(leave_early),
      PAIR(two_barriers),
      {"copy", {copy<true>, copy<false>}},
      {"fill", {fill<true>, fill<false>}},
      PAIR(neighbour),
      PAIR(histogram),
      PAIR(unwritten),
      PAIR(vector_load),
      PAIR(warp_sum),
      PAIR(warp_exchange),
      {"blocks_add", {blocks_add<true>, blocks_add<false>}},
  };
  if (count < 3 || kernels.count(arguments[1]) == 0) {
    std::fprintf(stderr, "planted: no such kernel\n");
    return 2;
  }
  if (count > 3) cdifast::emulator::settings().schedule = static_cast<uint32_t>(std::atoi(arguments[3]));
  if (count > 4) cdifast::emulator::settings().poison = static_cast<uint8_t>(std::atoi(arguments[4]));

  // On the heap with exactly their size: AddressSanitizer guards both ends. Aligned as cudaMalloc's are.
  Buffer in(64), out(64, kUntouched);
  for (int i = 0; i < 64; ++i) in[i] = static_cast<float>(i);
  const auto& [right, wrong] = kernels.at(arguments[1]);
  try {
    (std::string(arguments[2]) == "right" ? right : wrong)(in.data(), out.data());
  } catch (const cdifast::emulator::KernelError& error) {
    std::fprintf(stderr, "KernelError: %s\n", error.what());
    return 3;
  }
  for (const float value : out) std::printf(value != value ? "nan " : "%g ", static_cast<double>(value));
  std::printf("\n");
  return 0;
}
