// Angular harmonics of unwrapped maps on CUDA; in float by tensor cores (harmonics_tensor.cuh). No torch in this file.
//
//   I_n[j] = (1/W_j) sum_k w (I - m_j) exp(-2 pi i n k / K) for n other than 0, m_j itself for n = 0
//
// For N maps of R rings and K angles and O orders, s bytes a sample (H100: 3.35 TB/s, 67 TFLOP/s float32, 20
// operations a byte):
//
// harmonics_tensor_kernel: reads s R K bytes a map, 4 R K O operations, three times because of the parts of floats: at
// 8 orders 96 a sample, which tensor cores do in a quarter of the time that its 4 bytes take. Up to 256 angles samples
// come once from memory and wait in shared memory; longer rings are read again, from L2. Memory binds up to some 30
// orders.
//
// harmonics_backward_tensor_kernel: as many operations for 8 R O + 4 R K bytes: memory binds likewise.
//
// In double, for which there are no such cores in most cards: ring_mean_kernel reads 8 R K bytes a map once from memory
// and once more from L1 or L2, writes 32 R: memory binds. harmonics_kernel is a product of R x K samples by K x 2 O
// cosines and sines that are looked up in a table as they are needed: a tile has 8 orders, where two ring tiles of 64
// lanes share each cosine, or with more orders 32. harmonics_backward_kernel likewise. Operations bind.
//
// harmonics_finish_kernel: with weights only: reads 8 R K, or 12 with weights of each map's own, and writes 4 R K:
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
__global__ void harmonics_finish_kernel(const C* __restrict__ grad, const int64_t* __restrict__ orders,
                                        int64_t n_orders, const C* __restrict__ weights, bool shared_weights,
                                        int64_t count, int64_t n_radial, int64_t n_angular, C* __restrict__ out) {
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
      if (orders[o] == 0) of_mean += grad[((r / n_radial * n_orders + o) * n_radial + r % n_radial) * 2];
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

}  // namespace cdifast::cuda
