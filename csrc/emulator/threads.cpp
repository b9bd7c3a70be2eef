// A block's threads as std::threads, for ThreadSanitizer: two accesses race where only luck orders them.
//
// The records of block.cpp are kept behind a mutex that ThreadSanitizer is told to overlook: it would otherwise take
// every entry for an ordering of the kernel's own accesses, and miss races. What does order them is said in so many
// words: __syncthreads over the block, __syncwarp over the warp, a launch's begin and end. Shuffles and atomics do not.
// Blocks of CUDA are in no order either: two run at a time, so that races between neighbouring blocks are seen too.
#include <algorithm>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "block.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreSyncBegin(const char* file, int line);
void AnnotateIgnoreSyncEnd(const char* file, int line);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace cdifast::emulator {
namespace {

constexpr int kConcurrentBlocks = 2;

// What happens between these two is none of ThreadSanitizer's business.
void overlook() {
#if defined(__SANITIZE_THREAD__)
  AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}

void look_again() {
#if defined(__SANITIZE_THREAD__)
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
#endif
}

// A point in the order of memory accesses: what came before any publish() is visible after subscribe().
struct Order {
  char address = 0;
  void publish() {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&address);
#endif
  }
  void subscribe() {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&address);
#endif
  }
};

struct Stopped {};  // thrown in threads of a grid that another thread has made fail

// What runs one block of a grid after another: every kConcurrentBlocks-th, from block `first` on.
struct Processor {
  Processor(dim3 grid, dim3 size) : block(grid, size), warps((block.size() + kWarpSize - 1) / kWarpSize) {}

  // All three are called with the mutex held.
  void settle() {
    try {
      if (block.settle()) changed.notify_all();
    } catch (...) {
      stop(std::current_exception());
    }
  }

  void stop(std::exception_ptr reason) {
    if (!error) error = reason;
    changed.notify_all();
  }

  // The last thread to come here starts the block.
  void start_together(std::unique_lock<std::mutex>& lock, int64_t number) {
    if (++waiting == block.size()) {
      waiting = 0;
      started = number;
      block.start(number);
      changed.notify_all();
    }
    changed.wait(lock, [&] { return started >= number || error; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  Block block;
  std::exception_ptr error;
  int waiting = 0;
  int64_t started = -1;
  // Two take turns, so that who is late to leave one barrier does not see what came before the next. A warp's barriers
  // may be over any mask and share one: it may hide a race, and never invents one.
  Order barriers[2];
  std::vector<Order> warps;
};

thread_local Processor* processor = nullptr;
thread_local Thread* self = nullptr;
thread_local unsigned barriers_passed = 0;

// Shared memory passes from block to block: its uses are ordered as at a barrier.
void next_block(Processor& on, int64_t number) {
  Order& boundary = on.barriers[barriers_passed++ & 1];
  boundary.publish();
  overlook();
  {
    std::unique_lock<std::mutex> lock(on.mutex);
    on.start_together(lock, number);
  }
  look_again();
  boundary.subscribe();
}

void run_thread(Processor& on, int index, int64_t first, int64_t blocks, const std::function<void()>& kernel) {
  processor = &on;
  self = &on.block.thread(index);
  for (int64_t number = first; number < blocks; number += kConcurrentBlocks) {
    if (number != first) next_block(on, number);

    std::exception_ptr failure;
    try {
      kernel();
    } catch (const Stopped&) {
    } catch (...) {
      failure = std::current_exception();
    }

    const Exclusive exclusive;
    self->state = State::finished;
    if (failure) on.stop(failure);
    if (!on.error) on.settle();
    if (on.error) return;
  }
}

}  // namespace

Thread& current_thread() { return *self; }

void wait(const Rendezvous& at) {
  Processor& on = *processor;
  const bool of_block = at.state == State::at_block_barrier;
  const bool of_warp = std::strcmp(at.operation, "__syncwarp") == 0;
  Order* const order = of_block  ? &on.barriers[barriers_passed++ & 1]
                       : of_warp ? &on.warps[self->index / kWarpSize]
                                 : nullptr;
  if (order != nullptr) order->publish();
  {
    const Exclusive exclusive;
    std::unique_lock<std::mutex> lock(on.mutex, std::adopt_lock);
    on.block.arrive(*self, at);
    on.settle();
    on.changed.wait(lock, [&] { return self->state == State::running || on.error; });
    lock.release();  // Exclusive gives it back
    if (on.error) throw Stopped{};
  }
  if (order != nullptr) order->subscribe();
}

Exclusive::Exclusive() {
  overlook();
  processor->mutex.lock();
}

Exclusive::~Exclusive() {
  processor->mutex.unlock();
  look_again();
}

void run_grid(dim3 grid, dim3 block, const std::function<void()>& kernel) {
  const int64_t blocks = int64_t{grid.x} * grid.y * grid.z;
  std::vector<std::unique_ptr<Processor>> processors;
  std::vector<std::thread> threads;
  for (int64_t first = 0; first < std::min<int64_t>(std::max<int64_t>(blocks, 1), kConcurrentBlocks); ++first) {
    processors.push_back(std::make_unique<Processor>(grid, block));
    processors.back()->block.start(first);
  }
  for (std::size_t first = 0; first < processors.size(); ++first) {
    Processor& on = *processors[first];
    for (int i = 0; i < on.block.size(); ++i) {
      threads.emplace_back(
          [&on, i, first, blocks, &kernel] { run_thread(on, i, static_cast<int64_t>(first), blocks, kernel); });
    }
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& on : processors) {
    if (on->error) std::rethrow_exception(on->error);
  }
}

}  // namespace cdifast::emulator
