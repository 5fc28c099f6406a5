// `intilery._native`: the core for the Python package. The hot calls are in calls.cpp; here is the rest.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <nlohmann/json.hpp>

#include "client_type.hpp"
#include "delivery_type.hpp"
#include "diagnosis.hpp"
#include "errors.hpp"
#include "event/encoder.hpp"
#include "event/json_writer.hpp"
#include "failure_log.hpp"
#include "gil_waiting.hpp"
#include "intilery/version.hpp"
#include "loop_calls.hpp"
#include "memory/outbox.hpp"
#include "nearest.hpp"
#include "plan/lint.hpp"
#include "plan/plan.hpp"
#include "printable.hpp"
#include "readback/reader.hpp"
#include "registry.hpp"
#include "row_proof.hpp"
#include "row_sender.hpp"
#include "spool.hpp"
#include "transport/trust.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

nlohmann::json option_value(const std::string& name, const py::handle value, PyObject* default_function) {
  event::JsonWriter out;
  const PyValue given{value.ptr(), default_function};
  const event::ValueSource source = source_of(given);
  if (!source) return nullptr;
  try {
    event::under(name, [&] { source.write(out, source.value); });
  } catch (const event::BadValue& bad) {
    throw ConfigurationError(name, bad.code, bad.path + " " + bad.message);
  }
  return nlohmann::json::parse(out.view());
}

/// The function under that name, or null.
py::object function_of(const py::dict& functions, const char* name) {
  py::object function = functions[name];
  if (function.is_none()) return {};
  if (PyCallable_Check(function.ptr()) == 0) {
    throw ConfigurationError(name, "wrong_type",
                             std::string(name) + " must be callable, not " + std::string(kind_of(function.ptr())));
  }
  return function;
}

/// What a value becomes on the wire.
std::string json_text(const py::object& value) {
  event::JsonWriter out;
  const PyValue given{value.ptr(), nullptr};
  try {
    if (const event::ValueSource source = source_of(given)) source.write(out, source.value);
  } catch (event::BadValue& bad) {
    throw event::validation_error(std::move(bad));
  }
  return std::string(out.view());
}

/// \param outbox of a client in memory, or null.
void open(const py::object& self, const py::dict& given, const py::dict& functions, bool from_env,
          std::shared_ptr<memory::Outbox> outbox) {
  auto client = std::make_unique<OpenClient>();
  client->outbox = std::move(outbox);
  if (client->outbox) client->options = memory::default_options();
  client->default_function = function_of(functions, "default");
  client->before_send = function_of(functions, "before_send");
  client->on_error = function_of(functions, "on_error");
  if (from_env) client->options = Options::from_env();
  for (const auto& [key, value] : given) {
    const std::string name = py::str(key);
    set_option(client->options, name, option_value(name, value, client->default_function.ptr()));
  }
  client->start();
  put(self.ptr(), std::move(client));
}

/// `(name, result, message, advice)` for each check.
py::list diagnose(const py::dict& given) {
  Options options = Options::from_env();
  for (const auto& [key, value] : given) {
    const std::string name = py::str(key);
    set_option(options, name, option_value(name, value, nullptr));
  }
  GilWaiting waiting;
  py::list checks;
  for (const Check& check : intilery::diagnose(options, {}, "intilery-python/" INTILERY_VERSION, waiting)) {
    checks.append(py::make_tuple(check.name, to_string(check.result), text(check.message), check.advice));
  }
  return checks;
}

void open_view(const py::object& self, const py::object& client, const py::object& brand_id) {
  Options given;
  set_option(given, "brand_id", option_value("brand_id", brand_id, nullptr));
  put_view(self.ptr(), client.ptr(), given.brand_id);
}

py::tuple flush_tuple(const Flush& flush) { return py::make_tuple(flush.delivered, flush.failed, flush.remaining); }

py::tuple flush(const py::object& self, const py::object& timeout, const py::object& given_up) {
  OpenClient* client = find(self.ptr());
  if (client == nullptr) opened(self.ptr());  // throws
  GilWaiting waiting(given_up);
  return flush_tuple(client->core->flush(timeout_of(timeout), waiting));  // NOLINT(clang-analyzer-core.CallAndMessage)
}

py::tuple close(const py::object& self, const py::object& timeout, const py::object& given_up) {
  OpenClient* client = find(self.ptr());
  if (client == nullptr) return flush_tuple({});
  client->closed = true;
  if (client->core->is_foreign()) return flush_tuple({});
  GilWaiting waiting(given_up);
  const Flush flushed = client->core->close(timeout_of(timeout), waiting);
  client->observer->stop();
  return flush_tuple(flushed);
}

bool is_idle(const py::object& self) {
  const OpenClient* client = find(self.ptr());
  return client == nullptr || client->core->is_idle();
}

/// Has `function(None)` called on the callback thread once no event is without a fate; at once if none is now.
void when_idle(const py::object& self, const py::object& function) {
  const OpenClient* client = find(self.ptr());
  auto callback = std::make_shared<Callback>(function.ptr(), Py_None);
  const bool waits = client != nullptr && client->core->when_idle([observer = client->observer, callback]() mutable {
    observer->call(std::move(callback));  // the last to hold it must not be the I/O thread, which has no GIL
  });
  if (!waits) function(py::none());
}

py::dict stats(const py::object& self) {
  const Stats stats = opened(self.ptr()).core->stats();
  py::dict out;
  out["accepted"] = stats.accepted;
  out["delivered"] = stats.delivered;
  out["failed"] = stats.failed;
  out["failed_by_reason"] = stats.failed_by_reason;
  out["queued"] = stats.queued;
  out["in_flight"] = stats.in_flight;
  out["queued_bytes"] = stats.queued_bytes;
  out["retried"] = stats.retried;
  out["read_back"] = stats.read_back;
  out["bytes_sent"] = stats.bytes_sent;
  out["requests"] = stats.requests;
  out["plan_violations"] = stats.plan_violations;
  out["rate_left"] = stats.rate_left;
  out["state"] = py::str(std::string(to_string(stats.state)));
  return out;
}

py::tuple verify(const py::object& self, const std::vector<std::string>& message_ids, const std::string& user_id,
                 const py::object& timeout, const py::object& given_up, std::optional<std::int64_t> start_ms,
                 std::optional<std::int64_t> end_ms) {
  GilWaiting waiting(given_up);
  const auto moment = [](std::optional<std::int64_t> ms) -> std::optional<readback::PageQuery::Moment> {
    if (!ms) return std::nullopt;
    return readback::PageQuery::Moment(std::chrono::milliseconds(*ms));
  };
  const readback::Where where{.user_id = user_id, .start = moment(start_ms), .end = moment(end_ms)};
  const Verification found =
      opened(self.ptr())
          .core->verify(message_ids, where, timeout_of(timeout).value_or(std::chrono::hours(24 * 365)), waiting,
                        brand_of(self.ptr()));
  return py::make_tuple(found.expected, found.found, found.missing, found.duplicate);
}

std::unique_ptr<readback::JsonReader> reading(const std::string& what, const py::dict& query) {
  event::JsonWriter out;
  try {
    const PyValue given{query.ptr(), nullptr};
    const event::ValueSource source = source_of(given);
    source.write(out, source.value);
  } catch (event::BadValue& bad) {
    throw event::validation_error(std::move(bad));
  }
  return std::make_unique<readback::JsonReader>(what, nlohmann::json::parse(out.view()));
}

std::string next(readback::JsonReader& reader, const py::object& client, const py::object& timeout,
                 const py::object& given_up) {
  GilWaiting waiting(given_up);
  return opened(client.ptr())
      .core->next(reader, timeout_of(timeout).value_or(std::chrono::hours(24 * 365)), waiting, brand_of(client.ptr()));
}

/// What a client's callback thread reads from. Holds no client, so that a client that is dropped can end.
class CallbackQueue {
 public:
  explicit CallbackQueue(std::shared_ptr<PyObserver> told) : observer_(std::move(told)) {}
  CallbackQueue(const CallbackQueue&) = delete;
  CallbackQueue& operator=(const CallbackQueue&) = delete;

  /// `(function, argument)` for each callback, `(level, line)` for a log line, whose level is an int; event loops get
  /// theirs here. None at the end.
  py::object pop() {
    bool more = true;
    if (next_ == taken_.size()) {
      GilWaiting waiting;
      const Released unlocked(waiting);
      more = observer_->pop(taken_);
      next_ = 0;
    }
    py::list list;
    if (!more) {
      for (const std::string& line : failures_.rest()) add_line(list, LogLevel::warning, line);
      return list.empty() ? py::object(py::none()) : list;
    }
    // Other threads have no GIL meanwhile.
    while (next_ < taken_.size() && list.size() < 200) add(list, std::move(taken_[next_++]));
    loops_.wake();
    return list;
  }

 private:
  static void add_line(py::list& list, LogLevel level, const std::string& line) {
    list.append(py::make_tuple(static_cast<int>(level), text(line)));
  }
  void add(py::list& list, DueCallback due) {
    if (!due.state && !due.observer) return add_line(list, due.level, due.line);
    if (!due.observer) {
      const Receipt receipt = due.state.receipt();
      if (observer_->on_error != nullptr) {
        list.append(py::make_tuple(py::handle(observer_->on_error), make_error(*receipt.error)));
      } else if (const std::string line = failures_.add(*receipt.error); !line.empty()) {
        add_line(list, LogLevel::warning, line);
      }
      return;
    }
    const auto& callback = *static_cast<const Callback*>(due.observer.get());
    if (callback.loop != nullptr) return loops_.add(std::move(due));
    const py::object argument = callback.delivery != nullptr ? py::reinterpret_borrow<py::object>(callback.delivery)
                                                             : make_receipt(due.state.receipt());
    list.append(py::make_tuple(py::handle(callback.function), argument));
  }

  std::shared_ptr<PyObserver> observer_;
  // The callback thread's:
  FailureLog failures_;
  LoopHandover loops_;
  std::vector<DueCallback> taken_;
  std::size_t next_ = 0;  ///< In `taken_`.
};

py::list options_table() {
  py::list table;
  for (const OptionInfo& option : option_list()) {
    py::dict row;
    row["name"] = option.name;
    row["type"] = option.type;
    row["default"] = option.default_text;
    row["minimum"] = option.minimum;
    row["maximum"] = option.maximum;
    row["choices"] = option.choices;
    row["secret"] = option.secret;
    row["help"] = option.help;
    table.append(row);
  }
  return table;
}

/// What `intilery plan` needs of a plan: (the document as JSON, or None; [(fatal, code, line, pointer, message)]).
py::tuple read_plan(const std::string& path) {
  plan::Draft draft = plan::read_plan(path);
  const bool read = draft.problems.empty();
  const plan::Plan compiled(draft);
  if (read) plan::lint(draft);
  std::string document;
  if (read) plan::append_json(draft.document, document);
  py::list problems;
  for (const plan::Problem& problem : draft.problems) {
    problems.append(
        py::make_tuple(problem.fatal, problem.code, problem.line, text(problem.pointer), text(problem.message)));
  }
  return py::make_tuple(read ? py::object(text(document)) : py::object(py::none()), problems);
}

/// \returns `(event, report)`; one of them is empty.
py::tuple tuple_of(const testing::Arrival& arrival) {
  return py::make_tuple(py::str(arrival.event_json), py::str(arrival.report));
}

void define_outbox(py::module_& module) {
  using memory::Outbox;
  py::class_<Outbox, std::shared_ptr<Outbox>>(module, "Outbox")
      .def(py::init<>())
      .def("answer", &Outbox::answer)
      .def("clear", &Outbox::clear)
      .def("sent_json", &Outbox::sent_json)
      .def("matching_json",
           [](const Outbox& outbox, const std::string& message) {
             return outbox.matching_json(nlohmann::json::parse(message));
           })
      .def("expect", [](const Outbox& outbox,
                        const std::string& message) { return tuple_of(outbox.expect(nlohmann::json::parse(message))); })
      .def("expect_none", [](const Outbox& outbox, const std::string& message) {
        return tuple_of(outbox.expect_none(nlohmann::json::parse(message)));
      });
}

/// What is not given stays as it is.
void set_registry(const py::kwargs& functions) {
  const auto take = [&](const char* name, PyObject*& place) {
    if (functions.contains(name)) place = py::object(functions[name]).release().ptr();
  };
  take("make_error", registry().make_error);
  take("receipt_type", registry().receipt_type);
  take("await_done", registry().await_done);
  take("reopened", registry().reopened);
  take("convert", registry().convert);
  take("number_type", registry().number_type);
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const IntileryError&) {
      set_python_error(thrown);
    }
  });
  module.attr("ClientBase") = py::reinterpret_steal<py::object>(make_client_type());
  module.attr("Delivery") = py::reinterpret_steal<py::object>(make_delivery_type());
  module.attr("version") = INTILERY_VERSION;
  define_loop_calls(module);
  py::class_<CallbackQueue>(module, "CallbackQueue").def("pop", &CallbackQueue::pop);
  module.def("register", &set_registry);
  define_outbox(module);
  module.def("json_text", &json_text);
  module.def("open", &open);
  module.def("open_view", &open_view);
  module.def("callback_queue",
             [](const py::object& self) { return std::make_unique<CallbackQueue>(opened(self.ptr()).observer); });
  module.def("is_foreign", [](const py::object& self) { return is_foreign(self.ptr()); });
  module.def("exit_timeout", [](const py::object& self) {
    const OpenClient* client = find(self.ptr());
    return client == nullptr ? 0 : std::chrono::duration<double>(client->options.exit_timeout).count();
  });
  module.def("is_dry_run", [](const py::object& self) { return opened(self.ptr()).options.dry_run; });
  module.def("rate_limit", [](const py::object& self) { return opened(self.ptr()).options.rate_limit; });
  module.def("is_idle", &is_idle);
  module.def("when_idle", &when_idle);
  module.def("flush", &flush);
  module.def("close", &close);
  module.def("stats", &stats);
  module.def("verify", &verify);
  py::class_<readback::JsonReader>(module, "Reading").def(py::init(&reading)).def("next", &next);
  module.def("printable", [](std::string_view text) { return printable(text); });
  module.def("set_auth_token", [](const py::object& self, const std::string& token) {
    OpenClient& client = opened(self.ptr());
    client.core->set_auth_token(token);
    client.options.auth_token = token;
  });
  module.def("diagnose", &diagnose);
  module.def("lacks_certificates", [] { return transport::find_trust({}).source.empty(); });
  module.def("set_certificates", &transport::set_language_certificates);
  define_row_proof(module);  // before the class that takes one
  define_row_sender(module);
  define_spool(module);
  module.def("did_you_mean", [](const std::string& name, const std::vector<std::string>& known) {
    return did_you_mean(name, std::vector<std::string_view>(known.begin(), known.end()));
  });
  module.def("option_list", &options_table);
  module.def("read_plan", &read_plan);
}

}  // namespace intilery::python
