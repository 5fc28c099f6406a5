#include "calls.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "client_type.hpp"
#include "delivery_type.hpp"
#include "errors.hpp"
#include "event/bad_value.hpp"
#include "event/contract.hpp"
#include "event/encoder.hpp"
#include "gil_waiting.hpp"
#include "nearest.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

using event::Action;
using event::BadValue;
using event::Draft;

/// Every argument of every call.
enum Argument : std::size_t {
  user_id,
  event_name,
  screen_name,
  traits,
  properties,
  asset_id,
  journey_id,
  step_id,
  data,
  message,
  context,
  timestamp,
  anonymous_id,
  message_id,
  on_delivery,
  argument_count
};
constexpr std::array<const char*, argument_count> argument_names{
    "user_id", "event",   "name",    "traits",    "properties",   "asset_id",   "journey_id", "step_id",
    "data",    "message", "context", "timestamp", "anonymous_id", "message_id", "on_delivery"};

using Given = std::array<PyObject*, argument_count>;  ///< Borrowed; null: not given.

/// One call: its positional arguments, and what it becomes.
struct Call {
  const char* name;
  Action action;
  std::array<Argument, 4> positional;
  std::size_t positional_count;
  Draft::Command command = Draft::Command::none;
  bool whole_message = false;

  bool takes(Argument argument) const {
    if (std::find(positional.begin(), positional.begin() + positional_count, argument) !=
        positional.begin() + positional_count) {
      return true;
    }
    return whole_message ? argument == on_delivery : argument >= context;
  }
};

constexpr Call identify{"identify", Action::identify, {user_id, traits}, 2};
constexpr Call track{"track", Action::track, {user_id, event_name, properties}, 3};
constexpr Call page{"page", Action::page, {user_id, properties}, 2};
constexpr Call screen{"screen", Action::screen, {user_id, screen_name, properties}, 3};
constexpr Call send_email{"send_email", Action::track, {user_id, asset_id, data}, 3, Draft::Command::asset};
constexpr Call send_sms{"send_sms", Action::track, {user_id, asset_id, data}, 3, Draft::Command::asset};
constexpr Call send_print{"send_print", Action::track, {user_id, asset_id, data}, 3, Draft::Command::asset};
constexpr Call send_push{"send_push", Action::track, {user_id, asset_id, data}, 3, Draft::Command::asset};
constexpr Call start_journey{
    "start_journey", Action::track, {user_id, journey_id, step_id, data}, 4, Draft::Command::journey};
constexpr Call send{"send", Action::track, {message}, 1, Draft::Command::none, true};

/// The argument names as Python interns them, so that most keywords are found by their address.
const std::array<PyObject*, argument_count>& interned() {
  static const std::array<PyObject*, argument_count> names = [] {
    std::array<PyObject*, argument_count> made{};
    std::transform(argument_names.begin(), argument_names.end(), made.begin(), PyUnicode_InternFromString);
    return made;
  }();
  return names;
}

[[noreturn]] void refuse_keyword(const Call& call, PyObject* keyword) {
  std::vector<std::string_view> known;
  for (std::size_t i = 0; i < argument_count; ++i) {
    if (call.takes(static_cast<Argument>(i))) known.push_back(argument_names[i]);
  }
  const std::string name = py::str(py::handle(keyword));
  throw py::type_error(std::string(call.name) + "() has no argument '" + name + "'" + did_you_mean(name, known));
}

std::size_t find_keyword(PyObject* keyword) {
  const auto& names = interned();
  const auto found = std::find(names.begin(), names.end(), keyword);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  for (std::size_t i = 0; i < argument_count; ++i) {
    if (PyUnicode_Compare(keyword, names[i]) == 0) return i;
  }
  return argument_count;
}

Given sort_arguments(const Call& call, PyObject* const* args, std::size_t count, PyObject* keywords) {
  if (count > call.positional_count) {
    throw py::type_error(std::string(call.name) + "() takes at most " + std::to_string(call.positional_count) +
                         " positional arguments (" + std::to_string(count) + " given); name the others");
  }
  Given given{};
  for (std::size_t i = 0; i < count; ++i) given[call.positional[i]] = args[i];
  const Py_ssize_t keyword_count = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t i = 0; i < keyword_count; ++i) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, i);
    const std::size_t argument = find_keyword(keyword);
    if (argument == argument_count || !call.takes(static_cast<Argument>(argument))) refuse_keyword(call, keyword);
    if (given[argument] != nullptr) {
      throw py::type_error(std::string(call.name) + "() got '" + argument_names[argument] + "' twice");
    }
    given[argument] = args[count + static_cast<std::size_t>(i)];
  }
  return given;
}

bool is_given(PyObject* object) { return object != nullptr && object != Py_None; }

/// A text argument. Its bytes live as long as the object, which the caller holds.
std::string_view text(PyObject* object, std::string_view wire_name) {
  if (!is_given(object)) return {};
  return event::under(wire_name, [&] {
    if (!PyUnicode_Check(object)) event::refuse_type("text", kind_of(object));
    return utf8(object);
  });
}

void read_timestamp(PyObject* object, Draft& draft) {
  if (!is_given(object)) return;
  event::under("timestamp", [&] {
    if (PyUnicode_Check(object)) {
      draft.timestamp = utf8(object);
      return;
    }
    if (!is_datetime(object)) event::refuse_type("a datetime or ISO-8601 text", kind_of(object));
    draft.timestamp_ms = unix_ms(object);
    if (!draft.timestamp_ms) event::refuse_naive_timestamp();
  });
}

/// What a call's arguments make, and what its sources point to.
struct CallDraft {
  Draft draft;
  PyValue body, context, data;

  CallDraft(const Call& call, const Given& given, PyObject* default_function)
      : body{given[call.action == Action::identify ? traits : properties], default_function},
        context{given[python::context], default_function},
        data{given[python::data], default_function} {
    draft.action = call.action;
    draft.command = call.command;
    draft.user_id = text(given[user_id], "userId");
    draft.anonymous_id = text(given[anonymous_id], "anonymousId");
    if (call.action == Action::track) draft.event = text(given[event_name], "event");
    if (call.command != Draft::Command::none)
      draft.event = call.command == Draft::Command::journey ? "start_journey" : call.name;
    draft.name = text(given[screen_name], "name");
    draft.asset_id = text(given[asset_id], "assetId");
    event::under("properties", [&] {
      draft.journey_id = text(given[journey_id], "journeyIdToTrigger");
      draft.step_id = text(given[step_id], "stepIdToTrigger");
    });
    draft.message_id = text(given[message_id], "messageId");
    read_timestamp(given[timestamp], draft);
    draft.body = source_of(body);
    draft.context = source_of(context);
    draft.data = source_of(data);
  }
};

/// The call as `send` takes it, with the members that it gave. Throws BadValue.
py::dict message_of(const Call& call, const Given& given, PyObject* default_function) {
  py::dict message;
  const auto put = [](py::dict& object, const char* key, PyObject* value) {
    if (is_given(value)) object[key] = py::handle(value);
  };
  message["action"] = event::name_of(call.action);
  put(message, "userId", given[user_id]);
  put(message, "anonymousId", given[anonymous_id]);
  put(message, "event", given[event_name]);
  if (call.command != Draft::Command::none) message["event"] = call.name;
  put(message, "name", given[screen_name]);
  put(message, "assetId", given[asset_id]);
  put(message, "traits", given[traits]);
  put(message, "properties", given[properties]);
  if (call.command == Draft::Command::journey) {
    py::dict journey;
    put(journey, "journeyIdToTrigger", given[journey_id]);
    put(journey, "stepIdToTrigger", given[step_id]);
    message["properties"] = journey;
  }
  put(message, "context", given[context]);
  put(message, "timestamp", given[timestamp]);
  put(message, "messageId", given[message_id]);
  if (is_given(given[data])) {
    const PyValue merged{given[data], default_function};
    event::check_data(source_of(merged), call.command);
    const py::object members = as_dict(merged);
    if (!members) event::under("data", [&] { event::refuse_type("an object", kind_of(given[data])); });
    message.attr("update")(members);
  }
  return message;
}

/// Sends what `before_send` makes of the call.
void submit_changed(OpenClient& client, std::uint16_t brand, const Call& call, const Given& given, std::uintptr_t tag,
                    event::MessageId* id) {
  PyValue whole{given[message], client.default_function.ptr()};
  py::object object;  // stays null if `send` got something else than an object, which the core refuses
  try {
    if (!call.whole_message) {
      object = message_of(call, given, whole.default_function);
    } else if ((object = as_dict(whole))) {
      object = py::reinterpret_steal<py::object>(PyDict_Copy(object.ptr()));
    }
  } catch (BadValue& bad) {
    return client.core->refuse(event::validation_error(std::move(bad)), tag);
  }
  if (object) {
    py::object returned;
    try {
      returned = client.before_send(object);
    } catch (const py::error_already_set& error) {
      if (!error.matches(PyExc_Exception)) throw;  // Ctrl-C, sys.exit()
      return client.core->refuse(before_send_failed(std::current_exception()), tag);
    }
    if (returned.is_none()) return client.core->drop(tag);
    object = as_dict({returned.ptr(), whole.default_function});
    if (!object) return client.core->refuse(before_send_returned(kind_of(returned.ptr())), tag);
    whole.object = object.ptr();
  }
  GilWaiting waiting;
  client.core->submit_message(source_of(whole), tag, id, waiting, brand);
}

void submit(OpenClient& client, std::uint16_t brand, const Call& call, const Given& given, std::uintptr_t tag,
            event::MessageId* id) {
  if (client.before_send) return submit_changed(client, brand, call, given, tag, id);
  GilWaiting waiting;
  if (call.whole_message) {
    const PyValue whole{given[message], client.default_function.ptr()};
    client.core->submit_message(source_of(whole), tag, id, waiting, brand);
    return;
  }
  try {
    const CallDraft made(call, given, client.default_function.ptr());
    client.core->submit(made.draft, tag, id, waiting, brand);
  } catch (BadValue& bad) {
    client.core->refuse(event::validation_error(std::move(bad)), tag);
  }
}

PyObject* run(const Call& call, PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  return guarded([&] {
    OpenClient& client = opened(self);
    const Given given = sort_arguments(call, args, static_cast<std::size_t>(count), keywords);
    std::shared_ptr<Callback> callback;
    if (is_given(given[on_delivery])) {
      if (PyCallable_Check(given[on_delivery]) == 0) {
        throw py::type_error("on_delivery must be callable, not " + std::string(kind_of(given[on_delivery])));
      }
      callback = std::make_shared<Callback>(given[on_delivery], nullptr);
    }
    py::object delivery = py::reinterpret_steal<py::object>(new_delivery(client.observer->make_state()));
    DeliveryState& state = state_of(delivery.ptr());
    if (callback) state.observe(std::move(callback));
    try {
      submit(client, brand_of(self), call, given, StateObserver::tag(state), &state.id);
    } catch (...) {
      StateObserver::forget(state);
      throw;
    }
    return delivery.release().ptr();
  });
}

template <const Call& call>
PyObject* method(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  return run(call, self, args, count, keywords);
}

template <const Call& call>
PyMethodDef define(const char* doc) {
  using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
  const FastCall function = method<call>;
  return {call.name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
          METH_FASTCALL | METH_KEYWORDS, doc};
}

#define INTILERY_COMMON "*, context=None, timestamp=None, anonymous_id=None, message_id=None, on_delivery=None)\n--\n\n"

}  // namespace

PyMethodDef* event_methods() {
  static PyMethodDef methods[] = {
      define<identify>(
          "identify($self, user_id=None, traits=None, " INTILERY_COMMON "Says who a user is.\n\n"
          "Args:\n"
          "    user_id: The user's id in your system. May be left out with `allow_anonymous`.\n"
          "    traits: What is known of the user: a mapping of any values that JSON, or `default`, can show.\n"
          "    context: A mapping; the client's own `context` is merged under it.\n"
          "    timestamp: When it happened: an aware datetime, or ISO-8601 text with a zone. Default: now.\n"
          "    anonymous_id: The id of a visitor who is not known yet.\n"
          "    message_id: The event's own id. Default: a new UUIDv7 (RFC 9562).\n"
          "    on_delivery: Called once as `on_delivery(receipt)` with the fate, on the client's callback thread.\n\n"
          "Returns:\n    A Delivery. Nothing needs to be done with it.\n\n"
          "Raises:\n    ValidationError: A mistake in the call; nothing was accepted.\n"
          "    ClosedError: The client is closed.\n"
          "    QueueFullError: With `on_full` \"raise\" or \"block\"."),
      define<track>("track($self, user_id=None, event=None, properties=None, " INTILERY_COMMON
                    "Says what a user did. `event` is its name; the rest as for `identify`."),
      define<page>("page($self, user_id=None, properties=None, " INTILERY_COMMON
                   "Says which page was seen, by a user or by a visitor (`anonymous_id`). The rest as for `identify`."),
      define<screen>("screen($self, user_id=None, name=None, properties=None, " INTILERY_COMMON
                     "Says which screen of an app was seen. The rest as for `page`."),
      define<send_email>("send_email($self, user_id=None, asset_id=None, data=None, " INTILERY_COMMON
                         "Commands an email. `data` is merge data: a mapping whose members become the event's own."),
      define<send_sms>("send_sms($self, user_id=None, asset_id=None, data=None, " INTILERY_COMMON
                       "Commands a text message; as `send_email`."),
      define<send_print>("send_print($self, user_id=None, asset_id=None, data=None, " INTILERY_COMMON
                         "Commands a letter; as `send_email`."),
      define<send_push>("send_push($self, user_id=None, asset_id=None, data=None, " INTILERY_COMMON
                        "Commands a push message; as `send_email`."),
      define<start_journey>(
          "start_journey($self, user_id=None, journey_id=None, step_id=None, data=None, " INTILERY_COMMON
          "Commands the start of a journey, at `step_id` if given. `data` as for `send_email`."),
      define<send>("send($self, message, *, on_delivery=None)\n--\n\n"
                   "Sends a whole message: `{\"action\": \"track\", \"userId\": …, \"event\": …}`, with the contract's "
                   "field names."),
      {nullptr, nullptr, 0, nullptr}};
  return methods;
}

}  // namespace intilery::python
