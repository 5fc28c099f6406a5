#include "rows/line_sender.hpp"

#include <algorithm>
#include <utility>

#include "event/encoder.hpp"
#include "event/json_check.hpp"
#include "intilery/errors.hpp"

namespace intilery::rows {

namespace {

using Clock = std::chrono::steady_clock;

/// A longer line is no event, so it is not worth its memory: an event is bounded, and a row is little more.
std::size_t longest_line(const Options& options) {
  return std::max<std::size_t>(16'000'000, 2 * static_cast<std::size_t>(options.max_request_bytes));
}

constexpr std::size_t many_rejects = 1'000;

}  // namespace

LineSender::LineSender(ClientCore& core, Plan plan)
    : core_(core),
      plan_(std::move(plan)),
      ledger_(std::make_shared<RowLedger>(plan_.before)),
      lines_(longest_line(core.options())) {}

void LineSender::add(std::string row) {
  single_ = std::move(row);
  row_ = single_;
  waiting_ = by_itself_ = true;
}

void LineSender::refuse(event::BadValue bad, std::string values) {
  add(std::move(values));
  const std::string first = bad.path.substr(0, bad.path.find_first_of(".["));
  const auto rename = [&](const std::string& column, const char* wire) {
    if (first.empty() || column != first) return false;
    bad.path.replace(0, first.size(), wire);
    return true;
  };
  const Columns none;
  const Columns& columns = columns_ ? *columns_ : none;
  const bool is_own = rename(columns.user_id, "userId") || rename(columns.anonymous_id, "anonymousId") ||
                      rename(columns.event, "event") || rename(columns.timestamp, "timestamp") ||
                      rename(columns.message_id, "messageId");
  if (!is_own && !first.empty()) bad.under(plan_.action == event::Action::identify ? "traits" : "properties");
  waiting_ = false;
  if (!is_done(number_)) {
    reject(event::validation_error(std::move(bad)));
    if (plan_.stop) return;
    ledger_->reject(number_);
  }
  ++number_;
}

LineSender::Step LineSender::step(Clock::time_point until, const Change& change) {
  for (unsigned count = 1;; ++count) {
    if (stopped_) return Step::stopped;
    if (number_ > plan_.limit) return Step::done;
    if (!next()) return Step::hungry;
    if (!columns_ && find_names()) return Step::names;
    if (!is_done(number_)) {
      if (!send(change)) return Step::full;
      if (stopped_) return Step::stopped;
    }
    waiting_ = false;
    ++number_;
    if (rejects_.size() >= many_rejects) return Step::rejects;
    if (count % 16 == 0 && Clock::now() >= until) return Step::paused;
  }
}

bool LineSender::next() {
  if (waiting_) return true;
  if (!lines_.next()) return false;
  row_ = lines_.line();
  by_itself_ = false;
  return waiting_ = true;
}

bool LineSender::find_names() {
  std::vector<event::JsonMember> members;
  try {
    event::check_json(event::trim(row_), &members, event::JsonWriter::max_depth + 1);
  } catch (const event::BadValue&) {
    return false;
  }
  names_.clear();
  for (event::JsonMember& member : members) names_.push_back(std::move(member.key));
  return !names_.empty();
}

bool LineSender::send(const Change& change) {
  const std::uintptr_t tag = ledger_->begin(number_);
  try {
    if (!by_itself_ && lines_.too_long()) {
      throw ValidationError("too_large", "",
                            "the line has more than " + std::to_string(longest_line(core_.options())) + " bytes");
    }
    event::Draft draft{.action = plan_.action};
    if (!plan_.event.empty()) draft.event = plan_.event;
    draft.origin = event::RowOrigin{plan_.source, number_, nullptr};
    json_row_.read(row_, columns_ ? *columns_ : Columns{}, draft);
    submit(draft, tag, change);
  } catch (const QueueFullError&) {
    ledger_->forget(tag, false);
    return false;
  } catch (event::BadValue& bad) {
    ledger_->forget(tag, !plan_.stop);
    reject(event::validation_error(std::move(bad)));
  } catch (const ValidationError& error) {
    ledger_->forget(tag, !plan_.stop);
    reject(error);
  } catch (...) {
    ledger_->forget(tag, false);
    throw;
  }
  changed_.reset();
  return true;
}

void LineSender::submit(const event::Draft& draft, std::uintptr_t tag, const Change& change) {
  Waiting waiting;
  if (!change) return core_.submit_row(draft, tag, waiting, false, plan_.brand);
  if (!changed_) {  // else it waits for room; what the program made of it is not made again
    changed_ = change(core_.preview(draft), draft.timestamp.data() != nullptr);
  }
  const event::ValueSource message{&*changed_, [](event::JsonWriter& out, const void* text) {
                                     out.literal(*static_cast<const std::string*>(text));
                                   }};
  core_.submit_row_message(message, tag, waiting, false, plan_.brand);
}

void LineSender::reject(const ValidationError& error) {
  stopped_ = plan_.stop;
  rejects_.push_back({number_, by_itself_ ? 0 : lines_.number(), error.info(), std::string(row_)});
}

}  // namespace intilery::rows
