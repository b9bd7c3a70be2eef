// Groups of pairs (angular_simd.h), made for a list of pairs and kept for the next call with the same one. Not for the
// files that are compiled once per instruction set: it needs the standard library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "angular_simd.h"

namespace cdifast::cpu {

class Grouping {
 public:
  // Runs of pairs (i, j), (i, j + 1), ... are cut where j is a multiple of the lanes, and runs (i, j), (i + 1, j + 1),
  // ... where i or j is: whole pieces are groups of one segment. What is left over shares groups: two pieces one that
  // they fill, if there are such two, as for all pairs; the rest follows one another.
  Grouping(const int64_t* pairs, int64_t count, int64_t lanes, int64_t bins)
      : pairs_(pairs), lanes_(lanes), bins_(bins) {
    std::vector<std::vector<int64_t>> rest(lanes);  // the first pair of each piece, by its size
    pair_.reserve(count + lanes);
    for (int64_t p = 0; p < count;) {
      const int64_t start = p++;
      const int64_t step = p < count ? pairs[2 * p] - pairs[2 * start] : 0;
      while (p < count && p - start < lanes && (step == 0 || (step == 1 && pairs[2 * p] % lanes != 0)) &&
             pairs[2 * p] == pairs[2 * p - 2] + step && pairs[2 * p + 1] == pairs[2 * p - 1] + 1 &&
             pairs[2 * p + 1] % lanes != 0) {
        ++p;
      }
      if (p - start == lanes) {
        add(start, lanes);
      } else {
        rest[p - start].push_back(start);
      }
    }
    for (int64_t size = lanes - 1; 2 * size >= lanes; --size) {
      std::vector<int64_t>& longer = rest[size];
      std::vector<int64_t>& shorter = rest[lanes - size];
      const size_t both = 2 * size == lanes ? 2 : 1;  // pieces of the same size
      while (longer.size() >= both && !shorter.empty()) {
        add(longer.back(), size);
        longer.pop_back();
        add(shorter.back(), lanes - size);
        shorter.pop_back();
      }
    }
    for (int64_t size = lanes - 1; size > 0; --size) {
      for (const int64_t start : rest[size]) add(start, size);
    }
    if (lane_ > 0) end_group();
    pairs_ = nullptr;
  }

  PairGroups groups() const {
    return {static_cast<int64_t>(first_segment_.size()) - 1, segment_.data(), first_segment_.data(), pair_.data(),
            rows_};
  }

 private:
  // Pairs start, start + 1, ... of one run, from the first free lane on.
  void add(int64_t start, int64_t size) {
    while (size > 0) {
      const int64_t taken = std::min(size, lanes_ - lane_);
      const int64_t i = pairs_[2 * start];
      const bool row = taken == 1 || pairs_[2 * start + 2] == i;
      rows_ = rows_ || row;
      segment_.push_back({lane_, lane_ + taken, place_of_ring(i, bins_, lanes_) - (row ? 0 : lane_),
                          place_of_ring(pairs_[2 * start + 1], bins_, lanes_) - lane_,
                          row ? row_of_ring(i, bins_, lanes_) : -1});
      for (int64_t p = start; p < start + taken; ++p) pair_.push_back(p);
      lane_ += taken;
      start += taken;
      size -= taken;
      if (lane_ == lanes_) end_group();
    }
  }

  void end_group() {
    first_segment_.push_back(static_cast<int64_t>(segment_.size()));
    // Lanes without a pair stand for the group's last one; they are neither read nor written.
    pair_.resize((first_segment_.size() - 1) * lanes_, pair_.back());
    lane_ = 0;
  }

  const int64_t* pairs_;  // while groups are made
  int64_t lanes_, bins_;
  int64_t lane_ = 0;
  bool rows_ = false;
  std::vector<PairSegment> segment_;
  std::vector<int64_t> first_segment_{0};
  std::vector<int64_t> pair_;
};

// The groups of these pairs: those of the last call, if that had the same pairs. Making them takes a thirtieth of the
// time of the functions of one 112 x 224 map, a fifth of a call on one with 16 angles; comparing takes little. 16 bytes
// a pair stay allocated beside the groups' 8 to 48.
inline std::shared_ptr<const Grouping> grouping_of(const int64_t* pairs, int64_t count, int64_t lanes, int64_t bins) {
  struct Kept {
    std::vector<int64_t> pairs;
    int64_t lanes, bins;
    std::shared_ptr<const Grouping> grouping;
  };
  static std::mutex mutex;
  static Kept kept;
  const auto same = [&] {
    return kept.lanes == lanes && kept.bins == bins &&
           std::equal(kept.pairs.begin(), kept.pairs.end(), pairs, pairs + 2 * count);
  };
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (kept.grouping != nullptr && same()) return kept.grouping;
  }
  auto grouping = std::make_shared<const Grouping>(pairs, count, lanes, bins);
  const std::lock_guard<std::mutex> lock(mutex);
  kept = {{pairs, pairs + 2 * count}, lanes, bins, grouping};
  return grouping;
}

}  // namespace cdifast::cpu
