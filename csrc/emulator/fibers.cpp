// A block's threads as fibers of one CPU thread: deterministic, in an order that can be chosen, and quick.
#include <ucontext.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "block.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cdifast::emulator {
namespace {

constexpr std::size_t kStackBytes = std::size_t{128} << 10;

// A stack that can be switched to. AddressSanitizer keeps a second, fake stack for each, and is told of every switch.
struct Fiber {
  // Zeroed: AddressSanitizer clears the stack that a context names when it is switched to; the scheduler's names none.
  ucontext_t context{};
  void* fake_stack = nullptr;
  const void* bottom = nullptr;
  std::size_t bytes = 0;
};

void announce([[maybe_unused]] void** save, [[maybe_unused]] const Fiber& target) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(save, target.bottom, target.bytes);
#endif
}

void arrived([[maybe_unused]] void* fake_stack, [[maybe_unused]] Fiber* origin) {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
  if (origin != nullptr) {
    origin->bottom = bottom;
    origin->bytes = bytes;
  }
#endif
}

class Grid {
 public:
  Grid(dim3 grid, dim3 block, const std::function<void()>& kernel)
      : block_(grid, block),
        blocks_(int64_t{grid.x} * grid.y * grid.z),
        kernel_(kernel),
        fibers_(block_.size()),
        // Not zeroed: pages are only taken where a stack grows to them.
        stacks_(new char[block_.size() * kStackBytes]) {}

  void run() {
    Grid* const before = active_;
    active_ = this;
    try {
      for (int64_t number = 0; number < blocks_; ++number) run_block(number);
    } catch (...) {
      active_ = before;
      throw;
    }
    active_ = before;
  }

  static Grid& active() { return *active_; }
  Thread& running() { return *running_; }

  void suspend() {
    Fiber& fiber = fibers_[running_->index];
    announce(running_->state == State::finished ? nullptr : &fiber.fake_stack, scheduler_);
    swapcontext(&fiber.context, &scheduler_.context);
    arrived(fiber.fake_stack, &scheduler_);
  }

 private:
  void run_block(int64_t number) {
    block_.start(number);
    for (int i = 0; i < block_.size(); ++i) {
      Fiber& fiber = fibers_[i];
      fiber.bottom = stacks_.get() + i * kStackBytes;
      fiber.bytes = kStackBytes;
      fiber.fake_stack = nullptr;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = stacks_.get() + i * kStackBytes;
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, &Grid::entry, 0);
    }
    std::vector<int> order(block_.size());
    std::iota(order.begin(), order.end(), 0);
    if (settings().schedule == 1) std::reverse(order.begin(), order.end());
    std::mt19937 generator(settings().schedule);
    while (!block_.finished()) {
      if (settings().schedule > 1) std::shuffle(order.begin(), order.end(), generator);
      for (const int i : order) {
        if (block_.thread(i).state == State::running) resume(i);
        // The other fibers are left where they stand; kernels own nothing that would have to be freed.
        if (error_) std::rethrow_exception(error_);
      }
      block_.settle();
    }
  }

  void resume(int index) {
    running_ = &block_.thread(index);
    announce(&scheduler_.fake_stack, fibers_[index]);
    swapcontext(&scheduler_.context, &fibers_[index].context);
    arrived(scheduler_.fake_stack, nullptr);
  }

  static void entry() {
    arrived(nullptr, &active().scheduler_);
    // An exception must not leave the fiber's stack.
    try {
      active().kernel_();
    } catch (...) {
      active().error_ = std::current_exception();
    }
    active().running().state = State::finished;
    active().suspend();
  }

  static thread_local Grid* active_;

  Block block_;
  int64_t blocks_;
  const std::function<void()>& kernel_;
  std::vector<Fiber> fibers_;
  std::unique_ptr<char[]> stacks_;
  Fiber scheduler_;
  Thread* running_ = nullptr;
  std::exception_ptr error_;
};

thread_local Grid* Grid::active_ = nullptr;

}  // namespace

Thread& current_thread() { return Grid::active().running(); }

void wait(const Rendezvous& at) {
  Thread& thread = current_thread();
  thread.owner->arrive(thread, at);
  Grid::active().suspend();
}

// Only one fiber runs, and it gives way nowhere but in wait().
Exclusive::Exclusive() {}
Exclusive::~Exclusive() {}

void run_grid(dim3 grid, dim3 block, const std::function<void()>& kernel) { Grid(grid, block, kernel).run(); }

}  // namespace cdifast::emulator
