// One emulated block: what each of its threads waits for, its shared memory, and when a wait is over. The engines
// (fibers.cpp, threads.cpp) give the threads something to run on; one at a time calls into a Block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "emulator.h"

namespace cdifast::emulator {

class Block;

enum class State : uint8_t { running, at_block_barrier, at_warp_operation, finished };

// What a thread waits for.
struct Rendezvous {
  State state = State::running;  // at_block_barrier or at_warp_operation
  const char* operation = "";
  uint32_t mask = 0;  // lanes of a warp operation
  Site site;
};

struct Thread {
  Block* owner = nullptr;
  int index = 0;
  Coordinates where;
  State state = State::finished;
  Rendezvous at;       // the last that it came to
  uint64_t given = 0;  // to the other lanes of a warp operation
};

class Block {
 public:
  Block(dim3 grid, dim3 size);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  int size() const { return static_cast<int>(threads_.size()); }
  Thread& thread(int index) { return threads_[index]; }
  Thread& lane_of(const Thread& thread, int lane) { return threads_[thread.index / kWarpSize * kWarpSize + lane]; }

  // Makes this block the one numbered `number` in its grid: poisoned shared memory, every thread about to run.
  void start(int64_t number);
  // The thread now waits. Throws KernelError for a mask that cannot be met.
  void arrive(Thread& thread, const Rendezvous& at);
  // Lets those run on whose wait is over; returns whether there were any. Throws KernelError where no thread runs
  // and none ever can.
  bool settle();
  bool finished() const;

  void* shared_array(std::size_t bytes, std::size_t alignment, const Site& site);

  // Throws KernelError with the block's and the thread's coordinates.
  [[noreturn]] void fail(const Thread& thread, const std::string& what) const;

 private:
  bool block_barrier_complete() const;
  bool warp_operation_complete(const Thread& thread) const;
  std::string describe(const Thread& thread) const;
  [[noreturn]] void fail_stuck() const;

  dim3 grid_;
  std::vector<Thread> threads_;
  std::vector<std::byte> shared_;
  std::size_t shared_used_ = 0;
  std::map<std::pair<std::string, unsigned>, std::pair<void*, std::size_t>> arrays_;  // by file and line
};

// --- what an engine provides

Thread& current_thread();
// Returns when the calling thread may run on. An engine of std::threads also orders memory: what came before a barrier
// is visible after it, and nothing else is.
void wait(const Rendezvous& at);

// Keeps other threads out of the block's records, where there are any, without ordering the kernel's accesses.
class Exclusive {
 public:
  Exclusive();
  ~Exclusive();
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;
};

}  // namespace cdifast::emulator
