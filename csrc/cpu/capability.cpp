#include "capability.h"

#include <array>
#include <cstdlib>
#include <stdexcept>

#if defined(CDIFAST_X86_VARIANTS)
#include <cpuid.h>
#endif

namespace cdifast::cpu {
namespace {

constexpr std::array<const char*, 3> kNames = {"baseline", "avx2", "avx512"};

bool supported([[maybe_unused]] Capability wanted) {
#if defined(CDIFAST_X86_VARIANTS)
  switch (wanted) {
    case Capability::avx512:
      // The four subsets that the AVX-512 files are compiled with, see CMakeLists.txt.
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && supported(Capability::avx2);
    case Capability::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    default:
      return true;
  }
#else
  return wanted == Capability::baseline;
#endif
}

bool choose_gathers() {
  if (const char* asked = std::getenv("CDIFAST_CPU_GATHER"); asked != nullptr && *asked != '\0') {
    if (std::string(asked) != "0" && std::string(asked) != "1") {
      throw std::runtime_error(std::string("CDIFAST_CPU_GATHER=") + asked + ": expected 0 or 1");
    }
    return *asked == '1';
  }
#if defined(CDIFAST_X86_VARIANTS)
  // Sapphire Rapids was the first to have AVX512-FP16, whose name GCC 11 does not know.
  constexpr unsigned half_numbers = 1u << 23;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_is("intel") && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & half_numbers) != 0;
#else
  return false;
#endif
}

Capability choose() {
  if (const char* asked = std::getenv("CDIFAST_CPU_CAPABILITY"); asked != nullptr && *asked != '\0') {
    for (size_t i = 0; i < kNames.size(); ++i) {
      if (std::string(asked) != kNames[i]) continue;
      const auto wanted = static_cast<Capability>(i);
      if (!supported(wanted)) {
        throw std::runtime_error(std::string("CDIFAST_CPU_CAPABILITY=") + asked +
                                 ": this build or this machine does not have that instruction set");
      }
      return wanted;
    }
    throw std::runtime_error(std::string("CDIFAST_CPU_CAPABILITY=") + asked + ": expected baseline, avx2 or avx512");
  }
  if (supported(Capability::avx512)) return Capability::avx512;
  if (supported(Capability::avx2)) return Capability::avx2;
  return Capability::baseline;
}

}  // namespace

bool fast_gathers = false;

Capability capability() {
  static const Capability chosen = [] {
    fast_gathers = choose_gathers();
    return choose();
  }();
  return chosen;
}

std::string capability_name() { return kNames[static_cast<size_t>(capability())]; }

}  // namespace cdifast::cpu
