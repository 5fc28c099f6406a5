/// \file
/// One token bucket for all of an account's clients, kept in Redis.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "intilery/options.hpp"

namespace intilery::delivery {

/// What the store says to a question.
struct Grant {
  bool reachable = false;
  std::string why = {};  ///< Why it was not reached. Never holds the password.
  std::size_t tokens = 0;
  double level = 0;                   ///< Tokens left in the bucket.
  std::chrono::milliseconds wait{0};  ///< Until there will be one.
  std::size_t clients = 1;            ///< Clients that asked lately, this one included.
};

/// What a client asks of the store; a test may play it.
class RateStore {
 public:
  virtual ~RateStore() = default;
  /// Asks for up to `tokens` tokens, and waits for nothing. One question at a time.
  virtual void ask(std::size_t tokens) = 0;
  /// The answer, once.
  virtual std::optional<Grant> answer() = 0;
  /// Empties the bucket, which stays empty for `pause`: the server said 429.
  virtual void drain(std::chrono::milliseconds pause) = 0;
};

/// Asks a Redis server on a thread of its own, since that may take its time.
class RedisRateStore : public RateStore {
 public:
  /// \param wake called, on that thread, when there is an answer.
  RedisRateStore(const Options& options, std::function<void()> wake);
  ~RedisRateStore() override;

  void ask(std::size_t tokens) override;
  std::optional<Grant> answer() override;
  void drain(std::chrono::milliseconds pause) override;

 private:
  class Connection;

  void run();

  const Options options_;
  const std::function<void()> wake_;
  std::mutex mutex_;  ///< Guards what follows, but for the thread.
  std::condition_variable changed_;
  std::optional<std::size_t> question_;
  std::optional<Grant> answer_;
  std::optional<std::chrono::milliseconds> drain_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace intilery::delivery
