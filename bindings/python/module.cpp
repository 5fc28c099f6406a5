// `intilery._native`: the core for the Python package. The hot calls are in calls.cpp; here is the rest.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <nlohmann/json.hpp>

#include "client_type.hpp"
#include "delivery_type.hpp"
#include "errors.hpp"
#include "event/encoder.hpp"
#include "event/json_writer.hpp"
#include "failure_log.hpp"
#include "gil_waiting.hpp"
#include "intilery/version.hpp"
#include "registry.hpp"
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

void open(const py::object& self, const py::dict& given, const py::object& default_function, bool from_env) {
  auto client = std::make_unique<OpenClient>();
  if (!default_function.is_none()) {
    if (PyCallable_Check(default_function.ptr()) == 0) {
      throw ConfigurationError("default", "wrong_type", "default must be callable");
    }
    client->default_function = default_function;
  }
  Options options;
  if (from_env) options = Options::from_env();
  for (const auto& [key, value] : given) {
    const std::string name = py::str(key);
    set_option(options, name, option_value(name, value, client->default_function.ptr()));
  }
  client->observer = std::make_shared<PyObserver>();
  client->core = std::make_unique<ClientCore>(
      std::move(options), Library{.name = "intilery-python", .version = INTILERY_VERSION}, client->observer);
  put(self.ptr(), std::move(client));
}

void open_view(const py::object& self, const py::object& client, const py::object& brand_id) {
  Options given;
  set_option(given, "brand_id", option_value("brand_id", brand_id, nullptr));
  put_view(self.ptr(), client.ptr(), opened(client.ptr()).core->brand(given.brand_id));
}

py::tuple flush_tuple(const Flush& flush) { return py::make_tuple(flush.delivered, flush.failed, flush.remaining); }

py::tuple flush(const py::object& self, const py::object& timeout) {
  GilWaiting waiting;
  return flush_tuple(opened(self.ptr()).core->flush(timeout_of(timeout), waiting));
}

py::tuple close(const py::object& self, const py::object& timeout) {
  if (is_foreign(self.ptr())) return flush_tuple({});
  OpenClient& client = opened(self.ptr());
  GilWaiting waiting;
  const Flush flushed = client.core->close(timeout_of(timeout), waiting);
  client.observer->stop();
  return flush_tuple(flushed);
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
  out["bytes_sent"] = stats.bytes_sent;
  out["requests"] = stats.requests;
  out["rate_left"] = stats.rate_left;
  out["state"] = py::str(std::string(to_string(stats.state)));
  return out;
}

py::tuple verify(const py::object& self, const std::vector<std::string>& message_ids, const std::string& user_id,
                 const py::object& timeout) {
  GilWaiting waiting;
  const Verification found =
      opened(self.ptr())
          .core->verify(message_ids, user_id, timeout_of(timeout).value_or(std::chrono::hours(24 * 365)), waiting,
                        brand_of(self.ptr()));
  return py::make_tuple(found.expected, found.found, found.missing, found.duplicate);
}

/// What a client's callback thread reads from. Holds no client, so that a client that is dropped can end.
struct CallbackQueue {
  std::shared_ptr<PyObserver> observer;
  FailureLog failures = {};  ///< The callback thread's.

  /// `(function, argument)` for each callback, `(level, line)` for a log line. None at the end.
  py::object pop() {
    std::vector<DueCallback> due;
    bool more = false;
    {
      py::gil_scoped_release unlocked;
      more = observer->pop(due);
    }
    py::list list;
    if (!more) {
      for (const std::string& line : failures.rest()) add_line(list, LogLevel::warning, line);
      return list.empty() ? py::object(py::none()) : list;
    }
    for (const DueCallback& item : due) add(list, item);
    return list;
  }

 private:
  static void add_line(py::list& list, LogLevel level, const std::string& line) {
    list.append(py::make_tuple(static_cast<int>(level), line));
  }
  void add(py::list& list, const DueCallback& due) {
    if (!due.state) return add_line(list, due.level, due.line);
    if (!due.observer) {
      const std::string line = failures.add(*due.state->receipt().error);
      if (!line.empty()) add_line(list, LogLevel::warning, line);
      return;
    }
    const auto& callback = *static_cast<const Callback*>(due.observer.get());
    const py::object argument = callback.delivery != nullptr ? py::reinterpret_borrow<py::object>(callback.delivery)
                                                             : make_receipt(due.state->receipt());
    list.append(py::make_tuple(py::handle(callback.function), argument));
  }
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

void set_registry(const py::kwargs& functions) {
  const auto take = [&](const char* name) { return py::object(functions[name]).release().ptr(); };
  registry() = {.make_error = take("make_error"),
                .make_receipt = take("make_receipt"),
                .await_delivery = take("await_delivery"),
                .convert = take("convert"),
                .number_type = take("number_type")};
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
  py::class_<CallbackQueue>(module, "CallbackQueue").def("pop", &CallbackQueue::pop);
  module.def("register", &set_registry);
  module.def("open", &open);
  module.def("open_view", &open_view);
  module.def("callback_queue", [](const py::object& self) { return CallbackQueue{opened(self.ptr()).observer}; });
  module.def("is_foreign", [](const py::object& self) { return is_foreign(self.ptr()); });
  module.def("exit_timeout", [](const py::object& self) {
    return std::chrono::duration<double>(opened(self.ptr()).core->options().exit_timeout).count();
  });
  module.def("flush", &flush);
  module.def("close", &close);
  module.def("stats", &stats);
  module.def("verify", &verify);
  module.def("set_auth_token",
             [](const py::object& self, const std::string& token) { opened(self.ptr()).core->set_auth_token(token); });
  module.def("option_list", &options_table);
}

}  // namespace intilery::python
