// Angular harmonics of float maps, and of those of half types, on tensor cores (tensor_cores.cuh), and their adjoint;
// harmonics_kernel.cuh has the formula and what binds. No torch in this file.
#pragma once

#include <type_traits>

#include "harmonics_kernel.cuh"
#include "ring_quads.cuh"
#include "tensor_cores.cuh"

namespace cdifast::cuda {

// An order's real and imaginary part are neighbouring columns: 4 orders of an instruction's, 8 of the two whose rows
// are prepared once.
constexpr int kOrdersTogether = 8;
constexpr int kAngleSteps = 8;  // of the angles that a warp of the adjoint makes

// exp(-2 pi i n k / K), or its part 0 or 1; NaN for an order that is not between -K / 2 and K / 2, which the host
// cannot see without waiting for the GPU.
__device__ __forceinline__ float turn_part(int64_t n, int64_t k, int64_t n_angular, int part) {
  const int64_t turns = n < 0 ? -n : n;
  if (turns > n_angular / 2) return not_a_number<float>();
  double sine, cosine;
  sincospi(2.0 * static_cast<double>(turns * k % n_angular) / static_cast<double>(n_angular), &sine, &cosine);
  return static_cast<float>(part == 0 ? cosine : n < 0 ? sine : -sine);
}

// The basis as lanes read it, 0 beyond the orders and the angles: quad ((group steps + step) 2 + half) 32 + lane, of 8
// orders a group and 16 angles a step.
//   forward: half 0 and 1 are orders 0 to 3 and 4 to 7, columns (order, part); a quad is 4 angles.
//   adjoint: a quad is (order, part) of 2 orders; columns are angles, ordered so that a lane's cells of both halves are
//   4 neighbouring ones.
template <bool kAdjoint>
__global__ void tensor_basis_kernel(const int64_t* __restrict__ orders, int64_t n_orders, int64_t n_angular,
                                    Vector<float>* __restrict__ basis) {
  const int steps = tensor_steps(n_angular);
  const int64_t groups = (n_orders + kOrdersTogether - 1) / kOrdersTogether;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t b = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; b < groups * steps * 2 * kWarp;
       b += stride) {
    const int lane = static_cast<int>(b % kWarp), g = lane / 4, t = lane % 4;
    const int half = static_cast<int>(b / kWarp % 2);
    const int64_t step = b / (2 * kWarp) % steps;
    const int64_t group = b / (2 * kWarp) / steps;
    Vector<float> quad;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t o = group * kOrdersTogether + (kAdjoint ? 2 * t + i / 2 : 4 * half + g / 2);
      const int64_t k = step * kTensorDepth + (kAdjoint ? 4 * (g / 2) + 2 * half + g % 2 : 4 * t + i);
      const int part = kAdjoint ? i % 2 : g % 2;
      quad.element[i] = o < n_orders && k < n_angular ? turn_part(orders[o], k, n_angular, part) : 0.0f;
    }
    basis[b] = quad;
  }
}

// Harmonics of 16 rings a warp. kHeld: rings of up to 256 samples in whole quads, which are read once.
template <typename T, bool kWeighted, bool kHeld>
__launch_bounds__(kQuadThreads, CDIFAST_TENSOR_BLOCKS(8)) __global__
    void harmonics_tensor_kernel(UnwrappedMaps<T> maps, int64_t count, const Vector<float>* __restrict__ basis,
                                 const int64_t* __restrict__ orders, int64_t n_orders, float* __restrict__ out) {
  using Q = Quad<T>;
  constexpr int kOfAWarp = kHeld ? kHeldQuads : 1;
  CDIFAST_SHARED(Q, held, kQuadWarps * kOfAWarp);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int steps = tensor_steps(maps.n_angular);
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kQuadWarps * kTensorRows;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * kQuadWarps + threadIdx.x / kWarp) * kTensorRows;
       first < total; first += stride) {
    const RingQuads<T, kHeld> quads(maps, first, total, held + threadIdx.x / kWarp * kOfAWarp + lane);
    float whole[2] = {}, high[2] = {}, low[2] = {}, inverse[2];
#pragma unroll 2
    for (int s = 0; s < steps; ++s) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const Vector<float> value = quads.value(r, s);
        const Vector<float> weight = kWeighted ? quads.weight(r, s) : Vector<float>{};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          whole[r] += weight.element[i];
          // NaN without weight is no NaN.
          high[r] += !kWeighted                 ? value.element[i]
                     : weight.element[i] > 0.0f ? weight.element[i] * value.element[i]
                                                : 0.0f;
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float weight = kWeighted ? row_sum(whole[r]) : static_cast<float>(maps.n_angular);
      inverse[r] = weight > 0.0f ? 1.0f / weight : 0.0f;
      high[r] = row_sum(high[r]) * inverse[r];
    }
#pragma unroll 2
    for (int s = 0; s < steps; ++s) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const Vector<float> value = quads.value(r, s);
        const Vector<float> weight = kWeighted ? quads.weight(r, s) : Vector<float>{};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const bool counts = kWeighted ? weight.element[i] > 0.0f : i < quads.valid(r, s);
          const float difference = counts ? value.element[i] - high[r] : 0.0f;
          low[r] += kWeighted ? weight.element[i] * difference : difference;
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) low[r] = row_sum(low[r]) * inverse[r];

    const auto rows_of = [&](int s, int r) {
      Vector<float> value = quads.value(r, s);
      const Vector<float> weight = kWeighted ? quads.weight(r, s) : Vector<float>{};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float centred = (value.element[i] - high[r]) - low[r];
        value.element[i] = !kWeighted ? centred : weight.element[i] > 0.0f ? weight.element[i] * centred : 0.0f;
      }
      return value;
    };
    for (int64_t o0 = 0; o0 < n_orders; o0 += kOrdersTogether) {
      const Vector<float>* const columns = basis + o0 / kOrdersTogether * steps * 2 * kWarp + lane;
      TensorCells sums[2] = {};
      const auto add_step = [&](int s) {
        const Parts upper(rows_of(s, 0)), lower(rows_of(s, 1));
        const Parts both[2] = {Parts(load_whole(columns + s * 2 * kWarp)),
                               Parts(load_whole(columns + (s * 2 + 1) * kWarp))};
        TensorCells cells[2] = {};
        multiply_add(cells, upper, lower, both);
#pragma unroll
        for (int c = 0; c < 8; ++c) sums[c / 4][c % 4] += cells[c / 4][c % 4];
      };
#pragma unroll 2
      for (int s = 0; s < steps; ++s) add_step(s);

      int64_t map = first / maps.n_radial;
      int64_t row = first - map * maps.n_radial + lane / 4;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        for (; row >= maps.n_radial; row -= maps.n_radial) ++map;
        // An infinite mean leaves no rest.
        const float mean = low[r] == low[r] ? high[r] + low[r] : high[r];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int64_t o = o0 + half * 4 + lane % 4;
          if (!quads.there[r] || o >= n_orders) continue;
          float* const target = out + ((map * n_orders + o) * maps.n_radial + row) * 2;
          const bool zeroth = orders[o] == 0;
          target[0] = zeroth ? mean : sums[half][2 * r] * inverse[r];
          target[1] = zeroth ? 0.0f : sums[half][2 * r + 1] * inverse[r];
        }
        row += 8;
      }
    }
  }
}

// What harmonics_backward_kernel makes, in float: `factor` times the sum over orders of the gradient's parts times the
// basis'. A warp has 16 rings and up to 128 angles.
__launch_bounds__(kQuadThreads, CDIFAST_TENSOR_BLOCKS(8)) __global__
    void harmonics_backward_tensor_kernel(const float* __restrict__ grad, int64_t n_orders, int64_t count,
                                          int64_t n_radial, int64_t n_angular, const Vector<float>* __restrict__ basis,
                                          float factor, float* __restrict__ out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int steps = tensor_steps(n_angular);
  const int pieces = (steps + kAngleSteps - 1) / kAngleSteps;  // of a ring
  const int of_a_piece = (steps + pieces - 1) / pieces;
  const bool whole = whole_quads(out, n_angular);
  const int64_t total = count * n_radial;
  const int64_t tasks = (total + kTensorRows - 1) / kTensorRows * pieces;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kQuadWarps;
  for (int64_t task = static_cast<int64_t>(blockIdx.x) * kQuadWarps + threadIdx.x / kWarp; task < tasks;
       task += stride) {
    const int64_t first = task / pieces * kTensorRows + lane / 4;
    const int step = static_cast<int>(task % pieces) * of_a_piece;
    const int there = of_a_piece < steps - step ? of_a_piece : steps - step;
    const float* gradients[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t ring = first + 8 * r;
      const int64_t map = ring / n_radial;
      gradients[r] = ring < total ? grad + (map * n_orders * n_radial + (ring - map * n_radial)) * 2 : nullptr;
    }
    TensorCells sums[kAngleSteps][2] = {};
    for (int64_t o0 = 0; o0 < n_orders; o0 += kOrdersTogether) {
      Vector<float> rows[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int64_t o = o0 + lane % 4 * 2 + i / 2;
          rows[r].element[i] = gradients[r] != nullptr && o < n_orders ? gradients[r][o * n_radial * 2 + i % 2] : 0.0f;
        }
      }
      const Parts upper(rows[0]), lower(rows[1]);
      const Vector<float>* const columns = basis + (o0 / kOrdersTogether * steps + step) * 2 * kWarp + lane;
#pragma unroll
      for (int s = 0; s < kAngleSteps; ++s) {
        if (s >= there) break;
        const Parts both[2] = {Parts(load_whole(columns + s * 2 * kWarp)),
                               Parts(load_whole(columns + (s * 2 + 1) * kWarp))};
        TensorCells cells[2] = {};
        multiply_add(cells, upper, lower, both);
#pragma unroll
        for (int c = 0; c < 8; ++c) sums[s][c / 4][c % 4] += cells[c / 4][c % 4];
      }
    }
    const auto store = [&](auto in_quads) {
#pragma unroll
      for (int s = 0; s < kAngleSteps; ++s) {
        const int64_t k = static_cast<int64_t>(step + s) * kTensorDepth + lane % 4 * 4;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          if (s >= there || first + 8 * r >= total) continue;
          float* const target = out + (first + 8 * r) * n_angular + k;
          Vector<float> values;
#pragma unroll
          for (int i = 0; i < 4; ++i) values.element[i] = sums[s][i / 2][2 * r + i % 2] * factor;
          if constexpr (decltype(in_quads)::value) {
            if (k < n_angular) store_quad(target, values);
          } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              if (k + i < n_angular) target[i] = values.element[i];
            }
          }
        }
      }
    };
    whole ? store(std::true_type{}) : store(std::false_type{});
  }
}

}  // namespace cdifast::cuda
