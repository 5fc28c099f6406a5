/// \file
/// The module intilery_sandbox.node: the stand-in for the service, for intilery/testing and `npx intilery sandbox`.

#include <napi.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "arrival.hpp"
#include "command.hpp"
#include "intilery/testing.hpp"

namespace intilery::testing {

namespace {

std::vector<std::string> texts(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> list;
  for (std::uint32_t i = 0; i < array.Length(); ++i) list.push_back(array.Get(i).As<Napi::String>());
  return list;
}

/// node/testing.cjs gives all options, with their types checked.
SandboxOptions options_of(const Napi::Object& given) {
  const auto text = [&](const char* name) -> std::string { return given.Get(name).As<Napi::String>(); };
  const auto number = [&](const char* name) { return given.Get(name).As<Napi::Number>().DoubleValue(); };
  return {.host = text("host"),
          .port = static_cast<int>(number("port")),
          .token = text("token"),
          .client_id = text("clientId"),
          .account_id = text("accountId"),
          .brand_ids = texts(given.Get("brandIds")),
          .rate_limit = number("rateLimit"),
          .burst = number("burst"),
          .profile = text("profile") == "guide" ? Profile::guide : Profile::vendor,
          .max_request_bytes = static_cast<std::size_t>(number("maxRequestBytes")),
          .max_stored_bytes = static_cast<std::size_t>(number("maxStoredBytes")),
          .store = text("store"),
          .visible_after = std::chrono::milliseconds(static_cast<std::int64_t>(number("visibleAfter"))),
          .plan = text("plan"),
          .faults = text("faults")};
}

Napi::Array requests(Napi::Env env, const Sandbox& sandbox) {
  const std::vector<ReceivedRequest> received = sandbox.requests();
  Napi::Array array = Napi::Array::New(env, received.size());
  for (std::uint32_t i = 0; i < received.size(); ++i) {
    const ReceivedRequest& request = received[i];
    Napi::Object headers = Napi::Object::New(env);
    for (const auto& [name, value] : request.headers) headers.Set(name, value);
    Napi::Object object = Napi::Object::New(env);
    object.Set("receivedMs", static_cast<double>(request.received_ms));
    object.Set("method", request.method);
    object.Set("path", request.path);
    object.Set("action", request.action);
    object.Set("headers", headers);
    object.Set("body", request.body);
    object.Set("status", request.status);
    object.Set("answer", request.answer);
    object.Set("events", static_cast<double>(request.events));
    array.Set(i, object);
  }
  return array;
}

nlohmann::json message_of(const Napi::CallbackInfo& info) {
  return nlohmann::json::parse(info[0].As<Napi::String>().Utf8Value());
}

/// Waits for an event on a thread of libuv's pool, which fake timers leave alone.
class Expecting : public Napi::AsyncWorker {
 public:
  Expecting(Napi::Env env, std::shared_ptr<Sandbox> sandbox, nlohmann::json message, std::chrono::milliseconds timeout)
      : AsyncWorker(env), sandbox_(std::move(sandbox)), message_(std::move(message)), timeout_(timeout) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { arrival_ = sandbox_->expect(message_, timeout_); }
  void OnOK() override { deferred_.Resolve(to_js(Env(), arrival_)); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  const std::shared_ptr<Sandbox> sandbox_;
  const nlohmann::json message_;
  const std::chrono::milliseconds timeout_;
  Arrival arrival_;
  Napi::Promise::Deferred deferred_ = Napi::Promise::Deferred::New(Env());
};

/// \returns the functions of a running sandbox.
Napi::Value start(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto sandbox = std::make_shared<Sandbox>(options_of(info[0].As<Napi::Object>()));
  Napi::Object wires = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) {
    wires.Set(name, Napi::Function::New(
                        env,
                        [sandbox, function](const Napi::CallbackInfo& call) -> Napi::Value {
                          try {
                            return function(*sandbox, call);
                          } catch (const std::exception& error) {
                            throw Napi::Error::New(call.Env(), error.what());
                          }
                        },
                        name));
  };
  add("stop", [](Sandbox& s, const Napi::CallbackInfo& call) { return s.stop(), call.Env().Undefined(); });
  add("requests", [](Sandbox& s, const Napi::CallbackInfo& call) { return requests(call.Env(), s); });
  add("eventsJson",
      [](Sandbox& s, const Napi::CallbackInfo& call) { return Napi::String::New(call.Env(), s.events_json()); });
  wires.Set("expect", Napi::Function::New(
                          env,
                          [sandbox](const Napi::CallbackInfo& call) -> Napi::Value {
                            const std::chrono::milliseconds timeout(call[1].As<Napi::Number>().Int64Value());
                            auto worker = new Expecting(call.Env(), sandbox, message_of(call), timeout);
                            worker->Queue();  // it deletes itself
                            return worker->promise();
                          },
                          "expect"));
  add("expectNone",
      [](Sandbox& s, const Napi::CallbackInfo& call) { return to_js(call.Env(), s.expect_none(message_of(call))); });
  add("matchingJson", [](Sandbox& s, const Napi::CallbackInfo& call) {
    return Napi::String::New(call.Env(), s.matching_json(message_of(call)));
  });
  add("eventCount", [](Sandbox& s, const Napi::CallbackInfo& call) {
    return Napi::Number::New(call.Env(), static_cast<double>(s.event_count()));
  });
  add("statsJson",
      [](Sandbox& s, const Napi::CallbackInfo& call) { return Napi::String::New(call.Env(), s.stats_json()); });
  add("clear", [](Sandbox& s, const Napi::CallbackInfo& call) { return s.clear(), call.Env().Undefined(); });
  add("setFaults", [](Sandbox& s, const Napi::CallbackInfo& call) {
    s.set_faults(call[0].As<Napi::String>());
    return call.Env().Undefined();
  });
  add("setToken", [](Sandbox& s, const Napi::CallbackInfo& call) {
    s.set_token(call[0].As<Napi::String>());
    return call.Env().Undefined();
  });
  wires.Set("url", sandbox->url());
  wires.Set("port", sandbox->port());
  return wires;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("start", Napi::Function::New(
                           env,
                           [](const Napi::CallbackInfo& info) {
                             try {
                               return start(info);
                             } catch (const std::invalid_argument& error) {
                               throw Napi::TypeError::New(info.Env(), error.what());
                             } catch (const std::runtime_error& error) {
                               throw Napi::Error::New(info.Env(), error.what());
                             }
                           },
                           "start"));
  exports.Set("runCommand", Napi::Function::New(
                                env,
                                [](const Napi::CallbackInfo& info) {
                                  return Napi::Number::New(
                                      info.Env(), run_sandbox_command(info[0].As<Napi::String>(), texts(info[1])));
                                },
                                "runCommand"));
  return exports;
}

NODE_API_MODULE(intilery_sandbox, init)

}  // namespace

}  // namespace intilery::testing
