/// \file
/// How the sandbox misbehaves on demand. The script's form is documented at `Sandbox::set_faults`.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace intilery::testing {

/// What to do with one request.
struct Fault {
  enum class Ending {
    answer,
    close_before,
    close_during,
    reset_before,
    reset_during,
    reset_after,
    garbage,
    hang,
    lost_ack,
  };
  std::optional<int> status;  ///< Answer this instead of the real one.
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::chrono::milliseconds delay{0};
  std::chrono::milliseconds drip{0};          ///< Between the bytes of the answer.
  std::optional<std::size_t> content_length;  ///< Declared instead of the true one.
  std::optional<std::size_t> truncate;        ///< Close after so many bytes of the body.
  std::size_t oversized = 0;                  ///< So many bytes more in the body.
  Ending ending = Ending::answer;
};

/// A list of rules; the first that applies to a request is used. Not thread-safe.
class FaultScript {
 public:
  FaultScript() = default;
  /// \throws std::invalid_argument naming the rule and the member.
  explicit FaultScript(const std::string& json);

  /// The rules as they were given, a JSON array.
  const nlohmann::json& source() const { return source_; }

  /// What is to happen before a request's body is read: a reset, or nothing.
  std::optional<Fault> next_before_body(const std::string& action);
  /// \param body the request's JSON, or a discarded value.
  /// \param reads a request that changes nothing: only rules that name its action apply.
  std::optional<Fault> next(const std::string& action, const nlohmann::json& body, bool reads = false);

 private:
  struct Rule {
    Fault fault;
    std::string action;
    std::string user_id;
    std::uint64_t after = 0;
    std::optional<std::uint64_t> times;
    double probability = 1;
    std::mt19937_64 random{1};
  };
  static Rule read_rule(const nlohmann::json& json, const std::string& place);
  static bool applies(Rule& rule, const std::string& action, const nlohmann::json& body);

  nlohmann::json source_ = nlohmann::json::array();
  std::vector<Rule> rules_;
};

}  // namespace intilery::testing
