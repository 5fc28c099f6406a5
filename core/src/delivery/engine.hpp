/// \file
/// Decides what leaves when, and what an answer means for the events that it was for.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "client_core.hpp"
#include "delivery/backoff.hpp"
#include "delivery/circuit.hpp"
#include "delivery/pace.hpp"
#include "delivery/read.hpp"
#include "delivery/shipment.hpp"
#include "delivery/token_bucket.hpp"
#include "delivery/traffic_log.hpp"
#include "intilery/options.hpp"
#include "queue/bounded_queue.hpp"
#include "queue/lanes.hpp"
#include "readback/arrival_check.hpp"
#include "transport/transport.hpp"

namespace intilery::delivery {

/// Events whose acknowledgement was lost, while it is looked up whether they arrived.
struct Check {
  std::unique_ptr<Shipment> shipment;
  readback::ArrivalCheck arrivals;
};

/// A GET, paced like everything else.
struct Read {
  std::string path;
  TimePoint deadline = TimePoint::max();
  std::function<void(ReadResult)> done;  ///< Called once, on the I/O thread; but
  std::unique_ptr<Check> check = {};     ///< if it has this, the engine itself reads.
  int attempts = 0;
  TimePoint not_before{};
  TimePoint left{};           ///< Of the last attempt,
  std::uint64_t request = 0;  ///< and its number.
  std::uint16_t brand = 0;
};

/// What the engine needs of the world around it, so that a test can own it.
struct Surroundings {
  /// Told of every fate. The events are gone afterwards.
  std::function<void(const queue::EventList&, std::shared_ptr<const Outcome>)> settled;
  std::function<void(LogLevel, const std::string&)> log;
  std::function<std::int64_t()> unix_now_ms;
  std::uint64_t seed = 0;           ///< Of the backoff's jitter.
  std::unique_ptr<Pace> pace = {};  ///< Default: an OwnPace as the options have it.
  std::function<std::string(std::uint16_t brand)> brand_name;
};

/// The delivery engine. Everything but `fill` is for one thread, and nothing in it waits or asks for the time.
/// docs/delivery.md draws its states.
class Engine {
 public:
  Engine(const Options& options, queue::BoundedQueue& queue, transport::Transport& transport, Surroundings surroundings,
         TimePoint now);

  /// Takes what was queued and starts the requests that may leave now. \returns whether anything was queued.
  bool step(TimePoint now);
  void handle(transport::Response response, TimePoint now);

  /// Until when nothing will happen by itself, and how many newly queued events would change that.
  struct Nap {
    std::optional<TimePoint> until;
    std::size_t wake_at = 1;
  };
  Nap nap(TimePoint now);

  void read(Read read);
  void set_token(const std::string& token, TimePoint now);
  /// Fails waiting events, the oldest first, until `footprint` more bytes fit into the queue.
  void drop_oldest(std::size_t footprint, TimePoint now);
  /// Gives everything up that has no fate yet, with reason `closed`. The last that is done with it, but for `fill`.
  void abort(TimePoint now);

  /// Fills in what the engine knows. From any thread.
  void fill(Stats& stats) const;

 private:
  struct UnderWay {
    std::unique_ptr<Shipment> shipment;  ///< Either this
    std::optional<Read> read;            ///< or that.
  };

  bool take_incoming(TimePoint now);
  void settle_unsent(queue::EventList events);
  std::size_t wanted(TimePoint now);
  bool may_send(TimePoint now);
  bool send_next(TimePoint now);
  bool send_retry(TimePoint now);
  bool send_new(TimePoint now);
  std::optional<Route> due(TimePoint now);
  std::optional<queue::Lanes::Turn> turn(TimePoint now) const;
  std::unique_ptr<Shipment> take(Route route, bool alone, TimePoint now);
  transport::Request request_of(Shipment& shipment);
  void send(std::unique_ptr<Shipment> shipment, TimePoint now);
  void send(Read read, TimePoint now);
  void retry_at(std::unique_ptr<Shipment> shipment, TimePoint moment);

  void handle_read(Read read, const transport::Response& response, TimePoint now);
  /// Ends what nobody waits for any more.
  void forget_late_reads(TimePoint now);
  void accepted(std::unique_ptr<Shipment> shipment, TimePoint now);
  void refused(std::unique_ptr<Shipment> shipment, TimePoint now);
  void too_large(std::unique_ptr<Shipment> shipment, TimePoint now);
  void no_batch(std::unique_ptr<Shipment> shipment, TimePoint now);
  void unauthorised(std::unique_ptr<Shipment> shipment, TimePoint now);
  void throttled(std::unique_ptr<Shipment> shipment, TimePoint now);
  void unavailable(std::unique_ptr<Shipment> shipment, TimePoint now);
  void again(std::unique_ptr<Shipment> shipment, TimePoint now);
  void split(std::unique_ptr<Shipment> shipment, TimePoint now);

  void check(std::unique_ptr<Shipment> shipment, TimePoint now);
  void read_on(std::unique_ptr<Check> check, TimePoint moment);
  void checked(Read read, ReadResult result, TimePoint now);
  void settle_found(Check check, TimePoint now);
  bool checking() const;

  void server_is_there(TimePoint now);
  void brand_is_served(std::uint16_t brand, TimePoint now);
  Circuit* refusal_of(std::uint16_t brand);
  void end_probe(const Shipment& shipment);

  void expire(TimePoint now);
  /// \param away not for its own sake, but for that of a service that is not there or that refuses the token.
  void fail(std::unique_ptr<Shipment> shipment, std::string code, std::string message, TimePoint now,
            bool away = false);
  void fail(const queue::EventList& events, ErrorInfo error, bool away = false);
  Outcome failure(ErrorInfo error, bool away) const;
  ErrorInfo given_up(std::uint16_t brand, std::string code, std::string message) const;
  void settle(std::unique_ptr<Shipment> shipment, Outcome outcome, TimePoint now);

  std::string path(std::uint16_t brand, std::string_view rest);
  void publish(TimePoint now);

  const Options options_;
  queue::BoundedQueue& queue_;
  transport::Transport& transport_;
  Surroundings surroundings_;
  Secrets secrets_;
  std::optional<TrafficLog> traffic_log_;  ///< With `debug`.

  std::vector<std::string> folders_;  ///< By brand: what its requests' paths begin with.
  queue::Lanes lanes_;
  std::unique_ptr<Pace> pace_;
  TokenBucket retry_budget_;  ///< Of the account's pace, failed requests get no more than half.
  Backoff backoff_;
  Circuit circuit_;  ///< Open while the server is not there.
  Verdict trouble_;  ///< Why the circuit is open.
  struct Refusal {
    Circuit circuit;
    std::string message;
  };
  std::map<std::uint16_t, Refusal> refusals_;  ///< Brands on which the token has no rights. The others go on.
  bool batch_known_missing_ = false;
  bool closing_ = false;
  std::optional<std::chrono::milliseconds> delivery_timeout_;
  std::size_t batch_bytes_;  ///< Largest batch; shrinks when the server finds one too large.
  std::multimap<TimePoint, std::unique_ptr<Shipment>> retries_;  ///< By `not_before`.
  std::deque<Read> reads_;
  std::set<std::uint16_t> unreadable_;  ///< Brands whose events cannot be read back, so that nothing can be checked.
  bool new_first_ = false;              ///< After a 429, so that an event which gets nothing else holds nobody up.
  std::unordered_map<std::uint64_t, UnderWay> under_way_;
  std::uint64_t last_id_ = 0;
  TimePoint next_expiry_{};

  mutable std::mutex traffic_mutex_;  ///< Guards the counters below.
  Stats traffic_;
};

}  // namespace intilery::delivery
