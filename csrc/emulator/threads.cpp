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
  barriers_passed = 0;
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

// Threads that outlive a launch: to make one costs ThreadSanitizer more than most of what it runs. A launch comes after
// all that the host did before, and the host goes on after all of the launch; nothing else is in order.
class Workers {
 public:
  ~Workers() {
    begin(0, nullptr);
    for (std::thread& thread : threads_) thread.join();
  }

  // task(0) to task(count - 1), at the same time.
  void run(int count, const std::function<void(int)>& task) {
    while (static_cast<int>(threads_.size()) < count) {
      threads_.emplace_back([this, index = static_cast<int>(threads_.size()), round = round_] { loop(index, round); });
    }
    launch_.publish();
    begin(count, &task);
    overlook();
    {
      std::unique_lock<std::mutex> lock(mutex_);
      ended_.wait(lock, [&] { return running_ == 0; });
    }
    look_again();
    end_.subscribe();
  }

 private:
  void begin(int count, const std::function<void(int)>* task) {
    overlook();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      task_ = task;
      count_ = running_ = count;
      ++round_;
    }
    begun_.notify_all();
    look_again();
  }

  void loop(int index, int64_t round) {
    for (;;) {
      const std::function<void(int)>* task = nullptr;
      bool mine = false;
      overlook();
      {
        std::unique_lock<std::mutex> lock(mutex_);
        begun_.wait(lock, [&] { return round_ != round; });
        round = round_;
        task = task_;
        mine = index < count_;
      }
      look_again();
      if (task == nullptr) return;
      if (!mine) continue;
      launch_.subscribe();
      (*task)(index);
      end_.publish();
      overlook();
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (--running_ == 0) ended_.notify_one();
      }
      look_again();
    }
  }

  std::mutex mutex_;
  std::condition_variable begun_, ended_;
  const std::function<void(int)>* task_ = nullptr;
  int count_ = 0;
  int running_ = 0;
  int64_t round_ = 0;
  std::vector<std::thread> threads_;
  Order launch_, end_;
};

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
  for (int64_t first = 0; first < std::clamp<int64_t>(blocks, 1, kConcurrentBlocks); ++first) {
    processors.push_back(std::make_unique<Processor>(grid, block));
    processors.back()->block.start(first);
  }
  const int size = processors.front()->block.size();
  static Workers workers;
  workers.run(static_cast<int>(processors.size()) * size, [&](int index) {
    const int first = index / size;
    run_thread(*processors[first], index % size, first, blocks, kernel);
  });
  for (const auto& on : processors) {
    if (on->error) std::rethrow_exception(on->error);
  }
}

}  // namespace cdifast::emulator
