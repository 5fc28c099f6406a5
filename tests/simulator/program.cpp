#include "program.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <utility>

#include "disk.hpp"
#include "queue/spool_folder.hpp"

namespace intilery::simulator {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

/// What the random streams are for (`random_of`).
enum Stream : std::uint64_t { of_options = 10, of_weather, of_action };

class Dice {
 public:
  Dice(std::uint64_t seed, Stream stream, std::uint64_t number) : random_(random_of(seed, stream, number)) {}
  bool one_in(unsigned n) { return below(n) == 0; }
  std::uint64_t below(std::uint64_t n) { return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random_); }
  double share() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  milliseconds time(milliseconds from, milliseconds to) { return from + milliseconds(below((to - from).count() + 1)); }
  template <class T>
  T of(std::initializer_list<T> values) {
    return *(values.begin() + below(values.size()));
  }

 private:
  std::mt19937_64 random_;
};

Options draw_options(Dice& dice) {
  Options options;
  options.client_id = options.account_id = "hea";
  options.brand_id = "HEA";
  options.auth_token = "right";
  options.delivery = dice.of({DeliveryMode::automatic, DeliveryMode::event, DeliveryMode::batch});
  options.rate_limit = dice.of({5.0, 20.0, 100.0, 100.0});
  options.burst = dice.of({1.0, 10.0, 100.0, 500.0});
  options.flush_at = dice.of<std::size_t>({1, 3, 50, 500});
  options.flush_interval = dice.of({0ms, 20ms, 100ms, 2'000ms});
  options.max_connections = dice.of<std::size_t>({1, 2, 4, 4, 16});
  options.max_request_bytes = dice.of<std::size_t>({20'000, 1'000'000, 6'000'000});
  if (dice.one_in(3)) options.max_batch_bytes = dice.of<std::size_t>({1'000, 5'000, 20'000});
  options.max_queue_bytes = dice.of<std::size_t>({4'000, 50'000, 64'000'000, 64'000'000});
  options.on_full = dice.of({OnFull::fail, OnFull::raise, OnFull::block, OnFull::drop_oldest});
  options.block_timeout = 1s;
  if (dice.one_in(3)) options.max_retries = dice.of<std::size_t>({0, 1, 3, 8});
  options.retry_initial = dice.of({20ms, 500ms});
  options.retry_max = dice.of({1'000ms, 30'000ms});
  if (dice.one_in(2)) options.delivery_timeout = dice.of({200ms, 3'000ms, 30'000ms, 300'000ms});
  options.on_unknown = dice.of({OnUnknown::resend, OnUnknown::check});
  options.check_delay = dice.of({200ms, 5'000ms});
  options.request_timeout = dice.of({1'000ms, 15'000ms});
  options.connect_timeout = 1s;
  if (dice.one_in(3)) options.spool_path = "yes";
  options.spool_max_bytes = dice.of<std::size_t>({150'000, 1'000'000'000});
  return options;
}

Service::Settings draw_service(Dice& dice, const Options& options) {
  Service::Settings settings;
  settings.rate = options.rate_limit * (dice.one_in(8) ? 0.5 : 1);
  settings.burst = options.burst;
  settings.limit = dice.of<std::size_t>({6'000'000, 6'000'000, 1'000'000, 8'000});
  settings.has_batch = !dice.one_in(5);
  settings.has_reading = !dice.one_in(4);
  settings.retry_after = dice.of({Service::Settings::RetryAfter::none, Service::Settings::RetryAfter::seconds,
                                  Service::Settings::RetryAfter::date});
  settings.request_timeout = options.request_timeout;
  settings.connect_timeout = options.connect_timeout;
  return settings;
}

Weather draw_weather(Dice& dice) {
  Weather weather;
  const double much = dice.of({0.1, 0.5, 1.0});
  switch (dice.below(14)) {
    case 0:
      weather.name = "away";
      weather.unreachable = 1;
      break;
    case 1:
      weather.name = "resets";
      weather.reset = much;
      break;
    case 2:
      weather.name = "hangs";
      weather.hang = much;
      break;
    case 3:
      weather.name = "busy";
      weather.busy = much;
      break;
    case 4:
      weather.name = "failing";
      weather.failing = much;
      break;
    case 5:
      weather.name = "garbage";
      weather.garbage = much;
      break;
    case 6:
      weather.name = "crowd";
      weather.crowd = dice.of({0.5, 0.95, 2.0});
      break;
    case 7:
      weather.name = "refuses one";
      weather.refused = {static_cast<unsigned>(dice.below(3))};
      break;
    case 8:
      weather.name = "refuses all";
      weather.refused = {0, 1, 2};
      break;
    case 9:
      weather.name = "slow";
      weather.slowest = dice.of({1'000ms, 20'000ms});
      break;
    case 10:
    case 11:
      weather.name = "mixed";
      weather.unreachable = weather.reset = weather.hang = weather.busy = weather.failing = weather.garbage = 0.07;
      weather.crowd = dice.of({0.0, 0.5});
      if (dice.one_in(3)) weather.refused = {static_cast<unsigned>(dice.below(3))};
      break;
    default:
      break;
  }
  return weather;
}

class Run {
 public:
  Run(const Program& program, bool shown)
      : program_(program),
        dice_(program.seed, of_options, 0),
        machine_(program.seed),
        trace_(shown),
        options_(draw_options(dice_)),
        service_(program.seed, machine_, ledger_, draw_service(dice_, options_)) {
    actions_ = 20 + static_cast<unsigned>(dice_.below(100));
    users_ = 1 + static_cast<unsigned>(dice_.below(12));
    brands_ = dice_.one_in(2) ? 1 : 3;
    has_spool_ = !options_.spool_path.empty();
    new_folder();
  }
  ~Run() {
    process_.reset();
    Disk& disk = Disk::get();
    disk.full = false;
    disk.slow = 0us;
    disk.before_write = nullptr;
  }

  Result run() {
    const TimePoint started = machine_.now();
    change_weather();
    begin();
    for (unsigned i = 0; i < actions_ && is_whole(); ++i) {
      if (program_.skip.contains(i)) continue;
      Dice dice(program_.seed, of_action, i);
      trace_.add(machine_.now(), "action " + std::to_string(i));
      act(dice);
    }
    if (is_whole()) end();
    Result result{ledger_.first_broken(), trace_.hash(), machine_.now() - started, actions_, {}};
    count(result.tally);
    return result;
  }

 private:
  bool is_whole() const { return ledger_.first_broken().empty(); }

  void change_weather() {
    if (clearing_) return;
    Dice dice(program_.seed, of_weather, weather_number_++);
    service_.weather = draw_weather(dice);
    trace_.add(machine_.now(), "weather: " + service_.weather.name);
    machine_.at(machine_.now() + dice.time(500ms, dice.of({5'000ms, 60'000ms, 900'000ms})),
                [this] { change_weather(); });
  }

  void new_folder() {
    if (!has_spool_) return;
    options_.spool_path = (folder_.path() / std::to_string(++folders_)).string();
  }

  /// Starts the client, if it can be.
  bool begin() {
    if (process_) return true;
    options_.auth_token = token_is_right_ ? "right" : "wrong";
    try {
      process_ = std::make_unique<Process>(options_, ++lives_, machine_, service_, ledger_, trace_);
      if (!token_is_right_) process_->set_token(false);
      return true;
    } catch (const IntileryError& error) {
      trace_.add(machine_.now(), "no client: " + error.code());
      if (!Disk::get().full) ledger_.broken("no client can be made: " + error.code());
      return false;
    }
  }

  std::size_t draw_call(Dice& dice) {
    Call call;
    call.user = static_cast<unsigned>(dice.below(users_));
    call.brand = static_cast<std::uint16_t>(dice.below(brands_));
    const auto kind = dice.below(10);
    call.identifies = kind == 0;
    call.commands = kind == 1;
    call.bad = kind == 2 && dice.one_in(3);
    call.size = 300 + dice.below(dice.of<std::size_t>({200, 200, 200, 3'000}));
    if (dice.one_in(40)) call.size = dice.of<std::size_t>({7'900, 8'200, 19'000, 31'900, 32'300, 60'000, 999'000});
    ledger_.calls.push_back(call);
    return ledger_.calls.size() - 1;
  }

  void calls(Dice& dice, std::size_t count) {
    for (std::size_t i = 0; i < count && is_whole(); ++i) process_->submit(draw_call(dice));
  }

  void act(Dice& dice) {
    if (!begin()) {
      Disk::get().full = false;
      return;
    }
    switch (dice.below(24)) {
      case 0:
        process_->flush(dice.of({0ms, 50ms, 5'000ms, 60'000ms}));
        break;
      case 1:
        process_->read(dice.of({100ms, 5'000ms, 40'000ms}));
        break;
      case 2:
        token_is_right_ = !dice.one_in(3);
        process_->set_token(token_is_right_);
        break;
      case 3:
        trace_.add(machine_.now(), "stopped");
        machine_.stop_process(machine_.now() + dice.time(10ms, dice.of({1'000ms, 60'000ms})));
        break;
      case 4:
        machine_.set_clock_error(dice.of({-24h, -1h, 0h, 24h}));
        break;
      case 5:
        if (has_spool_ || dice.one_in(4)) kill(dice);
        break;
      case 6:
        if (dice.one_in(3)) {
          process_->close(dice.of({0ms, 1'000ms, 30'000ms}));
          process_.reset();
        }
        break;
      case 7:
        if (has_spool_) Disk::get().full = dice.one_in(2);
        break;
      case 8:
        if (has_spool_) Disk::get().slow = dice.of({0us, 300us, 20'000us});
        break;
      case 9:
        wait(dice.time(1s, dice.of({60s, 1'800s})));
        break;
      case 10:
        process_->check_rest();
        break;
      case 11:
        calls(dice, dice.below(80));
        break;
      default:
        calls(dice, 1 + dice.below(8));
        break;
    }
    wait(dice.time(0ms, dice.of({0ms, 5ms, 300ms, 5'000ms})));
  }

  void wait(milliseconds time) {
    const TimePoint until = machine_.now() + time;
    while (is_whole() && machine_.run_one(until)) {
    }
  }

  /// As `kill -9` leaves the files, at rest or in the middle of a write.
  void kill(Dice& dice) {
    ++kills_;
    trace_.add(machine_.now(), "kill");
    const std::string old = options_.spool_path;
    new_folder();
    const auto snapshot = [&] {
      if (has_spool_) fs::copy(old, options_.spool_path, fs::copy_options::recursive);
    };
    const bool waits = options_.on_full == OnFull::block || options_.on_full == OnFull::drop_oldest;
    if (has_spool_ && !waits && dice.one_in(2)) {
      std::size_t writes = 1 + dice.below(4);
      bool dead = false;
      Disk::get().before_write = [&] {
        if (writes == 0 || --writes > 0) return;
        snapshot();
        dead = true;
      };
      const std::size_t number = draw_call(dice);
      process_->submit(number);
      Disk::get().before_write = nullptr;
      if (dead) {  // the call never returned
        Call& call = ledger_.calls[number];
        call.accepted = call.told = call.refused = false;
        call.kept = call.may_vanish = true;
      } else {
        snapshot();
      }
    } else {
      snapshot();
    }
    process_->kill();
    process_.reset();
    if (has_spool_) fs::remove_all(old);
  }

  /// Trouble ends, and everything must come to its end.
  void end() {
    trace_.add(machine_.now(), "the end");
    clearing_ = true;
    service_.weather = {};
    Disk::get().full = false;
    Disk::get().slow = 0us;
    token_is_right_ = true;
    if (!begin()) return;
    process_->set_token(true);
    const TimePoint limit = machine_.now() + 1h;
    while (is_whole() && !process_->has_nothing_to_do() && machine_.run_one(limit)) {
    }
    if (!is_whole()) return;
    if (!process_->has_nothing_to_do())
      return ledger_.broken("not everything has a fate an hour after the trouble ended");
    process_->check_rest();
    process_->close(1s);
    process_.reset();
    std::set<std::size_t> buried;
    if (has_spool_) buried = letters();
    for (std::size_t number = 0; number < ledger_.calls.size(); ++number) {
      const Call& call = ledger_.calls[number];
      const bool well = !call.accepted || call.told || call.gone || call.arrivals > 0 || buried.contains(number) ||
                        options_.on_full == OnFull::drop_oldest;
      if (!well) ledger_.broken("call " + std::to_string(number) + " is lost: the spool had it");
    }
  }

  std::set<std::size_t> letters() {
    std::set<std::size_t> numbers;
    if (!fs::exists(options_.spool_path)) return numbers;
    queue::export_spool(options_.spool_path, {}, true, [&](const std::string& line) {
      const std::size_t at = line.rfind(R"("messageId":"call-)");
      if (at != std::string::npos) numbers.insert(std::stoul(line.substr(at + 18)));
      const bool waits = line.rfind(R"("called_at":)") != std::string::npos;
      if (waits && !ledger_.not_removed)
        ledger_.broken("the spool keeps an event though all have their fates: " + line.substr(0, 200));
    });
    for (const fs::directory_entry& entry : fs::directory_iterator(options_.spool_path)) {
      if (entry.path().extension() == ".damaged") ledger_.broken("a spool file was thought damaged");
    }
    return numbers;
  }

  void count(Tally& tally) const {
    tally.calls = ledger_.calls.size();
    for (const Call& call : ledger_.calls) {
      if (call.told) ++(call.code.empty() ? tally.delivered : tally.failed);
      if (call.told) ++tally.codes[call.code.empty() ? "delivered" : call.code];
      if (call.kept) ++tally.codes["(kept)"];
      if (call.gone) ++tally.codes["(gone)"];
      if (call.arrivals > 1) ++tally.twice;
    }
    tally.requests = service_.requests;
    tally.throttled = service_.throttled;
    tally.kills = kills_;
    tally.lives = lives_;
  }

  const Program program_;
  Dice dice_;
  Disk::Folder folder_;
  Machine machine_;
  Ledger ledger_;
  Trace trace_;
  Options options_;
  Service service_;
  std::unique_ptr<Process> process_;
  unsigned actions_ = 0, users_ = 1, brands_ = 1, lives_ = 0, kills_ = 0, folders_ = 0;
  std::uint64_t weather_number_ = 0;
  bool has_spool_ = false;
  bool token_is_right_ = true;
  bool clearing_ = false;
};

}  // namespace

std::string Program::text() const {
  std::string text = "--seed " + std::to_string(seed);
  if (skip.empty()) return text;
  text += " --skip ";
  for (auto from = skip.begin(); from != skip.end();) {
    auto to = from;
    auto last = from;
    while (to != skip.end() && *to - *from == static_cast<unsigned>(std::distance(from, to))) last = to++;
    text += (from == skip.begin() ? "" : ",") + std::to_string(*from);
    if (last != from) text += "-" + std::to_string(*last);
    from = to;
  }
  return text;
}

Result run(const Program& program, bool trace) {
  Disk::get();
  return Run(program, trace).run();
}

Program shrink(Program program, std::chrono::seconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  const unsigned actions = run(program, false).actions;
  for (unsigned size = std::max(1U, actions / 2);; size /= 2) {
    for (unsigned from = 0; from < actions; from += size) {
      if (std::chrono::steady_clock::now() > until) return program;
      Program smaller = program;
      for (unsigned i = from; i < std::min(actions, from + size); ++i) smaller.skip.insert(i);
      if (smaller.skip.size() > program.skip.size() && !run(smaller, false).broken.empty()) program = smaller;
    }
    if (size == 1) return program;
  }
}

}  // namespace intilery::simulator
