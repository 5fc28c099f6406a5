/// \file
/// What is true: every call, what the client said of it, and what the service saw of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "intilery/errors.hpp"
#include "machine.hpp"

namespace intilery::simulator {

/// One call of the program.
struct Call {
  unsigned user = 0;
  std::uint16_t brand = 0;
  bool identifies = false;
  bool commands = false;
  bool bad = false;      ///< The service answers 400.
  std::size_t size = 0;  ///< Of its bytes, about.
  unsigned life = 0;     ///< Of which process it was.
  TimePoint called{};
  bool accepted = false;    ///< The call returned.
  bool refused = false;     ///< It threw, or failed in the call.
  bool gone = false;        ///< Its process ended without a word about it, and nothing keeps it.
  bool kept = false;        ///< The same, but the spool keeps it.
  bool may_vanish = false;  ///< And it may fail for good, of which nobody is told.

  bool told = false;     ///< It has a fate:
  unsigned told_in = 0;  ///< in this life;
  std::string code;      ///< empty: delivered;
  Arrived arrived = Arrived::no;
  std::size_t under_way = 0;               ///< Copies in requests that the client waits for.
  unsigned arrivals = 0;                   ///< At the service.
  std::optional<TimePoint> failing_since;  ///< First trouble that was not a 429, since the last 429.
  unsigned failures = 0;

  unsigned lane() const { return user * 8 + brand; }
};

/// Which guarantee was broken, and how. Only the first counts.
class Ledger {
 public:
  std::vector<Call> calls;
  /// The log has said that what has its fate cannot be taken out of the spool, so that the next client sends it again.
  bool not_removed = false;

  void broken(const std::string& what) {
    if (first_broken_.empty()) first_broken_ = what;
  }
  const std::string& first_broken() const { return first_broken_; }

  /// The text that calls carry as message ids, and back.
  static std::string id_of(std::size_t number) { return "call-" + std::to_string(number) + "."; }

  /// The service takes the events of one request.
  void arrive(const std::vector<std::size_t>& numbers) {
    for (const std::size_t number : numbers) {
      Call& call = calls[number];
      if (++call.arrivals > 1) continue;
      if (call.told && !call.code.empty() && call.arrived == Arrived::no && !not_removed)
        broken("call " + std::to_string(number) + " arrives, though it failed with arrived=no (" + call.code + ")");
      if (call.refused && !not_removed) broken("call " + std::to_string(number) + " arrives, though it was refused");
      // Whatever came before it for the user is there, or never will be.
      std::vector<std::size_t>& waiting = lanes_[call.lane()];
      std::erase_if(waiting, [&](std::size_t other) {
        const Call& earlier = calls[other];
        if (other >= number) return other == number;
        const bool over = earlier.arrivals > 0 || earlier.refused || earlier.gone || earlier.may_vanish ||
                          (earlier.told && !earlier.code.empty());
        if (!over && earlier.accepted)
          broken("call " + std::to_string(number) + " arrives before call " + std::to_string(other) +
                 " of the same user");
        return over;
      });
    }
  }
  void made(std::size_t number) { lanes_[calls[number].lane()].push_back(number); }

 private:
  std::map<unsigned, std::vector<std::size_t>> lanes_;  ///< Calls that did not arrive yet.
  std::string first_broken_;
};

}  // namespace intilery::simulator
