#include "simulation.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <sstream>
#include <utility>

#include "event/draft.hpp"

namespace intilery::simulator {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr std::uint16_t brands = 3;
constexpr const char* library = "intilery-simulator";

std::string name_of(std::uint16_t brand) { return brand == 0 ? "HEA" : "HE" + std::to_string(brand); }
std::string call_text(std::size_t number) { return "call " + std::to_string(number); }

std::optional<std::size_t> number_in(std::string_view event) {
  constexpr std::string_view before = R"("messageId":"call-)";
  const std::size_t at = event.rfind(before);
  if (at == std::string_view::npos) return std::nullopt;
  std::size_t number = 0;
  std::from_chars(event.data() + at + before.size(), event.data() + event.size(), number);
  return number;
}

/// Paths hold the real process' number.
std::string without_paths(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::string text;
  for (std::string word; words >> word;) text += (word.find('/') == std::string::npos ? word : "(path)") + " ";
  return text;
}

/// Whether an answer says that the server is there.
bool is_good(int status) { return status >= 200 && status < 500 && status != 408 && status != 425; }

}  // namespace

void Trace::add(TimePoint now, const std::string& what) {
  const std::string line = std::to_string((now.time_since_epoch() - 1h).count() / 1'000) + " " + what;
  for (const char c : line) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  if (shown_) std::fprintf(stderr, "%s\n", line.c_str());
}

class Process::Wire : public transport::Transport {
 public:
  explicit Wire(Process& process) : process_(process) {}
  void start(transport::Request request) override { process_.leaves(std::move(request)); }
  std::vector<transport::Response> poll(milliseconds timeout) override { return process_.sleep(timeout); }
  void wake() override {
    process_.wake();
    if (process_.sees_ends_ && !std::exchange(process_.free_, true)) process_.go_.release();
  }
  void abandon() override { process_.under_way_.clear(); }
  void set_token(const std::string& token) override { process_.token_is_right_ = token == "right"; }

 private:
  Process& process_;
};

class Process::Told : public Observer {
 public:
  explicit Told(Process& process) : process_(process) {}
  void finished(std::span<const Finished> group) override {
    for (const Finished& finished : group) process_.finished(finished);
  }
  void log(LogLevel, std::string_view line) override {
    const auto says = [&](std::string_view words) { return line.find(words) != std::string_view::npos; };
    if (says("failed events stay in the spool") || says("cannot be taken out of the spool"))
      process_.ledger_.not_removed = true;
    if (!process_.dying_) process_.trace_.add(process_.machine_.now(), "log: " + without_paths(line));
  }

 private:
  Process& process_;
};

Process::Process(Options options, unsigned life, Machine& machine, Service& service, Ledger& ledger, Trace& trace)
    : options_(std::move(options)),
      life_(life),
      machine_(machine),
      service_(service),
      ledger_(ledger),
      trace_(trace),
      level_(options_.burst),
      level_at_(machine.now()),
      last_good_any_(machine.now()) {
  machine_.make_transport = [this](const Options&) { return std::make_unique<Wire>(*this); };
  core_ = std::make_unique<ClientCore>(options_, Library{library, "0"}, std::make_shared<Told>(*this));
  asleep_.acquire();
  for (std::uint16_t brand = 0; brand < brands; ++brand) numbers_.push_back(core_->brand(name_of(brand)));
  machine_.set_io_thread(this);
}

Process::~Process() {
  if (core_) kill();
}

void Process::run() {
  const State before = state_;
  woken_ = false;
  good_came_ = false;
  left_now_.clear();
  go_.release();
  asleep_.acquire();
  ++turns_;

  const Stats stats = core_->stats();
  if (stats.state != State::closed) state_ = stats.state;
  check_probes(before);
  if (stats.accepted != stats.delivered + stats.failed + stats.queued) broken("the ledger does not balance");
  if (effects_ != std::exchange(effects_seen_, effects_)) idle_at_once_ = idle_turns_ = 0;
  if (last_timeout_ <= 0ms && ++idle_at_once_ > 20) broken("the I/O thread spins");
  if (++idle_turns_ > 5'000) broken("the I/O thread wakes again and again for nothing");
}

void Process::check_probes(State before) {
  if (state_ != State::paused_unreachable || before != State::paused_unreachable || good_came_) searches_.clear();
  if (state_ == State::paused_unreachable && before == State::paused_unreachable && !good_came_) {
    searches_.insert(left_now_.begin(), left_now_.end());
    std::erase_if(searches_, [&](std::uint64_t id) { return !under_way_.contains(id); });
    if (searches_.size() > 1) broken("two requests at once look for a server that is away");
  }
}

std::vector<transport::Response> Process::sleep(milliseconds timeout) {
  if (free_) return {};
  last_timeout_ = timeout;
  wake_at_ = machine_.now() + timeout;
  asleep_.release();
  go_.acquire();
  std::vector<transport::Response> answers = std::exchange(answers_, {});
  for (const transport::Response& response : answers) comes_back(response);
  return answers;
}

void Process::leaves(transport::Request request) {
  ++effects_;
  const TimePoint now = machine_.now();
  UnderWay leaving;
  Service::Request& sent = leaving.request;
  leaving.left = now;
  sent.id = request.id;
  sent.post = request.post;
  sent.size = request.body_size;
  sent.token_is_right = token_is_right_;
  constexpr std::string_view account = "/track/hea/hea/";
  const std::size_t end = request.path.find("/v1/", account.size());
  const std::string brand = request.path.substr(account.size(), end - account.size());
  sent.brand = brand == "HEA" ? 0 : static_cast<unsigned>(brand.back() - '0');
  sent.action = request.path.substr(end + 4);
  for (const std::string_view part : request.body) {
    if (const auto number = number_in(part)) sent.calls.push_back(*number);
  }
  std::string text = "leaves " + brand + " " + sent.action + " " + std::to_string(sent.size);
  for (const std::size_t number : sent.calls) text += " " + std::to_string(number);
  trace_.add(now, text);
  if (dying_) return;

  // Pace.
  const double passed = std::chrono::duration<double>(now - std::exchange(level_at_, now)).count();
  level_ = std::min(options_.burst, level_ + passed * options_.rate_limit) - 1;
  if (level_ < -1e-6) broken("a request leaves beyond the account's pace");
  if (now < silent_until_) broken("a request leaves before Retry-After has passed");
  if (under_way_.size() >= options_.max_connections) broken("more requests than max_connections");

  // Order.
  std::map<unsigned, std::size_t> last;
  std::size_t bytes = 0;
  for (const std::size_t number : sent.calls) {
    Call& call = ledger_.calls[number];
    bytes += call.size;
    if (call.brand != sent.brand) broken(call_text(number) + " leaves for another brand");
    if (call.told && call.told_in == life_) broken(call_text(number) + " leaves after its fate");
    if (call.refused && !ledger_.not_removed) broken(call_text(number) + " leaves, though it was refused");
    const auto place = last.find(call.lane());
    if (place == last.end()) {
      if (lanes_under_way_[call.lane()] > 0) broken(call_text(number) + " leaves beside another event of its user");
    } else if (place->second > number) {
      broken(call_text(number) + " stands in a batch before an earlier one of its user");
    }
    last[call.lane()] = number;
    const auto settles = settled_.find(call.lane());
    if (call.commands && settles != settled_.end() && now < settles->second)
      broken("the command of " + call_text(number) + " leaves before its user's identify has settled");
    ++call.under_way;
  }
  for (const auto& [lane, number] : last) ++lanes_under_way_[lane];
  const bool is_batch = sent.action == "batch";
  if (sent.post && sent.calls.empty()) broken("a request without an event leaves");
  if (sent.post && !is_batch && sent.calls.size() > 1) broken("several events leave in a request for one");
  const std::size_t most = options_.max_batch_bytes.value_or(options_.max_request_bytes);
  if (is_batch && sent.calls.size() > 1 && sent.size > most) broken("a batch is larger than max_batch_bytes");

  // Probes.
  left_now_.push_back(sent.id);
  if (sent.post && refused_.contains(static_cast<std::uint16_t>(sent.brand))) {
    std::set<std::uint64_t>& probes = probes_[static_cast<std::uint16_t>(sent.brand)];
    std::erase_if(probes, [&](std::uint64_t id) { return !under_way_.contains(id); });
    probes.insert(sent.id);
    if (probes.size() > 1) broken("two requests at once try whether the token has rights again");
  }

  const Service::Request copy = sent;
  under_way_.emplace(sent.id, std::move(leaving));
  service_.start(copy, [this, alive = alive_, id = copy.id](transport::Response response) {
    if (!*alive) return;
    response.id = id;
    answers_.push_back(std::move(response));
    wake();
  });
}

void Process::comes_back(const transport::Response& response) {
  ++effects_;
  const auto found = under_way_.find(response.id);
  const Service::Request request = std::move(found->second.request);
  under_way_.erase(found);
  const TimePoint now = machine_.now();
  trace_.add(now, "answer " + std::to_string(response.id) + " " + std::to_string(response.status) +
                      (response.status == 0 && response.sent ? " lost" : "") +
                      (response.retry_after.empty() ? "" : " retry-after " + response.retry_after));
  const auto brand = static_cast<std::uint16_t>(request.brand);
  const bool garbage = response.status == 200 && response.body.find("success") == std::string::npos && request.post;
  const bool good = is_good(response.status) && !garbage;
  if (good && response.status != 429) good_came_ = true;
  if (good && request.post) {
    last_good_any_ = now;
    good_came_ = true;
  }
  if (response.status == 403 && request.post) {
    refused_.insert(brand);
  } else if (good && response.status != 429 && response.status != 403) {
    refused_.erase(brand);
    probes_.erase(brand);
  }
  if (good && response.status != 403 && response.status != 429) last_good_[brand] = now;

  std::set<unsigned> lanes;
  for (const std::size_t number : request.calls) {
    Call& call = ledger_.calls[number];
    --call.under_way;
    lanes.insert(call.lane());
    if (call.identifies && response.status == 200 && good) settled_[call.lane()] = now + 500ms;
    if (response.status == 429) {
      call.failing_since.reset();
    } else if (!good || response.status == 403) {
      if (!call.failing_since) call.failing_since = now;
      if (!good) ++call.failures;
    }
  }
  for (const unsigned lane : lanes) --lanes_under_way_[lane];
  if (response.status != 429) return;
  long seconds = 0;
  const std::string& wish = response.retry_after;
  const auto [end, error] = std::from_chars(wish.data(), wish.data() + wish.size(), seconds);
  if (wish.empty() || error != std::errc() || end != wish.data() + wish.size()) return;
  silent_until_ =
      std::max(silent_until_, now + std::min<milliseconds>(std::chrono::seconds(seconds), options_.retry_max));
}

void Process::finished(const Finished& finished) {
  if (dying_) return;
  ++effects_;
  const std::size_t number = finished.tag / 2 - 1;
  Call& call = ledger_.calls[number];
  const Outcome& outcome = *finished.outcome;
  if (call.told) return broken(call_text(number) + " gets a second fate");
  if (outcome.closing && !options_.spool_path.empty()) {
    keep(call);
    return;
  }
  call.told = true;
  call.told_in = life_;
  if (outcome.error) {
    call.code = outcome.error->code;
    call.arrived = outcome.error->arrived;
  }
  trace_.add(machine_.now(), "fate " + std::to_string(number) + " " + (call.code.empty() ? "delivered" : call.code) +
                                 (outcome.read_back ? " read back" : ""));
  check_fate(number, call, outcome.attempts);
}

void Process::check_fate(std::size_t number, const Call& call, int attempts) const {
  const TimePoint now = machine_.now();
  const std::string& code = call.code;
  const auto wrong = [&](const std::string& why) { broken(call_text(number) + " " + why + " (" + code + ")"); };
  if (code.empty()) {
    if (call.arrivals == 0) wrong("is delivered, and did not arrive");
    return;
  }
  if (call.arrivals > 0 && call.arrived != Arrived::unknown) wrong("arrived, and failed with arrived=no");
  if (attempts == 0 && call.arrived == Arrived::unknown) wrong("never left, and may have arrived");
  if (code == "rejected") {
    if (!call.bad) wrong("was good");
  } else if (code == "too_large") {
    if (call.size + 200 < service_.settings.limit) wrong("was not too large");
  } else if (code == "not_found") {
    if (service_.settings.has_batch || options_.delivery != DeliveryMode::batch) wrong("was sent rightly");
  } else if (code == "retries_exhausted") {
    if (!options_.max_retries || call.failures <= *options_.max_retries) wrong("had retries left");
  } else if (code == "closed") {
    if (!closing_) wrong("fails, though the client goes on");
  } else if (code == "queue_full") {
    if (options_.on_full != OnFull::fail) wrong("is not what on_full says");
  } else if (code == "dropped") {
    if (options_.on_full != OnFull::drop_oldest) wrong("is not what on_full says");
  } else if (code == "expired" || code == "unauthorised") {
    if (closing_ && code == "unauthorised") return;
    if (code == "unauthorised" && options_.max_retries && call.failures > *options_.max_retries) return;
    std::optional<milliseconds> timeout = options_.delivery_timeout;
    if (!timeout && options_.spool_path.empty()) timeout = 5min;
    if (!timeout) return wrong("has no time-out");
    const TimePoint moment = now - *timeout + 10ms;
    if (call.called > moment) return wrong("is too young");
    const auto good = last_good_.find(call.brand);
    const TimePoint last_good = good == last_good_.end() ? TimePoint{} : good->second;
    const bool failed_long = call.failing_since && *call.failing_since <= moment;
    if (!failed_long && last_good_any_ > moment && last_good > moment) wrong("was not in trouble for so long");
  } else {
    wrong("has a strange fate");
  }
}

void Process::submit(std::size_t number) {
  Call& call = ledger_.calls[number];
  call.called = machine_.now();
  call.life = life_;
  ledger_.made(number);
  const std::string user = "user-" + std::to_string(call.user);
  const std::string id = Ledger::id_of(number);
  const std::string object = R"({"x":")" + std::string(call.size > 300 ? call.size - 300 : 0, 'x') + "\"}";
  const std::string_view view = object;
  event::Draft draft{.user_id = user, .message_id = id, .timestamp_ms = machine_.unix_us() / 1'000};
  if (call.commands) {
    draft.event = "send_email";
    draft.asset_id = "asset-7";
    draft.command = event::Draft::Command::asset;
    draft.data = event::json_source(view);
  } else {
    draft.action = call.identifies ? event::Action::identify : event::Action::track;
    if (!call.identifies) draft.event = call.bad ? "Bad" : "Good";
    draft.body = event::json_source(view);
  }
  trace_.add(machine_.now(), "call " + std::to_string(number) + " " + user + "/" + std::to_string(call.brand));
  Waiting waiting;
  try {
    core_->submit(draft, 2 * (number + 1), nullptr, waiting, numbers_[call.brand]);
    ledger_.calls[number].accepted = true;
  } catch (const IntileryError& error) {
    ledger_.calls[number].refused = true;
    trace_.add(machine_.now(), "refused: " + error.code());
    const bool spool = error.code() == "spool_full" || error.code() == "spool_unusable";
    const bool full = error.code() == "queue_full" && options_.on_full != OnFull::fail;
    const bool large =
        error.code() == "too_large" && call.size + 300 > options_.max_event_bytes.value_or(options_.max_request_bytes);
    if (!(spool && !options_.spool_path.empty()) && !full && !large) broken("a call throws " + error.code());
  }
  const Stats stats = core_->stats();
  if (life_ == 1 && stats.queued_bytes > options_.max_queue_bytes && stats.queued > 1)
    broken("more waits than max_queue_bytes");
}

void Process::set_token(bool right) { core_->set_auth_token(right ? "right" : "wrong"); }

void Process::flush(milliseconds timeout) {
  const TimePoint started = machine_.now();
  const std::uint64_t queued = core_->stats().queued;
  Waiting waiting;
  const Flush flush = core_->flush(timeout, waiting);
  const auto took = std::chrono::ceil<milliseconds>(machine_.now() - started);
  trace_.add(machine_.now(), "flush " + std::to_string(flush.delivered) + " " + std::to_string(flush.failed) + " " +
                                 std::to_string(flush.remaining));
  if (flush.delivered + flush.failed + flush.remaining != queued) broken("a flush does not count all events");
  // A slow disk has the I/O thread, and with it the simulated processor, for a while.
  if (took > timeout + 5s) broken("a flush returns late");
  if (flush.remaining > 0 && took < timeout) broken("a flush gives up early");
}

void Process::read(milliseconds timeout) {
  Waiting waiting;
  const TimePoint started = machine_.now();
  try {
    const delivery::ReadResult result = core_->read("events?size=10&from=0", started + timeout, waiting);
    trace_.add(machine_.now(), "read " + std::to_string(result.status));
  } catch (const IntileryError& error) {
    trace_.add(machine_.now(), "read: " + error.code());
  }
  if (machine_.now() > started + timeout + 5s) broken("a read returns late");
}

bool Process::has_nothing_to_do() const { return core_->is_idle() && under_way_.empty() && answers_.empty(); }

void Process::check_rest() {
  if (!has_nothing_to_do()) return;
  machine_.run_until(machine_.now() + 3s);  // lanes settle, the spool is tidied
  if (!has_nothing_to_do()) return;
  const std::uint64_t before = turns_;
  machine_.run_until(machine_.now() + 10min);
  if (turns_ > before + 1)
    broken("an idle client wakes up " + std::to_string(turns_ - before) + " times in 10 minutes");
  if (last_timeout_ < 1h) broken("an idle client plans to wake up");
}

void Process::close(milliseconds timeout) {
  closing_ = true;
  flush(timeout);
  end();
  *alive_ = false;
  core_.reset();
  for (Call& call : ledger_.calls) {
    call.under_way = 0;
    if (call.life == life_ && call.accepted && !call.told && !call.kept)
      broken("a call of a closed client has no fate");
  }
}

void Process::kill() {
  dying_ = true;
  *alive_ = false;
  end();
  core_.reset();
  for (Call& call : ledger_.calls) {
    call.under_way = 0;
    if (!call.accepted || call.told || call.kept || call.life != life_) continue;
    options_.spool_path.empty() ? call.gone = true : keep(call);
  }
}

/// Its process is gone, and it waits in the spool. Nobody will be told of its fate.
bool Process::keep(Call& call) const {
  const bool may_fail = call.bad || call.size + 200 >= service_.settings.limit || options_.max_retries ||
                        options_.delivery_timeout || options_.on_full == OnFull::drop_oldest ||
                        (!service_.settings.has_batch && options_.delivery == DeliveryMode::batch);
  call.may_vanish = may_fail;
  return call.kept = true;
}

/// From now on the thread runs freely to its end, which is waited for.
void Process::end() {
  machine_.set_io_thread(nullptr);
  sees_ends_ = true;
}

}  // namespace intilery::simulator
