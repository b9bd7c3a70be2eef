// Compiled once per instruction set with CDIFAST_ISA set to its name (CMakeLists.txt). Nothing here may call an
// inline function of the standard library: see common/host_device.h.
//
// The zero-lag half is a symmetric matrix product, of which only the blocks of the lower triangle are computed. Rings
// are packed into panels of 16, angles outermost, so that both factors of a block are read along cache lines: one as
// vectors, the other element by element. A block's sums stay in registers over all angles.
#include "correlation_simd.h"

#include "vec.h"

namespace cdifast::cpu::CDIFAST_ISA {
namespace {

template <typename C>
constexpr int kVectors = static_cast<int>(kPanel * sizeof(C) / sizeof(Vector<C>));  // a panel's width

#if defined(__AVX512F__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif
// Panels and rows of a block, so that its sums and the vectors of one step fit the registers: 3 x 8 with 32 of them.
template <typename C>
constexpr int kBlockPanels = kVectors<C> * 3 * (8 + 1) + 1 <= kRegisters ? 3 : 1;
template <typename C>
constexpr int kFittingRows = (kRegisters - 2 - kVectors<C> * kBlockPanels<C>) / (kVectors<C> * kBlockPanels<C>);
template <typename C>
constexpr int kBlockRows = kFittingRows<C> >= 8   ? 8
                           : kFittingRows<C> >= 4 ? 4
                           : kFittingRows<C> >= 2 ? 2
                                                  : 1;

// Rows of the blocks that a panel is divided into, as far as they go: with 16 registers of 8 floats 6, 6 and 4; with 32
// of 16 floats 16 for a panel that has no other beside it, whose sums would be too few for what is under way at once.
template <typename C, int panels>
constexpr int kTallRows = kFittingRows<C> == 6                                     ? 6
                          : panels == 1 && kVectors<C> * (kPanel + 1) < kRegisters ? static_cast<int>(kPanel)
                                                                                   : kBlockRows<C>;

template <int number>
struct Number {
  static constexpr int value = number;
};

// Memory wanted soon: what will be read, then what will be written, asked for little by little while a product runs,
// whose own operands are in the caches.
class Ahead {
 public:
  Ahead() = default;
  // Over `steps` calls of step().
  CDIFAST_HOST Ahead(const NextRead& read, void* written, int64_t written_bytes, int64_t steps)
      : read_(read), written_(static_cast<char*>(written)), write_count_(written_bytes / 64) {
    lines_ = (read.count + write_count_) / (steps > 0 ? steps : 1) + 1;
  }

  CDIFAST_HOST void step() {
    for (int64_t step = 0; step < lines_; ++step) {
      if (done_ < read_.count) {
        const int64_t line = read_.line == nullptr ? done_ : static_cast<int64_t>(read_.line[done_]);
        __builtin_prefetch(read_.base + 64 * line, 0, 2);
      } else if (done_ < read_.count + write_count_) {
        __builtin_prefetch(written_ + 64 * (done_ - read_.count), 1, 2);
      } else {
        return;
      }
      ++done_;
    }
  }

 private:
  NextRead read_{};
  char* written_ = nullptr;
  int64_t write_count_ = 0;
  int64_t lines_ = 0;
  int64_t done_ = 0;
};

// Angles (or rings, in the gradient) between two steps of Ahead, and those without a loop between them.
constexpr int64_t kStride = 16;
constexpr int64_t kUnrolled = 4;

// product[r, p * 16 + c] = sum_k left[k * left_step + r] right_p[k, c] for kRows rows and kPanels panels, where
// right_p starts `right_step` elements after the panel before it. `product` has rows of `stride` elements.
template <typename C, int kRows, int kPanels>
CDIFAST_HOST void multiply(const C* left, int64_t left_step, const C* right, int64_t right_step, int64_t count,
                           C* product, int64_t stride, Ahead& ahead) {
  using V = Vector<C>;
  constexpr int kWide = kVectors<C> * kPanels;
  constexpr int kLane = static_cast<int>(sizeof(V) / sizeof(C));
  V sum[kRows][kWide] = {};
  const auto add = [&](int64_t k) __attribute__((always_inline)) {
    V column[kWide];
#pragma GCC unroll 16
    for (int v = 0; v < kWide; ++v) {
      column[v] = load<V>(right + v / kVectors<C> * right_step + k * kPanel + v % kVectors<C> * kLane);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V row = left[k * left_step + r] - V{};  // subtracting 0 is no instruction, adding it is
#pragma GCC unroll 16
      for (int v = 0; v < kWide; ++v) sum[r][v] += row * column[v];
    }
  };
  int64_t k = 0;
  for (; k + kStride <= count; k += kStride) {
    ahead.step();
    for (int64_t i = k; i < k + kStride; i += kUnrolled) {
#pragma GCC unroll 4
      for (int64_t u = 0; u < kUnrolled; ++u) add(i + u);
    }
  }
  if (k < count) ahead.step();
  for (; k < count; ++k) add(k);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kWide; ++v) store(product + r * stride + v * kLane, sum[r][v]);
  }
}

// Calls f(rows, first row, first panel, panels) for the blocks that hold the lower triangle; rows and panels are
// Numbers. The panels of a block, its columns, stay while the rows go through all that lie below them.
template <typename C, typename F>
CDIFAST_HOST void for_each_block(int64_t n_radial, const F& f) {
  const auto down = [&](int64_t q, int64_t p, auto width) {
    constexpr int tall = kTallRows<C, width.value>;
    int64_t i = q * kPanel;
    const int64_t end = i + kPanel < n_radial ? i + kPanel : n_radial;
    for (; i < end && i + tall <= (q + 1) * kPanel; i += tall) f(Number<tall>{}, i, p, width);
    if constexpr (kPanel % tall != 0) {
      for (; i < end; i += kBlockRows<C>) f(Number<kBlockRows<C>>{}, i, p, width);
    }
  };
  for (int64_t p = 0; p < panels(n_radial); p += kBlockPanels<C>) {
    for (int64_t q = p; q < panels(n_radial); ++q) {
      if constexpr (kBlockPanels<C> == 3) {
        if (q >= p + 2) {
          down(q, p, Number<3>{});
          continue;
        }
        if (q == p + 1) {
          down(q, p, Number<2>{});
          continue;
        }
      }
      down(q, p, Number<1>{});
    }
  }
}

template <typename C>
int64_t block_steps(int64_t n_radial, int64_t n_angular) {
  int64_t blocks = 0;
  for_each_block<C>(n_radial, [&](auto, int64_t, int64_t, auto) { ++blocks; });
  return blocks * ((n_angular + kStride - 1) / kStride);
}

// product[i, j] = sum_k packed ring i times ring j, for j <= i and the rest of the blocks that hold such cells.
template <typename C>
void symmetric_product(const C* packed, int64_t n_radial, int64_t n_angular, C* product, Ahead ahead) {
  const int64_t panel_size = kPanel * n_angular;
  const int64_t stride = panels(n_radial) * kPanel;
  for_each_block<C>(n_radial, [&](auto height, int64_t i, int64_t p, auto width) {
    const C* left = packed + i / kPanel * panel_size + i % kPanel;
    multiply<C, height.value, width.value>(left, kPanel, packed + p * panel_size, panel_size, n_angular,
                                           product + i * stride + p * kPanel, stride, ahead);
  });
}

// panel[k, r] = rings[r, k] for kPanel rings, four by four; with 16 lanes as many fours side by side as there are.
template <typename C>
void pack(const C* rings, int64_t n_angular, C* panel) {
  typedef C Four __attribute__((vector_size(4 * sizeof(C))));
  int64_t k = 0;
#if defined(__AVX512F__)
  if constexpr (sizeof(C) == sizeof(float)) {
    for (; k + 4 <= n_angular; k += 4) {
      // Angles k to k + 3 of rings r, r + 4, r + 8 and r + 12.
      const auto fours = [&](int64_t r) {
        const float* from = rings + r * n_angular + k;
        const auto ring = [&](int64_t after) { return _mm_loadu_ps(from + after * n_angular); };
        __m512 all = _mm512_castps128_ps512(ring(0));
        all = _mm512_insertf32x4(all, ring(4), 1);
        all = _mm512_insertf32x4(all, ring(8), 2);
        return reinterpret_cast<Vector<float>>(_mm512_insertf32x4(all, ring(12), 3));
      };
      const Vector<float> a = fours(0), b = fours(1), c = fours(2), d = fours(3);
      const auto ab_low = reinterpret_cast<Vector<double>>(unpack<false, float>(a, b));
      const auto ab_high = reinterpret_cast<Vector<double>>(unpack<true, float>(a, b));
      const auto cd_low = reinterpret_cast<Vector<double>>(unpack<false, float>(c, d));
      const auto cd_high = reinterpret_cast<Vector<double>>(unpack<true, float>(c, d));
      float* to = panel + k * kPanel;
      store(to, unpack<false, double>(ab_low, cd_low));
      store(to + kPanel, unpack<true, double>(ab_low, cd_low));
      store(to + 2 * kPanel, unpack<false, double>(ab_high, cd_high));
      store(to + 3 * kPanel, unpack<true, double>(ab_high, cd_high));
    }
  }
#endif
  for (; k + 4 <= n_angular; k += 4) {
    for (int64_t r = 0; r < kPanel; r += 4) {
      const C* from = rings + r * n_angular + k;
      const Four a = load<Four>(from), b = load<Four>(from + n_angular);
      const Four c = load<Four>(from + 2 * n_angular), d = load<Four>(from + 3 * n_angular);
      const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      C* to = panel + k * kPanel + r;
      store(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
      store(to + kPanel, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
      store(to + 2 * kPanel, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
      store(to + 3 * kPanel, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
    }
  }
  for (; k < n_angular; ++k) {
    for (int64_t r = 0; r < kPanel; ++r) panel[k * kPanel + r] = rings[r * n_angular + k];
  }
}

template <typename C>
void clear(C* target, int64_t count) {
  __builtin_memset(target, 0, static_cast<std::size_t>(count) * sizeof(C));
}

void pair_weights(DType dtype, const void* weight, int64_t n_radial, int64_t n_angular, void* workspace, void* pairs) {
  dispatch_floating(dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    const C* w = static_cast<const C*>(weight);
    C* packed = static_cast<C*>(workspace);
    C* rings = packed + panels(n_radial) * kPanel * n_angular;
    C* product = rings + kPanel * n_angular;
    for (int64_t p = 0; p < panels(n_radial); ++p) {
      const int64_t here = n_radial - p * kPanel < kPanel ? n_radial - p * kPanel : kPanel;
      __builtin_memcpy(rings, w + p * kPanel * n_angular, static_cast<std::size_t>(here * n_angular) * sizeof(C));
      clear(rings + here * n_angular, (kPanel - here) * n_angular);
      pack(rings, n_angular, packed + p * kPanel * n_angular);
    }
    symmetric_product(packed, n_radial, n_angular, product, Ahead{});
    C* out = static_cast<C*>(pairs);
    for (int64_t i = 0; i < n_radial; ++i) {
      for (int64_t j = 0; j <= i; ++j) out[i * n_radial + j] = product[i * panels(n_radial) * kPanel + j];
    }
  });
}

float square_root(float x) { return __builtin_sqrtf(x); }
double square_root(double x) { return __builtin_sqrt(x); }

// What a ring's sums give. They run in double: the variance of a bright ring with weak structure is the small
// difference that Pearson divides by.
struct Ring {
  double total;  // weight
  double mean;
  RingStatistics statistics;
};

template <typename T, typename C>
CDIFAST_HOST double sample(const T* ring, const C* w, int64_t k) {
  // A sample without weight may hold NaN, and 0 * NaN is NaN: it counts as 0.
  return w == nullptr || w[k] > 0 ? static_cast<double>(load_element(ring[k])) : 0.0;
}

template <typename T, typename C>
Ring examine(const T* __restrict ring, const C* __restrict w, const CorrelationProblem& problem) {
  const int64_t count = problem.n_angular;
  double total = 0, first = 0, second = 0;
  if (w == nullptr) {
    total = static_cast<double>(count);
    if (problem.normalize == Normalize::none) {
      // Over the whole circle every harmonic of a constant is 0: neither mean nor variance is needed.
      return {total, 0.0,
              ring_statistics(total, 0.0, 0.0, 0.0, problem.needed_weight, Epsilon<C>::value, problem.normalize)};
    }
#pragma omp simd reduction(+ : first, second)
    for (int64_t k = 0; k < count; ++k) {
      const double value = load_element(ring[k]);
      first += value;
      second += value * value;
    }
  } else {
#pragma omp simd reduction(+ : total, first, second)
    for (int64_t k = 0; k < count; ++k) {
      const double weight = w[k];
      const double value = sample(ring, w, k);
      total += weight;
      first += weight * value;
      second += weight * value * value;
    }
  }
  const double inverse_total = total > 0 ? 1.0 / total : 0.0;
  const double mean = first * inverse_total;
  double spread = 0;
  if (problem.normalize == Normalize::pearson) {
#pragma omp simd reduction(+ : spread)
    for (int64_t k = 0; k < count; ++k) {
      const double weight = w == nullptr ? 1.0 : static_cast<double>(w[k]);
      const double difference = weight > 0 ? sample(ring, w, k) - mean : 0.0;
      spread += weight * difference * difference;
    }
  }
  return {total, mean,
          ring_statistics(total, mean, second * inverse_total, spread * inverse_total, problem.needed_weight,
                          Epsilon<C>::value, problem.normalize)};
}

// Writes the weighted, normalised ring to y and returns its harmonic. Without weights and normalisation y is the ring
// itself, and its mean has no part in the harmonic.
template <typename T, typename C>
void normalise(const T* __restrict ring, const C* __restrict w, const CorrelationProblem& problem, const Ring& numbers,
               C* __restrict y, C& real, C& imaginary) {
  const int64_t count = problem.n_angular;
  const double* __restrict cosines = problem.harmonic;
  const double* __restrict sines = problem.harmonic + count;
  const double scale = numbers.statistics.scale, offset = numbers.statistics.offset, mean = numbers.mean;
  double along = 0, across = 0;
  if (w == nullptr && problem.normalize == Normalize::none) {
#pragma omp simd reduction(+ : along, across)
    for (int64_t k = 0; k < count; ++k) {
      const C value = load_element(ring[k]);
      y[k] = value;
      along += static_cast<double>(value) * cosines[k];
      across -= static_cast<double>(value) * sines[k];
    }
  } else if (w == nullptr) {
#pragma omp simd reduction(+ : along, across)
    for (int64_t k = 0; k < count; ++k) {
      const double value = load_element(ring[k]);
      y[k] = static_cast<C>((value - offset) * scale);
      along += (value - mean) * cosines[k];
      across -= (value - mean) * sines[k];
    }
  } else {
#pragma omp simd reduction(+ : along, across)
    for (int64_t k = 0; k < count; ++k) {
      const double weight = w[k];
      const double value = sample(ring, w, k);
      const double centred = weight > 0 ? weight * (value - mean) : 0.0;
      y[k] = static_cast<C>(weight * (value - offset) * scale);
      along += centred * cosines[k];
      across -= centred * sines[k];
    }
  }
  const double factor = numbers.total > 0 ? scale / numbers.total : 0.0;
  real = static_cast<C>(along * factor);
  imaginary = static_cast<C>(across * factor);
}

// The harmonic's cosines and sines in the type of the rings.
template <typename C>
CDIFAST_HOST const C* turns_of(const CorrelationProblem& problem) {
  if constexpr (__is_same(C, float)) {
    return problem.rounded_harmonic;
  } else {
    return problem.harmonic;
  }
}

// The harmonics of a packed panel's unnormalised rings, each over the whole circle, where half of its period is a whole
// number of angles: angles half a period apart count with opposite signs, so that their differences are exact enough in
// C however small they are beside the rings' mean.
template <typename C>
void panel_harmonics(const C* __restrict panel, const CorrelationProblem& problem, C* __restrict real,
                     C* __restrict imaginary) {
  const int64_t half = problem.n_angular / (2 * problem.order);
  // In C already: a conversion and two copies to all lanes for every angle take longer than the sums.
  const C* cosines = turns_of<C>(problem);
  const C* sines = cosines + problem.n_angular;
  using V = Vector<C>;
  constexpr int kLane = static_cast<int>(sizeof(V) / sizeof(C));
  const C scale = C{1} / static_cast<C>(problem.n_angular);
  for (int64_t r = 0; r < kPanel; r += kLane) {
    // Sums side by side, because one waits for its last addition.
    constexpr int kSums = 4;
    V along[kSums]{}, across[kSums]{};
    const auto add = [&](int64_t m, int s) __attribute__((always_inline)) {
      V difference{};
      const C* at = panel + m * kPanel + r;
      for (int64_t period = 0; period < problem.order; ++period, at += 2 * half * kPanel) {
        difference += load<V>(at) - load<V>(at + half * kPanel);
      }
      along[s] += difference * cosines[m];
      across[s] -= difference * sines[m];
    };
    int64_t m = 0;
    for (; m + kSums <= half; m += kSums) {
#pragma GCC unroll 4
      for (int s = 0; s < kSums; ++s) add(m + s, s);
    }
    for (; m < half; ++m) add(m, 0);
    store(real + r, ((along[0] + along[1]) + (along[2] + along[3])) * scale);
    store(imaginary + r, ((across[0] + across[1]) + (across[2] + across[3])) * scale);
  }
}

template <typename C>
C modulus(C real, C imaginary) {
  return square_root(real * real + imaginary * imaginary);
}

// What a map is put together from: see map_of. Vectors are read of every array, beyond its end too. Numbers by value:
// for all that the compiler knows, storing cells changes what is in memory, and it would work them out again for each.
template <typename C>
struct Parts {
  const C* product;  // rows of whole panels, `stride` numbers
  const C* pairs;    // null without weights
  const C* real;
  const C* imaginary;
  const C* size;    // moduli, where the map has them
  const C* usable;  // 0 beyond the last ring
  int64_t n_radial;
  int64_t stride;
  bool modulus;
  C fill;
  C needed_weight;
  C scale;  // 1 / n_angular

  CDIFAST_HOST Parts(const CorrelationProblem& problem, const C* product_, const C* pairs_, const C* real_,
                     const C* imaginary_, const C* size_, const C* usable_)
      : product(product_),
        pairs(pairs_),
        real(real_),
        imaginary(imaginary_),
        size(size_),
        usable(usable_),
        n_radial(problem.n_radial),
        stride(panels(problem.n_radial) * kPanel),
        modulus(problem.modulus),
        fill(static_cast<C>(problem.fill)),
        needed_weight(static_cast<C>(problem.needed_weight)),
        scale(C{1} / static_cast<C>(problem.n_angular)) {}
};

// A vector of the map's row i from column j on, of which some cells lie in the lower triangle or on the diagonal, and
// some in the upper one.
template <bool lower, bool upper, typename C>
CDIFAST_HOST Vector<C> merged_cells(const Parts<C>& parts, int64_t i, int64_t j) {
  using V = Vector<C>;
  const V fill = broadcast(parts.fill);
  if (parts.usable[i] == 0) return fill;
  const auto usable = load<V>(parts.usable + j) != 0;
  V cells = fill;
  if constexpr (lower) {
    const V product = load<V>(parts.product + i * parts.stride + j);
    if (parts.pairs == nullptr) {
      // Fewer angles than needed there are only with min_weight = 1 and slack; `usable` has told.
      cells = usable ? product * parts.scale : fill;
    } else {
      const V pairs = load<V>(parts.pairs + i * parts.n_radial + j);
      const auto enough = usable & (pairs > 0) & (pairs >= parts.needed_weight);
      cells = enough ? product / (enough ? pairs : V{} + C{1}) : fill;
    }
  }
  if constexpr (upper) {
    const V above = parts.modulus
                        ? parts.size[i] * load<V>(parts.size + j)
                        : parts.real[i] * load<V>(parts.real + j) + parts.imaginary[i] * load<V>(parts.imaginary + j);
    const V chosen = usable ? above : fill;
    cells = lower ? (lanes_from<C>(i + 1 - j) ? chosen : cells) : chosen;
  }
  return cells;
}

// Calls f(i, j, cells) for all vectors of the map, a cache line's columns for all rows before the next, so that what
// the columns share stays in registers.
template <typename C, typename F>
CDIFAST_HOST void for_each_vector(const Parts<C>& parts, const F& f) {
  const int64_t n = parts.n_radial;
  constexpr int64_t width = kPanel;
  for (int64_t j = 0; j < n; j += width) {
    const auto rows = [&](int64_t from, int64_t to, auto lower, auto upper) {
      for (int64_t i = from; i < to; ++i) {
#pragma GCC unroll 4
        for (int64_t v = j; v < j + width; v += kLanes<C>) {
          if (v < n) f(i, v, merged_cells<lower.value, upper.value>(parts, i, v));
        }
      }
    };
    const int64_t below = j + width < n ? j + width : n;
    rows(0, j, Constant<false>{}, Constant<true>{});
    rows(j, below, Constant<true>{}, Constant<true>{});
    rows(below, n, Constant<true>{}, Constant<false>{});
  }
}

// The packed rings, their harmonics, and which of them have a place in the map. `rings` has room for a panel's.
template <typename T, typename C>
void prepare(const T* unwrapped, const C* w, const CorrelationProblem& problem, C* rings, C* packed, C* real,
             C* imaginary, C* usable) {
  const int64_t n = problem.n_radial;
  const int64_t count = problem.n_angular;
  const bool plain = are_plain(problem, w != nullptr);
  for (int64_t first = 0; first < n; first += kPanel) {
    const int64_t here = n - first < kPanel ? n - first : kPanel;
    const T* source = unwrapped + first * count;
    C* panel = packed + first * count;
    for (int64_t r = 0; r < here; ++r) {
      const int64_t j = first + r;
      const C* weights = w == nullptr ? nullptr : w + j * count;
      const Ring ring = examine(source + r * count, weights, problem);
      usable[j] = ring.statistics.usable ? C{1} : C{0};
      if (!plain) {
        normalise(source + r * count, weights, problem, ring, rings + r * count, real[j], imaginary[j]);
      } else if (!__is_same(T, C) || here < kPanel) {
        for (int64_t k = 0; k < count; ++k) rings[r * count + k] = load_element(source[r * count + k]);
      }
    }
    clear(rings + here * count, (kPanel - here) * count);
    if constexpr (__is_same(T, C)) {
      pack(plain && here == kPanel ? source : rings, count, panel);
    } else {
      pack(rings, count, panel);
    }
    if (plain) panel_harmonics(panel, problem, real + first, imaginary + first);
  }
  clear(usable + n, panels(n) * kPanel - n);
}

// The same of rings that are packed.
template <typename C>
void prepare_panels(const C* packed, const CorrelationProblem& problem, C* real, C* imaginary, C* usable) {
  const int64_t count = problem.n_angular;
  const Ring ring = examine<C, C>(packed, nullptr, problem);  // without normalisation every ring has the same numbers
  for (int64_t first = 0; first < problem.n_radial; first += kPanel) {
    panel_harmonics(packed + first * count, problem, real + first, imaginary + first);
  }
  for (int64_t j = 0; j < problem.n_radial; ++j) usable[j] = ring.statistics.usable ? C{1} : C{0};
}

template <typename T, typename O>
void map_of(const T* unwrapped, bool in_panels, const compute_t<T>* w, const compute_t<T>* pairs,
            const CorrelationProblem& problem, const NextRead& next, compute_t<T>* workspace, bool stream, O* out) {
  using C = compute_t<T>;
  const int64_t n = problem.n_radial;
  const int64_t count = problem.n_angular;
  const int64_t padded = panels(n) * kPanel;
  C* const room = workspace;
  C* rings = room + padded * count;
  C* product = rings + kPanel * count;
  C* real = product + padded * padded;
  C* imaginary = real + padded;
  C* usable = imaginary + padded;
  C* size = usable + padded;
  const int64_t out_bytes = n * n * static_cast<int64_t>(sizeof(O));
  stream = stream && __is_same(O, C) && n * sizeof(O) % kLineBytes == 0 &&
           reinterpret_cast<uintptr_t>(out) % kLineBytes == 0;

  const C* packed = room;
  if (__is_same(T, C) && in_panels) {
    packed = reinterpret_cast<const C*>(unwrapped);
    prepare_panels(packed, problem, real, imaginary, usable);
  } else {
    prepare(unwrapped, w, problem, rings, room, real, imaginary, usable);
  }
  if (problem.modulus) {
    for (int64_t j = 0; j < n; ++j) size[j] = modulus(real[j], imaginary[j]);
  }
  symmetric_product(packed, n, count, product, Ahead(next, out, stream ? 0 : out_bytes, block_steps<C>(n, count)));
  const Parts<C> parts(problem, product, pairs, real, imaginary, size, usable);
  for_each_vector(parts, [&](int64_t i, int64_t j, Vector<C> cells) __attribute__((always_inline)) {
    O* to = out + i * n + j;
    if (j + kLanes<C> > n) {
      C rest[kLanes<C>];
      store(rest, cells);
      for (int64_t lane = 0; j + lane < n; ++lane) store_element(to[lane], rest[lane]);
      return;
    }
    if constexpr (__is_same(O, C)) {
      if (stream) return stream_vector(to, cells);
    }
    store_numbers(to, cells);
  });
  if (stream) finish_streaming();
}

void map(DType dtype, DType out_dtype, const void* unwrapped, bool in_panels, const void* weight, const void* pairs,
         const CorrelationProblem& problem, const NextRead& next, void* workspace, bool stream, void* out) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* rings = static_cast<const T*>(unwrapped);
    const C* w = static_cast<const C*>(weight);
    const C* p = static_cast<const C*>(pairs);
    C* space = static_cast<C*>(workspace);
    if constexpr (__is_same(T, float)) {
      if (out_dtype == DType::f16) {
        return map_of(rings, in_panels, w, p, problem, next, space, stream, static_cast<Half*>(out));
      }
      if (out_dtype == DType::bf16) {
        return map_of(rings, in_panels, w, p, problem, next, space, stream, static_cast<BFloat16*>(out));
      }
    }
    map_of(rings, in_panels, w, p, problem, next, space, stream, static_cast<T*>(out));
  });
}

// --- gradient, in the symbols of correlation_math.h. With L the lower triangle of the gradient over the pair weights
// and U the strict upper one, dY = (L + L') Y and dZ = (U + U') Z; both reach I directly and through the rings' means
// and deviations.

// Z' of the strict upper triangle: of row i, the sums over U + U'.
template <typename C>
void harmonic_gradient(const C* grad, const CorrelationProblem& problem, const C* real, const C* imaginary,
                       const C* usable, C* to_real, C* to_imaginary) {
  const int64_t n = problem.n_radial;
  for (int64_t i = 0; i < n; ++i) {
    C along = 0, across = 0, size = 0;
    for (int64_t j = 0; j < n; ++j) {
      if (i == j || usable[i] == 0 || usable[j] == 0) continue;
      const C g = i < j ? grad[i * n + j] : grad[j * n + i];
      along += g * real[j];
      across += g * imaginary[j];
      if (problem.modulus) size += g * modulus(real[j], imaginary[j]);
    }
    if (problem.modulus) {
      const C own = modulus(real[i], imaginary[i]);
      along = own > 0 ? size * real[i] / own : C{0};
      across = own > 0 ? size * imaginary[i] / own : C{0};
    }
    to_real[i] = along;
    to_imaginary[i] = across;
  }
}

// dI of one ring from dY, given without the ring's weight, and dZ.
template <typename T, typename C>
void finish_ring(const T* __restrict ring, const C* __restrict w, const CorrelationProblem& problem,
                 const Ring& numbers, const C* __restrict to_y, double to_real, double to_imaginary,
                 T* __restrict out) {
  const int64_t count = problem.n_angular;
  const bool pearson = problem.normalize == Normalize::pearson;
  const double* __restrict cosines = problem.harmonic;
  const double* __restrict sines = problem.harmonic + count;
  const double scale = numbers.statistics.scale, mean = numbers.mean;
  const double inverse_total = 1.0 / numbers.total;
  double through_mean = 0, to_scale = 0;
#pragma omp simd reduction(+ : through_mean, to_scale)
  for (int64_t k = 0; k < count; ++k) {
    const double weight = w == nullptr ? 1.0 : static_cast<double>(w[k]);
    const double value = sample(ring, w, k);
    const double by_y = weight * to_y[k];
    const double by_z = weight * inverse_total * (to_real * cosines[k] - to_imaginary * sines[k]);
    through_mean += by_z + (pearson ? by_y : 0.0);
    to_scale += by_y * (pearson ? value - mean : value) + by_z * (value - mean);
  }
  double to_mean = -through_mean * scale;
  if (problem.normalize == Normalize::mean) to_mean -= to_scale * scale * scale;
  const double to_centred = pearson ? to_scale * scale * scale * scale * inverse_total : 0.0;
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) {
    const double weight = w == nullptr ? 1.0 : static_cast<double>(w[k]);
    const double value = sample(ring, w, k);
    const double by_y = weight * to_y[k];
    const double by_z = weight * inverse_total * (to_real * cosines[k] - to_imaginary * sines[k]);
    const double gradient =
        (by_y + by_z) * scale - to_centred * weight * (value - mean) + to_mean * weight * inverse_total;
    store_element(out[k], static_cast<C>(weight > 0 ? gradient : 0.0));
  }
}

template <typename T>
void gradient_of(const T* grad, const T* unwrapped, const compute_t<T>* w, const compute_t<T>* pairs,
                 const CorrelationProblem& problem, compute_t<T>* workspace, T* out) {
  using C = compute_t<T>;
  const int64_t n = problem.n_radial;
  const int64_t count = problem.n_angular;
  const int64_t padded = panels(n) * kPanel;
  const int64_t columns = panels(count) * kPanel;
  C* rings = workspace;  // in panels of angles
  C* to_rings = rings + padded * columns;
  C* matrix = to_rings + padded * columns;
  C* ring = matrix + padded * padded;
  C* real = ring + columns;
  C* imaginary = real + padded;
  C* to_real = imaginary + padded;
  C* to_imaginary = to_real + padded;
  C* usable = to_imaginary + padded;

  clear(rings, padded * columns);
  clear(ring, columns);
  for (int64_t j = 0; j < n; ++j) {
    const C* weights = w == nullptr ? nullptr : w + j * count;
    const Ring numbers = examine(unwrapped + j * count, weights, problem);
    normalise(unwrapped + j * count, weights, problem, numbers, ring, real[j], imaginary[j]);
    usable[j] = numbers.statistics.usable ? C{1} : C{0};
    if (usable[j] == 0) continue;
    for (int64_t k = 0; k < columns; k += kPanel) {
      __builtin_memcpy(rings + k * padded + j * kPanel, ring + k, kPanel * sizeof(C));
    }
  }

  const C needed = static_cast<C>(problem.needed_weight);
  clear(matrix, padded * padded);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const C weight = pairs == nullptr ? static_cast<C>(count) : pairs[i * n + j];
      if (usable[i] == 0 || usable[j] == 0 || !(weight > 0 && weight >= needed)) continue;
      const C cell = load_element(grad[i * n + j]) / weight;
      matrix[i * padded + j] = i == j ? cell + cell : cell;
      matrix[j * padded + i] = matrix[i * padded + j];
    }
  }
  Ahead nothing;
  for (int64_t i = 0; i < n; i += kBlockRows<C>) {
    int64_t p = 0;
    for (; p + kBlockPanels<C> <= columns / kPanel; p += kBlockPanels<C>) {
      multiply<C, kBlockRows<C>, kBlockPanels<C>>(matrix + i, padded, rings + p * kPanel * padded, kPanel * padded, n,
                                                  to_rings + i * columns + p * kPanel, columns, nothing);
    }
    for (; p < columns / kPanel; ++p) {
      multiply<C, kBlockRows<C>, 1>(matrix + i, padded, rings + p * kPanel * padded, kPanel * padded, n,
                                    to_rings + i * columns + p * kPanel, columns, nothing);
    }
  }

  // The matrix is done with: its place takes the gradient in the type of the arithmetic.
  C* upper = matrix;
  for (int64_t c = 0; c < n * n; ++c) upper[c] = load_element(grad[c]);
  harmonic_gradient(upper, problem, real, imaginary, usable, to_real, to_imaginary);
  for (int64_t i = 0; i < n; ++i) {
    T* target = out + i * count;
    if (usable[i] == 0) {
      for (int64_t k = 0; k < count; ++k) store_element(target[k], C{0});
      continue;
    }
    const C* weights = w == nullptr ? nullptr : w + i * count;
    const Ring numbers = examine(unwrapped + i * count, weights, problem);
    finish_ring(unwrapped + i * count, weights, problem, numbers, to_rings + i * columns,
                static_cast<double>(to_real[i]), static_cast<double>(to_imaginary[i]), target);
  }
}

void gradient(DType dtype, const void* grad, const void* unwrapped, const void* weight, const void* pairs,
              const CorrelationProblem& problem, void* workspace, void* grad_unwrapped) {
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    gradient_of(static_cast<const T*>(grad), static_cast<const T*>(unwrapped), static_cast<const C*>(weight),
                static_cast<const C*>(pairs), problem, static_cast<C*>(workspace), static_cast<T*>(grad_unwrapped));
  });
}

}  // namespace

const CorrelationKernels correlation_kernels = {pair_weights, map, gradient};

}  // namespace cdifast::cpu::CDIFAST_ISA
