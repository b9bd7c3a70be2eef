// Products of rings' spectra around torch's FFT on CUDA, for functions of all lags of pairs of rings. No torch in this
// file.
//
// For N maps of P pairs and F frequencies, in float:
//
// pair_spectra_kernel: 8 bytes written for each of P F products; the spectra come from L2 again and again: memory
// binds, at the card's writing speed.
//
// pair_spectra_adjoint_kernel: reads 16 bytes for each of a ring's pairs and frequencies, writes 8 for each frequency:
// memory binds.
//
// Sums run in a fixed order, nothing by atomics.
#pragma once

#include "rings.cuh"

namespace cdifast::cuda {

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
