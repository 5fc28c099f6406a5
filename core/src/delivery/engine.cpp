#include "delivery/engine.hpp"

#include <algorithm>
#include <utility>

#include "delivery/own_pace.hpp"
#include "event/contract.hpp"
#include "event/encoder.hpp"
#include "readback/page.hpp"

namespace intilery::delivery {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t kept_body = 2'000;
/// A refusal of a batch smaller than this says nothing about the server's limit.
constexpr std::size_t smallest_lesson = 50'000;

std::string seconds_text(milliseconds duration) {
  std::string text = std::to_string(duration.count() / 1000);
  if (duration.count() % 1000 != 0) text += "." + std::to_string(1000 + duration.count() % 1000).substr(1);
  return text + " s";
}

std::unique_ptr<Pace> own_pace(const Options& options, std::uint64_t seed, TimePoint now) {
  return std::make_unique<OwnPace>(options.rate_limit, options.burst, options.retry_max, seed, now);
}

/// How long rows wait for a server that is not there, before their run is ended.
constexpr milliseconds row_patience = std::chrono::hours(1);

std::string count_text(std::size_t events) { return std::to_string(events) + (events == 1 ? " event" : " events"); }

}  // namespace

Engine::Engine(const Options& options, queue::BoundedQueue& queue, transport::Transport& transport,
               Surroundings surroundings, TimePoint now)
    : options_(options),
      queue_(queue),
      transport_(transport),
      surroundings_(std::move(surroundings)),
      secrets_(options.auth_token),
      pace_(surroundings_.pace ? std::move(surroundings_.pace) : own_pace(options, surroundings_.seed + 2, now)),
      retry_budget_(options.rate_limit / 2, std::max(10.0, options.burst / 5), now),
      backoff_(options.retry_initial, options.retry_max, surroundings_.seed),
      circuit_(Backoff(options.retry_initial, options.retry_max, surroundings_.seed + 1)),
      delivery_timeout_(options.delivery_timeout),
      batch_bytes_(options.max_batch_bytes.value_or(options.max_request_bytes)) {
  if (options.debug) traffic_log_.emplace(options, secrets_, surroundings_.log);
  if (!delivery_timeout_ && options.spool_path.empty()) delivery_timeout_ = std::chrono::minutes(5);
  publish(now);  // or the counters would say that nothing is left until the first step
}

// What leaves.

bool Engine::take_incoming(TimePoint now) {
  queue::EventList incoming = queue_.take();
  const bool any = !incoming.empty();
  if (options_.dry_run) {
    settle_unsent(std::move(incoming));
    return any;
  }
  lanes_.add(std::move(incoming), now);
  return any;
}

/// What `dry_run` makes of events: they are delivered, with nothing sent.
void Engine::settle_unsent(queue::EventList events) {
  const auto outcome = std::make_shared<const Outcome>();
  while (queue::EventPtr event = events.pop_front()) {
    Shipment shipment;
    shipment.events.push_back(std::move(event));
    if (traffic_log_) traffic_log_->stays(request_of(shipment));
    surroundings_.settled(shipment.events, outcome);
  }
}

bool Engine::step(TimePoint now) {
  const bool any = take_incoming(now);
  lanes_.settle(now);
  for (const auto& [brand, refusal] : refusals_) lanes_.hold(brand, !refusal.circuit.allows(now));
  while (may_send(now) && send_next(now)) {
  }
  // Not before: what waits for its last chance has it at the moment at which it would expire.
  const bool trouble = circuit_.open() || !retries_.empty() || !refusals_.empty() || checking();
  if (delivery_timeout_ && now >= next_expiry_ && trouble) expire(now);
  publish(now);
  return any;
}

/// How many requests may want to leave now: about, where there are more than the pace can prepare for.
std::size_t Engine::wanted(TimePoint now) {
  const std::size_t many = pace_->foresight();
  std::size_t count = lanes_.ready() + (lanes_.any_alone() ? 1 : 0);
  for (auto entry = retries_.begin(); entry != retries_.end() && count < many; ++entry) {
    if (entry->first > now && !circuit_.open()) break;
    const Circuit* const refusal = refusal_of(entry->second->brand());
    if (refusal == nullptr || refusal->allows(now)) ++count;
  }
  for (const Read& read : reads_) count += read.not_before <= now ? 1 : 0;
  return count;
}

bool Engine::may_send(TimePoint now) {
  if (under_way_.size() >= options_.max_connections || !circuit_.allows(now)) return false;
  const std::size_t count = wanted(now);
  return count > 0 && pace_->allows(now, count);
}

bool Engine::send_next(TimePoint now) {
  if (std::exchange(new_first_, false) && send_new(now)) return true;
  if (send_retry(now)) return true;
  forget_late_reads(now);
  const auto due_read =
      std::find_if(reads_.begin(), reads_.end(), [&](const Read& read) { return read.not_before <= now; });
  if (due_read == reads_.end()) return send_new(now);
  Read read = std::move(*due_read);
  reads_.erase(due_read);
  send(std::move(read), now);
  return true;
}

bool Engine::send_retry(TimePoint now) {
  // A probe may be anything; what failed before comes first, due or not.
  for (auto entry = retries_.begin(); entry != retries_.end(); ++entry) {
    if (entry->first > now && !circuit_.open()) break;
    const Circuit* const refusal = refusal_of(entry->second->brand());
    if (refusal != nullptr && !refusal->allows(now)) continue;
    send(std::move(retries_.extract(entry).mapped()), now);
    return true;
  }
  return false;
}

bool Engine::send_new(TimePoint now) {
  const std::optional<Route> route = due(now);
  const bool alone = lanes_.any_alone() && (!route || *lanes_.oldest_alone() <= *lanes_.oldest_ready());
  if (!route && !alone) return false;
  send(take(route.value_or(Route::event), alone, now), now);
  return true;
}

std::optional<Route> Engine::due(TimePoint now) {
  const std::size_t waiting = lanes_.ready();
  if (waiting == 0) return std::nullopt;
  if (options_.delivery == DeliveryMode::event || batch_known_missing_) return Route::event;
  const queue::Lanes::Turn next = *turn(now);
  const bool aged = now - next.oldest >= options_.flush_interval;
  const bool full = next.ready >= options_.flush_at;
  if (options_.delivery == DeliveryMode::automatic) {
    // An event id for each is worth a request for each, where there are as many tokens and nothing waits already.
    const bool tokens_for_all = static_cast<double>(waiting) <= pace_->level(now);
    if (next.ready == 1 || (tokens_for_all && !aged && !full)) return Route::event;
  }
  if (aged || full || queue_.flushing()) return Route::batch;
  return std::nullopt;
}

std::optional<queue::Lanes::Turn> Engine::turn(TimePoint now) const {
  return lanes_.turn(now - options_.flush_interval, options_.flush_at);
}

std::unique_ptr<Shipment> Engine::take(Route route, bool alone, TimePoint now) {
  auto shipment = std::make_unique<Shipment>();
  if (alone) {
    shipment->events.push_back(lanes_.take_alone());
  } else if (route == Route::event) {
    shipment->events.push_back(lanes_.take_one(turn(now)->brand));
  } else {
    constexpr std::size_t around = 32;  // the batch's own braces
    const std::size_t bytes = batch_bytes_ - std::min(batch_bytes_, around);
    shipment->events = lanes_.take_batch(turn(now)->brand, bytes, event::closing_size + 1);
    shipment->route = Route::batch;
    // What does not fit into any batch of ours goes by itself.
    if (shipment->events.size() == 1 && shipment->body_size() > batch_bytes_) shipment->route = Route::event;
  }
  return shipment;
}

std::string Engine::path(std::uint16_t brand, std::string_view rest) {
  if (brand >= folders_.size()) folders_.resize(brand + std::size_t{1});
  std::string& folder = folders_[brand];
  if (folder.empty()) {
    folder =
        "/track/" + options_.client_id + "/" + options_.account_id + "/" + surroundings_.brand_name(brand) + "/v1/";
  }
  std::string path;
  path.reserve(folder.size() + rest.size());
  return path.append(folder).append(rest);
}

transport::Request Engine::request_of(Shipment& shipment) {
  const auto action = static_cast<event::Action>(shipment.events.front()->action);
  transport::Request request;
  request.path = path(shipment.brand(), shipment.route == Route::batch ? "batch" : event::name_of(action));
  request.body = shipment.body(surroundings_.unix_now_ms());
  for (const std::string_view part : request.body) request.body_size += part.size();
  return request;
}

void Engine::send(std::unique_ptr<Shipment> shipment, TimePoint now) {
  pace_->take(now);
  const std::uint16_t brand = shipment->brand();
  shipment->request = ++last_id_;
  circuit_.sent(shipment->request);
  if (Circuit* const refusal = refusal_of(brand)) {
    refusal->sent(shipment->request);
    lanes_.hold(brand, true);
  }
  shipment->left = now;
  ++shipment->attempts;
  transport::Request request = request_of(*shipment);
  request.id = shipment->request;
  if (traffic_log_) traffic_log_->leaves(request, shipment->events.size(), shipment->attempts, now);
  {
    const std::lock_guard lock(traffic_mutex_);
    traffic_.bytes_sent += request.body_size;
    traffic_.in_flight += shipment->events.size();
    if (shipment->attempts > 1) traffic_.retried += shipment->events.size();
  }
  under_way_[request.id].shipment = std::move(shipment);
  transport_.start(std::move(request));
}

void Engine::send(Read read, TimePoint now) {
  pace_->take(now);
  read.request = ++last_id_;
  circuit_.sent(read.request);
  read.left = now;
  ++read.attempts;
  transport::Request request;
  request.id = read.request;
  request.path = path(read.brand, read.path);
  request.post = false;
  if (traffic_log_) traffic_log_->leaves(request, 0, read.attempts, now);
  under_way_[request.id].read = std::move(read);
  transport_.start(std::move(request));
}

Engine::Nap Engine::nap(TimePoint now) {
  constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
  Nap nap;
  const auto not_after = [&](TimePoint moment) { nap.until = nap.until ? std::min(*nap.until, moment) : moment; };
  if (const auto settled = lanes_.next_settled()) not_after(*settled);
  const bool refused =
      std::any_of(refusals_.begin(), refusals_.end(), [&](const auto& entry) { return lanes_.waits(entry.first); });
  const bool anything = lanes_.ready() > 0 || lanes_.any_alone() || !retries_.empty() || !reads_.empty() || refused;
  if (delivery_timeout_ && ((circuit_.open() && anything) || !retries_.empty() || refused || checking()))
    not_after(next_expiry_);
  if (under_way_.size() >= options_.max_connections) {
    nap.wake_at = never;
    return nap;
  }
  if (!anything) return nap;

  // The earliest moment at which anything at all may leave …
  const std::optional<TimePoint> allowed = pace_->next(now);
  if (!allowed) {
    nap.wake_at = never;
    return nap;
  }
  TimePoint gate = std::max(now, *allowed);
  if (circuit_.open()) {
    if (!circuit_.next_probe()) {  // the probe's answer will wake us
      nap.wake_at = never;
      return nap;
    }
    gate = std::max(gate, *circuit_.next_probe());
  }
  // … and at which something wants to.
  for (const auto& [not_before, shipment] : retries_) {
    const TimePoint moment = circuit_.open() ? now : not_before;
    const Circuit* const refusal = refusal_of(shipment->brand());
    if (refusal == nullptr) {
      not_after(std::max(gate, moment));
      break;
    }
    if (const auto probe = refusal->next_probe()) not_after(std::max({gate, moment, *probe}));
  }
  for (const auto& [brand, refusal] : refusals_) {
    const auto probe = refusal.circuit.next_probe();
    if (probe && *probe > now && lanes_.waits(brand)) not_after(std::max(gate, *probe));
  }
  for (const Read& read : reads_) not_after(std::max(gate, read.not_before));
  if (lanes_.any_alone()) not_after(gate);
  if (lanes_.ready() > 0) {
    const bool waits_for_more = !due(now);
    not_after(waits_for_more ? std::max(gate, *lanes_.oldest_ready() + options_.flush_interval) : gate);
    if (waits_for_more)
      nap.wake_at = std::max<std::size_t>(1, options_.flush_at - std::min(options_.flush_at, lanes_.ready()));
  }
  if (gate > now) {  // what comes meanwhile may want to leave then
    not_after(gate);
    nap.wake_at = never;
  }
  return nap;
}

// What comes back.

void Engine::handle(transport::Response response, TimePoint now) {
  const auto found = under_way_.find(response.id);
  if (found == under_way_.end()) return;
  UnderWay under_way = std::move(found->second);
  under_way_.erase(found);
  pace_->answered(response.status != 0 && response.status != 429, now);
  if (traffic_log_) traffic_log_->comes_back(response, now);
  {
    const std::lock_guard lock(traffic_mutex_);
    ++traffic_.requests[response.status];
    if (under_way.shipment) traffic_.in_flight -= under_way.shipment->events.size();
  }
  if (under_way.read) {
    handle_read(std::move(*under_way.read), response, now);
    return;
  }
  std::unique_ptr<Shipment> shipment = std::move(under_way.shipment);
  shipment->prefetch();
  shipment->last = judge(response, shipment->route, surroundings_.unix_now_ms(), secrets_);
  shipment->last_status = response.status;
  shipment->last_body.clear();
  if (shipment->last.kind != Verdict::Kind::accepted)
    shipment->last_body = secrets_.hidden_in(response.body, kept_body);
  shipment->may_have_arrived |= shipment->last.may_have_arrived;
  switch (shipment->last.kind) {
    case Verdict::Kind::accepted:
      return accepted(std::move(shipment), now);
    case Verdict::Kind::refused:
      return refused(std::move(shipment), now);
    case Verdict::Kind::too_large:
      return too_large(std::move(shipment), now);
    case Verdict::Kind::no_batch:
      return no_batch(std::move(shipment), now);
    case Verdict::Kind::unauthorised:
      return unauthorised(std::move(shipment), now);
    case Verdict::Kind::throttled:
      return throttled(std::move(shipment), now);
    case Verdict::Kind::unavailable:
      return unavailable(std::move(shipment), now);
  }
}

void Engine::server_is_there(TimePoint now) {
  if (circuit_.open()) {
    surroundings_.log(LogLevel::info, "the server takes requests again");
    // Whatever waited out its backoff for the server's sake may go.
    std::multimap<TimePoint, std::unique_ptr<Shipment>> waiting = std::exchange(retries_, {});
    for (auto& [moment, shipment] : waiting) {
      if (shipment->has_rows()) shipment->failing_since.reset();  // they may have outwaited `delivery_timeout`
      retry_at(std::move(shipment), now);
    }
  }
  circuit_.succeeded();
}

/// A request for the brand got an answer that shows the server and the token well.
void Engine::brand_is_served(std::uint16_t brand, TimePoint now) {
  server_is_there(now);
  if (refusals_.erase(brand) == 0) return;
  lanes_.hold(brand, false);
  unreadable_.erase(brand);
  surroundings_.log(LogLevel::info, "the token is accepted for the brand " + surroundings_.brand_name(brand));
}

Circuit* Engine::refusal_of(std::uint16_t brand) {
  const auto found = refusals_.find(brand);
  return found == refusals_.end() ? nullptr : &found->second.circuit;
}

/// It said nothing about the token.
void Engine::end_probe(const Shipment& shipment) {
  Circuit* const refusal = refusal_of(shipment.brand());
  if (refusal != nullptr) refusal->probe_ended(shipment.request);
}

void Engine::accepted(std::unique_ptr<Shipment> shipment, TimePoint now) {
  brand_is_served(shipment->brand(), now);
  Outcome outcome;
  if (shipment->route == Route::event) outcome.event_id = std::move(shipment->last.event_id);
  settle(std::move(shipment), std::move(outcome), now);
}

void Engine::refused(std::unique_ptr<Shipment> shipment, TimePoint now) {
  brand_is_served(shipment->brand(), now);
  if (shipment->events.size() > 1 && shipment->last.code == "rejected") {
    split(std::move(shipment), now);
    return;
  }
  std::string code = shipment->last.code;
  std::string message = shipment->last.message;
  fail(std::move(shipment), std::move(code), std::move(message), now);
}

void Engine::too_large(std::unique_ptr<Shipment> shipment, TimePoint now) {
  brand_is_served(shipment->brand(), now);
  const std::size_t size = shipment->body_size();
  if (shipment->route == Route::batch) {
    if (shipment->events.size() > 1) {
      batch_bytes_ = std::min(batch_bytes_, std::max(size / 2, smallest_lesson));
      split(std::move(shipment), now);
    } else {
      shipment->route = Route::event;
      retry_at(std::move(shipment), now);
    }
    return;
  }
  fail(std::move(shipment), "too_large", "the server finds it too large with " + std::to_string(size) + " bytes", now);
}

void Engine::split(std::unique_ptr<Shipment> shipment, TimePoint now) {
  std::unique_ptr<Shipment> other = shipment->split();
  retry_at(std::move(shipment), now);
  if (other) retry_at(std::move(other), now);
}

void Engine::no_batch(std::unique_ptr<Shipment> shipment, TimePoint now) {
  brand_is_served(shipment->brand(), now);
  if (options_.delivery == DeliveryMode::batch) {
    std::string message = shipment->last.message + "; use delivery auto or event";
    fail(std::move(shipment), "not_found", std::move(message), now);
    return;
  }
  if (!std::exchange(batch_known_missing_, true)) {
    surroundings_.log(LogLevel::warning,
                      "the server has no batch; every event goes in a request of its own from now on");
  }
  // A batch that was split has later events of the same user behind it; they all go back, in order.
  queue::EventList events;
  for (Shipment* part = shipment.get(); part != nullptr; part = part->next.get()) {
    while (queue::EventPtr event = part->events.pop_front()) events.push_back(std::move(event));
  }
  lanes_.put_back(std::move(events));
}

void Engine::unauthorised(std::unique_ptr<Shipment> shipment, TimePoint now) {
  server_is_there(now);
  const std::uint16_t brand = shipment->brand();
  Refusal& refusal = refusals_.try_emplace(brand, Refusal{Circuit(backoff_), {}}).first->second;
  refusal.message = shipment->last.message;
  if (refusal.circuit.failed(Circuit::Reason::unauthorised, shipment->request, now, milliseconds(0))) {
    lanes_.hold(brand, true);
    surroundings_.log(LogLevel::error, refusal.message + ". Delivery for the brand " + surroundings_.brand_name(brand) +
                                           " pauses; nothing is lost. It goes on when the token is replaced or gets "
                                           "its rights");
  }
  if (!shipment->failing_since) shipment->failing_since = now;
  retry_at(std::move(shipment), now);
}

void Engine::throttled(std::unique_ptr<Shipment> shipment, TimePoint now) {
  server_is_there(now);
  end_probe(*shipment);
  pace_->throttled(shipment->left, shipment->last.retry_after, now);
  new_first_ = true;
  shipment->failing_since.reset();  // the server is there: it only waits for its turn
  retry_at(std::move(shipment), now);
}

void Engine::unavailable(std::unique_ptr<Shipment> shipment, TimePoint now) {
  trouble_ = shipment->last;
  if (circuit_.failed(Circuit::Reason::unreachable, shipment->request, now,
                      shipment->last.retry_after.value_or(milliseconds(0)))) {
    surroundings_.log(LogLevel::warning, "cannot deliver: " + shipment->last.message + ". Trying on; nothing is lost");
  }
  end_probe(*shipment);
  if (!shipment->failing_since) shipment->failing_since = now;
  ++shipment->failures;
  const bool unknown = shipment->last.may_have_arrived && options_.on_unknown == OnUnknown::check;
  if (unknown && !unreadable_.contains(shipment->brand())) {
    check(std::move(shipment), now);
  } else {
    again(std::move(shipment), now);
  }
}

/// Sends it again later, unless that was tried too often.
void Engine::again(std::unique_ptr<Shipment> shipment, TimePoint now) {
  if (options_.max_retries && static_cast<std::size_t>(shipment->failures) > *options_.max_retries) {
    std::string message =
        "gave up after " + std::to_string(shipment->attempts) + " attempts: " + shipment->last.message;
    fail(std::move(shipment), "retries_exhausted", std::move(message), now);
    return;
  }
  const milliseconds wish = shipment->last.retry_after.value_or(milliseconds(0));
  const TimePoint moment =
      std::max(now + std::max(backoff_.next(shipment->failures), std::min(wish, options_.retry_max)),
               retry_budget_.reserve(now));
  const TimePoint last_chance = delivery_timeout_ ? *shipment->failing_since + *delivery_timeout_ : moment;
  retry_at(std::move(shipment), last_chance > now ? std::min(moment, last_chance) : moment);
}

// Lost acknowledgements.

void Engine::check(std::unique_ptr<Shipment> shipment, TimePoint now) {
  const milliseconds ago = std::chrono::duration_cast<milliseconds>(now - shipment->left);
  readback::ArrivalCheck arrivals(shipment->events, surroundings_.unix_now_ms() - ago.count());
  TimePoint moment = now + options_.check_delay;
  if (delivery_timeout_) moment = std::min(moment, std::max(now, *shipment->failing_since + *delivery_timeout_));
  read_on(std::make_unique<Check>(Check{std::move(shipment), std::move(arrivals)}), moment);
}

void Engine::read_on(std::unique_ptr<Check> check, TimePoint moment) {
  Read read;
  read.path = readback::path_of(*check->arrivals.next());
  read.deadline = delivery_timeout_ ? *check->shipment->failing_since + *delivery_timeout_ : TimePoint::max();
  read.not_before = moment;
  read.brand = check->shipment->brand();
  read.check = std::move(check);
  reads_.push_back(std::move(read));
}

/// A page has come, or will not come.
void Engine::checked(Read read, ReadResult result, TimePoint now) {
  std::unique_ptr<Check> check = std::move(read.check);
  std::string trouble = result.error ? result.error->message : "";
  try {
    if (!result.error) check->arrivals.take(readback::events_of(std::move(result)));
  } catch (const IntileryError& error) {
    trouble = error.what();
  }
  if (trouble.empty()) {
    if (check->arrivals.next()) return read_on(std::move(check), now);
    return settle_found(std::move(*check), now);
  }
  if (now >= read.deadline) {
    return fail(std::move(check->shipment), "expired",
                "gave up after " + seconds_text(*delivery_timeout_) + ": " + trouble, now);
  }
  if (unreadable_.insert(read.brand).second) {
    surroundings_.log(LogLevel::warning, "on_unknown=check is not possible for the brand " +
                                             surroundings_.brand_name(read.brand) + ": " + trouble +
                                             ". What is never answered is sent again");
  }
  again(std::move(check->shipment), now);
}

/// What is there is delivered; what is not is sent again.
void Engine::settle_found(Check check, TimePoint now) {
  std::unique_ptr<Shipment> shipment = std::move(check.shipment);
  queue::EventList missing;
  while (queue::EventPtr event = shipment->events.pop_front()) {
    const std::string* const event_id = check.arrivals.event_id(event->message_id());
    if (event_id == nullptr) {
      missing.push_back(std::move(event));
      continue;
    }
    {
      const std::lock_guard lock(traffic_mutex_);
      ++traffic_.read_back;
    }
    auto one = std::make_unique<Shipment>();
    one->events.push_back(std::move(event));
    one->route = shipment->route;
    one->attempts = shipment->attempts;
    one->last_status = shipment->last_status;
    Outcome outcome;
    if (!event_id->empty()) outcome.event_id = *event_id;
    outcome.read_back = true;
    settle(std::move(one), std::move(outcome), now);
  }
  shipment->events = std::move(missing);
  if (!shipment->events.empty()) {
    again(std::move(shipment), now);
  } else if (shipment->next) {
    retry_at(std::move(shipment->next), now);
  }
}

bool Engine::checking() const {
  return std::any_of(reads_.begin(), reads_.end(), [](const Read& read) { return read.check != nullptr; });
}

void Engine::retry_at(std::unique_ptr<Shipment> shipment, TimePoint moment) {
  shipment->not_before = moment;
  retries_.emplace(moment, std::move(shipment));
}

// Fates.

void Engine::expire(TimePoint now) {
  const milliseconds timeout = *delivery_timeout_;
  next_expiry_ =
      now + std::clamp<std::chrono::steady_clock::duration>(timeout / 10, milliseconds(10), milliseconds(1'000));
  // A source's rows wait longer for a server that is not there: a night's run is not to end with a short outage.
  const milliseconds patience = options_.delivery_timeout.value_or(row_patience);
  const auto patience_with = [&](const Shipment& shipment) {
    return circuit_.open() && shipment.has_rows() ? patience : timeout;
  };
  const auto given_up_after = [](milliseconds time) { return "gave up after " + seconds_text(time); };
  for (auto entry = retries_.begin(); entry != retries_.end();) {
    const Shipment& failing = *entry->second;
    const std::optional<TimePoint> since = failing.failing_since;
    const auto next = std::next(entry);
    if (since && now - *since >= timeout) {
      const bool away = circuit_.open() || refusal_of(failing.brand()) != nullptr;
      const milliseconds limit = patience_with(failing);
      const bool rows_wait = now - *since < limit;
      std::unique_ptr<Shipment> shipment =
          rows_wait ? entry->second->part_from_rows() : std::move(retries_.extract(entry).mapped());
      if (shipment) {
        std::string message = given_up_after(rows_wait ? timeout : limit) + ": " + shipment->last.message;
        fail(std::move(shipment), "expired", std::move(message), now, away);
      }
    }
    entry = next;
  }
  forget_late_reads(now);
  for (auto read = reads_.begin(); read != reads_.end();) {
    if (!read->check || now - *read->check->shipment->failing_since < patience_with(*read->check->shipment)) {
      ++read;
      continue;
    }
    const bool away = circuit_.open() || refusal_of(read->brand) != nullptr;
    std::unique_ptr<Shipment> shipment = std::move(read->check->shipment);
    read = reads_.erase(read);
    std::string message = given_up_after(patience_with(*shipment)) + ": " + shipment->last.message;
    fail(std::move(shipment), "expired", std::move(message), now, away);
  }
  for (const auto& [brand, refusal] : refusals_) {
    if (now - refusal.circuit.since() < timeout) continue;
    fail(lanes_.take_older(now - timeout, brand), given_up(brand, "expired", given_up_after(timeout)), true);
  }
  if (!circuit_.open()) return;
  for (const bool rows : {false, true}) {
    const milliseconds time = rows ? patience : timeout;
    if (now - circuit_.since() < time) continue;
    const std::string message = given_up_after(time) + ": " + trouble_.message;
    fail(lanes_.take_older_by_kind(now - time, rows),
         {.kind = ErrorKind::delivery, .code = "expired", .message = message}, true);
  }
}

ErrorInfo Engine::given_up(std::uint16_t brand, std::string code, std::string message) const {
  ErrorInfo error{.kind = ErrorKind::delivery, .code = std::move(code), .message = std::move(message)};
  if (const auto refusal = refusals_.find(brand); refusal != refusals_.end()) {
    error.kind = ErrorKind::auth;
    error.code = "unauthorised";
    const std::string& why = refusal->second.message;
    if (error.message.find(why) == std::string::npos) error.message += ": " + why;
  }
  return error;
}

void Engine::fail(std::unique_ptr<Shipment> shipment, std::string code, std::string message, TimePoint now, bool away) {
  ErrorInfo error = given_up(shipment->brand(), std::move(code), std::move(message));
  error.arrived = shipment->may_have_arrived ? Arrived::unknown : Arrived::no;
  error.status = shipment->last_status;
  error.body = shipment->last_body;
  error.attempts = shipment->attempts;
  settle(std::move(shipment), failure(std::move(error), away), now);
}

void Engine::fail(const queue::EventList& events, ErrorInfo error, bool away) {
  if (events.empty()) return;
  surroundings_.settled(events, std::make_shared<const Outcome>(failure(std::move(error), away)));
}

Outcome Engine::failure(ErrorInfo error, bool away) const {
  Outcome outcome;
  outcome.error = std::make_shared<const ErrorInfo>(std::move(error));
  outcome.closing = closing_;
  outcome.away = away;
  return outcome;
}

void Engine::settle(std::unique_ptr<Shipment> shipment, Outcome outcome, TimePoint now) {
  outcome.status = shipment->last_status;
  outcome.attempts = shipment->attempts;
  outcome.route = shipment->route;
  lanes_.release(shipment->events, !outcome.error, now);
  surroundings_.settled(shipment->events, std::make_shared<const Outcome>(std::move(outcome)));
  if (shipment->next) retry_at(std::move(shipment->next), now);
}

void Engine::drop_oldest(std::size_t footprint, TimePoint now) {
  take_incoming(now);
  // A tenth more than needed: the next calls need room too, and looking for the oldest takes time.
  std::size_t excess = queue_.excess(footprint);
  if (excess == 0) return;
  excess += options_.max_queue_bytes / 10;
  fail(lanes_.take_oldest(excess), {.kind = ErrorKind::queue_full,
                                    .code = "dropped",
                                    .message = "dropped to make room for newer events (on_full=drop_oldest)"});
}

void Engine::abort(TimePoint now) {
  closing_ = true;
  transport_.abandon();
  const std::string kept = options_.spool_path.empty() ? "" : "; the spool keeps it for the next client";
  const std::string message = "the client was closed before it could be delivered" + kept;
  std::size_t left = 0;
  const auto give_up = [&](std::unique_ptr<Shipment> shipment) {
    while (shipment) {
      std::unique_ptr<Shipment> next = std::move(shipment->next);
      left += shipment->events.size();
      fail(std::move(shipment), "closed", message, now);
      shipment = std::move(next);
    }
  };
  for (auto& [id, under_way] : std::exchange(under_way_, {})) {
    if (under_way.shipment) {
      under_way.shipment->may_have_arrived = true;
      give_up(std::move(under_way.shipment));
    } else if (under_way.read) {
      reads_.push_back(std::move(*under_way.read));
    }
  }
  for (auto& [moment, shipment] : std::exchange(retries_, {})) give_up(std::move(shipment));
  take_incoming(now);
  for (const auto& [brand, refusal] : refusals_) {
    const queue::EventList waiting = lanes_.take_older(TimePoint::max(), brand);
    left += waiting.size();
    fail(waiting, given_up(brand, "closed", message));
  }
  const queue::EventList waiting = lanes_.take_all();
  left += waiting.size();
  fail(waiting, {.kind = ErrorKind::delivery, .code = "closed", .message = message});
  for (Read& read : std::exchange(reads_, {})) {
    if (read.check) {
      give_up(std::move(read.check->shipment));
      continue;
    }
    read.done({.status = 0,
               .body = {},
               .error = ErrorInfo{.kind = ErrorKind::closed, .code = "closed", .message = "the client was closed"}});
  }
  if (left > 0) {
    surroundings_.log(LogLevel::error, count_text(left) + " not delivered when the client was closed" +
                                           (kept.empty() ? "" : ", kept in the spool") +
                                           (!refusals_.empty() ? ": " + refusals_.begin()->second.message
                                            : circuit_.open()  ? ": " + trouble_.message
                                                               : std::string()));
  }
  publish(now);
  pace_.reset();  // a closed client holds no connection, to a store of the pace neither
}

// Reading, and the rest.

void Engine::read(Read read) { reads_.push_back(std::move(read)); }

void Engine::forget_late_reads(TimePoint now) {
  std::erase_if(reads_, [&](Read& read) {
    const bool late = !read.check && read.deadline <= now;
    if (late) {
      read.done({.status = 0,
                 .body = {},
                 .error = ErrorInfo{.kind = ErrorKind::timeout,
                                    .code = "timeout",
                                    .message = "reading back took longer than its time-out"}});
    }
    return late;
  });
}

void Engine::handle_read(Read read, const transport::Response& response, TimePoint now) {
  const auto finish = [&](std::optional<ErrorInfo> error) {
    ReadResult result{.status = response.status, .body = response.body, .error = std::move(error)};
    if (read.check) return checked(std::move(read), std::move(result), now);
    read.done(std::move(result));
  };
  const auto error = [&](ErrorKind kind, std::string code, std::string message) {
    return ErrorInfo{.kind = kind,
                     .code = std::move(code),
                     .message = std::move(message),
                     .status = response.status,
                     .body = secrets_.hidden_in(response.body, kept_body),
                     .attempts = read.attempts};
  };
  const bool whole = response.status == 200 && !response.body_cut;
  if (whole || response.status == 404) {
    if (read.check) {
      circuit_.probe_ended(read.request);  // that events can be read does not say that they can be sent
    } else {
      brand_is_served(read.brand, now);
    }
    finish(std::nullopt);
    return;
  }
  const Verdict verdict = judge(response, Route::event, surroundings_.unix_now_ms(), secrets_);
  circuit_.probe_ended(read.request);
  if (verdict.kind == Verdict::Kind::unauthorised)
    return finish(error(ErrorKind::auth, verdict.code, "reading back: " + verdict.message));
  if (verdict.kind == Verdict::Kind::throttled) pace_->throttled(read.left, verdict.retry_after, now);
  const bool final = verdict.kind != Verdict::Kind::throttled && verdict.kind != Verdict::Kind::unavailable;
  if (final || now >= read.deadline)
    return finish(error(ErrorKind::delivery, verdict.code, "reading back: " + verdict.message));
  read.not_before = now + backoff_.next(read.attempts);
  reads_.push_back(std::move(read));
}

void Engine::set_token(const std::string& token, TimePoint now) {
  transport_.set_token(token);
  secrets_.add(token);
  unreadable_.clear();
  for (auto& [brand, refusal] : refusals_) refusal.circuit.retry_now(now);
}

void Engine::publish(TimePoint now) {
  const std::lock_guard lock(traffic_mutex_);
  traffic_.rate_left = std::max(0.0, pace_->level(now));
  traffic_.state = !refusals_.empty()   ? State::paused_auth
                   : circuit_.open()    ? State::paused_unreachable
                   : pace_->paused(now) ? State::paused_rate
                                        : State::running;
}

void Engine::fill(Stats& stats) const {
  const std::lock_guard lock(traffic_mutex_);
  stats.in_flight = traffic_.in_flight;
  stats.retried = traffic_.retried;
  stats.read_back = traffic_.read_back;
  stats.bytes_sent = traffic_.bytes_sent;
  stats.requests = traffic_.requests;
  stats.rate_left = traffic_.rate_left;
  stats.state = traffic_.state;
}

}  // namespace intilery::delivery
