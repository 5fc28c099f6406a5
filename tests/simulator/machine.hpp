/// \file
/// The machine that the simulated client runs on: its clocks, its randomness and its one processor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <semaphore>
#include <string>
#include <tuple>
#include <vector>

#include "intilery/options.hpp"
#include "transport/transport.hpp"

namespace intilery::simulator {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

/// A random source of its own for each purpose, so that a program from which calls were left out meets the same others.
inline std::mt19937_64 random_of(std::uint64_t seed, std::uint64_t stream, std::uint64_t number) {
  std::seed_seq words{seed, seed >> 32, stream, number, number >> 32};
  return std::mt19937_64(words);
}

/// The client's I/O thread, as the machine sees it. It is the real thread, but runs only while the machine lets it.
class IoThread {
 public:
  virtual ~IoThread() = default;
  /// When it wants to run next.
  virtual TimePoint due() const = 0;
  /// Lets it run until it sleeps again.
  virtual void run() = 0;
};

/// There is one at a time. While it lives, time passes only by its will.
class Machine {
 public:
  explicit Machine(std::uint64_t seed);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Null where the machine is the real one.
  static Machine* current();

  TimePoint now() const { return now_; }
  /// A look at the clock, which takes a moment: who looks again and again must see it move.
  TimePoint read_clock() { return now_ += std::chrono::microseconds(1); }
  /// Time that something takes, such as a slow disk.
  void spend(Duration duration) { now_ += duration; }

  std::int64_t true_unix_us() const;
  /// Of the client's clock, which may have been set wrong.
  std::int64_t unix_us() const { return true_unix_us() + clock_error_.count(); }
  void set_clock_error(std::chrono::microseconds error) { clock_error_ = error; }

  unsigned random() { return static_cast<unsigned>(random_()); }

  /// Has `act` called then. \returns nothing that could be taken back: `act` must look whether it still applies.
  void at(TimePoint moment, std::function<void()> act) { agenda_.push({moment, ++number_, std::move(act)}); }
  /// Lets everything happen that happens until then.
  void run_until(TimePoint moment);
  /// Lets the next thing happen, if that is before `limit`. False: time is `limit` now.
  bool run_one(TimePoint limit);

  /// The thread that is let run, with everything on the agenda; null: none.
  void set_io_thread(IoThread* thread) { io_thread_ = thread; }
  bool has_io_thread() const { return io_thread_ != nullptr; }
  /// It is stopped until then, as by SIGSTOP.
  void stop_process(TimePoint until) { stopped_until_ = until; }

  /// Makes the transport of the client that is being made.
  std::function<std::unique_ptr<transport::Transport>(const Options&)> make_transport;

 private:
  struct Entry {
    TimePoint moment;
    std::uint64_t number;
    std::function<void()> act;
    bool operator<(const Entry& other) const { return std::tie(other.moment, other.number) < std::tie(moment, number); }
  };

  TimePoint now_{std::chrono::hours(1)};
  std::chrono::microseconds clock_error_{0};
  std::mt19937_64 random_;
  std::priority_queue<Entry> agenda_;
  std::uint64_t number_ = 0;
  IoThread* io_thread_ = nullptr;
  TimePoint stopped_until_{};
};

}  // namespace intilery::simulator
