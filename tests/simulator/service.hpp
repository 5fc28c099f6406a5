/// \file
/// The service and the network before it, with the contract's behaviour and with trouble.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ledger.hpp"
#include "rate_bucket.hpp"

namespace intilery::simulator {

/// What goes wrong, and how often: shares of the requests.
struct Weather {
  std::string name = "fine";
  double unreachable = 0;  ///< No connection.
  double reset = 0;        ///< The connection breaks; half of the requests were taken.
  double hang = 0;         ///< Never answered; half of the requests are taken, now or later.
  double busy = 0;         ///< 503, 408, 425: nothing was taken.
  double failing = 0;      ///< 500, 502, 504: half were taken.
  double garbage = 0;      ///< 200 with something else than the API's answer. Taken.
  double crowd = 0;        ///< Of the rate, taken by others.
  std::chrono::milliseconds slowest{60};
  std::set<unsigned> refused = {};  ///< Brands on which the token has no rights.
};

/// What a request came to, and when.
using Answer = std::function<void(transport::Response)>;

class Service {
 public:
  struct Settings {
    double rate = 100;
    double burst = 500;
    std::size_t limit = 6'000'000;  ///< Of a request.
    bool has_batch = true;
    bool has_reading = true;
    enum class RetryAfter { none, seconds, date } retry_after = RetryAfter::none;
    std::chrono::milliseconds request_timeout{15'000};
    std::chrono::milliseconds connect_timeout{5'000};
  };

  Service(std::uint64_t seed, Machine& machine, Ledger& ledger, Settings settings);

  struct Request {
    std::uint64_t id = 0;
    unsigned brand = 0;
    std::string action;  ///< `batch`, `track` …; what is read, for a GET.
    bool post = true;
    std::vector<std::size_t> calls;
    std::size_t size = 0;
    bool token_is_right = true;
  };
  /// Takes a request on its way. `answer` is called at the moment at which the client has the answer, or none.
  void start(Request request, Answer answer);

  Weather weather;
  const Settings settings;
  std::size_t requests = 0;
  std::size_t throttled = 0;
  /// How far its bucket is drained on the calls' own account: requests of a client beyond its pace.
  std::size_t taken = 0;

 private:
  transport::Response serve(const Request& request, std::mt19937_64& random);
  transport::Response judge(const Request& request, std::mt19937_64& random);
  std::string page(const Request& request) const;
  std::string retry_after(std::mt19937_64& random, TimePoint now);

  const std::uint64_t seed_;
  Machine& machine_;
  Ledger& ledger_;
  testing::RateBucket bucket_;
  TimePoint crowded_at_{};
};

}  // namespace intilery::simulator
