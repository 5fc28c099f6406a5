/// \file
/// One life of a simulated process: the real client, and a look at everything that it does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <semaphore>
#include <set>
#include <string>
#include <vector>

#include "client_core.hpp"
#include "service.hpp"

namespace intilery::simulator {

/// Everything that happened, as one number; shown, if wished.
class Trace {
 public:
  explicit Trace(bool shown) : shown_(shown) {}
  void add(TimePoint now, const std::string& what);
  std::uint64_t hash() const { return hash_; }

 private:
  const bool shown_;
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

/// What a run was about, for the reader.
struct Tally {
  std::size_t calls = 0, delivered = 0, failed = 0, requests = 0, throttled = 0, kills = 0, lives = 0, twice = 0;
  std::map<std::string, std::size_t> codes;
};

class Process : public IoThread {
 public:
  /// \throws IntileryError if the client cannot be made.
  Process(Options options, unsigned life, Machine& machine, Service& service, Ledger& ledger, Trace& trace);
  ~Process() override;

  ClientCore& core() { return *core_; }
  const Options& options() const { return options_; }

  TimePoint due() const override { return woken_ ? TimePoint{} : wake_at_; }
  void run() override;

  void submit(std::size_t number);
  void set_token(bool right);
  void flush(std::chrono::milliseconds timeout);
  void read(std::chrono::milliseconds timeout);
  /// Checks that a client with nothing to do sleeps.
  void check_rest();
  /// Ends it in order.
  void close(std::chrono::milliseconds timeout);
  /// Ends it as `kill -9` does, but for what its files are. The calls without a fate are nobody's then.
  void kill();

  bool has_nothing_to_do() const;
  std::uint64_t turns() const { return turns_; }
  std::set<std::uint16_t> brands_refused() const { return refused_; }

 private:
  class Wire;
  class Told;
  struct UnderWay {
    Service::Request request;
    TimePoint left;
  };

  // On the I/O thread, which has the processor to itself then.
  void leaves(transport::Request request);
  std::vector<transport::Response> sleep(std::chrono::milliseconds timeout);
  void comes_back(const transport::Response& response);
  void finished(const Finished& finished);
  void check_fate(std::size_t number, const Call& call, int attempts) const;
  void broken(const std::string& what) const { ledger_.broken(what); }

  void wake() { woken_ = true; }
  bool keep(Call& call) const;
  void check_probes(State before);
  void end();

  const Options options_;
  const unsigned life_;
  Machine& machine_;
  Service& service_;
  Ledger& ledger_;
  Trace& trace_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< Answers come to nobody afterwards.
  bool dying_ = false;                                                ///< What the client says does not count.
  bool closing_ = false;
  bool sees_ends_ = false;

  std::binary_semaphore go_{0};
  std::binary_semaphore asleep_{0};
  bool free_ = false;  ///< The thread may run to its end.
  bool woken_ = false;
  TimePoint wake_at_ = TimePoint::max();
  std::chrono::milliseconds last_timeout_{0};
  std::vector<transport::Response> answers_;

  bool token_is_right_ = true;
  std::map<std::uint64_t, UnderWay> under_way_;
  std::map<unsigned, std::size_t> lanes_under_way_;
  std::map<unsigned, TimePoint> settled_;  ///< Commands to a lane may leave.
  double level_;                           ///< Of the account's bucket, were there no others.
  TimePoint level_at_;
  TimePoint silent_until_{};
  std::set<std::uint16_t> refused_;                          ///< Brands, as the client knows.
  std::map<std::uint16_t, std::set<std::uint64_t>> probes_;  ///< Requests for a refused brand.
  std::set<std::uint64_t> searches_;                         ///< Requests that left while the server was thought away.
  std::map<std::uint16_t, TimePoint> last_good_;
  TimePoint last_good_any_;
  bool good_came_ = false;
  std::vector<std::uint64_t> left_now_;
  State state_ = State::running;

  std::uint64_t turns_ = 0;
  std::uint64_t effects_ = 0;  ///< Requests, answers, fates.
  std::uint64_t effects_seen_ = 0;
  std::size_t idle_at_once_ = 0;
  std::size_t idle_turns_ = 0;

  std::vector<std::uint16_t> numbers_;  ///< Of the brands, in the client.
  std::unique_ptr<ClientCore> core_;
};

}  // namespace intilery::simulator
