/// \file
/// Lines of JSON become events.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client_core.hpp"
#include "event/bad_value.hpp"
#include "rows/json_row.hpp"
#include "rows/line_splitter.hpp"
#include "rows/row_ledger.hpp"
#include "rows/row_ranges.hpp"

namespace intilery::rows {

/// A row that could not become an event.
struct RejectedRow {
  std::uint64_t row = 0;
  std::uint64_t line = 0;  ///< In the text; 0: it came by itself.
  ErrorInfo error;
  std::string values;  ///< The row, usually a JSON object.
};

/// Sends the rows of a source, in steps that never wait. One thread at a time; the client outlives every step.
class LineSender {
 public:
  struct Plan {
    event::Action action = event::Action::track;
    std::string event = {};   ///< The name of every event, if it has no column.
    std::string source = {};  ///< Of `RowOrigin`.
    RowRanges before = {};    ///< Rows that had their fates in earlier runs.
    std::uint64_t limit = std::numeric_limits<std::uint64_t>::max();
    bool stop = false;  ///< A mistake ends the run before its row.
    std::uint16_t brand = Brands::own;
  };

  LineSender(ClientCore& core, Plan plan);

  /// Which members say what. Until then `step` ends at the first object with `Step::names`.
  void set_columns(Columns columns) { columns_ = std::move(columns); }
  /// The members of that object.
  const std::vector<std::string>& names() const { return names_; }

  // Rows, when `step` has said `hungry`. Text that comes in pieces:
  void feed(std::string_view bytes) { lines_.feed(bytes); }
  void end() { lines_.end(); }
  // One row by itself:
  void add(std::string row);
  /// One that the caller found to be none. The path of the mistake is relative to the row.
  void refuse(event::BadValue bad, std::string values);

  enum class Step : std::uint8_t {
    hungry,   ///< All rows so far are sent.
    paused,   ///< The time is over.
    rejects,  ///< Many rows were rejected: see `take_rejects`.
    full,     ///< The queue has no room; there will be some after a fate.
    names,    ///< See `set_columns`.
    stopped,  ///< A row was rejected, with `Plan::stop`. For good.
    done,     ///< `Plan::limit` rows were sent.
  };
  /// Makes another message of an event's text, as `ClientCore::submit_row_message` takes it, or throws ValidationError.
  /// `timed`: the row says when it happened.
  using Change = std::function<std::string(const std::string& event, bool timed)>;
  /// \throws ClosedError, SpoolError.
  Step step(std::chrono::steady_clock::time_point until, const Change& change = {});

  /// Whether a row had its fate in an earlier run.
  bool is_done(std::uint64_t row) const { return plan_.before.contains(row); }
  Progress take() { return ledger_->take(); }
  /// Those since the last call.
  std::vector<RejectedRow> take_rejects() { return std::exchange(rejects_, {}); }

 private:
  bool next();
  bool find_names();
  bool send(const Change& change);
  void submit(const event::Draft& draft, std::uintptr_t tag, const Change& change);
  void reject(const ValidationError& error);

  ClientCore& core_;
  const Plan plan_;
  const std::shared_ptr<RowLedger> ledger_;
  std::optional<Columns> columns_;
  std::vector<std::string> names_;
  LineSplitter lines_;
  JsonRow json_row_;
  std::string single_;  ///< The row that came by itself.
  bool waiting_ = false;
  bool by_itself_ = false;
  std::string_view row_;                ///< The next row, while `waiting_`.
  std::uint64_t number_ = 1;            ///< Its number.
  std::optional<std::string> changed_;  ///< What `change` made of it.
  std::vector<RejectedRow> rejects_;
  bool stopped_ = false;
};

}  // namespace intilery::rows
