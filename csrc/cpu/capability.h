// The instruction set that the CPU kernels run with, chosen once when the module loads.
#pragma once

#include <string>

namespace cdifast::cpu {

enum class Capability { baseline, avx2, avx512 };

// The best set that this build holds and this machine runs, or the one that the environment variable
// CDIFAST_CPU_CAPABILITY (baseline, avx2, avx512) asks for. Throws std::runtime_error where it asks for one
// that is unknown, not built or not supported by the machine, or CDIFAST_CPU_GATHER for neither 0 nor 1.
Capability capability();

std::string capability_name();

// Whether the AVX-512 kernels use gather instructions, or loads and inserts. AMD's processors up to Zen 5, and Intel's
// before Sapphire Rapids with the microcode against gather data sampling, run a gather as a long microprogram; Sapphire
// Rapids and later do not. CDIFAST_CPU_GATHER (0 or 1) asks for either. Set by capability().
extern bool fast_gathers;

// Picks one of an operator's kernel tables; the arguments are in the order of Capability.
template <typename Table>
const Table& select(const Table& baseline, [[maybe_unused]] const Table& avx2, [[maybe_unused]] const Table& avx512) {
  switch (capability()) {
    case Capability::avx512:
      return avx512;
    case Capability::avx2:
      return avx2;
    default:
      return baseline;
  }
}

}  // namespace cdifast::cpu

// Declares an operator's kernel tables, one for each instruction set that was compiled, and a function that
// returns the table in use. `Table` is a struct of function pointers; `name` is the tables' variable.
#if defined(CDIFAST_X86_VARIANTS)
#define CDIFAST_DECLARE_KERNELS(Table, name)                                      \
  namespace baseline {                                                            \
  extern const Table name;                                                        \
  }                                                                               \
  namespace avx2 {                                                                \
  extern const Table name;                                                        \
  }                                                                               \
  namespace avx512 {                                                              \
  extern const Table name;                                                        \
  }                                                                               \
  inline const Table& selected_##name() {                                         \
    static const Table& table = select(baseline::name, avx2::name, avx512::name); \
    return table;                                                                 \
  }
#else
#define CDIFAST_DECLARE_KERNELS(Table, name) \
  namespace baseline {                       \
  extern const Table name;                   \
  }                                          \
  inline const Table& selected_##name() { return baseline::name; }
#endif
