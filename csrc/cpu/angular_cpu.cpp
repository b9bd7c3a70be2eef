// The full angular correlation on the CPU: checks, groups of pairs, the parallel loops, registration.
//
// Memory beside the result, for R rings of K angles and vectors of V bytes (16, 32 or 64): 24 to 64 bytes a pair for
// the groups, which are kept. A thread has the spectra of one map (about 8 R K bytes for float32, twice that for
// float64; with weights twice, with shared weights nine times as much, see kShared) and two transforms of about K V
// bytes (ten times that where K has a large prime factor), so that everything but the result stays in its caches. For
// 112 x 224 float32 without weights that is 0.24 MB a thread.
//
// The result is the roofline: 5.7 MB for all pairs of a 112 x 224 map, written once, past the caches.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "../common/correlation_math.h"
#include "../correlation_checks.h"
#include "angular_simd.h"
#include "buffer.h"
#include "fft_build.h"
#include "pair_groups.h"

namespace cdifast::cpu {
namespace {

// Maps that one set of transformed pair weights serves, where all maps share their weights.
constexpr int64_t kShared = 8;
// Pieces of work that a call has at least, so that a few maps keep many threads busy.
constexpr int64_t kPieces = 64;
// Bytes of a result from which it is written past the caches; a smaller one is still there for whoever reads it.
constexpr int64_t kStreamed = int64_t{1} << 20;

// `count` elements, with a vector to spare before and after them.
template <typename C>
class Spare {
 public:
  Spare(int64_t count, int64_t lanes) : buffer_((count + 2 * lanes) * sizeof(C)), lanes_(lanes) {}
  C* data() { return buffer_.as<C>() + lanes_; }

 private:
  Buffer buffer_;
  int64_t lanes_;
};

Tensor checked_pairs(const Tensor& pairs_, const Tensor& like, const char* like_name, int64_t n_radial,
                     const char* op) {
  STD_TORCH_CHECK(pairs_.dim() == 2 && pairs_.size(1) == 2, op, ": pairs must have shape (P, 2)");
  const Tensor pairs = checked_indices(pairs_, "pairs", like, like_name, op);
  const int64_t* values = pairs.const_data_ptr<int64_t>();
  const int64_t* end = values + pairs.numel();
  const auto outside = [&](int64_t ring) { return static_cast<uint64_t>(ring) >= static_cast<uint64_t>(n_radial); };
  // All of them, and not until the first one: that is done many at a time.
  bool any = false;
  for (const int64_t* ring = values; ring < end; ++ring) any |= outside(*ring);
  const int64_t* bad = any ? std::find_if(values, end, outside) : end;
  STD_TORCH_CHECK(bad == end, op, ": pairs holds ring ", bad == end ? 0 : *bad,
                  "; expected 0 to n_radial - 1 = ", n_radial - 1);
  return pairs;
}

struct Problem {
  UnwrappedInputs inputs;
  Tensor pairs;
  double needed;  // least pair weight as a fraction of K

  Problem(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& pairs_, double min_weight,
          const char* op)
      : inputs(unwrapped, weight, op),
        pairs(checked_pairs(pairs_, inputs.unwrapped, "unwrapped", inputs.n_radial(), op)) {
    STD_TORCH_CHECK(n_angular() >= 1, op, ": unwrapped has no angle");
    needed = needed_weight(min_weight, n_angular()) / static_cast<double>(n_angular());
  }

  int64_t count() const { return inputs.count(); }
  int64_t n_radial() const { return inputs.n_radial(); }
  int64_t n_angular() const { return inputs.n_angular(); }
  int64_t n_pairs() const { return pairs.size(0); }
};

template <typename C>
int64_t lanes_of(const AngularKernels& kernels) {
  return sizeof(C) == 4 ? kernels.lanes32 : kernels.lanes64;
}

template <typename T>
void correlate(const Problem& problem, double fill, Tensor& out) {
  using C = compute_t<T>;
  constexpr DType compute = sizeof(C) == 4 ? DType::f32 : DType::f64;
  const auto& kernels = selected_angular_kernels();
  const int64_t lanes = lanes_of<C>(kernels);
  const auto tables = real_fft_tables<C>(problem.n_angular());
  const RealFftPlan<C>& plan = tables->plan();
  const auto grouping = grouping_of(problem.pairs.const_data_ptr<int64_t>(), problem.n_pairs(), lanes, plan.bins);
  const PairGroups groups = grouping->groups();

  const T* source = static_cast<const T*>(problem.inputs.unwrapped.const_data_ptr());
  const C* weight = static_cast<const C*>(problem.inputs.weight_data());
  const bool shared = weight != nullptr && problem.inputs.shared_weight();
  T* target = static_cast<T*>(out.mutable_data_ptr());
  const int64_t map = problem.n_radial() * problem.n_angular();
  const int64_t result = problem.n_pairs() * problem.n_angular();
  const int64_t spectrum = spectra_size(problem.n_radial(), plan.bins, lanes);
  const bool stream = sizeof(T) == sizeof(C) &&
                      problem.count() * result * static_cast<int64_t>(sizeof(T)) >= kStreamed &&
                      problem.n_angular() * sizeof(T) % 64 == 0 && reinterpret_cast<uintptr_t>(target) % 64 == 0;

  // A piece of work: a few maps and a range of groups. Threads take neighbouring pieces, and transform a map's rings
  // again only where it changes.
  const int64_t chunk = shared ? std::min(kShared, problem.count()) : 1;
  const int64_t chunks = (problem.count() + chunk - 1) / chunk;
  const int64_t slices = std::clamp<int64_t>((kPieces + chunks - 1) / chunks, 1, groups.count);
  torch::stable::parallel_for(0, chunks * slices, 1, [&](int64_t begin, int64_t end) {
    Buffer buffer(2 * plan.workspace() * lanes * sizeof(C));
    Spare<C> spectra(chunk * spectrum, lanes);
    Spare<C> weight_spectra(weight == nullptr ? 0 : spectrum, lanes);
    int64_t present = -1;
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t first = piece / slices * chunk;
      const int64_t slice = piece % slices;
      const int64_t images = std::min(chunk, problem.count() - first);
      if (first != present) {
        const C* map_weight = weight == nullptr || shared ? weight : weight + first * map;
        if (weight != nullptr && (present < 0 || !shared)) {
          kernels.spectra(compute, map_weight, nullptr, problem.n_radial(), &plan, groups.rows, buffer.as<C>(),
                          weight_spectra.data());
        }
        for (int64_t n = 0; n < images; ++n) {
          kernels.spectra(problem.inputs.dtype, source + (first + n) * map, map_weight, problem.n_radial(), &plan,
                          groups.rows, buffer.as<C>(), spectra.data() + n * spectrum);
        }
        present = first;
      }
      kernels.correlate(problem.inputs.dtype, &plan, groups, groups.count * slice / slices,
                        groups.count * (slice + 1) / slices, spectra.data(), images, problem.n_pairs(),
                        weight == nullptr ? nullptr : weight_spectra.data(), fill, problem.needed, spectrum, stream,
                        buffer.as<C>(), target + first * result);
    }
  });
}

void correlate_into(const Problem& problem, double fill, Tensor& out) {
  if (out.numel() == 0) return;
  dispatch_floating(problem.inputs.dtype,
                    [&](auto tag) { correlate<typename decltype(tag)::type>(problem, fill, out); });
}

Tensor angular_correlation(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& pairs,
                           double fill, double min_weight) {
  const Problem problem(unwrapped, weight, pairs, min_weight, "angular_correlation");
  Tensor out =
      torch::stable::new_empty(problem.inputs.unwrapped, {problem.count(), problem.n_pairs(), problem.n_angular()});
  correlate_into(problem, fill, out);
  return out;
}

void angular_correlation_out(const Tensor& unwrapped, const std::optional<Tensor>& weight, const Tensor& pairs,
                             double fill, double min_weight, Tensor out) {
  constexpr const char* op = "angular_correlation";
  const Problem problem(unwrapped, weight, pairs, min_weight, op);
  check_result(out, {problem.count(), problem.n_pairs(), problem.n_angular()}, problem.inputs.unwrapped.scalar_type(),
               problem.inputs.unwrapped, op);
  correlate_into(problem, fill, out);
}

template <typename T>
void backward(const Problem& problem, const Tensor& grad, Tensor& out) {
  using C = compute_t<T>;
  constexpr DType compute = sizeof(C) == 4 ? DType::f32 : DType::f64;
  const auto& kernels = selected_angular_kernels();
  const int64_t lanes = lanes_of<C>(kernels);
  const auto tables = real_fft_tables<C>(problem.n_angular());
  const RealFftPlan<C>& plan = tables->plan();
  const auto grouping = grouping_of(problem.pairs.const_data_ptr<int64_t>(), problem.n_pairs(), lanes, plan.bins);
  const PairGroups groups = grouping->groups();

  const T* gradient = static_cast<const T*>(grad.const_data_ptr());
  const T* source = static_cast<const T*>(problem.inputs.unwrapped.const_data_ptr());
  const C* weight = static_cast<const C*>(problem.inputs.weight_data());
  const bool shared = weight != nullptr && problem.inputs.shared_weight();
  T* target = static_cast<T*>(out.mutable_data_ptr());
  const int64_t map = problem.n_radial() * problem.n_angular();
  const int64_t result = problem.n_pairs() * problem.n_angular();
  const int64_t spectrum = spectra_size(problem.n_radial(), plan.bins, lanes);
  torch::stable::parallel_for(0, problem.count(), 1, [&](int64_t begin, int64_t end) {
    Buffer buffer((2 * plan.workspace() + 2 * plan.bins) * lanes * sizeof(C));
    Spare<C> spectra(spectrum, lanes);
    Spare<C> adjoint(spectrum, lanes);
    Spare<C> weight_spectra(weight == nullptr ? 0 : spectrum, lanes);
    for (int64_t n = begin; n < end; ++n) {
      const C* map_weight = weight == nullptr || shared ? weight : weight + n * map;
      if (weight != nullptr && (n == begin || !shared)) {
        kernels.spectra(compute, map_weight, nullptr, problem.n_radial(), &plan, groups.rows, buffer.as<C>(),
                        weight_spectra.data());
      }
      kernels.spectra(problem.inputs.dtype, source + n * map, map_weight, problem.n_radial(), &plan, groups.rows,
                      buffer.as<C>(), spectra.data());
      kernels.backward(problem.inputs.dtype, gradient + n * result, &plan, problem.n_radial(), groups, spectra.data(),
                       map_weight, weight == nullptr ? nullptr : weight_spectra.data(), problem.needed, buffer.as<C>(),
                       adjoint.data(), target + n * map);
    }
  });
}

Tensor angular_correlation_backward(const Tensor& grad_, const Tensor& unwrapped, const std::optional<Tensor>& weight,
                                    const Tensor& pairs, double min_weight) {
  constexpr const char* op = "angular_correlation_backward";
  const Problem problem(unwrapped, weight, pairs, min_weight, op);
  STD_TORCH_CHECK(grad_.dim() == 3 && grad_.size(0) == problem.count() && grad_.size(1) == problem.n_pairs() &&
                      grad_.size(2) == problem.n_angular(),
                  op, ": grad must have shape (N, P, n_angular)");
  STD_TORCH_CHECK(grad_.scalar_type() == unwrapped.scalar_type(), op, ": grad and unwrapped differ in dtype");
  STD_TORCH_CHECK(share_device(grad_, unwrapped), op, ": grad is on another device than unwrapped");
  const Tensor grad = torch::stable::contiguous(grad_);
  Tensor out =
      torch::stable::new_empty(problem.inputs.unwrapped, {problem.count(), problem.n_radial(), problem.n_angular()});
  if (out.numel() > 0) {
    dispatch_floating(problem.inputs.dtype,
                      [&](auto tag) { backward<typename decltype(tag)::type>(problem, grad, out); });
  }
  return out;
}

DType spectrum_dtype(const Tensor& spectra, const char* op, const char* name) {
  STD_TORCH_CHECK(spectra.dim() == 4 && spectra.size(3) == 2, op, ": ", name, " must have shape (N, rows, F, 2)");
  const DType dtype = floating_dtype(spectra, op, name);
  STD_TORCH_CHECK(dtype == DType::f32 || dtype == DType::f64, op, ": ", name, " must be float32 or float64");
  return dtype;
}

Tensor pair_spectra(const Tensor& spectra_, const Tensor& pairs_) {
  constexpr const char* op = "pair_spectra";
  const DType dtype = spectrum_dtype(spectra_, op, "spectra");
  const Tensor spectra = torch::stable::contiguous(spectra_);
  const int64_t count = spectra.size(0);
  const int64_t rings = spectra.size(1);
  const int64_t bins = spectra.size(2);
  const Tensor pairs = checked_pairs(pairs_, spectra, "spectra", rings, op);
  const int64_t n_pairs = pairs.size(0);
  Tensor out = torch::stable::new_empty(spectra, {count, n_pairs, bins, 2});
  const auto& kernels = selected_angular_kernels();
  const int64_t row = 2 * bins * spectra.element_size();
  const char* source = static_cast<const char*>(spectra.const_data_ptr());
  char* target = static_cast<char*>(out.mutable_data_ptr());
  const int64_t* ring = pairs.const_data_ptr<int64_t>();
  torch::stable::parallel_for(0, count * n_pairs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const int64_t p = e % n_pairs;
      const char* image = source + e / n_pairs * rings * row;
      kernels.product(dtype, image + ring[2 * p] * row, image + ring[2 * p + 1] * row, bins, target + e * row);
    }
  });
  return out;
}

Tensor pair_spectra_adjoint(const Tensor& product_, const Tensor& spectra_, const Tensor& pairs_, const Tensor& first_,
                            const Tensor& entries_) {
  constexpr const char* op = "pair_spectra_adjoint";
  const DType dtype = spectrum_dtype(spectra_, op, "spectra");
  STD_TORCH_CHECK(spectrum_dtype(product_, op, "product") == dtype, op, ": product and spectra differ in dtype");
  const Tensor product = torch::stable::contiguous(product_);
  const Tensor spectra = torch::stable::contiguous(spectra_);
  const int64_t count = spectra.size(0);
  const int64_t rings = spectra.size(1);
  const int64_t bins = spectra.size(2);
  const Tensor pairs = checked_pairs(pairs_, spectra, "spectra", rings, op);
  const Tensor first = checked_indices(first_, "first", spectra, "spectra", op);
  const Tensor entries = checked_indices(entries_, "entries", spectra, "spectra", op);
  const int64_t n_pairs = pairs.size(0);
  STD_TORCH_CHECK(product.size(0) == count && product.size(1) == n_pairs && product.size(2) == bins, op,
                  ": product must have shape (N, P, F, 2)");
  STD_TORCH_CHECK(first.dim() == 1 && first.size(0) == rings + 1, op, ": first must have shape (R + 1,)");
  STD_TORCH_CHECK(entries.dim() == 1 && entries.size(0) == 2 * n_pairs, op, ": entries must have shape (2 P,)");
  const int64_t* ring = pairs.const_data_ptr<int64_t>();
  const int64_t* start = first.const_data_ptr<int64_t>();
  const int64_t* entry = entries.const_data_ptr<int64_t>();
  STD_TORCH_CHECK(start[0] == 0 && start[rings] == 2 * n_pairs && std::is_sorted(start, start + rings + 1), op,
                  ": first must rise from 0 to 2 P");
  STD_TORCH_CHECK(std::all_of(entry, entry + 2 * n_pairs, [&](int64_t e) { return e >= 0 && e < 2 * n_pairs; }), op,
                  ": entries must be 0 to 2 P - 1");

  Tensor out = torch::stable::new_zeros(spectra, {count, rings, bins, 2});
  const auto& kernels = selected_angular_kernels();
  const int64_t row = 2 * bins * spectra.element_size();
  const char* factor = static_cast<const char*>(spectra.const_data_ptr());
  const char* gradient = static_cast<const char*>(product.const_data_ptr());
  char* target = static_cast<char*>(out.mutable_data_ptr());
  torch::stable::parallel_for(0, count * rings, 1, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const int64_t n = e / rings;
      const int64_t r = e % rings;
      for (int64_t s = start[r]; s < start[r + 1]; ++s) {
        const int64_t p = entry[s] / 2;
        const bool is_first = entry[s] % 2 == 0;
        const int64_t other = ring[2 * p + (is_first ? 1 : 0)];
        kernels.add_product(dtype, gradient + (n * n_pairs + p) * row, factor + (n * rings + other) * row, is_first,
                            bins, target + e * row);
      }
    }
  });
  return out;
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  m.impl("angular_correlation", TORCH_BOX(&cdifast::cpu::angular_correlation));
  m.impl("angular_correlation_out", TORCH_BOX(&cdifast::cpu::angular_correlation_out));
  m.impl("angular_correlation_backward", TORCH_BOX(&cdifast::cpu::angular_correlation_backward));
  m.impl("pair_spectra", TORCH_BOX(&cdifast::cpu::pair_spectra));
  m.impl("pair_spectra_adjoint", TORCH_BOX(&cdifast::cpu::pair_spectra_adjoint));
}
