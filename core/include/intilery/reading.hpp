/// \file
/// What is read back from the service.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace intilery {

/// An event as the service has it.
struct Event {
  std::string event_id;  ///< The service's name for it, as in Receipt.
  std::optional<std::chrono::sys_time<std::chrono::milliseconds>> event_time;  ///< When it happened.
  std::optional<std::chrono::sys_time<std::chrono::milliseconds>> received_time;
  std::string action;  ///< `track` …
  std::string name;    ///< By which `include` and `exclude` know it: the event's name, or else its action.
  std::string client_id;
  std::string account_id;
  std::string brand_id;
  std::string user_id;      ///< Empty: of somebody who is not known.
  nlohmann::json raw_data;  ///< What was sent, with `action`.
};

/// A customer as the service has them.
struct Profile {
  std::string id;       ///< The service's own, for `EventQuery::id`.
  std::string user_id;  ///< Empty: none.
  nlohmann::json traits;
  nlohmann::json meta;  ///< What else the service says.
};

/// Whose profile; exactly one of them.
struct ProfileKey {
  std::string user_id = {};
  std::string email = {};
  std::string id = {};  ///< `Profile::id`.
};

/// In which order of time.
enum class Sort { descending, ascending };

/// Which events, and in which order.
struct EventQuery {
  // Whose events, at most one of them; none: the whole brand's.
  std::string user_id = {};
  std::string email = {};  ///< If several customers have it, the events of all.
  std::string id = {};     ///< `Profile::id`.

  std::vector<std::string> include = {};  ///< Only events of these names; empty: all.
  std::vector<std::string> exclude = {};
  std::optional<std::chrono::system_clock::time_point> start = {};  ///< Both bounds are in, to the millisecond.
  std::optional<std::chrono::system_clock::time_point> end = {};
  Sort sort = Sort::descending;
  std::optional<std::size_t> limit = {};  ///< Not more than so many.
  std::chrono::milliseconds timeout =
      std::chrono::seconds(30);  ///< How long the next event may take, retries included.
};

/// What is read, one at a time, a page whenever one is needed. An input range:
///
///     for (const Event& event : client.events({.user_id = "ABC/123"})) …
///
/// For one thread at a time. `next` and the iterator throw DeliveryError if reading fails for good, AuthError,
/// TimeoutError, ClosedError; after any of them the reading can go on where it was.
template <class T>
class Reading {
 public:
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    explicit Iterator(Reading* reading) : reading_(reading) { ++*this; }
    const T& operator*() const { return *current_; }
    const T* operator->() const { return &*current_; }
    Iterator& operator++() {
      current_ = reading_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !current_; }

   private:
    Reading* reading_ = nullptr;
    std::optional<T> current_;
  };

  /// \param fetch gets some more; none: there are no more.
  explicit Reading(std::function<std::vector<T>()> fetch) : fetch_(std::move(fetch)) {}

  /// The next one; nothing at the end.
  std::optional<T> next() {
    if (waiting_.empty() && !ended_) {
      std::vector<T> more = fetch_();
      ended_ = more.empty();
      waiting_.assign(std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    }
    if (waiting_.empty()) return std::nullopt;
    T first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }

  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::function<std::vector<T>()> fetch_;
  std::deque<T> waiting_;
  bool ended_ = false;
};

}  // namespace intilery
