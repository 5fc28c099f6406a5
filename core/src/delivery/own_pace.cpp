#include "delivery/own_pace.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace intilery::delivery {

namespace {

using std::chrono::milliseconds;

/// Clients that were stopped together should not all come back at the same moment.
constexpr double pause_jitter = 0.3;

constexpr double kept = 0.7;         ///< Of the rate, after a 429.
constexpr double least_first = 0.1;  ///< Of the account's rate, after the first 429.
/// Of the account's rate, as long as anything is served between two 429s: a server that says 429 now and then for
/// reasons of its own must not bring a client to a standstill. Where nothing is, many clients share the account.
constexpr double least = 1.0 / 16;
constexpr double kept_in_a_row = 0.5;   ///< Of the rate, after a 429 with nothing served since the last.
constexpr double lowest = 1.0 / 1'000;  ///< Of the account's rate, ever.
constexpr double growth = 0.005;        ///< Of the account's rate, each second.
/// Of the account's rate: below it, growth is less, so that many clients do not outgrow the account at once again. With
/// the power 1 the 429s rise with their number; with 2 they do not, but who has little never catches up.
constexpr double small = 1.0 / 8;
constexpr double slower = 1.2;
constexpr double patience = 10;  ///< Seconds without a 429 after which growth gets quicker.

double seconds(std::chrono::steady_clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

OwnPace::OwnPace(double rate, double burst, milliseconds longest, std::uint64_t seed, TimePoint now)
    : account_rate_(rate),
      burst_(burst),
      longest_pause_(longest),
      bucket_(rate, burst, now),
      random_(seed),
      least_(least * rate),
      lowest_(lowest * rate),
      full_at_(now) {}

double OwnPace::rate(TimePoint now) const {
  if (!shared_) return account_rate_;
  const double t = std::max(0.0, seconds(now - grows_from_));
  const double part = std::min(1.0, base_ / (small * account_rate_));
  const double slope = growth * account_rate_ * std::pow(part, slower);
  return std::min(account_rate_, base_ + slope * (t + t * t * t / (3 * patience * patience)));
}

void OwnPace::adapt(TimePoint now) {
  if (!shared_) return;
  const double rate_now = rate(now);
  bucket_.set_rate(rate_now, burst_ * rate_now / account_rate_, now);
  shared_ = rate_now < account_rate_;
}

bool OwnPace::allows(TimePoint now, std::size_t) { return !paused(now) && level(now) >= 1; }

std::optional<TimePoint> OwnPace::next(TimePoint now) {
  adapt(now);
  if (bucket_.held() && bucket_.available(now) < 1) return std::nullopt;  // no token comes before an answer
  return std::max(paused_until_, bucket_.next(now));
}

void OwnPace::take(TimePoint now) {
  if (bucket_.full(now)) {
    full_at_ = now;
    served_ = 0;
    bucket_.hold(now);
  }
  bucket_.take(now);
}

void OwnPace::answered(bool served, TimePoint now) {
  if (served) {
    ++served_;
    refused_last_ = false;
  }
  bucket_.let_go(now);
}

double OwnPace::level(TimePoint now) {
  adapt(now);
  return bucket_.available(now);
}

double OwnPace::share(TimePoint now) const {
  // The server's bucket was at most full then, and is empty now: it gave no more than this, to all.
  const double given = burst_ + account_rate_ * seconds(now - full_at_);
  return static_cast<double>(served_) / given;
}

void OwnPace::shrink_to(double rate, TimePoint now) {
  shared_ = true;
  base_ = std::clamp(rate, lowest_, account_rate_);
  shrunk_at_ = now;
  grows_from_ = std::max(now, paused_until_);
  adapt(now);
  bucket_.drain(grows_from_);
}

void OwnPace::throttled(TimePoint sent, std::optional<milliseconds> wish, TimePoint now) {
  const milliseconds asked = std::min(wish.value_or(usual_pause(account_rate_, burst_)), longest_pause_);
  const double jitter = 1 + pause_jitter * std::uniform_real_distribution<double>(0, 1)(random_);
  const bool first = !shared_;
  paused_until_ = std::max(paused_until_, now + std::chrono::ceil<milliseconds>(first ? asked : asked * jitter));
  if (sent < shrunk_at_) {
    bucket_.drain(paused_until_);
    return;
  }
  const double rate_now = rate(now);
  const bool in_a_row = std::exchange(refused_last_, true);
  shrink_to(first      ? account_rate_ * std::max(least_first, share(now))
            : in_a_row ? rate_now * kept_in_a_row
                       : std::max(rate_now * kept, std::min(least_, rate_now)),
            now);
}

}  // namespace intilery::delivery
