#include "readback/arrival_check.hpp"

#include <algorithm>
#include <utility>

#include "event/timestamp.hpp"
#include "readback/event_facts.hpp"

namespace intilery::readback {

namespace {

/// Events of more users than this are first looked for among all of the account's.
constexpr std::size_t most_users = 100;
/// By how much a moment of the service's may differ from ours. The account has more events in a time than a user has.
constexpr std::int64_t user_margin_ms = 600'000;
constexpr std::int64_t account_margin_ms = 2'000;

PageQuery::Moment moment_of(std::int64_t unix_ms) {
  return PageQuery::Moment(
      std::chrono::milliseconds(std::clamp(unix_ms, event::first_timestamp_ms, event::last_timestamp_ms)));
}

}  // namespace

ArrivalCheck::ArrivalCheck(const queue::EventList& events, std::int64_t sent_ms) : sent_ms_(sent_ms) {
  for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
    const EventFacts facts = facts_of(*event);
    const std::string& user_id = facts.user_id;
    const std::int64_t time_ms = facts.time_ms.value_or(sent_ms);
    if (!sought_.try_emplace(event->message_id(), Sought{user_id, {}}).second) continue;
    ++missing_;
    Span& span = users_.try_emplace(user_id, Span{time_ms, time_ms}).first->second;
    span.first_ms = std::min(span.first_ms, time_ms);
    span.last_ms = std::max(span.last_ms, time_ms);
    ++span.missing;
  }
  asks_account_ = users_.size() > most_users || users_.contains("");
  if (!asks_account_) {
    ask_users();
    return;
  }
  Span all = users_.begin()->second;
  for (const auto& [user_id, span] : users_) {
    if (users_.size() <= most_users && !user_id.empty()) continue;  // only the anonymous cannot be asked for
    all.first_ms = std::min(all.first_ms, span.first_ms);
    all.last_ms = std::max(all.last_ms, span.last_ms);
  }
  ask("", all);
}

/// The service may mean the event's own time by `start` and `end`, or that of its arrival: where they are far apart,
/// both are asked for.
void ArrivalCheck::ask(const std::string& user_id, const Span& span) {
  const std::int64_t margin = user_id.empty() ? account_margin_ms : user_margin_ms;
  PageQuery query;
  if (!user_id.empty()) {
    query.id_type = "userId";
    query.id = user_id;
  }
  query.ascending = true;
  query.start = moment_of(span.first_ms - margin);
  query.end = moment_of(span.last_ms + margin);
  queries_.push_back(query);
  if (span.first_ms - margin / 2 <= sent_ms_ && sent_ms_ <= span.last_ms + margin / 2) return;
  query.start = moment_of(sent_ms_ - margin);
  query.end.reset();
  queries_.push_back(query);
}

void ArrivalCheck::ask_users() {
  for (const auto& [user_id, span] : users_) {
    if (!user_id.empty() && span.missing > 0) ask(user_id, span);
  }
}

std::optional<PageQuery> ArrivalCheck::next() const {
  if (queries_.empty()) return std::nullopt;
  return queries_.front();
}

void ArrivalCheck::take(const nlohmann::json& page) {
  for (const nlohmann::json& event : page) {
    const std::string* const id = message_id_of(event);
    const auto found = id != nullptr ? sought_.find(*id) : sought_.end();
    if (found == sought_.end() || found->second.event_id) continue;
    found->second.event_id = event_id_of(event);
    --users_.at(found->second.user_id).missing;
    --missing_;
  }
  if (missing_ == 0) return queries_.clear();

  PageQuery& query = queries_.front();
  const bool full = page.size() >= query.size;
  query.from += query.size;
  if (full && query.from < reach) return;
  cut_ |= full;
  queries_.pop_front();
  const auto is_needless = [&](const PageQuery& other) {
    return !other.id.empty() && users_.at(other.id).missing == 0;
  };
  while (!queries_.empty() && is_needless(queries_.front())) queries_.pop_front();

  if (!queries_.empty() || !std::exchange(asks_account_, false)) return;
  // A request arrives as a whole or not at all: if nothing of it is there, asking so many users is not worth it.
  const bool never_arrived = users_.size() > most_users && missing_ == sought_.size() && !cut_;
  if (!never_arrived) ask_users();
}

const std::string* ArrivalCheck::event_id(const std::string& message_id) const {
  const auto found = sought_.find(message_id);
  return found != sought_.end() && found->second.event_id ? &*found->second.event_id : nullptr;
}

}  // namespace intilery::readback
