#include "row_sender.hpp"

#include <pybind11/stl.h>

#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client_type.hpp"
#include "errors.hpp"
#include "event/bad_value.hpp"
#include "event/contract.hpp"
#include "event/encoder.hpp"
#include "event/timestamp.hpp"
#include "gil_waiting.hpp"
#include "rows/arrow_stream.hpp"
#include "rows/json_row.hpp"
#include "rows/row_ledger.hpp"
#include "rows/row_proof.hpp"
#include "rows/row_ranges.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

using event::Draft;
using Clock = std::chrono::steady_clock;

/// Thrown to end a wait for room in the queue at the end of a step; the row is tried again in the next.
struct Later {};

/// Waits with or without the GIL, up to the end of a step.
class StepWaiting : public GilWaiting {
 public:
  StepWaiting(double seconds, py::handle given_up)
      : GilWaiting(given_up),
        may_wait_(seconds > 0),
        end_(Clock::now() + std::chrono::milliseconds(std::llround(seconds * 1'000))) {}

  void release() override {
    if (!unlocked_) GilWaiting::release();
  }
  void reacquire() override {
    if (!unlocked_) GilWaiting::reacquire();
  }
  void check() override {
    with_gil([&] { GilWaiting::check(); });
    if (is_over()) throw Later{};
  }
  bool may_wait() const { return may_wait_; }
  bool is_over() const { return Clock::now() >= end_; }

  void unlock() {
    GilWaiting::release();
    unlocked_ = true;
  }
  void lock() {
    GilWaiting::reacquire();
    unlocked_ = false;
  }
  /// Runs `body` with the GIL, whether it was held or not.
  template <class Body>
  void with_gil(Body body) {
    if (!unlocked_) return body();
    lock();
    try {
      body();
    } catch (...) {
      unlock();
      throw;
    }
    unlock();
  }

 private:
  bool may_wait_;
  Clock::time_point end_;
  bool unlocked_ = false;
};

/// Lets go of the GIL while it lives.
class Unlocked {
 public:
  explicit Unlocked(StepWaiting& waiting) : waiting_(waiting) { waiting_.unlock(); }
  ~Unlocked() { waiting_.lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  StepWaiting& waiting_;
};

/// A row that could not become an event.
struct Reject {
  std::uint64_t row = 0;
  ErrorInfo error;
  std::string values;  ///< The row, usually a JSON object.
};

/// The first columns of a table's stream, in this order; then come those of the body.
enum Column : std::size_t { user_id, anonymous_id, event_name, message_id, timestamp, timestamp_ms };

/// Rows whose message ids are found together, in half the time.
struct Group {
  static constexpr std::int64_t size = 4;
  std::int64_t first = -size;  ///< In the batch.
  bool ready = false;
  std::array<Draft, size> drafts;
  std::array<std::string_view, size> bodies;
  std::array<event::MessageId, size> ids;
  event::JsonWriter text;
};

class RowSender {
 public:
  RowSender(py::object client, std::string_view action, std::string event, std::string source, rows::RowRanges before,
            bool stop, std::vector<std::uint64_t> broken, rows::Columns columns, std::shared_ptr<rows::RowProof> proof)
      : client_(std::move(client)),
        action_(event::action_named(action)),
        event_(std::move(event)),
        source_(std::move(source)),
        before_(std::move(before)),
        stop_(stop),
        broken_(std::move(broken)),
        columns_(std::move(columns)),
        proof_(std::move(proof)),
        ledger_(std::make_shared<rows::RowLedger>(before_)) {}

  /// Where the rows come from: an object with Arrow's stream interface.
  /// \param members the names of the body's columns, each with its form; None: the stream has one column, of JSON.
  /// \param sparse nulls are left out of the body.
  void open(const py::object& producer, const std::optional<std::vector<std::pair<std::string, std::string>>>& members,
            bool sparse) {
    capsule_ = producer.attr("__arrow_c_stream__")();
    auto* stream = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule_.ptr(), "arrow_array_stream"));
    if (stream == nullptr) throw py::error_already_set();
    lines_ = !members;
    std::vector<rows::BodyColumn> body;
    for (const auto& [name, form] : members.value_or(std::vector<std::pair<std::string, std::string>>()))
      body.push_back({.name = name, .form = form_named(form)});
    stream_.emplace(stream, std::move(body), sparse);
  }

  /// Sends rows for about so many seconds, or until many are rejected. False: there are no more rows.
  bool step(double seconds, const py::object& given_up) {
    StepWaiting waiting(seconds, given_up);
    OpenClient& client = opened(client_.ptr());
    const Unlocked unlocked(waiting);
    for (unsigned count = 1;; ++count) {
      if (at_ == size_) {
        waiting.with_gil([&] { static_cast<GilWaiting&>(waiting).GilWaiting::check(); });
        if (!stream_->next()) {
          skip_broken(true);
          return false;
        }
        at_ = 0;
        size_ = stream_->size();
        group_.first = -Group::size;
        continue;
      }
      skip_broken(false);
      if (!is_done(number_) && !send_cell_row(client, waiting)) return true;
      if (stop_ && !rejects_.empty()) return true;
      ++at_;
      ++number_;
      if (rejects_.size() >= 1'000 || (count % 64 == 0 && waiting.is_over())) return true;
    }
  }

  /// Sends a row whose values are Python's. False: the queue had no room for so many seconds; try again.
  /// \throws ValidationError: it is rejected.
  bool send(const py::object& user, const py::object& anonymous, const py::object& event, const py::object& message,
            const py::object& time, const py::object& properties, double seconds, const py::object& given_up) {
    if (is_done(number_)) {
      ++number_;
      return true;
    }
    StepWaiting waiting(seconds, given_up);
    OpenClient& client = opened(client_.ptr());
    const std::uintptr_t tag = ledger_->begin(number_);
    try {
      Draft draft = new_draft(number_);
      const PyValue members{properties.ptr(), client.default_function.ptr()};
      draft.user_id = text_of(user, "userId");
      draft.anonymous_id = text_of(anonymous, "anonymousId");
      if (!event.is_none()) draft.event = text_of(event, "event");
      draft.message_id = text_of(message, "messageId");
      read_time(time, draft);
      draft.body = source_of(members);
      submit(client, draft, tag, waiting);
    } catch (const Later&) {
      ledger_->forget(tag, false);
      return false;
    } catch (const QueueFullError&) {  // without any time to wait
      ledger_->forget(tag, false);
      return false;
    } catch (event::BadValue& bad) {
      drop(tag);
      throw event::validation_error(std::move(bad));
    } catch (const ValidationError&) {
      drop(tag);
      throw;
    } catch (...) {
      ledger_->forget(tag, false);
      throw;
    }
    ++number_;
    return true;
  }

  /// Rejects the next row, which is none. False: that was done in an earlier run.
  bool reject() {
    const bool is_new = !is_done(number_);
    if (is_new) ledger_->reject(number_);
    ++number_;
    return is_new;
  }

  /// The source's rows may come in another order the next time, so the message ids must not follow from their places.
  void unordered() { repeats_.emplace(); }
  /// Whether a row had its fate in an earlier run.
  bool is_done(std::uint64_t row) const { return before_.contains(row); }

  std::uint64_t next_row() const { return number_; }

  /// `(settled, total, rejects, failures, ended)` so far; rejects and failures since the last time. `settled` is as
  /// `RowRanges` writes it, `ended` the error that ends the run, or None.
  py::tuple take() {
    rows::Progress progress = ledger_->take();
    py::list rejects;
    for (const Reject& reject : rejects_) {
      rejects.append(py::make_tuple(reject.row, reject.error.code, text(reject.error.path), text(reject.error.message),
                                    text(reject.values)));
    }
    rejects_.clear();
    py::list failures;
    for (const rows::FailedRow& failed : progress.failed)
      failures.append(py::make_tuple(failed.row, make_error(failed.error), text(failed.event)));
    const rows::Tally& t = progress.total;
    return py::make_tuple(progress.settled.text(), py::make_tuple(t.rows, t.delivered, t.rejected, t.failed, t.resent),
                          rejects, failures, progress.ended ? make_error(*progress.ended) : py::none());
  }

 private:
  static rows::BodyColumn::Form form_named(std::string_view name) {
    using Form = rows::BodyColumn::Form;
    if (name == "json") return Form::json;
    if (name == "number") return Form::number;
    return name == "boolean" ? Form::boolean : Form::value;
  }

  static std::string_view text_of(const py::object& object, std::string_view wire_name) {
    if (object.is_none()) return {};
    return event::under(wire_name, [&] {
      if (!PyUnicode_Check(object.ptr())) event::refuse_type("text", kind_of(object.ptr()));
      return utf8(object.ptr());
    });
  }

  static void read_time(const py::object& time, Draft& draft) {
    if (time.is_none()) return;
    event::under("timestamp", [&] {
      if (PyUnicode_Check(time.ptr())) {
        draft.timestamp = utf8(time.ptr());
        return;
      }
      if (!is_datetime(time.ptr())) event::refuse_type("a datetime or ISO-8601 text", kind_of(time.ptr()));
      draft.timestamp_ms = unix_ms(time.ptr());
      if (!draft.timestamp_ms) event::refuse_naive_timestamp();
    });
  }

  Draft new_draft(std::uint64_t row) {
    Draft draft{.action = action_};
    if (!event_.empty()) draft.event = event_;
    draft.origin = event::RowOrigin{source_, row, repeats_ ? &*repeats_ : nullptr};
    return draft;
  }

  /// Counts the rows that could not be read at all, up to the next one that could.
  void skip_broken(bool last) {
    for (; next_broken_ < broken_.size() && (last || broken_[next_broken_] <= number_); ++next_broken_) {
      if (last) number_ = std::max(number_, broken_[next_broken_]);
      reject();
    }
  }

  void read_cells(std::int64_t at, Draft& draft) const {
    const auto cell = [&](Column column, std::string_view& to) {
      if (const std::string_view text = stream_->text(column, at); text.data() != nullptr) to = text;
    };
    cell(user_id, draft.user_id);
    cell(anonymous_id, draft.anonymous_id);
    cell(event_name, draft.event);
    cell(message_id, draft.message_id);
    draft.timestamp_ms = stream_->integer(timestamp_ms, at);
    if (!draft.timestamp_ms) cell(timestamp, draft.timestamp);
  }

  /// The stream's row, if it is one of a group.
  const Draft* grouped() {
    if (at_ < group_.first || at_ >= group_.first + Group::size) {
      group_.first = at_;
      group_.ready = !lines_ && at_ + Group::size <= size_ && next_broken_ == broken_.size() && !repeats_ && group();
    }
    return group_.ready ? &group_.drafts[static_cast<std::size_t>(at_ - group_.first)] : nullptr;
  }

  /// Makes a group of the next rows. False: one of them is not like most.
  bool group() {
    std::array<std::size_t, Group::size + 1> ends{};
    group_.text.clear();
    for (std::size_t i = 0; i < Group::size; ++i) {
      const std::int64_t at = at_ + static_cast<std::int64_t>(i);
      Draft& draft = group_.drafts[i] = new_draft(number_ + i);
      read_cells(at, draft);
      if (draft.timestamp.data() != nullptr || draft.message_id.data() != nullptr) return false;
      if (draft.timestamp_ms && !event::is_timestamp(*draft.timestamp_ms)) return false;
      try {
        group_.text.set_depth(0);
        stream_->write_body(group_.text, at);
      } catch (const event::BadValue&) {
        return false;  // it is told when its turn comes
      }
      ends[i + 1] = group_.text.size();
    }
    for (std::size_t i = 0; i < Group::size; ++i) {
      group_.bodies[i] = group_.text.view().substr(ends[i], ends[i + 1] - ends[i]);
      group_.drafts[i].body = event::json_source(group_.bodies[i]);
    }
    event::derive_ids(group_.drafts, group_.bodies, group_.ids);
    for (std::size_t i = 0; i < Group::size; ++i) group_.drafts[i].origin->id = &group_.ids[i];
    return true;
  }

  /// Sends the stream's row. False: not yet, for want of room.
  bool send_cell_row(OpenClient& client, StepWaiting& waiting) {
    const std::uintptr_t tag = ledger_->begin(number_);
    try {
      if (const Draft* const draft = grouped()) {
        submit(client, *draft, tag, waiting);
      } else if (lines_) {
        Draft line = new_draft(number_);
        json_row_.read(stream_->text(0, at_), columns_, line);
        submit(client, line, tag, waiting);
      } else {
        Draft row = new_draft(number_);
        read_cells(at_, row);
        row.body = {this, [](event::JsonWriter& out, const void* self) {
                      const auto* const sender = static_cast<const RowSender*>(self);
                      sender->stream_->write_body(out, sender->at_);
                    }};
        submit(client, row, tag, waiting);
      }
      return true;
    } catch (const Later&) {
      ledger_->forget(tag, false);
      return false;
    } catch (event::BadValue& bad) {
      reject(tag, event::validation_error(std::move(bad)));
    } catch (const ValidationError& error) {
      reject(tag, error);
    } catch (...) {
      ledger_->forget(tag, false);
      throw;
    }
    return true;
  }

  void drop(std::uintptr_t tag) {
    ledger_->forget(tag, !stop_);
    if (!stop_) ++number_;
  }

  void reject(std::uintptr_t tag, const ValidationError& error) {
    ledger_->forget(tag, !stop_);
    rejects_.push_back({number_, error.info(), row_text()});
  }

  /// The stream's row as a JSON object, or what it has instead of one.
  std::string row_text() const {
    if (lines_) return std::string(stream_->text(0, at_));
    event::JsonWriter out;
    char* at = out.open(out.end(), '{');
    const auto add = [&](const std::string& name, std::string_view cell) {
      if (name.empty() || cell.data() == nullptr) return;
      at = out.string(at, name);
      *at++ = ':';
      at = rows::write_any_text(out, at, cell);
      *at++ = ',';
    };
    add(columns_.user_id, stream_->text(user_id, at_));
    add(columns_.anonymous_id, stream_->text(anonymous_id, at_));
    add(columns_.event, stream_->text(event_name, at_));
    add(columns_.message_id, stream_->text(message_id, at_));
    const std::string_view time = stream_->text(timestamp, at_);
    add(columns_.timestamp, time);
    const std::optional<std::int64_t> ms = stream_->integer(timestamp_ms, at_);
    if (ms && time.data() == nullptr && event::is_timestamp(*ms)) {
      const event::TimestampText moment = event::format_timestamp(*ms);
      add(columns_.timestamp, {moment.data(), moment.size()});
    }
    at = stream_->write_members(out, at, at_);
    out.set_end(out.close(at, '}'));
    return std::string(out.view());
  }

  void submit(OpenClient& client, const Draft& draft, std::uintptr_t tag, StepWaiting& waiting) {
    const std::uint16_t brand = brand_of(client_.ptr());
    if (!client.before_send) {
      if (proof_) return prove(*client.core->row_event(draft), draft, tag);
      return client.core->submit_row(draft, tag, waiting, waiting.may_wait(), brand);
    }
    const std::string preview = client.core->preview(draft);  // the message id is of what the row says
    waiting.with_gil([&] {
      py::dict message = py::module_::import("json").attr("loads")(preview);
      message["action"] = event::name_of(action_);
      message.attr("pop")("context");
      if (!draft.timestamp_ms && draft.timestamp.data() == nullptr) message.attr("pop")("timestamp");
      py::object returned;
      try {
        returned = client.before_send(message);
      } catch (const py::error_already_set& error) {
        if (!error.matches(PyExc_Exception)) throw;
        throw before_send_failed(std::current_exception());
      }
      if (returned.is_none()) throw ValidationError("before_send", "", "before_send dropped the event");
      const py::object object = as_dict({returned.ptr(), client.default_function.ptr()});
      if (!object) throw before_send_returned(kind_of(returned.ptr()));
      const PyValue whole{object.ptr(), client.default_function.ptr()};
      if (proof_) return prove(*client.core->row_event(source_of(whole)), draft, tag);
      client.core->submit_row_message(source_of(whole), tag, waiting, waiting.may_wait(), brand);
    });
  }

  /// In the place of sending: the row's event is one to be looked for.
  void prove(const queue::Event& event, const Draft& draft, std::uintptr_t tag) {
    proof_->add(number_, event, draft.timestamp_ms || draft.timestamp.data() != nullptr);
    static const auto delivered = std::make_shared<const Outcome>();
    const Finished finished{.tag = tag, .event = &event, .outcome = delivered};
    rows::RowLedger::settle({&finished, 1});
  }

  py::object client_;
  event::Action action_;
  std::string event_;
  std::string source_;
  rows::RowRanges before_;  ///< Rows that had their fates in earlier runs.
  bool stop_;               ///< A mistake ends the run before its row.
  std::vector<std::uint64_t> broken_;
  rows::Columns columns_;
  std::optional<event::Repeats> repeats_;  ///< Of a source without an order.
  std::shared_ptr<rows::RowProof> proof_;  ///< Null: the rows are sent.
  std::shared_ptr<rows::RowLedger> ledger_;
  py::object capsule_;  ///< Owns the stream.
  std::optional<rows::ArrowStream> stream_;
  bool lines_ = false;  ///< The stream has lines of JSON, and no columns.
  rows::JsonRow json_row_;
  Group group_;
  std::int64_t at_ = 0;
  std::int64_t size_ = 0;
  std::uint64_t number_ = 1;  ///< Of the next row.
  std::size_t next_broken_ = 0;
  std::vector<Reject> rejects_;
};

rows::Columns columns_of(const py::dict& given) {
  const auto name = [&](const char* key) {
    return given[key].is_none() ? std::string() : py::cast<std::string>(given[key]);
  };
  rows::Columns columns{.user_id = name("user_id"),
                        .anonymous_id = name("anonymous_id"),
                        .event = name("event"),
                        .timestamp = name("timestamp"),
                        .message_id = name("message_id"),
                        .only = py::cast<bool>(given["only"])};
  for (const py::handle listed : given["listed"]) columns.listed.insert(py::cast<std::string>(listed));
  return columns;
}

}  // namespace

void define_row_sender(py::module_& module) {
  py::class_<RowSender>(module, "RowSender")
      .def(py::init([](py::object client, const std::string& action, const std::string& event, std::string source,
                       const std::string& before, bool stop, std::vector<std::uint64_t> broken, const py::dict& columns,
                       std::shared_ptr<rows::RowProof> proof) {
             return std::make_unique<RowSender>(std::move(client), action, event, std::move(source),
                                                rows::RowRanges::parse(before), stop, std::move(broken),
                                                columns_of(columns), std::move(proof));
           }),
           py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(),
           py::arg() = py::none())
      .def("open", &RowSender::open)
      .def("step", &RowSender::step)
      .def("unordered", &RowSender::unordered)
      .def("send", &RowSender::send)
      .def("reject", static_cast<bool (RowSender::*)()>(&RowSender::reject))
      .def("is_done", &RowSender::is_done)
      .def_property_readonly("next_row", &RowSender::next_row)
      .def("take", &RowSender::take);
}

}  // namespace intilery::python
