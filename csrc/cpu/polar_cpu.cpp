// Polar resampling on the CPU: checks, the sampling plan, the parallel loops, registration.
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <vector>

#include "../common/resample_math.h"
#include "../torch_bridge.h"
#include "polar_simd.h"

namespace cdifast::cpu {
namespace {

// The images' sampling geometry: one centre and mask for all of them, or one for each.
struct Geometry {
  PolarGrid grid;
  Tensor center;
  std::optional<Tensor> good;
  int64_t count;  // 1, or the number of images

  Geometry(const PolarGrid& grid_, const Tensor& center_, const std::optional<Tensor>& good_, const char* op)
      : grid(grid_), center(torch::stable::contiguous(center_)), count(center_.dim() == 2 ? center_.size(0) : 0) {
    STD_TORCH_CHECK(center.dim() == 2 && center.size(1) == 2, op, ": center must have shape (1 or N, 2)");
    STD_TORCH_CHECK(center.scalar_type() == ScalarType::Double, op, ": center must be float64");
    STD_TORCH_CHECK(center.is_cpu(), op, ": center is on another device than the images, which are on the CPU");
    STD_TORCH_CHECK(grid.n_radial >= 1 && grid.n_angular >= 1, op, ": n_radial and n_angular must be at least 1");
    STD_TORCH_CHECK(grid.height >= 1 && grid.width >= 1, op, ": the images have no pixels");
    STD_TORCH_CHECK(grid.height <= std::numeric_limits<int32_t>::max() / grid.width, op,
                    ": images of 2^31 pixels or more are not supported");
    if (good_.has_value()) {
      good = torch::stable::contiguous(*good_);
      STD_TORCH_CHECK(good->scalar_type() == ScalarType::Bool, op, ": good must be bool");
      STD_TORCH_CHECK(good->is_cpu(), op, ": good is on another device than the images, which are on the CPU");
      STD_TORCH_CHECK(good->dim() == 3 && good->size(1) == grid.height && good->size(2) == grid.width, op,
                      ": good must have shape (1 or N, height, width)");
      if (good->size(0) != 1) {
        STD_TORCH_CHECK(count == 1 || count == good->size(0), op, ": center and good differ in length");
        count = good->size(0);
      }
    }
  }

  void check_covers(int64_t images, const char* op) const {
    STD_TORCH_CHECK(count == 1 || count == images, op, ": center or good is for ", count, " images, but there are ",
                    images);
  }

  int64_t samples() const { return grid.n_radial * grid.n_angular; }

  double center_at(int64_t g, int axis) const {
    return center.const_data_ptr<double>()[(center.size(0) == 1 ? 0 : g) * 2 + axis];
  }

  const uint8_t* good_at(int64_t g) const {
    if (!good.has_value()) return nullptr;
    const auto* first = static_cast<const uint8_t*>(good->const_data_ptr());
    return first + (good->size(0) == 1 ? 0 : g) * grid.height * grid.width;
  }
};

// cos and sin of every angle of the map.
struct Directions {
  std::vector<double> cos, sin;
  explicit Directions(int64_t n_angular) : cos(n_angular), sin(n_angular) {
    for (int64_t k = 0; k < n_angular; ++k) {
      const double phi = 2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n_angular);
      cos[k] = std::cos(phi);
      sin[k] = std::sin(phi);
    }
  }
};

// Calls f(k, taps) for every angle of ring j of geometry g.
template <typename F>
void for_each_sample(const Geometry& geometry, const Directions& directions, int64_t g, int64_t j, const F& f) {
  const double r = geometry.grid.radius(j);
  const double cy = geometry.center_at(g, 0);
  const double cx = geometry.center_at(g, 1);
  const uint8_t* good = geometry.good_at(g);
  Taps taps;
  TapSlopes slopes;
  const SourceShape source = polar_source(geometry.grid);
  for (int64_t k = 0; k < geometry.grid.n_angular; ++k) {
    const Position at = polar_position(r, directions.cos[k], directions.sin[k], cy, cx);
    bilinear_taps(source, at, geometry.grid.nearest, good, taps, &slopes);
    f(k, taps, slopes);
  }
}

template <typename C>
void plan_ring(const Geometry& geometry, const Directions& directions, int64_t g, int64_t j, PlannedSample<C>* ring) {
  for_each_sample(geometry, directions, g, j, [&](int64_t k, const Taps& taps, const TapSlopes& slopes) {
    for (int t = 0; t < 4; ++t) {
      ring[k].pixel[t] = static_cast<int32_t>(taps.element[t]);
      ring[k].coefficient[t] = taps.total > 0.0 ? static_cast<C>(taps.weight[t] / taps.total) : C{0};
    }
    if (taps.total == 0.0) ring[k].pixel[0] = -1;
  });
}

// Runs f(image, plan of that image) for every image, in parallel over images. A geometry that all images share
// is planned once; else each image's plan is made just before its use.
template <typename C, typename F>
void for_each_planned_image(const Geometry& geometry, int64_t images, const F& f) {
  const Directions directions(geometry.grid.n_angular);
  const int64_t n_radial = geometry.grid.n_radial;
  const int64_t n_angular = geometry.grid.n_angular;
  if (geometry.count == 1) {
    std::vector<PlannedSample<C>> plan(geometry.samples());
    torch::stable::parallel_for(0, n_radial, 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) plan_ring(geometry, directions, 0, j, plan.data() + j * n_angular);
    });
    torch::stable::parallel_for(0, images, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) f(n, plan.data());
    });
  } else {
    torch::stable::parallel_for(0, images, 1, [&](int64_t begin, int64_t end) {
      std::vector<PlannedSample<C>> plan(geometry.samples());
      for (int64_t n = begin; n < end; ++n) {
        for (int64_t j = 0; j < n_radial; ++j) plan_ring(geometry, directions, n, j, plan.data() + j * n_angular);
        f(n, plan.data());
      }
    });
  }
}

Tensor polar_resample(const Tensor& images_, const Tensor& center, const std::optional<Tensor>& good, int64_t n_radial,
                      int64_t n_angular, double r_min, double r_max, bool nearest, double fill) {
  constexpr const char* op = "polar_resample";
  STD_TORCH_CHECK(images_.dim() == 3, op, ": images must have shape (N, height, width), got ", images_.dim(),
                  " dimensions");
  const DType dtype = element_dtype(images_, op, "images");
  const Tensor images = torch::stable::contiguous(images_);
  const int64_t count = images.size(0);
  const PolarGrid grid{images.size(1), images.size(2), n_radial, n_angular, r_min, r_max, nearest};
  const Geometry geometry(grid, center, good, op);
  geometry.check_covers(count, op);

  const bool integer = dtype == DType::u8 || dtype == DType::u16 || dtype == DType::i16 || dtype == DType::i32;
  Tensor out = torch::stable::new_empty(images, {count, n_radial, n_angular},
                                        integer ? ScalarType::Float : images.scalar_type());
  const auto& kernels = selected_polar_kernels();
  const int64_t samples = geometry.samples();
  const auto* source = static_cast<const char*>(images.const_data_ptr());
  auto* target = static_cast<char*>(out.mutable_data_ptr());
  const int64_t image_bytes = grid.height * grid.width * static_cast<int64_t>(images.element_size());
  const int64_t map_bytes = samples * static_cast<int64_t>(out.element_size());
  dispatch_element(dtype, [&](auto tag) {
    using C = compute_t<typename decltype(tag)::type>;
    for_each_planned_image<C>(geometry, count, [&](int64_t n, const PlannedSample<C>* plan) {
      kernels.forward(dtype, source + n * image_bytes, plan, samples, fill, target + n * map_bytes);
    });
  });
  return out;
}

Tensor polar_weight(const Tensor& center, const std::optional<Tensor>& good, int64_t height, int64_t width,
                    int64_t n_radial, int64_t n_angular, double r_min, double r_max, bool nearest, bool float64) {
  const PolarGrid grid{height, width, n_radial, n_angular, r_min, r_max, nearest};
  const Geometry geometry(grid, center, good, "polar_weight");
  const Directions directions(n_angular);
  const DType dtype = float64 ? DType::f64 : DType::f32;
  Tensor out = torch::stable::new_empty(center, {geometry.count, n_radial, n_angular},
                                        float64 ? ScalarType::Double : ScalarType::Float);
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* target = static_cast<T*>(out.mutable_data_ptr());
    torch::stable::parallel_for(0, geometry.count * n_radial, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for_each_sample(geometry, directions, row / n_radial, row % n_radial,
                        [&](int64_t k, const Taps& taps, const TapSlopes& slopes) {
                          store_element(target[row * n_angular + k], static_cast<compute_t<T>>(taps.total));
                        });
      }
    });
  });
  return out;
}

Tensor polar_resample_backward(const Tensor& grad_, const Tensor& center, const std::optional<Tensor>& good,
                               int64_t height, int64_t width, double r_min, double r_max, bool nearest) {
  constexpr const char* op = "polar_resample_backward";
  STD_TORCH_CHECK(grad_.dim() == 3, op, ": grad must have shape (N, n_radial, n_angular)");
  const DType dtype = floating_dtype(grad_, op, "grad");
  const Tensor grad = torch::stable::contiguous(grad_);
  const int64_t count = grad.size(0);
  const PolarGrid grid{height, width, grad.size(1), grad.size(2), r_min, r_max, nearest};
  const Geometry geometry(grid, center, good, op);
  geometry.check_covers(count, op);

  Tensor out = torch::stable::new_empty(grad, {count, height, width});
  const auto& kernels = selected_polar_kernels();
  const int64_t pixels = height * width;
  const int64_t samples = geometry.samples();
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_t<T>;
    const T* source = static_cast<const T*>(grad.const_data_ptr());
    T* target = static_cast<T*>(out.mutable_data_ptr());
    for_each_planned_image<C>(geometry, count, [&](int64_t n, const PlannedSample<C>* plan) {
      // One thread owns an image, so that the sums are the same for any number of threads.
      std::vector<C> sums(pixels, C{0});
      kernels.adjoint(dtype, source + n * samples, plan, samples, sums.data());
      for (int64_t p = 0; p < pixels; ++p) store_element(target[n * pixels + p], sums[p]);
    });
  });
  return out;
}

// The gradient of the centre: moving it by (dy, dx) moves every sample of the map by as much.
Tensor polar_resample_backward_center(const Tensor& grad_, const Tensor& images_, const Tensor& center,
                                      const std::optional<Tensor>& good, double r_min, double r_max, bool nearest) {
  constexpr const char* op = "polar_resample_backward_center";
  STD_TORCH_CHECK(grad_.dim() == 3 && images_.dim() == 3 && grad_.size(0) == images_.size(0), op,
                  ": grad and images must be batches of the same length");
  const DType grad_dtype = floating_dtype(grad_, op, "grad");
  const DType dtype = element_dtype(images_, op, "images");
  const Tensor grad = torch::stable::contiguous(grad_);
  const Tensor images = torch::stable::contiguous(images_);
  const int64_t count = images.size(0);
  const PolarGrid grid{images.size(1), images.size(2), grad.size(1), grad.size(2), r_min, r_max, nearest};
  const Geometry geometry(grid, center, good, op);
  geometry.check_covers(count, op);
  const Directions directions(grid.n_angular);

  std::vector<double> parts(count * 2, 0.0);
  dispatch_element(dtype, [&](auto image_tag) {
    using T = typename decltype(image_tag)::type;
    const T* pixels = static_cast<const T*>(images.const_data_ptr());
    dispatch_floating(grad_dtype, [&](auto grad_tag) {
      using G = typename decltype(grad_tag)::type;
      const G* gradient = static_cast<const G*>(grad.const_data_ptr());
      torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          const T* image = pixels + n * grid.height * grid.width;
          for (int64_t j = 0; j < grid.n_radial; ++j) {
            const G* ring = gradient + (n * grid.n_radial + j) * grid.n_angular;
            for_each_sample(geometry, directions, geometry.count == 1 ? 0 : n, j,
                            [&](int64_t k, const Taps& taps, const TapSlopes& slopes) {
                              if (taps.total == 0.0) return;
                              // value = sum w I / sum w, both of which move with the sample where neighbours are
                              // missing.
                              double value = 0.0, value_y = 0.0, value_x = 0.0, total = 0.0, total_y = 0.0,
                                     total_x = 0.0;
                              for (int t = 0; t < 4; ++t) {
                                if (taps.weight[t] == 0.0 && slopes.dy[t] == 0.0 && slopes.dx[t] == 0.0) continue;
                                const double pixel = load_element(image[taps.element[t]]);
                                total += taps.weight[t];
                                total_y += slopes.dy[t];
                                total_x += slopes.dx[t];
                                value += taps.weight[t] * pixel;
                                value_y += slopes.dy[t] * pixel;
                                value_x += slopes.dx[t] * pixel;
                              }
                              const double g = load_element(ring[k]);
                              parts[n * 2] += g * (value_y - value / total * total_y) / total;
                              parts[n * 2 + 1] += g * (value_x - value / total * total_x) / total;
                            });
          }
        }
      });
    });
  });

  Tensor out = torch::stable::new_empty(center, {center.size(0), 2});
  double* target = out.mutable_data_ptr<double>();
  for (int64_t i = 0; i < center.size(0) * 2; ++i) target[i] = 0.0;
  for (int64_t n = 0; n < count; ++n) {
    const int64_t row = center.size(0) == 1 ? 0 : n;
    target[row * 2] += parts[n * 2];
    target[row * 2 + 1] += parts[n * 2 + 1];
  }
  return out;
}

}  // namespace
}  // namespace cdifast::cpu

STABLE_TORCH_LIBRARY_IMPL(cdifast, CPU, m) {
  m.impl("polar_resample", TORCH_BOX(&cdifast::cpu::polar_resample));
  m.impl("polar_weight", TORCH_BOX(&cdifast::cpu::polar_weight));
  m.impl("polar_resample_backward", TORCH_BOX(&cdifast::cpu::polar_resample_backward));
  m.impl("polar_resample_backward_center", TORCH_BOX(&cdifast::cpu::polar_resample_backward_center));
}
