// Floats in two parts, and a warp's product of them, against doubles. Says what is wrong, if anything.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "../../csrc/cuda/tensor_cores.cuh"
#include "arrays.h"

namespace {

using namespace cdifast;
using namespace cdifast::cuda;

constexpr int kTiles = 3;

// cells (16, 8 kTiles) = rows (16, 16) times columns (8 kTiles, 16), transposed.
__global__ void product(const float* rows, const float* columns, float* cells) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto quad = [&](const float* matrix, int row) { return load_quad(matrix + row * 16 + t * 4, 4, true); };
  const Parts of_columns[kTiles] = {Parts(quad(columns, g)), Parts(quad(columns, 8 + g)), Parts(quad(columns, 16 + g))};
  TensorCells sums[kTiles] = {};
  multiply_add(sums, Parts(quad(rows, g)), Parts(quad(rows, g + 8)), of_columns);
  for (int n = 0; n < kTiles; ++n) {
    for (int c = 0; c < 4; ++c) cells[(g + c / 2 * 8) * 8 * kTiles + n * 8 + 2 * t + c % 2] = sums[n][c];
  }
}

int failures = 0;

void expect(bool holds, const char* what, double value) {
  if (holds) return;
  std::printf("%s: %g\n", what, value);
  ++failures;
}

void check_parts(float x) {
  const Parts parts(Vector<float>{{x, x, x, x}});
  const double high = float_of(parts.high[0]);
  const double low = float_of(parts.low[0] & 0xffffe000u);  // what tensor cores see of it
  expect((parts.high[0] & 0x1fffu) == 0, "bits beyond TF32 of", x);
  if (std::isfinite(x)) {
    expect(std::abs(x - (high + low)) <= std::ldexp(std::abs(x), -22), "more than 2^-22 lost of", x);
  } else {
    expect(std::isnan(high + low), "sum of the parts is no NaN of", x);
  }
}

}  // namespace

int main() {
  const auto numbers = emulator::numbers<float>(4096, 3);
  for (const float x : numbers) {
    check_parts(x - 0.5f);
    check_parts(std::ldexp(x, 90));
    check_parts(-std::ldexp(x, -90));
  }
  for (const uint32_t bits : {0u, 0x80000000u, 0x3f800fffu, 0x3f801000u, 0x3fffffffu, 0x7f000000u}) {
    check_parts(float_of(bits));
  }
  // Infinity, and NaN whose upper bits alone, rounded up, would be a zero.
  for (const uint32_t bits : {0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7fffffffu, 0xffffffffu}) {
    check_parts(float_of(bits));
  }

  std::vector<float> rows(16 * 16), columns(8 * kTiles * 16), cells(16 * 8 * kTiles);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = numbers[i] - 0.5f;
  for (size_t i = 0; i < columns.size(); ++i) columns[i] = numbers[1000 + i] - 0.5f;
  launch(product, 1, 32, nullptr, rows.data(), columns.data(), cells.data());
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8 * kTiles; ++column) {
      double exact = 0, size = 0;
      for (int k = 0; k < 16; ++k) {
        const double term = static_cast<double>(rows[row * 16 + k]) * columns[column * 16 + k];
        exact += term;
        size += std::abs(term);
      }
      const double error = std::abs(cells[row * 8 * kTiles + column] - exact);
      expect(error <= 4e-7 * size, "error of a cell against the sizes of its terms", error / size);
    }
  }
  return failures == 0 ? 0 : 1;
}
