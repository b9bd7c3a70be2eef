#include "block.h"

#include <algorithm>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#endif

namespace cdifast::emulator {
namespace {

constexpr std::size_t kSharedAlignment = 16;
// Never handed out, between two shared arrays: an access that misses its array meets it.
constexpr std::size_t kRedZone = 64;
// Room for the red zones of a few arrays beside the 48 KiB that a kernel may use.
constexpr std::size_t kArenaBytes = kSharedBytes + 64 * kRedZone;

std::string text(dim3 p) {
  return "(" + std::to_string(p.x) + "," + std::to_string(p.y) + "," + std::to_string(p.z) + ")";
}

std::string text(const Site& site) { return std::string(site.file_name()) + ":" + std::to_string(site.line()); }

dim3 unflatten(int64_t index, dim3 extent) {
  return {static_cast<unsigned>(index % extent.x), static_cast<unsigned>(index / extent.x % extent.y),
          static_cast<unsigned>(index / extent.x / extent.y)};
}

bool in_mask(uint32_t mask, int lane) { return (mask >> lane & 1u) != 0; }

}  // namespace

Settings& settings() {
  static Settings instance;
  return instance;
}

Block::Block(dim3 grid, dim3 size) : grid_(grid), shared_(kArenaBytes) {
  const int64_t count = int64_t{size.x} * size.y * size.z;
  if (count < 1 || count > kMaxThreads || int64_t{grid.x} * grid.y * grid.z < 1) {
    throw KernelError("launch of grid " + text(grid) + " of blocks " + text(size) +
                      ": expected at least one block, and 1 to 1024 threads in each");
  }
  threads_.resize(count);
  for (int i = 0; i < this->size(); ++i) {
    threads_[i].owner = this;
    threads_[i].index = i;
    threads_[i].where = {unflatten(i, size), {}, size, grid};
  }
}

Block::~Block() { ASAN_UNPOISON_MEMORY_REGION(shared_.data(), shared_.size()); }

void Block::start(int64_t number) {
  ASAN_UNPOISON_MEMORY_REGION(shared_.data(), shared_.size());
  std::fill(shared_.begin(), shared_.end(), std::byte{settings().poison});
  ASAN_POISON_MEMORY_REGION(shared_.data(), shared_.size());
  shared_used_ = 0;
  arrays_.clear();
  for (Thread& thread : threads_) {
    thread.where.block = unflatten(number, grid_);
    thread.state = State::running;
  }
}

void* Block::shared_array(std::size_t bytes, std::size_t alignment, const Site& site) {
  const std::pair<std::string, unsigned> key(site.file_name(), site.line());
  const auto known = arrays_.find(key);
  if (known != arrays_.end()) {
    if (known->second.second != bytes) throw KernelError(text(site) + ": two shared arrays on one line");
    return known->second.first;
  }
  std::size_t in_use = bytes;
  for (const auto& [where, array] : arrays_) in_use += array.second;
  if (alignment > kSharedAlignment || in_use > kSharedBytes) {
    throw KernelError(text(site) + ": the block's shared arrays take " + std::to_string(in_use) +
                      " bytes, aligned to " + std::to_string(alignment) + "; expected at most " +
                      std::to_string(kSharedBytes) + ", aligned to " + std::to_string(kSharedAlignment));
  }
  auto address = reinterpret_cast<uintptr_t>(shared_.data()) + shared_used_ + kRedZone;
  address = (address + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment;
  auto* array = reinterpret_cast<std::byte*>(address);
  shared_used_ = static_cast<std::size_t>(array - shared_.data()) + bytes;
  if (shared_used_ + kRedZone > shared_.size()) throw KernelError(text(site) + ": too many shared arrays");
  ASAN_UNPOISON_MEMORY_REGION(array, bytes);
  arrays_[key] = {array, bytes};
  return array;
}

bool Block::finished() const {
  return std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::finished; });
}

// Every thread of the block, at the same __syncthreads: CUDA leaves it undefined where some have returned, or stand
// at another one.
bool Block::block_barrier_complete() const {
  const Thread& first = threads_.front();
  return std::all_of(threads_.begin(), threads_.end(), [&](const Thread& t) {
    return t.state == State::at_block_barrier && t.at.site.line() == first.at.site.line() &&
           std::strcmp(t.at.site.file_name(), first.at.site.file_name()) == 0;
  });
}

// Every lane of the mask, at the same operation with the same mask.
bool Block::warp_operation_complete(const Thread& thread) const {
  const int first = thread.index / kWarpSize * kWarpSize;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!in_mask(thread.at.mask, lane)) continue;
    const Thread& other = threads_[first + lane];  // the mask holds existing threads only: see arrive()
    if (other.state != State::at_warp_operation || other.at.mask != thread.at.mask ||
        std::strcmp(other.at.operation, thread.at.operation) != 0) {
      return false;
    }
  }
  return true;
}

void Block::arrive(Thread& thread, const Rendezvous& at) {
  if (at.state == State::at_warp_operation) {
    const std::string name = std::string(at.operation) + " in " + text(at.site);
    const int lanes = std::min(kWarpSize, size() - thread.index / kWarpSize * kWarpSize);
    const uint32_t existing = lanes == kWarpSize ? 0xffffffffu : (1u << lanes) - 1u;
    if (!in_mask(at.mask, thread.index % kWarpSize)) fail(thread, name + ": the mask leaves out its own lane");
    if ((at.mask & ~existing) != 0) {
      fail(thread,
           name + ": the mask names lanes from " + std::to_string(lanes) + " on, which this warp does not have");
    }
  }
  thread.at = at;
  thread.state = at.state;
}

bool Block::settle() {
  bool any = false;
  if (block_barrier_complete()) {
    for (Thread& thread : threads_) thread.state = State::running;
    any = true;
  }
  for (const Thread& thread : threads_) {
    if (thread.state != State::at_warp_operation || !warp_operation_complete(thread)) continue;
    const uint32_t mask = thread.at.mask;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (in_mask(mask, lane)) lane_of(thread, lane).state = State::running;
    }
    any = true;
  }
  const bool stuck = !any && !finished() && std::none_of(threads_.begin(), threads_.end(), [](const Thread& t) {
    return t.state == State::running;
  });
  if (stuck) fail_stuck();
  return any;
}

std::string Block::describe(const Thread& thread) const {
  const std::string name = "thread " + text(thread.where.thread);
  switch (thread.state) {
    case State::finished:
      return name + " has returned";
    case State::at_block_barrier:
      return name + " waits at __syncthreads in " + text(thread.at.site);
    case State::at_warp_operation: {
      char mask[16];
      std::snprintf(mask, sizeof mask, "0x%08x", thread.at.mask);
      return name + " waits at " + thread.at.operation + " with mask " + mask + " in " + text(thread.at.site);
    }
    default:
      return name + " runs";
  }
}

void Block::fail(const Thread& thread, const std::string& what) const {
  throw KernelError("block " + text(thread.where.block) + ", thread " + text(thread.where.thread) + ": " + what);
}

// One waiting thread, and one that keeps it waiting.
void Block::fail_stuck() const {
  const Thread& waiting =
      *std::find_if(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state != State::finished; });
  const Thread& other = *std::find_if(threads_.begin(), threads_.end(), [&](const Thread& t) {
    if (&t == &waiting) return false;
    const bool awaited =
        waiting.state == State::at_block_barrier ||
        (t.index / kWarpSize == waiting.index / kWarpSize && in_mask(waiting.at.mask, t.index % kWarpSize));
    return awaited &&
           (t.state != waiting.state || t.at.site.line() != waiting.at.site.line() || t.at.mask != waiting.at.mask);
  });
  throw KernelError("divergent barrier: in block " + text(waiting.where.block) + ", " + describe(waiting) + ", but " +
                    describe(other));
}

// --- what kernels call

const Coordinates& coordinates() { return current_thread().where; }

int lane() { return current_thread().index % kWarpSize; }

void block_barrier(const Site& site) { wait({State::at_block_barrier, "__syncthreads", 0, site}); }

void warp_barrier(uint32_t mask, const Site& site) { wait({State::at_warp_operation, "__syncwarp", mask, site}); }

uint64_t warp_exchange(const char* operation, uint32_t mask, uint64_t bits, int source, const Site& site) {
  Thread& thread = current_thread();
  uint64_t result = 0;
  {
    const Exclusive exclusive;
    thread.given = bits;
    if (source < 0 || source >= kWarpSize || !in_mask(mask, source)) {
      thread.owner->fail(thread, std::string(operation) + " in " + text(site) + ": reads lane " +
                                     std::to_string(source) + ", which is not in the mask");
    }
  }
  wait({State::at_warp_operation, operation, mask, site});
  {
    const Exclusive exclusive;
    result = thread.owner->lane_of(thread, source).given;
  }
  wait({State::at_warp_operation, operation, mask, site});  // all have read: the next operation may overwrite
  return result;
}

uint32_t warp_ballot(uint32_t mask, bool predicate, const Site& site) {
  Thread& thread = current_thread();
  {
    const Exclusive exclusive;
    thread.given = predicate ? 1 : 0;
  }
  wait({State::at_warp_operation, "__ballot_sync", mask, site});
  uint32_t result = 0;
  {
    const Exclusive exclusive;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (in_mask(mask, lane) && thread.owner->lane_of(thread, lane).given != 0) result |= 1u << lane;
    }
  }
  wait({State::at_warp_operation, "__ballot_sync", mask, site});
  return result;
}

void* shared_array(std::size_t bytes, std::size_t alignment, const Site& site) {
  const Exclusive exclusive;
  return current_thread().owner->shared_array(bytes, alignment, site);
}

}  // namespace cdifast::emulator
