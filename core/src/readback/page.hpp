/// \file
/// One page of events: how it is asked for, and how it is read.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/read.hpp"

namespace intilery::readback {

using TimePoint = std::chrono::steady_clock::time_point;

/// Performs one GET behind `/v1/`, or throws at the deadline.
using ReadPage = std::function<delivery::ReadResult(const std::string& path, TimePoint deadline)>;

constexpr std::size_t page_size = 100;
constexpr std::size_t reach = 10'000;  ///< The API pages no further.

/// A page of the account's events, or of a profile's.
struct PageQuery {
  using Moment = std::chrono::system_clock::time_point;

  std::string id_type;  ///< `userId`, `email` or `id`; empty: the whole account.
  std::string id;
  std::vector<std::string> include;  ///< Names of events; empty: all.
  std::vector<std::string> exclude;
  std::optional<Moment> start;  ///< Both bounds are in.
  std::optional<Moment> end;
  bool ascending = false;
  std::size_t from = 0;
  std::size_t size = page_size;
};

/// The query's path behind `/v1/`.
std::string path_of(const PageQuery& query);

/// The page's events, an array: none if nobody is known by the id (404).
/// \throws DeliveryError, AuthError.
nlohmann::json events_of(delivery::ReadResult result);

/// An event's message id; null if it shows none.
const std::string* message_id_of(const nlohmann::json& event);
/// The service's id of an event; empty if it shows none.
std::string event_id_of(const nlohmann::json& event);

}  // namespace intilery::readback
