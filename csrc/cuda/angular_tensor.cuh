// Functions of all lags of pairs of rings from the rings' spectra on CUDA, in float. No torch in this file.
//
//   C[p, l] = sum_f conj(S_i[f]) S_j[f] exp(2 pi i f l / K) over all K frequencies, of an even number of angles K
//
// As a product on tensor cores (tensor_cores.cuh) of P rows of products of spectra by cosines and sines, which on cards
// that have them is faster than torch.fft, whose transforms want the products of spectra in memory, and write what has
// to be read again. The real parts of frequencies go with cosines and the imaginary ones with sines, even and odd
// frequencies apart: their four sums at lag l are, with other signs, those at K / 2 - l, K / 2 + l and K - l, so that a
// quarter of the lags is enough, and a quarter of the operations. What is the same for all lags, or for every other one
// (frequencies 0 and K / 2), and often far larger than the rest, is added at the end.
//
// For N maps of P pairs: planar_spectra_kernel reads 4 K R bytes a map, writes as much: memory binds.
//
// pair_samples_kernel: K^2 / 2 operations, three times because of the parts of floats, and about 8 K in float for the
// products, for each pair; writes s K. At K = 224 and s = 4 that are 76,000 operations for 0.9 kB: on an H100 0.25 ns
// at the rate of tensor cores that a warp's instructions reach, about 300 TFLOP/s, and 0.27 ns of its 3.35 TB/s.
#pragma once

#include "angular_kernel.cuh"
#include "tensor_cores.cuh"

namespace cdifast::cuda {

constexpr int kLagThreads = 128;
constexpr int kLagWarps = kLagThreads / kWarp;
// Of 8 lags: what a warp has.
constexpr int kLagTiles = 4;
constexpr int kLagPart = kLagTiles * kTensorColumns;
static_assert(kLagPart == kWarp, "a lane each when they are written");

// Floats of a ring's spectrum as lanes read it: frequencies 0 and K / 2, which are real, and two zeros; then, in steps,
// 16 even and as many odd ones of those between, real parts and then imaginary ones.
constexpr int kPlanarHead = 4;
constexpr int kPlanarStep = 4 * kTensorDepth;

// Lags below K / 4, in parts; what is at K / 4, if that is one, is no product.
CDIFAST_HD int quarter_lags(int n_angular) { return (n_angular + 2) / 4; }
CDIFAST_HD int lag_parts(int n_angular) { return (quarter_lags(n_angular) + kLagPart - 1) / kLagPart; }
CDIFAST_HD int frequency_steps(int n_angular) { return (n_angular / 4 + kTensorDepth - 1) / kTensorDepth; }
CDIFAST_HD int planar_pitch(int n_angular) { return kPlanarHead + frequency_steps(n_angular) * kPlanarStep; }
// Number n of a parity: even ones from 2 on, odd ones from 1.
CDIFAST_HD int frequency(int n, int parity) { return 2 * n + 2 - parity; }

// A thread makes four floats.
__global__ void planar_spectra_kernel(const float* __restrict__ spectra, int64_t rings, int n_angular,
                                      Quad<float>* __restrict__ planar) {
  const int quads = planar_pitch(n_angular) / 4;
  const int half = n_angular / 2;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t e = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; e < rings * quads; e += stride) {
    const int64_t ring = e / quads;
    const int place = static_cast<int>(e - ring * quads) - kPlanarHead / 4;
    const float* const from = spectra + ring * (half + 1) * 2;
    Quad<float> quad{};
    if (place < 0) {
      quad.element[0] = from[0];
      quad.element[1] = from[2 * half];
    } else {
      const int plane = place % (kPlanarStep / 4) / (kTensorDepth / 4);
      const int n = place / (kPlanarStep / 4) * kTensorDepth + place % (kTensorDepth / 4) * 4;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int f = frequency(n + i, plane / 2);
        if (f < half) quad.element[i] = from[2 * f + plane % 2];
      }
    }
    store_whole(planar + e, quad);
  }
}

// What the products are multiplied by, as lanes read it: quad (((parity steps + step) tiles + tile) 2 + part) 32 +
// lane has 4 frequencies of one lag, twice, because each stands for its conjugate too.
__global__ void lag_basis_kernel(int n_angular, Vector<float>* __restrict__ basis) {
  const int steps = frequency_steps(n_angular), tiles = lag_parts(n_angular) * kLagTiles;
  const int stride = static_cast<int>(gridDim.x * blockDim.x);
  for (int b = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); b < 2 * steps * tiles * 2 * kWarp;
       b += stride) {
    const int lane = b % kWarp;
    const int part = b / kWarp % 2;
    const int lag = b / (2 * kWarp) % tiles * kTensorColumns + lane / 4;
    const int step = b / (2 * kWarp) / tiles % steps;
    const int parity = b / (2 * kWarp) / tiles / steps;
    Vector<float> quad;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int f = frequency(step * kTensorDepth + lane % 4 * 4 + i, parity);
      const int64_t turns = static_cast<int64_t>(f) * lag % n_angular;
      double sine, cosine;
      sincospi(2.0 * static_cast<double>(turns) / static_cast<double>(n_angular), &sine, &cosine);
      const bool there = 2 * f < n_angular && lag < quarter_lags(n_angular);
      quad.element[i] = there ? static_cast<float>(2.0 * (part == 0 ? cosine : sine)) : 0.0f;
    }
    basis[b] = quad;
  }
}

// What samples are multiplied by, (1 or count, n_pairs, n_angular), null for nothing; where it is 0 they are `fill`.
struct Scale {
  const float* inverse;
  bool shared;
  float fill;
};

// A warp has 16 pairs and 32 lags of the first quarter, and with them as many of each of the others.
__launch_bounds__(kLagThreads, CDIFAST_TENSOR_BLOCKS(3)) __global__
    void pair_samples_kernel(const float* __restrict__ planar, const int64_t* __restrict__ pairs,
                             const Vector<float>* basis, int64_t n_radial, int64_t n_pairs, int n_angular, Scale scale,
                             float* __restrict__ out) {
  constexpr int kPitch = 4 * kLagPart + 8;  // rows begin in different banks
  CDIFAST_SHARED(float, strips, kLagWarps * 8 * kPitch);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int steps = frequency_steps(n_angular), parts = lag_parts(n_angular), pitch = planar_pitch(n_angular);
  const int64_t n = blockIdx.y;
  const int64_t task = static_cast<int64_t>(blockIdx.x) * kLagWarps + threadIdx.x / kWarp;
  const int64_t p0 = task / parts * kTensorRows;
  const int chunk = static_cast<int>(task % parts);
  if (p0 >= n_pairs) return;
  const float* rings[2][2];  // the lane's part of those of the pairs in its rows
  bool valid[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t p = p0 + lane / 4 + 8 * r;
    const RingPair pair = p < n_pairs ? ring_pair(pairs, p, n_radial) : RingPair{0, 0, true};
    valid[r] = pair.valid;
    const float* const map = planar + n * n_radial * pitch + kPlanarHead + lane % 4 * 4;
    rings[r][0] = map + (pair.valid ? pair.i : 0) * pitch;
    rings[r][1] = map + (pair.valid ? pair.j : 0) * pitch;
  }
  TensorCells sums[2][2][kLagTiles] = {};  // parity, part
  float quarter[2] = {}, quarter_sine[2] = {};
#pragma unroll
  for (int parity = 0; parity < 2; ++parity) {
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      Vector<float> products[2][2];  // part, row
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const auto quad = [&](int ring, int part) {
          return load_whole(reinterpret_cast<const Vector<float>*>(rings[r][ring] + step * kPlanarStep +
                                                                   (parity * 2 + part) * kTensorDepth));
        };
        const Vector<float> a = quad(0, 0), b = quad(0, 1), c = quad(1, 0), d = quad(1, 1);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          products[0][r].element[i] = a.element[i] * c.element[i] + b.element[i] * d.element[i];
          products[1][r].element[i] = a.element[i] * d.element[i] - b.element[i] * c.element[i];
          // At lag K / 4 cosines of even frequencies and sines of odd ones are 1 and -1 in turn, the others 0.
          const float sign = (i + parity) % 2 == 0 ? -2.0f : 2.0f;
          (parity == 0 ? quarter : quarter_sine)[r] += sign * products[parity][r].element[i];
        }
      }
      const Vector<float>* const columns =
          basis + ((parity * steps + step) * parts + chunk) * kLagTiles * 2 * kWarp + lane;
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        __syncwarp();  // what is read after it is not read before, into registers that there are not
        const Parts upper(products[part][0]), lower(products[part][1]);
        const Parts of_lags[kLagTiles] = {
            Parts(load_whole(columns + part * kWarp)), Parts(load_whole(columns + (2 + part) * kWarp)),
            Parts(load_whole(columns + (4 + part) * kWarp)), Parts(load_whole(columns + (6 + part) * kWarp))};
        multiply_add(sums[parity][part], upper, lower, of_lags);
      }
    }
  }

  // By way of shared memory, where neighbouring lanes find neighbouring lags: of a row's four parts, two go up from a
  // lag and two down.
  const int half = n_angular / 2;
  const int first = chunk * kLagPart;
  const int lags = quarter_lags(n_angular) - first < kLagPart ? quarter_lags(n_angular) - first : kLagPart;
  const bool middle = chunk == 0 && n_angular % 4 == 0;
  float* const strip = strips + static_cast<int>(threadIdx.x) / kWarp * 8 * kPitch;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    __syncwarp();
    float* const row = strip + lane / 4 * kPitch;
    const int head = kPlanarHead + lane % 4 * 4;
    const float* const heads[2] = {rings[r][0] - head, rings[r][1] - head};
    const float level = valid[r] ? heads[0][0] * heads[1][0] : not_a_number<float>();
    const float ripple = heads[0][1] * heads[1][1];
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      const float base = q == 0 ? level + ripple : level - ripple;
      const float far_base = (q + half) % 2 == 0 ? level + ripple : level - ripple;
#pragma unroll
      for (int tile = 0; tile < kLagTiles; ++tile) {
        const int lag = tile * kTensorColumns + lane % 4 * 2 + q;
        const int c = 2 * r + q;
        const float near = sums[0][0][tile][c] + sums[1][0][tile][c] + base;
        const float far = sums[0][0][tile][c] - sums[1][0][tile][c] + far_base;
        const float near_sine = sums[0][1][tile][c] + sums[1][1][tile][c];
        const float far_sine = sums[0][1][tile][c] - sums[1][1][tile][c];
        row[lag] = near - near_sine;
        row[kLagPart + lag] = far - far_sine;
        row[3 * kLagPart - 1 - lag] = far + far_sine;
        row[4 * kLagPart - 1 - lag] = near + near_sine;
      }
    }
    const float even = row_sum(quarter[r]) + level + (half % 4 == 0 ? ripple : -ripple);
    const float odd = row_sum(quarter_sine[r]);
    if (lane % 4 < 2) row[4 * kLagPart + lane % 4] = lane % 4 == 0 ? even - odd : even + odd;
    __syncwarp();

    const int64_t row0 = n * n_pairs + p0 + 8 * r;
#pragma unroll 2
    for (int number = 0; number < 8 && p0 + 8 * r + number < n_pairs; ++number) {
      const int64_t begin = (row0 + number) * n_angular;
      const float* const inverse =
          scale.inverse == nullptr ? nullptr : scale.inverse + begin - (scale.shared ? n * n_pairs * n_angular : 0);
      const auto put = [&](bool there, int lag, int place) {
        if (!there) return;
        float value = strip[number * kPitch + place];
        if (inverse != nullptr) value = inverse[lag] > 0.0f ? value * inverse[lag] : scale.fill;
        out[begin + lag] = value;
      };
      const int below = lane - (kLagPart - 1);                // minus the lag in a part that goes down
      const bool falls = -below < lags && first - below > 0;  // lag 0 has no image of its own
      put(lane < lags, first + lane, lane);
      put(lane < lags, half + first + lane, kLagPart + lane);
      put(falls, half - first + below, 2 * kLagPart + lane);
      put(falls, n_angular - first + below, 3 * kLagPart + lane);
      put(middle && lane < 2, half / 2 + lane * half, 4 * kLagPart + lane);
    }
  }
}

}  // namespace cdifast::cuda
