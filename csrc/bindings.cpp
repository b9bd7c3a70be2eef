// The module cdifast._C. Loading it registers the operators with torch; what it binds itself is only what the
// dispatcher cannot carry. No function here takes a tensor: one bound this way would break torch.compile.
//
// Every kernel is deterministic (no atomics, fixed summation order), so there is no determinism switch to bind.
#include "chunks/bindings.h"

#include <pybind11/pybind11.h>

#include <string>

#include "cpu/capability.h"
#include "cpu/reduce_bindings.h"
#include "cpu/resample_plan.h"
#if defined(CDIFAST_WITH_CUDA)
#include "cuda/runtime.h"
#endif

namespace py = pybind11;

namespace {

py::dict build_info() {
  py::dict info;
  info["version"] = CDIFAST_VERSION;
  info["compiler"] = CDIFAST_COMPILER;
  info["built_with_torch"] = CDIFAST_BUILT_WITH_TORCH;
  info["minimum_torch"] = CDIFAST_MINIMUM_TORCH;
#if defined(CDIFAST_X86_VARIANTS)
  info["cpu_capabilities"] = py::make_tuple("baseline", "avx2", "avx512");
#else
  info["cpu_capabilities"] = py::make_tuple("baseline");
#endif
#if defined(CDIFAST_WITH_CUDA)
  info["cuda"] = cdifast::cuda::runtime_version();
  info["cuda_architectures"] = CDIFAST_CUDA_ARCHITECTURES;
  info["why_no_cuda"] = py::none();
#else
  info["cuda"] = py::none();
  info["cuda_architectures"] = "";
  info["why_no_cuda"] = CDIFAST_WHY_NO_CUDA;
#endif
  return info;
}

py::dict plan_cache_info() {
  const auto state = cdifast::cpu::plan_cache_state();
  py::dict info;
  info["plans"] = state.plans;
  info["bytes"] = state.bytes;
  info["max_bytes"] = static_cast<int64_t>(cdifast::cpu::kPlanCacheBytes);
  info["hits"] = state.hits;
  info["misses"] = state.misses;
  return info;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Compiled operators of cdifast; use them through cdifast.ops.";
  // Chosen now, so that a wrong CDIFAST_CPU_CAPABILITY is an error of the import and not of the first operator.
  cdifast::cpu::capability();
  m.def("build_info", &build_info, "What this binary was built from and for.");
  m.def("cpu_capability", &cdifast::cpu::capability_name, "The instruction set that the CPU kernels run with.");
  m.def("plan_cache_info", &plan_cache_info, "What the cache of sampling plans on the CPU holds and has served.");
  m.def("clear_plan_cache", &cdifast::cpu::clear_plan_cache, "Empty the cache of sampling plans.");
  cdifast::chunks::bind(m);
  cdifast::cpu::bind_reduce(m);
}
