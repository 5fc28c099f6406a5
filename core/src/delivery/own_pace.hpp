/// \file
/// The pace of a client that knows of others only by the server's 429s.
#pragma once

#include <cstdint>
#include <random>

#include "delivery/pace.hpp"
#include "delivery/token_bucket.hpp"

namespace intilery::delivery {

/// A token bucket as the account's. A 429 means that others send too: then the client pauses, goes on with less, and
/// slowly takes more until the next 429, so that all together come close to the account's rate and each gets a share.
/// docs/decisions/finding-the-share.md has the reasons for the numbers.
class OwnPace : public Pace {
 public:
  /// \param longest bounds a pause.
  OwnPace(double rate, double burst, std::chrono::milliseconds longest, std::uint64_t seed, TimePoint now);

  bool allows(TimePoint now, std::size_t wanted) override;
  std::optional<TimePoint> next(TimePoint now) override;
  void take(TimePoint now) override;
  void answered(bool served, TimePoint now) override;
  void throttled(TimePoint sent, std::optional<std::chrono::milliseconds> wish, TimePoint now) override;
  double level(TimePoint now) override;
  bool paused(TimePoint now) const override { return now < paused_until_; }

  /// Goes on with so many requests a second, and with an empty bucket.
  void shrink_to(double rate, TimePoint now);
  /// Requests a second at this moment.
  double rate(TimePoint now) const;

 private:
  void adapt(TimePoint now);
  /// What this client got, at least, of what the server gave to all since the bucket was last full.
  double share(TimePoint now) const;

  const double account_rate_;
  const double burst_;
  const std::chrono::milliseconds longest_pause_;
  TokenBucket bucket_;
  std::mt19937_64 random_;
  TimePoint paused_until_{};

  bool shared_ = false;        ///< Others take part of the rate.
  const double least_;         ///< The rate that 429s now and then do not bring it below,
  const double lowest_;        ///< and the one that 429s without anything served between them do not either.
  bool refused_last_ = false;  ///< Nothing was served since the last 429.
  double base_ = 0;            ///< The rate at `grows_from_`.
  TimePoint grows_from_{};     ///< When it last shrank, the pause after that included.
  TimePoint shrunk_at_{};      ///< A 429 to what left before tells nothing new.
  TimePoint full_at_;          ///< When the bucket was last full,
  std::uint64_t served_ = 0;   ///< and the requests served since then.
};

}  // namespace intilery::delivery
