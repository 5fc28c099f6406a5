#include "rows/row_proof.hpp"

#include <algorithm>
#include <chrono>

#include "readback/event_facts.hpp"

namespace intilery::rows {

using readback::PageQuery;

namespace {

PageQuery span_of(std::int64_t start_ms, std::optional<std::int64_t> end_ms) {
  PageQuery query;
  query.start = PageQuery::Moment(std::chrono::milliseconds(start_ms));
  if (end_ms) query.end = PageQuery::Moment(std::chrono::milliseconds(*end_ms));
  return query;
}

}  // namespace

void RowProof::add(std::uint64_t row, const queue::Event& event, bool timed) {
  if (sealed_) {
    ask_profile(event);
    return;
  }
  sought_.add(event.message_id(), row);
  const std::optional<std::int64_t> time = timed ? readback::facts_of(event).time_ms : std::nullopt;
  if (!time) {
    ++untimed_;
    return;
  }
  first_ms_ = std::min(first_ms_, *time);
  last_ms_ = std::max(last_ms_, *time);
}

void RowProof::seal() {
  sought_.seal();
  sealed_ = true;
}

void RowProof::sweep(std::int64_t start_ms, std::optional<std::int64_t> end_ms) {
  sweeps_.emplace_back(span_of(start_ms, end_ms), std::chrono::system_clock::now());
}

std::optional<PageQuery> RowProof::next() {
  for (; !sweeps_.empty(); sweeps_.pop_front()) {
    if (std::optional<PageQuery> query = sweeps_.front().next()) return query;
    for (const PageQuery& part : sweeps_.front().crowded()) {
      if (!part.id_type.empty()) continue;  // one user's: there is no other way
      const auto since_epoch = part.start->time_since_epoch();
      crowded_.insert(std::chrono::floor<std::chrono::milliseconds>(since_epoch).count());
    }
  }
  return std::nullopt;
}

void RowProof::take(const nlohmann::json& events) {
  ++pages_;
  for (const nlohmann::json& event : events) sought_.see(event);
  sweeps_.front().take(events.size());
}

bool RowProof::gather() {
  gathered_.clear();
  return !crowded_.empty();
}

void RowProof::ask_profile(const queue::Event& event) {
  const readback::EventFacts facts = readback::facts_of(event);
  if (facts.user_id.empty() || !facts.time_ms || !crowded_.contains(*facts.time_ms)) return;
  const std::uint64_t hash = event.lane ^ static_cast<std::uint64_t>(*facts.time_ms) * 0x9e3779b97f4a7c15;
  if (!gathered_.insert(hash).second) return;
  PageQuery query = span_of(*facts.time_ms, facts.time_ms);
  query.id_type = "userId";
  query.id = facts.user_id;
  sweeps_.emplace_back(query, std::chrono::system_clock::now());
}

std::optional<std::pair<std::int64_t, std::int64_t>> RowProof::span() const {
  if (first_ms_ > last_ms_) return std::nullopt;
  return std::pair(first_ms_, last_ms_);
}

}  // namespace intilery::rows
