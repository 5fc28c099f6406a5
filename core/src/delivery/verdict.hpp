/// \file
/// What an answer means for the events of a request: the contract's table.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "intilery/delivery.hpp"
#include "secrets.hpp"
#include "transport/transport.hpp"

namespace intilery::delivery {

struct Verdict {
  enum class Kind {
    accepted,
    refused,       ///< Never to be sent again; `code` says why. A batch: one of its events is to blame.
    too_large,     ///< 413. A batch: its parts may pass.
    no_batch,      ///< The server has no batch.
    unauthorised,  ///< Nothing will pass until the token is changed.
    throttled,     ///< 429: later.
    unavailable,   ///< Later, with backoff.
  };
  Kind kind = Kind::unavailable;
  std::string code;                     ///< Stable reason, should this be the events' fate.
  std::string message;                  ///< For a person.
  std::optional<std::string> event_id;  ///< Of an accepted request.
  std::optional<std::chrono::milliseconds> retry_after;
  bool may_have_arrived = false;
};

/// \param secrets are kept out of the message, where the server may repeat them.
Verdict judge(const transport::Response& response, Route route, std::int64_t unix_now_ms, const Secrets& secrets = {});

}  // namespace intilery::delivery
