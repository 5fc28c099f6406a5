#include "fleet.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "delivery/engine.hpp"
#include "delivery/shared_pace.hpp"
#include "event/encoder.hpp"
#include "machine.hpp"
#include "rate_bucket.hpp"

namespace intilery::simulator {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr double account_rate = 100;
constexpr double account_burst = 500;

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

/// What Redis makes of the script in core/src/delivery/rate_store.cpp, line by line; its clock is the machine's.
class Redis {
 public:
  delivery::Grant evaluate(std::size_t wanted, std::optional<milliseconds> pause, std::size_t client,
                           TimePoint moment) {
    constexpr double capacity = account_burst * 0.98;
    const double now = seconds(moment.time_since_epoch());
    if (now > at_) {
      level_ = std::min(capacity, level_ + (now - at_) * account_rate);
      at_ = now;
    }
    if (pause) {
      level_ = std::min(level_, 0.0);
      at_ = std::max(at_, now + seconds(*pause));
    }
    delivery::Grant grant;
    grant.reachable = true;
    if (at_ <= now) {
      grant.tokens = static_cast<std::size_t>(std::max(0.0, std::min(static_cast<double>(wanted), std::floor(level_))));
      level_ -= static_cast<double>(grant.tokens);
    }
    const double wait = std::max(0.0, at_ - now) + std::max(0.0, 1 - level_) / account_rate;
    grant.wait = milliseconds(std::llround(std::ceil(1'000 * wait)));
    grant.level = std::floor(1'000 * level_) / 1'000;
    asked_[client] = now;
    while (!order_.empty() && order_.front().first < now - 10) {
      const auto [when, who] = order_.front();
      order_.pop();
      if (asked_.at(who) == when) asked_.erase(who);
    }
    order_.emplace(now, client);
    grant.clients = std::max<std::size_t>(1, asked_.size());
    return grant;
  }

 private:
  double level_ = account_burst * 0.98;
  double at_ = 0;
  std::map<std::size_t, double> asked_;
  std::queue<std::pair<double, std::size_t>> order_;
};

/// What a fleet is like.
struct Fleet {
  std::size_t processes = 10;
  DeliveryMode delivery = DeliveryMode::event;
  bool shares = false;     ///< By `rate_limit_store`.
  double events = 0;       ///< A second, of all together; 0: each has always more than it may send.
  Duration joins_late{0};  ///< When the last process begins.
  Duration time = 10min;
};

/// What it gets.
struct Share {
  double used = 0;     ///< Of what the server would have granted.
  double refused = 0;  ///< Of the requests, those answered 429.
  double jain = 0;     ///< Jain's index of the processes' delivered events: 1 if all are equal, 1/n if one has all.
  double least = 0, most = 0;  ///< Of an equal share.
  double p50 = 0, p99 = 0;     ///< Seconds from the call to the fate.
  double late = 0;             ///< Share that the late one got in its first minute, of an equal one.
  std::size_t delivered = 0;
  std::size_t failed = 0;
};

/// One account, one server, one clock.
class Account {
 public:
  Account(Machine& machine, const Fleet& fleet, std::uint64_t seed)
      : machine_(machine), fleet_(fleet), random_(random_of(seed, 20, 0)), start_(machine.now()) {
    options_.client_id = options_.account_id = "hea";
    options_.brand_id = "HEA";
    options_.auth_token = "t";
    options_.delivery = fleet.delivery;
    encoder_ = std::make_unique<event::Encoder>(options_, "fleet", "0");
    for (std::size_t i = 0; i < fleet.processes; ++i) members_.push_back(std::make_unique<Member>(*this, i));
  }

  Share run() {
    for (auto& member : members_) {
      const bool late = member == members_.back() && fleet_.joins_late > 0s;
      // They are started by hand or by a scheduler, within some seconds.
      const TimePoint moment = late ? start_ + fleet_.joins_late : start_ + some(0ms, 5'000ms);
      machine_.at(moment, [&member] { member->begin(); });
    }
    const TimePoint end = start_ + fleet_.time;
    machine_.run_until(end);
    return result();
  }

 private:
  class Member;

  class Wire : public transport::Transport {
   public:
    explicit Wire(Member& member) : member_(member) {}
    void start(transport::Request request) override { member_.leaves(request.id); }
    std::vector<transport::Response> poll(milliseconds) override { return {}; }
    void wake() override {}
    void abandon() override {}
    void set_token(const std::string&) override {}

   private:
    Member& member_;
  };

  /// As RedisRateStore: one question at a time, and what is to be drained goes with the next one or alone.
  class Store : public delivery::RateStore {
   public:
    explicit Store(Member& member) : member_(member) {}
    void ask(std::size_t tokens) override {
      question_ = tokens;
      work();
    }
    std::optional<delivery::Grant> answer() override { return std::exchange(answer_, std::nullopt); }
    void drain(milliseconds pause) override {
      drain_ = pause;
      work();
    }

   private:
    void work() {
      if (busy_ || (!question_ && !drain_)) return;
      busy_ = true;
      Account& account = member_.account;
      account.machine_.at(account.machine_.now() + 500us, [this, &account] {
        const auto question = std::exchange(question_, std::nullopt);
        const auto pause = std::exchange(drain_, std::nullopt);
        const delivery::Grant grant =
            account.redis_.evaluate(question.value_or(0), pause, member_.number, account.machine_.now());
        account.machine_.at(account.machine_.now() + 500us, [this, grant, asked = question.has_value()] {
          busy_ = false;
          if (asked) answer_ = grant;
          work();
          if (asked) member_.turn();
        });
      });
    }
    Member& member_;
    std::optional<std::size_t> question_;
    std::optional<milliseconds> drain_;
    std::optional<delivery::Grant> answer_;
    bool busy_ = false;
  };

  class Member {
   public:
    Member(Account& given, std::size_t number_given)
        : account(given), number(number_given), queue_(given.options_.max_queue_bytes), wire_(*this) {}

    void begin() {
      delivery::Surroundings around{
          .settled = [this](const queue::EventList& events,
                            std::shared_ptr<const Outcome> outcome) { settled(events, !outcome->error); },
          .log = [](LogLevel, const std::string&) {},
          .unix_now_ms = [this] { return account.machine_.unix_us() / 1'000; },
          .seed = account.random_(),
          .pace = pace(),
          .brand_name = [](std::uint16_t) { return "HEA"; }};
      engine_ = std::make_unique<delivery::Engine>(account.options_, queue_, wire_, std::move(around),
                                                   account.machine_.now());
      account.fleet_.events > 0 ? call_later() : fill();
      turn();
    }

    void turn() {
      const TimePoint now = account.machine_.now();
      const bool took = engine_->step(now);
      const delivery::Engine::Nap nap = engine_->nap(now);
      TimePoint until = nap.until ? std::max(now, *nap.until) : TimePoint::max();
      if (took) {
        until = std::min(until, now + 1ms);
      } else if (!queue_.sleep_until(nap.wake_at)) {
        until = now;
      }
      if (until == TimePoint::max()) return;
      until = now + std::chrono::ceil<milliseconds>(until - now);
      const std::uint64_t turn_number = ++turns_;
      account.machine_.at(until, [this, turn_number] {
        if (turn_number == turns_) turn();
      });
    }

    void leaves(std::uint64_t id) {
      Account& a = account;
      const milliseconds latency = a.some(10ms, 30ms);
      a.machine_.at(a.machine_.now() + latency / 2, [this, &a, id, latency] {
        transport::Response response;
        response.id = id;
        response.sent = true;
        const TimePoint now = a.machine_.now();
        if (a.server_.take(now)) {
          ++a.accepted_;
          response.status = 200;
          response.body = R"({"success":true,"eventId":"e"})";
        } else {
          ++a.refused_;
          response.status = 429;
          response.retry_after = std::to_string(a.server_.retry_after(now));
        }
        a.machine_.at(now + latency / 2, [this, &a, response] {
          engine_->handle(response, a.machine_.now());
          if (a.fleet_.events <= 0) fill();
          turn();
        });
      });
    }

    Account& account;
    const std::size_t number;
    std::vector<std::pair<TimePoint, double>> delivered;  ///< When, and after how long.
    std::size_t failed = 0;

   private:
    std::unique_ptr<delivery::Pace> pace() {
      const Options& options = account.options_;
      const TimePoint now = account.machine_.now();
      if (!account.fleet_.shares) return nullptr;
      delivery::OwnPace own(options.rate_limit, options.burst, options.retry_max, account.random_(), now);
      return std::make_unique<delivery::SharedPace>(
          std::make_unique<Store>(*this), std::move(own), options, [](LogLevel, const std::string&) {},
          account.random_());
    }
    void settled(const queue::EventList& events, bool well) {
      const TimePoint now = account.machine_.now();
      for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
        const TimePoint called{Duration(static_cast<std::int64_t>(event->tag))};
        if (well) delivered.emplace_back(now, seconds(now - called));
        if (!well) ++failed;
        --waiting_;
      }
      queue_.count(events, well ? "" : "failed");
      queue_.conclude(events, well);
    }
    void fill() {
      while (waiting_ < 20) call();
    }
    void call_later() {
      std::exponential_distribution<double> gap(account.fleet_.events / static_cast<double>(account.fleet_.processes));
      const auto wait = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(gap(account.random_)));
      account.machine_.at(account.machine_.now() + wait, [this] {
        call();
        call_later();
      });
    }
    void call() {
      const std::string user = "u" + std::to_string(number) + "-" + std::to_string(calls_++ % 50);
      event::MessageId id;
      queue::EventPtr event = account.encoder_->encode({.user_id = user, .event = "Step"}, id);
      event->tag = static_cast<std::uintptr_t>(account.machine_.now().time_since_epoch().count());
      ++waiting_;
      if (queue_.push(event) == queue::BoundedQueue::Push::accepted_wake) {
        const std::uint64_t turn_number = ++turns_;
        account.machine_.at(account.machine_.now(), [this, turn_number] {
          if (turn_number == turns_) turn();
        });
      }
    }

    queue::BoundedQueue queue_;
    Wire wire_;
    std::unique_ptr<delivery::Engine> engine_;
    std::size_t waiting_ = 0;
    std::uint64_t calls_ = 0;
    std::uint64_t turns_ = 0;
  };

  milliseconds some(milliseconds from, milliseconds to) {
    return milliseconds(std::uniform_int_distribution<std::int64_t>(from.count(), to.count())(random_));
  }

  Share result() const {
    Share share;
    share.used = static_cast<double>(accepted_) / (account_burst + account_rate * seconds(fleet_.time));
    share.refused = static_cast<double>(refused_) / static_cast<double>(std::max<std::size_t>(1, accepted_ + refused_));
    std::vector<double> counts;
    std::vector<double> delays;
    const TimePoint joined = start_ + fleet_.joins_late;
    std::size_t in_that_minute = 0;
    std::size_t of_the_late = 0;
    for (const auto& member : members_) {
      counts.push_back(static_cast<double>(member->delivered.size()));
      share.failed += member->failed;
      for (const auto& [moment, delay] : member->delivered) {
        delays.push_back(delay);
        if (moment < joined || moment > joined + 60s) continue;
        ++in_that_minute;
        if (member == members_.back()) ++of_the_late;
      }
    }
    const double sum = std::accumulate(counts.begin(), counts.end(), 0.0);
    const double squares = std::inner_product(counts.begin(), counts.end(), counts.begin(), 0.0);
    const auto n = static_cast<double>(counts.size());
    share.delivered = static_cast<std::size_t>(sum);
    share.jain = sum * sum / (n * squares);
    const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
    share.least = *least * n / sum;
    share.most = *most * n / sum;
    std::sort(delays.begin(), delays.end());
    const auto at = [&](double part) {
      return delays.empty() ? 0 : delays[static_cast<std::size_t>(part * static_cast<double>(delays.size() - 1))];
    };
    share.p50 = at(0.5);
    share.p99 = at(0.99);
    share.late = static_cast<double>(of_the_late) * n / static_cast<double>(std::max<std::size_t>(1, in_that_minute));
    return share;
  }

  Machine& machine_;
  const Fleet fleet_;
  std::mt19937_64 random_;
  const TimePoint start_;
  Options options_;
  std::unique_ptr<event::Encoder> encoder_;
  testing::RateBucket server_{account_rate, account_burst, start_};
  Redis redis_;
  std::size_t accepted_ = 0;
  std::size_t refused_ = 0;
  std::vector<std::unique_ptr<Member>> members_;
};

Share play(const Fleet& fleet) {
  Machine machine(1);
  return Account(machine, fleet, 7).run();
}

std::string time_text(double time) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(),
                time < 1     ? "%.0f ms"
                : time < 100 ? "%.1f s"
                             : "%.0f s",
                time < 1 ? 1'000 * time : time);
  return text.data();
}

void row(const char* what, const Fleet& fleet) {
  const Share share = play(fleet);
  std::printf("| %zu | %s | %s | %.0f | %.1f %% | %.1f %% | %.2f | %.2f to %.2f | %s | %s |", fleet.processes,
              fleet.shares ? "store" : "alone", what, static_cast<double>(share.delivered) / seconds(fleet.time),
              100 * share.used, 100 * share.refused, share.jain, share.least, share.most, time_text(share.p50).c_str(),
              time_text(share.p99).c_str());
  fleet.joins_late > 0s ? std::printf(" %.2f |", share.late) : std::printf(" |");
  if (share.failed > 0) std::printf(" %zu failed", share.failed);
  std::puts("");
  std::fflush(stdout);
}

}  // namespace

int fleets(std::size_t only) {
  std::puts(
      "| processes | rate | load | events/s delivered | rate used | answered 429 | Jain | share, least to most | delay "
      "p50 | p99 | late |");
  std::puts("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  const Duration time = 10min;
  for (const std::size_t n : {10, 100, 1'000}) {
    if (only != 0 && n != only) continue;
    for (const bool shares : {false, true}) {
      row("event, more than it may", {.processes = n, .shares = shares, .time = time});
      row("auto, 1,000 events/s",
          {.processes = n, .delivery = DeliveryMode::automatic, .shares = shares, .events = 1'000, .time = time});
      row("batch, 1,000 events/s",
          {.processes = n, .delivery = DeliveryMode::batch, .shares = shares, .events = 1'000, .time = time});
      row("event, 30 events/s", {.processes = n, .shares = shares, .events = 30, .time = time});
      row("event, one joins late", {.processes = n, .shares = shares, .joins_late = time / 2, .time = time});
    }
  }
  return 0;
}

}  // namespace intilery::simulator
