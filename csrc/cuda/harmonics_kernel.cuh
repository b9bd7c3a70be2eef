// Angular harmonics of unwrapped maps and products of their spectra on CUDA. No torch in this file.
//
//   I_n[j] = (1/W_j) sum_k w (I - m_j) exp(-2 pi i n k / K) for n other than 0, m_j itself for n = 0
//
// For N maps of R rings and K angles and O orders, s bytes a sample (H100: 3.35 TB/s, 67 TFLOP/s float32, 20
// operations a byte):
//
// short_harmonics_kernel: reads s R K bytes a map, 4 R K O operations: for up to 16 orders of up to 256 angles. An
// order is two multiply-adds a sample and a third of one for its sums over the warp: at 8 orders 60 operations for 4
// bytes, and memory binds on an H100, hardly more than the operations do. Beyond that:
//
// ring_mean_kernel: reads s R K bytes a map once from memory and once more from L1 or L2, writes 16 R: memory binds.
//
// harmonics_kernel: a product of R x K samples by K x 2 O cosines and sines that are looked up in a table as they are
// needed: 4 R K O operations for s R K + 8 R O bytes. Memory binds up to 20 orders in float; so a tile has 8 orders,
// where two ring tiles of 64 lanes share each cosine, and with more orders 32. For most of a ring's orders torch.fft is
// the better algorithm.
//
// harmonics_backward_kernel: 4 R K O operations for 8 R O + 4 R K bytes; likewise.
//
// harmonics_finish_kernel: with weights only: reads 8 R K, or 12 with weights of each map's own, and writes 4 R K:
// memory binds.
//
// pair_spectra_kernel: 8 bytes written for each of P F products; the spectra come from L2 again and again: memory
// binds, at the card's writing speed.
//
// pair_spectra_adjoint_kernel: reads 16 bytes for each of a ring's pairs and frequencies, writes 8 for each frequency:
// memory binds.
//
// Sums run in a fixed order, nothing by atomics.
#pragma once

#include "product.cuh"
#include "rings.cuh"

namespace cdifast::cuda {

// The mean m, as a sum of two, and the weight of a ring.
template <typename C>
struct alignas(16) MeanOfRing {
  C high, low, weight, spare;
};

// One warp a ring.
template <typename T>
__global__ void ring_mean_kernel(UnwrappedMaps<T> maps, int64_t count, MeanOfRing<compute_t<T>>* __restrict__ means) {
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock;
  for (int64_t r = static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp; r < total; r += stride) {
    const auto mean = ring_mean(maps[r / maps.n_radial], r % maps.n_radial * maps.n_angular, maps.n_angular);
    if (threadIdx.x % kWarp == 0) means[r] = {mean.high, mean.low, mean.weight, compute_t<T>(0)};
  }
}

// Cosines and sines of 2 pi n k / K by a table of the unit circle. The phase is reduced as an integer, n k modulo K,
// without the division that a GPU has no instruction for; the sign of an order is taken apart, so that negative orders
// are exact conjugates.
template <typename C>
class Turns {
 public:
  __device__ Turns(const Complex<C>* table, int64_t n_angular)
      : table_(table),
        n_angular_(static_cast<uint32_t>(n_angular)),
        reciprocal_(0xffffffffu / n_angular_),
        inverse_(1.0 / static_cast<double>(n_angular)) {}

  // `turns` and `k` are below K, and K is below 2^31.
  __device__ Complex<C> at(uint32_t turns, uint32_t k) const {
    if (n_angular_ <= 0xffffu) {
      // The product has 32 bits; floor(2^32 / K) makes the quotient up to two too small.
      const uint32_t product = turns * k;
      const auto quotient = static_cast<uint32_t>(static_cast<uint64_t>(product) * reciprocal_ >> 32);
      uint32_t rest = product - quotient * n_angular_;
      rest = rest >= n_angular_ ? rest - n_angular_ : rest;
      return table_[rest >= n_angular_ ? rest - n_angular_ : rest];
    }
    // The quotient is below K, and so within one of the exact one in spite of the roundings in 53 bits.
    const int64_t product = static_cast<int64_t>(turns) * k;
    const auto quotient = static_cast<int64_t>(static_cast<double>(product) * inverse_);
    int64_t rest = product - quotient * n_angular_;
    rest = rest < 0 ? rest + n_angular_ : rest;
    return table_[rest >= n_angular_ ? rest - n_angular_ : rest];
  }

 private:
  const Complex<C>* table_;
  uint32_t n_angular_;
  uint32_t reciprocal_;
  double inverse_;
};

template <typename C>
__device__ __forceinline__ C not_a_number() {
  return static_cast<C>(__builtin_nanf(""));
}

// An order as the tiles want it: |n|, and the sign that the sine of exp(-2 pi i n k / K) gets. The host cannot see the
// orders without waiting for the GPU: one that is not between -K / 2 and K / 2 has a sign of 0, and gives NaN.
struct alignas(8) Order {
  uint32_t turns;
  int sine_sign;
};

__global__ void orders_kernel(const int64_t* __restrict__ orders, int64_t n_orders, int64_t n_angular,
                              Order* __restrict__ reduced) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t o = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; o < n_orders; o += stride) {
    const int64_t n = orders[o];
    const bool valid = n >= -(n_angular / 2) && n <= n_angular / 2;
    reduced[o] = {valid ? static_cast<uint32_t>(n < 0 ? -n : n) : 0u, !valid ? 0 : n < 0 ? 1 : -1};
  }
}

// basis[o, k] = exp(-2 pi i n_o k / K), NaN for an order that is not between -K / 2 and K / 2.
template <typename C>
__global__ void basis_kernel(const int64_t* __restrict__ orders, int64_t n_orders, int64_t n_angular,
                             Complex<C>* __restrict__ basis) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t b = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; b < n_orders * n_angular; b += stride) {
    const int64_t n = orders[b / n_angular];
    const int64_t turns = n < 0 ? -n : n;
    double sine, cosine;
    sincospi(2.0 * static_cast<double>(turns * (b % n_angular) % n_angular) / static_cast<double>(n_angular), &sine,
             &cosine);
    const bool valid = turns <= n_angular / 2;
    basis[b] = valid ? Complex<C>{static_cast<C>(cosine), static_cast<C>(n < 0 ? sine : -sine)}
                     : Complex<C>{not_a_number<C>(), not_a_number<C>()};
  }
}

// Rings that a warp has in registers at a time: what it reads of the basis serves all of them.
constexpr int kRingsTogether = 4;
constexpr int kMostHeld = 8;
constexpr int kFewOrders = 16;

// Sums over the warp of 8 numbers of each lane: lane l gets number l / 4. Nine exchanges for eight sums, because each
// one halves the numbers that a lane still has.
template <typename C>
__device__ __forceinline__ C sum_of_eight(C (&numbers)[8]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int count = 4, step = kWarp / 2; count > 0; count /= 2, step /= 2) {
    const bool upper = (lane & step) != 0;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const C given = upper ? numbers[i] : numbers[i + count];
      const C own = upper ? numbers[i + count] : numbers[i];
      numbers[i] = own + __shfl_xor_sync(kWholeWarp, given, step);
    }
  }
  numbers[0] += __shfl_xor_sync(kWholeWarp, numbers[0], 2);
  return numbers[0] + __shfl_xor_sync(kWholeWarp, numbers[0], 1);
}

// Few orders of rings of up to 32 kMostHeld samples, which are read once.
template <typename T, bool kWeighted>
__launch_bounds__(kRingThreads, sizeof(compute_t<T>) == 4 ? 4 : 2) __global__
    void short_harmonics_kernel(UnwrappedMaps<T> maps, int64_t count, const Complex<compute_t<T>>* __restrict__ basis,
                                const int64_t* __restrict__ orders, int64_t n_orders, compute_t<T>* __restrict__ out) {
  using C = compute_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int held = (static_cast<int>(maps.n_angular) - lane + kWarp - 1) / kWarp;  // by this lane
  const int64_t total = count * maps.n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock * kRingsTogether;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp) * kRingsTogether;
       first < total; first += stride) {
    C value[kRingsTogether][kMostHeld];  // w (I - m)
    C inverse = 0, mean = 0;             // of the ring that this lane gets the sums of
    const int mine = lane / 8;
#pragma unroll
    for (int r = 0; r < kRingsTogether; ++r) {
      const int64_t ring = first + r;
      const int there = ring < total ? held : 0;
      const T* const from = maps.values + ring * maps.n_angular + lane;
      C weight[kMostHeld];
#pragma unroll
      for (int s = 0; s < kMostHeld; ++s) {
        value[r][s] = s < there ? load_element(from[s * kWarp]) : C(0);
        weight[s] = s < there ? C(1) : C(0);
      }
      C share = C(1) / static_cast<C>(maps.n_angular);
      if (kWeighted) {
        // Values are read before their weights are known, so that both are under way together; but NaN without weight
        // is no NaN.
        const C* const weights =
            maps.weights + (maps.shared_weights ? ring % maps.n_radial : ring) * maps.n_angular + lane;
        C whole = 0;
#pragma unroll
        for (int s = 0; s < kMostHeld; ++s) {
          weight[s] = s < there ? weights[s * kWarp] : C(0);
          value[r][s] = weight[s] > C(0) ? value[r][s] : C(0);
          whole += weight[s];
        }
        whole = warp_sum(whole);
        share = whole > C(0) ? C(1) / whole : C(0);
      }
      C high = 0;
#pragma unroll
      for (int s = 0; s < kMostHeld; ++s) high += kWeighted ? weight[s] * value[r][s] : value[r][s];
      high = warp_sum(high) * share;
      const auto less = [&](C& number, C by, C of) {
        number = kWeighted ? (of > C(0) ? number - by : C(0)) : number - of * by;
      };
      C low = 0;
#pragma unroll
      for (int s = 0; s < kMostHeld; ++s) {
        less(value[r][s], high, weight[s]);
        low += kWeighted ? weight[s] * value[r][s] : value[r][s];
      }
      low = warp_sum(low) * share;
#pragma unroll
      for (int s = 0; s < kMostHeld; ++s) {
        less(value[r][s], low, weight[s]);
        if (kWeighted) value[r][s] *= weight[s];
      }
      if (mine == r) {
        inverse = share;
        mean = low == low ? high + low : high;  // an infinite mean leaves no rest
      }
    }

    const int64_t ring = first + mine;
    const int64_t map = ring / maps.n_radial;
    const int part = lane / 4 % 2;
    C* const target = out + (map * n_orders * maps.n_radial + ring % maps.n_radial) * 2 + part;
    for (int o = 0; o < n_orders; ++o) {
      const Complex<C>* const turns = basis + o * maps.n_angular + lane;
      C sums[2 * kRingsTogether] = {};
#pragma unroll
      for (int s = 0; s < kMostHeld; ++s) {
        const Complex<C> turn = s < held ? turns[s * kWarp] : Complex<C>{C(0), C(0)};
#pragma unroll
        for (int r = 0; r < kRingsTogether; ++r) {
          sums[2 * r] += value[r][s] * turn.real;
          sums[2 * r + 1] += value[r][s] * turn.imaginary;
        }
      }
      C sum = sum_of_eight(sums) * inverse;
      if (orders[o] == 0) sum = part == 0 ? mean : C(0);
      if (lane % 4 == 0 && ring < total) target[o * maps.n_radial * 2] = sum;
    }
  }
}

// A tile of 64 rings by 8 kColumns orders; an order's real and imaginary part are neighbouring columns. At 32 orders
// the look-ups leave no room for four blocks of a multiprocessor.
template <typename T, int kColumns>
__launch_bounds__(kTileThreads, Tile<compute_t<T>>::kBlocks - kColumns / 4) __global__
    void harmonics_kernel(UnwrappedMaps<T> maps, int64_t count, const MeanOfRing<compute_t<T>>* __restrict__ means,
                          const Complex<compute_t<T>>* __restrict__ circle, const Order* __restrict__ orders,
                          int64_t n_orders, compute_t<T>* __restrict__ out) {
  using C = compute_t<T>;
  using V = Vector<C>;
  using M = MeanOfRing<C>;
  constexpr int kTileColumns = kThreadsAcross * kColumns;
  constexpr int kOrders = kTileColumns / 2;
  CDIFAST_SHARED(V, left_buffers, Tile<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Tile<C>::kVectors);
  CDIFAST_SHARED(M, tile_means, kTileRows);
  CDIFAST_SHARED(Order, tile_orders, kOrders);
  const Turns<C> turns(circle, maps.n_angular);
  const int64_t down = (maps.n_radial + kTileRows - 1) / kTileRows;
  const int64_t tiles = down * ((n_orders + kOrders - 1) / kOrders);
  for (int64_t t = blockIdx.x; t < count * tiles; t += gridDim.x) {
    const int64_t n = t / tiles;
    const int64_t j0 = t % tiles % down * kTileRows;
    const int64_t o0 = t % tiles / down * kOrders;
    const UnwrappedMap<T> map = maps[n].from(j0 * maps.n_angular);
    __syncthreads();  // the last tile is done with the means and orders
    if (threadIdx.x < kTileRows) {
      const int64_t ring = j0 + threadIdx.x;
      tile_means[threadIdx.x] = ring < maps.n_radial ? means[n * maps.n_radial + ring] : M{};
    } else if (threadIdx.x < kTileRows + kOrders) {
      const int64_t o = o0 + threadIdx.x - kTileRows;
      tile_orders[threadIdx.x - kTileRows] = o < n_orders ? orders[o] : Order{};
    }
    __syncthreads();

    const int angles = static_cast<int>(maps.n_angular);
    const int rows = static_cast<int>(maps.n_radial - j0 < kTileRows ? maps.n_radial - j0 : kTileRows);
    const auto centred = [&](int row, int k) {
      if (row >= rows || k >= angles) return C(0);
      const int sample = row * angles + k;
      const C weight = map.weight(sample);
      return weight * ((map.value(sample, weight) - tile_means[row].high) - tile_means[row].low);
    };
    const auto harmonic = [&](int column, int k) {
      if (k >= angles) return C(0);
      const Order order = tile_orders[column / 2];
      const Complex<C> turn = turns.at(order.turns, static_cast<uint32_t>(k));
      return column % 2 == 0 ? turn.real : static_cast<C>(order.sine_sign) * turn.imaginary;
    };
    C sum[kThreadRows][kColumns];
    tile_product(angles, operand(AlongInner{}, centred), operand(AlongRows<kTileColumns>{}, harmonic), false,
                 left_buffers, right_buffers, sum);

#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
      const int64_t ring = j0 + tile_row(r);
      const M& mean = tile_means[tile_row(r)];
      const C inverse = mean.weight > C(0) ? C(1) / mean.weight : C(0);
      // An infinite mean leaves no rest.
      const C whole = mean.low == mean.low ? mean.high + mean.low : mean.high;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int64_t o = o0 + tile_column(c) / 2;
        const int part = tile_column(c) % 2;
        if (ring >= maps.n_radial || o >= n_orders) continue;
        const C zeroth = part == 0 ? whole : C(0);
        const Order order = tile_orders[tile_column(c) / 2];
        C value = order.turns == 0 ? zeroth : sum[r][c] * inverse;
        if (order.sine_sign == 0) value = not_a_number<C>();
        out[((n * n_orders + o) * maps.n_radial + ring) * 2 + part] = value;
      }
    }
  }
}

// q[j, k] = sum over orders of grad's real part times the cosine and its imaginary part times the sine: the adjoint of
// the sum over k. Without weights the mean that the forward pass takes away has no harmonic, and q / K is the result;
// else harmonics_finish_kernel makes it one, in place. A tile of 64 rings by 64 angles.
template <typename C>
__launch_bounds__(kTileThreads, Tile<C>::kBlocks) __global__
    void harmonics_backward_kernel(const C* __restrict__ grad, const Order* __restrict__ orders, int64_t n_orders,
                                   int64_t count, int64_t n_radial, int64_t n_angular,
                                   const Complex<C>* __restrict__ circle, C factor, C* __restrict__ out) {
  using V = Vector<C>;
  CDIFAST_SHARED(V, left_buffers, Tile<C>::kVectors);
  CDIFAST_SHARED(V, right_buffers, Tile<C>::kVectors);
  const Turns<C> turns(circle, n_angular);
  const int parts = static_cast<int>(2 * n_orders);
  const int64_t down = (n_radial + kTileRows - 1) / kTileRows;
  const int64_t tiles = down * ((n_angular + kTileRows - 1) / kTileRows);
  for (int64_t t = blockIdx.x; t < count * tiles; t += gridDim.x) {
    const int64_t n = t / tiles;
    const int64_t j0 = t % tiles % down * kTileRows;
    const int64_t k0 = t % tiles / down * kTileRows;
    const C* const gradient = grad + n * n_orders * n_radial * 2;
    // The inner index is (order, part), of which memory has the part fastest, then the ring.
    const auto place = [](int element, int, int& row, int& inner) {
      row = element >> 1 & 63;
      inner = (element >> 7 << 1) + (element & 1);
    };
    const auto of_ring = [&](int row, int inner) {
      const bool inside = j0 + row < n_radial && inner < parts;
      return inside ? gradient[((inner >> 1) * n_radial + j0 + row) * 2 + (inner & 1)] : C(0);
    };
    const auto harmonic = [&](int column, int inner) {
      if (inner >= parts || k0 + column >= n_angular) return C(0);
      const Order order = orders[inner >> 1];
      if (order.sine_sign == 0) return not_a_number<C>();
      const Complex<C> turn = turns.at(order.turns, static_cast<uint32_t>(k0 + column));
      return (inner & 1) == 0 ? turn.real : static_cast<C>(order.sine_sign) * turn.imaginary;
    };
    C sum[kThreadRows][4];
    tile_product(parts, operand(place, of_ring), operand(AlongRows<kTileRows>{}, harmonic), false, left_buffers,
                 right_buffers, sum);
#pragma unroll
    for (int r = 0; r < kThreadRows; ++r) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int64_t ring = j0 + tile_row(r);
        const int64_t k = k0 + tile_column(c);
        if (ring < n_radial && k < n_angular) out[(n * n_radial + ring) * n_angular + k] = sum[r][c] * factor;
      }
    }
  }
}

// q -> w / W (q - its weighted mean + the gradient of the ring's mean). The mean of q over the ring contains that
// gradient too, which is added back. One warp a ring.
template <typename C>
__global__ void harmonics_finish_kernel(const C* __restrict__ grad, const Order* __restrict__ orders, int64_t n_orders,
                                        const C* __restrict__ weights, bool shared_weights, int64_t count,
                                        int64_t n_radial, int64_t n_angular, C* __restrict__ out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t total = count * n_radial;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kRingsPerBlock;
  for (int64_t r = static_cast<int64_t>(blockIdx.x) * kRingsPerBlock + threadIdx.x / kWarp; r < total; r += stride) {
    const C* const weight = weights + (shared_weights ? r % n_radial : r) * n_angular;
    C* const ring = out + r * n_angular;
    C whole = 0, sum = 0;
#pragma unroll 4
    for (int64_t k = lane; k < n_angular; k += kWarp) {
      whole += weight[k];
      sum += weight[k] * ring[k];
    }
    C of_mean = 0;
    for (int64_t o = lane; o < n_orders; o += kWarp) {
      if (orders[o].turns == 0) of_mean += grad[((r / n_radial * n_orders + o) * n_radial + r % n_radial) * 2];
    }
    whole = warp_sum(whole);
    sum = warp_sum(sum);
    of_mean = warp_sum(of_mean);
    const C inverse = whole > C(0) ? C(1) / whole : C(0);
    const C shift = of_mean - sum * inverse;
#pragma unroll 4
    for (int64_t k = lane; k < n_angular; k += kWarp) {
      ring[k] = weight[k] > C(0) ? weight[k] * inverse * (ring[k] + shift) : C(0);
    }
  }
}

// --- spectra around torch's FFT

constexpr int kSpectraThreads = 128;
constexpr int kSpectraRows = kSpectraThreads / kWarp;  // a warp each

// A pair of rings; one that names a ring that is not there, which the host cannot see without waiting for the GPU,
// gives NaN.
struct RingPair {
  int64_t i;
  int64_t j;
  bool valid;
};

__device__ __forceinline__ RingPair ring_pair(const int64_t* pairs, int64_t p, int64_t n_radial) {
  const int64_t i = pairs[2 * p];
  const int64_t j = pairs[2 * p + 1];
  return {i, j, i >= 0 && i < n_radial && j >= 0 && j < n_radial};
}

// out[n, p, f] = conj(S_i) S_j. A complex number a thread, so that rows of an odd number of frequencies need no other
// way; a warp's access has 256 bytes (512 for double).
template <typename C>
__global__ void pair_spectra_kernel(const Complex<C>* __restrict__ spectra, const int64_t* __restrict__ pairs,
                                    int64_t count, int64_t n_radial, int64_t n_pairs, int64_t n_frequencies,
                                    Complex<C>* __restrict__ out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t rows = count * n_pairs;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kSpectraRows;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kSpectraRows + threadIdx.x / kWarp; row < rows; row += stride) {
    const RingPair pair = ring_pair(pairs, row % n_pairs, n_radial);
    const Complex<C>* const map = spectra + row / n_pairs * n_radial * n_frequencies;
    const Complex<C>* const left = map + (pair.valid ? pair.i : 0) * n_frequencies;
    const Complex<C>* const right = map + (pair.valid ? pair.j : 0) * n_frequencies;
    Complex<C>* const target = out + row * n_frequencies;
#pragma unroll 4
    for (int64_t f = lane; f < n_frequencies; f += kWarp) {
      const Complex<C> a = left[f];
      const Complex<C> b = right[f];
      const Complex<C> product{a.real * b.real + a.imaginary * b.imaginary,
                               a.real * b.imaginary - a.imaginary * b.real};
      target[f] = pair.valid ? product : Complex<C>{not_a_number<C>(), not_a_number<C>()};
    }
  }
}

// out[n, r, f] = sum over pairs (r, j) of conj(G) S_j + sum over pairs (i, r) of G S_i, in the order of `entries`. A
// warp has 32 frequencies of a ring and goes through the ring's pairs.
template <typename C>
__global__ void pair_spectra_adjoint_kernel(const Complex<C>* __restrict__ product,
                                            const Complex<C>* __restrict__ spectra, const int64_t* __restrict__ pairs,
                                            const int64_t* __restrict__ first, const int64_t* __restrict__ entries,
                                            int64_t count, int64_t n_radial, int64_t n_pairs, int64_t n_frequencies,
                                            Complex<C>* __restrict__ out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t groups = (n_frequencies + kWarp - 1) / kWarp;
  const int64_t items = count * n_radial * groups;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kSpectraRows;
  for (int64_t item = static_cast<int64_t>(blockIdx.x) * kSpectraRows + threadIdx.x / kWarp; item < items;
       item += stride) {
    const int64_t row = item / groups;
    const int64_t f = item % groups * kWarp + lane;
    if (f >= n_frequencies) continue;
    const int64_t n = row / n_radial;
    const Complex<C>* const map = spectra + n * n_radial * n_frequencies + f;
    const Complex<C>* const gradient = product + n * n_pairs * n_frequencies + f;
    // A list that leaves its array is cut there.
    const int64_t begin = first[row % n_radial] < 0 ? 0 : first[row % n_radial];
    const int64_t last = first[row % n_radial + 1];
    const int64_t end = last < 2 * n_pairs ? last : 2 * n_pairs;
    C real = 0, imaginary = 0;
#pragma unroll 2
    for (int64_t e = begin; e < end; ++e) {
      const int64_t entry = entries[e];
      const bool known = entry >= 0 && entry < 2 * n_pairs;
      const RingPair pair = known ? ring_pair(pairs, entry / 2, n_radial) : RingPair{0, 0, false};
      if (!pair.valid) {
        real = imaginary = not_a_number<C>();
        continue;
      }
      const bool second = entry % 2 != 0;  // of the pair (i, r)
      const Complex<C> g = gradient[entry / 2 * n_frequencies];
      const Complex<C> s = map[(second ? pair.i : pair.j) * n_frequencies];
      const C conjugate = second ? g.imaginary : -g.imaginary;
      real += g.real * s.real - conjugate * s.imaginary;
      imaginary += g.real * s.imaginary + conjugate * s.real;
    }
    out[row * n_frequencies + f] = {real, imaginary};
  }
}

}  // namespace cdifast::cuda
