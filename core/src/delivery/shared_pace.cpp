#include "delivery/shared_pace.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace intilery::delivery {

namespace {

using std::chrono::milliseconds;

/// How often a store that is gone is looked for.
constexpr milliseconds search_interval{1'000};
/// How long the tokens that are taken at once may last: what one client holds, the others cannot use.
constexpr double lease_seconds = 0.05;
/// With how many others a client reckons that has never reached the store.
constexpr std::size_t unknown_clients = 10;

std::string rate_text(double rate) {
  const auto tenths = std::llround(rate * 10);
  return std::to_string(tenths / 10) + (tenths % 10 != 0 ? "." + std::to_string(tenths % 10) : "");
}

}  // namespace

SharedPace::SharedPace(std::unique_ptr<RateStore> store, OwnPace own, const Options& options, Log log,
                       std::uint64_t seed)
    : store_(std::move(store)),
      rate_(options.rate_limit),
      burst_(options.burst),
      longest_pause_(options.retry_max),
      log_(std::move(log)),
      random_(seed),
      own_(std::move(own)),
      level_(options.burst) {}

void SharedPace::lost(const std::string& why, TimePoint now) {
  ask_again_ = now + search_interval;
  if (std::exchange(gone_, true)) return;
  const double share = rate_ / static_cast<double>(clients_ > 0 ? clients_ : unknown_clients);
  own_.shrink_to(share, now);
  leased_ = 0;
  log_(LogLevel::warning, "rate_limit_store cannot be reached (" + why + "); going on by itself with " +
                              rate_text(share) + " requests a second until it is back");
}

void SharedPace::listen(TimePoint now) {
  const std::optional<Grant> grant = store_->answer();
  if (!grant) return;
  asking_ = false;
  if (!grant->reachable) {
    lost(grant->why, now);
    return;
  }
  if (std::exchange(gone_, false)) log_(LogLevel::info, "rate_limit_store is back");
  leased_ += grant->tokens;
  level_ = grant->level;
  lapse_at_ = now + std::chrono::ceil<milliseconds>(std::chrono::duration<double>((burst_ - level_) / rate_));
  clients_ = grant->clients;
  ask_again_ = grant->tokens > 0 ? now : now + grant->wait + turn();
}

/// Whoever found nothing comes back at a moment of its own within the time in which each of the others could have had a
/// token. Where all came when the next token is there, the same ones would be too late again and again, and the store
/// would have a hundred questions for each token.
std::chrono::milliseconds SharedPace::turn() {
  const double round = static_cast<double>(clients_ - 1) / rate_;
  const std::chrono::duration<double> wait(std::uniform_real_distribution<double>(0, round)(random_));
  return std::chrono::ceil<milliseconds>(wait);
}

std::size_t SharedPace::foresight() const { return static_cast<std::size_t>(std::max(1.0, rate_ * lease_seconds)); }

bool SharedPace::allows(TimePoint now, std::size_t wanted) {
  listen(now);
  if (now >= lapse_at_) leased_ = 0;
  if (leased_ == 0 && !asking_ && now >= ask_again_ && !paused(now)) {
    store_->ask(gone_ ? 0 : std::min(wanted, foresight()));
    asking_ = true;
  }
  return gone_ ? own_.allows(now, wanted) : leased_ > 0 && !paused(now);
}

std::optional<TimePoint> SharedPace::next(TimePoint now) {
  listen(now);
  if (gone_) return own_.next(now);
  if (leased_ > 0) return std::max(now, paused_until_);
  if (asking_) return std::nullopt;
  return std::max({now, ask_again_, paused_until_});
}

void SharedPace::take(TimePoint now) {
  if (gone_) {
    own_.take(now);
  } else {
    --leased_;
  }
}

void SharedPace::answered(bool served, TimePoint now) { own_.answered(served, now); }

void SharedPace::throttled(TimePoint sent, std::optional<milliseconds> wish, TimePoint now) {
  if (gone_) return own_.throttled(sent, wish, now);
  // Somebody sends without the store. The pause holds for all.
  const milliseconds pause = std::min(wish.value_or(usual_pause(rate_, burst_)), longest_pause_);
  leased_ = 0;
  level_ = 0;
  paused_until_ = std::max(paused_until_, now + pause);
  store_->drain(pause);
}

double SharedPace::level(TimePoint now) {
  // Does not listen: what `allows` has said holds until the request leaves.
  return gone_ ? own_.level(now) : level_ + static_cast<double>(leased_);
}

bool SharedPace::paused(TimePoint now) const { return gone_ ? own_.paused(now) : now < paused_until_; }

}  // namespace intilery::delivery
