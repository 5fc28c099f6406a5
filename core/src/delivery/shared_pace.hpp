/// \file
/// The pace of a client that shares one exact bucket with all of the account's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "delivery/own_pace.hpp"
#include "delivery/rate_store.hpp"
#include "intilery/client.hpp"

namespace intilery::delivery {

/// Takes tokens from the store, a few at a time. Where the store cannot be reached, the client goes on by itself with
/// the share that it had, and says so.
class SharedPace : public Pace {
 public:
  using Log = std::function<void(LogLevel, const std::string&)>;

  /// \param seed of the moments at which it asks again.
  SharedPace(std::unique_ptr<RateStore> store, OwnPace own, const Options& options, Log log, std::uint64_t seed = 1);

  bool allows(TimePoint now, std::size_t wanted) override;
  std::size_t foresight() const override;
  std::optional<TimePoint> next(TimePoint now) override;
  void take(TimePoint now) override;
  void answered(bool served, TimePoint now) override;
  void throttled(TimePoint sent, std::optional<std::chrono::milliseconds> wish, TimePoint now) override;
  double level(TimePoint now) override;
  bool paused(TimePoint now) const override;

 private:
  void listen(TimePoint now);
  std::chrono::milliseconds turn();
  void lost(const std::string& why, TimePoint now);

  const std::unique_ptr<RateStore> store_;
  const double rate_;
  const double burst_;
  const std::chrono::milliseconds longest_pause_;
  const Log log_;
  std::mt19937_64 random_;
  OwnPace own_;  ///< For as long as the store is gone.
  bool gone_ = false;
  bool asking_ = false;
  std::size_t leased_ = 0;   ///< Tokens taken from the store and not used yet.
  TimePoint lapse_at_{};     ///< By then the bucket is full without them, and with them they would be too many.
  double level_ = 0;         ///< Of the bucket, when it was last seen.
  std::size_t clients_ = 0;  ///< That shared the bucket then; 0: never seen.
  TimePoint ask_again_{};    ///< No question before.
  TimePoint paused_until_{};
};

}  // namespace intilery::delivery
