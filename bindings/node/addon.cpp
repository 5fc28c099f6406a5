/// \file
/// The module intilery.node. Everything in it belongs to the environment that loaded it: there is no global state, so
/// that each worker has its own.

#include <napi.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arrival.hpp"
#include "call.hpp"
#include "convert.hpp"
#include "diagnosis.hpp"
#include "event/bad_value.hpp"
#include "event/encoder.hpp"
#include "intilery/options.hpp"
#include "intilery/version.hpp"
#include "memory/outbox.hpp"
#include "nearest.hpp"
#include "node_client.hpp"
#include "row_sender.hpp"
#include "suspicion.hpp"
#include "transport/trust.hpp"

namespace intilery::node {

namespace {

void set_option_text(Options& options, const std::string& name, const std::string& json) {
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(json);
  } catch (const nlohmann::json::exception&) {
    throw ConfigurationError(name, "invalid_value", name + " holds text that is not valid Unicode");
  }
  set_option(options, name, value, style);
}

/// `options`, and over them those in arrays of names and of values, which are JSON text.
Options options_of(const Napi::Value& names, const Napi::Value& values, Options options) {
  const auto name = names.As<Napi::Array>();
  const auto value = values.As<Napi::Array>();
  for (std::uint32_t i = 0; i < name.Length(); ++i) {
    set_option_text(options, name.Get(i).As<Napi::String>(), value.Get(i).As<Napi::String>());
  }
  return options;
}

/// What node/testing.cjs calls of a client in memory.
Napi::Object outbox_wires(Napi::Env env, const std::shared_ptr<memory::Outbox>& outbox) {
  Napi::Object wires = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) {
    wires.Set(name, Napi::Function::New(
                        env,
                        [outbox, function](const Napi::CallbackInfo& info) -> Napi::Value {
                          try {
                            return function(*outbox, info);
                          } catch (const std::invalid_argument& error) {
                            throw Napi::TypeError::New(info.Env(), error.what());
                          }
                        },
                        name));
  };
  const auto message = [](const Napi::CallbackInfo& info) {
    return nlohmann::json::parse(info[0].As<Napi::String>().Utf8Value());
  };
  using Outbox = memory::Outbox;
  add("answer", [](Outbox& o, const Napi::CallbackInfo& info) {
    std::optional<std::size_t> times;
    if (info[1].IsNumber()) times = info[1].As<Napi::Number>().Uint32Value();
    o.answer(info[0].As<Napi::Number>(), times, info[2].As<Napi::String>());
    return info.Env().Undefined();
  });
  add("clear", [](Outbox& o, const Napi::CallbackInfo& info) { return o.clear(), info.Env().Undefined(); });
  add("sentJson",
      [](Outbox& o, const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), o.sent_json()); });
  add("matchingJson", [message](Outbox& o, const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), o.matching_json(message(info)));
  });
  add("expect",
      [message](Outbox& o, const Napi::CallbackInfo& info) { return to_js(info.Env(), o.expect(message(info))); });
  add("expectNone",
      [message](Outbox& o, const Napi::CallbackInfo& info) { return to_js(info.Env(), o.expect_none(message(info))); });
  return wires;
}

/// `(names, values, fromEnv, dispatch, inMemory)`: option names and their values as JSON text.
/// \returns the client's functions, or the fields of a ConfigurationError.
Napi::Value create_client(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    const auto outbox = info[4].ToBoolean() ? std::make_shared<memory::Outbox>() : nullptr;
    Options options = options_of(info[0], info[1],
                                 info[2].ToBoolean() ? Options::from_env()
                                 : outbox            ? memory::default_options()
                                                     : Options{});
    if (options.on_full == OnFull::block) {
      throw ConfigurationError("onFull", "invalid_value",
                               "onFull must not be block in Node, where it would stop the event loop; "
                               "await client.drained() between events instead");
    }
    Napi::Object wires =
        std::make_shared<NodeClient>(env, std::move(options), info[3].As<Napi::Function>(), outbox)->wires(env);
    if (outbox) wires.Set("outbox", outbox_wires(env, outbox));
    return wires;
  } catch (const IntileryError& error) {
    return to_js(env, error.info());
  }
}

/// Looks on a thread of the pool.
class Doctor : public Napi::AsyncWorker {
 public:
  Doctor(Napi::Env env, Options options)
      : Napi::AsyncWorker(env), options_(std::move(options)), deferred_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    Waiting waiting;
    checks_ = diagnose(options_, style, "intilery-node/" INTILERY_VERSION, waiting);
  }
  void OnOK() override {
    Napi::Array checks = Napi::Array::New(Env(), checks_.size());
    for (std::uint32_t i = 0; i < checks_.size(); ++i) {
      Napi::Object check = Napi::Object::New(Env());
      check.Set("name", checks_[i].name);
      check.Set("result", std::string(to_string(checks_[i].result)));
      check.Set("message", checks_[i].message);
      check.Set("advice", checks_[i].advice);
      checks.Set(i, check);
    }
    deferred_.Resolve(checks);
  }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  const Options options_;
  Napi::Promise::Deferred deferred_;
  std::vector<Check> checks_;
};

/// `(names, values)`, over the environment.
/// \returns a promise of the checks, or the fields of a ConfigurationError.
Napi::Value start_diagnosis(const Napi::CallbackInfo& info) {
  try {
    auto doctor = std::make_unique<Doctor>(info.Env(), options_of(info[0], info[1], Options::from_env()));
    const Napi::Promise promise = doctor->promise();
    doctor.release()->Queue();  // it deletes itself
    return promise;
  } catch (const IntileryError& error) {
    return to_js(info.Env(), error.info());
  }
}

Napi::Value list_options(const Napi::CallbackInfo& info) {
  const auto& list = option_list();
  Napi::Array array = Napi::Array::New(info.Env(), list.size());
  for (std::uint32_t i = 0; i < list.size(); ++i) array.Set(i, to_js(info.Env(), list[i]));
  return array;
}

/// For the tests of the fast way: whether a JSON text would be looked at again.
Napi::Value looks_suspicious(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), is_suspicious(info[0].As<Napi::String>().Utf8Value()));
}

/// `(data, isJourney)`: a command's merge data, as `submit` takes it exactly.
/// \returns undefined, or the fields of the ValidationError that it makes.
Napi::Value check_merge_data(const Napi::CallbackInfo& info) {
  using Command = event::Draft::Command;
  try {
    check_data(info.Env(), info[0], info[1].ToBoolean() ? Command::journey : Command::asset);
  } catch (event::BadValue& bad) {
    return to_js(info.Env(), event::validation_error(std::move(bad)).info());
  }
  return info.Env().Undefined();
}

/// `(name, candidates)`: what an error about an unknown name adds.
Napi::Value suggest(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>();
  const auto given = info[1].As<Napi::Array>();
  std::vector<std::string> candidates;
  for (std::uint32_t i = 0; i < given.Length(); ++i) candidates.push_back(given.Get(i).As<Napi::String>());
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  return Napi::String::New(info.Env(), did_you_mean(name, views));
}

Napi::Value lacks_certificates(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), transport::find_trust({}).source.empty());
}

void set_certificates(const Napi::CallbackInfo& info) {
  transport::set_language_certificates(info[0].As<Napi::String>());
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("version", Napi::String::New(env, INTILERY_VERSION));
  exports.Set("createClient", Napi::Function::New(env, create_client, "createClient"));
  exports.Set("diagnose", Napi::Function::New(env, start_diagnosis, "diagnose"));
  exports.Set("lacksCertificates", Napi::Function::New(env, lacks_certificates, "lacksCertificates"));
  exports.Set("setCertificates", Napi::Function::New(env, set_certificates, "setCertificates"));
  exports.Set("optionList", Napi::Function::New(env, list_options, "optionList"));
  exports.Set("isSuspicious", Napi::Function::New(env, looks_suspicious, "isSuspicious"));
  exports.Set("checkData", Napi::Function::New(env, check_merge_data, "checkData"));
  exports.Set("didYouMean", Napi::Function::New(env, suggest, "didYouMean"));
  exports.Set("countRows", Napi::Function::New(env, make_row_counter, "countRows"));
  exports.Set("openCheckpoint", Napi::Function::New(env, open_checkpoint, "openCheckpoint"));
  return exports;
}

NODE_API_MODULE(intilery, init)

}  // namespace

}  // namespace intilery::node
