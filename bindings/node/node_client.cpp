#include "node_client.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "call.hpp"
#include "convert.hpp"
#include "intilery/version.hpp"
#include "readback/reader.hpp"
#include "row_sender.hpp"

namespace intilery::node {

namespace {

/// Fates handed over in one turn of the event loop. A queue that fails as a whole must not hold up the program.
constexpr std::size_t fates_in_turn = 4096;

/// Ends a wait when the environment ends.
struct Stopped {};

class StoppableWaiting : public Waiting {
 public:
  explicit StoppableWaiting(const std::atomic<bool>& stopping) : stopping_(stopping) {}
  void check() override {
    if (stopping_) throw Stopped{};
  }

 private:
  const std::atomic<bool>& stopping_;
};

using SharedReader = std::shared_ptr<readback::JsonReader>;

std::optional<std::chrono::milliseconds> timeout_of(const Napi::Value& value) {
  if (!value.IsNumber()) return std::nullopt;
  return std::chrono::milliseconds(value.As<Napi::Number>().Int64Value());
}

napi_value text_of(napi_env env, std::string_view text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

}  // namespace

NodeClient::NodeClient(Napi::Env env, Options options, Napi::Function dispatch, std::shared_ptr<memory::Outbox> outbox)
    : env_(env) {
  core_ = std::make_unique<ClientCore>(std::move(options), Library{"intilery-node", INTILERY_VERSION}, mailbox_, style,
                                       std::move(outbox));
  const Napi::String name = Napi::String::New(env, "intilery");
  if (napi_create_threadsafe_function(env, dispatch, nullptr, name, 0, 1, nullptr, nullptr, this, wake, &wake_) !=
      napi_ok) {
    throw Napi::Error::New(env, "intilery: no thread-safe function could be made");
  }
  napi_unref_threadsafe_function(env, wake_);
  // The environment may end (a worker's terminate()) before JavaScript drops us. Hooks run newest first: ours before
  // the one that frees the thread-safe function.
  napi_add_env_cleanup_hook(env, environment_ends, this);
  mailbox_->open(wake_);
}

NodeClient::~NodeClient() { shut(); }

void NodeClient::environment_ends(void* self) { static_cast<NodeClient*>(self)->shut(); }

ClientCore& NodeClient::core() const {
  if (!core_) throw Napi::Error::New(env_, "intilery: the environment has ended");
  return *core_;
}

void NodeClient::shut() {
  if (!core_) return;
  napi_remove_env_cleanup_hook(env_, environment_ends, this);
  stopping_ = true;
  mailbox_->shut();
  for (auto& [call, thread] : calls_) thread.join();
  calls_.clear();
  core_.reset();
  // Aborted, not released: what it was called for must not reach `wake` after our end.
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
  ids_.Reset();
}

Napi::Object NodeClient::wires(Napi::Env env) {
  const std::shared_ptr<NodeClient> self = shared_from_this();
  Napi::Object wires = Napi::Object::New(env);

  const auto add_hot = [&](const char* name, napi_callback function) {
    napi_value wire = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, this, &wire);
    napi_add_finalizer(
        env, wire, new std::shared_ptr<NodeClient>(self),
        [](napi_env, void* owner, void*) { delete static_cast<std::shared_ptr<NodeClient>*>(owner); }, nullptr,
        nullptr);
    wires.Set(name, wire);
  };
  add_hot("submit", submit);
  add_hot("submitParts", submit_parts);

  const auto add = [&](const char* name, auto function) {
    wires.Set(name, Napi::Function::New(
                        env,
                        [self, function](const Napi::CallbackInfo& info) -> Napi::Value {
                          if (!self->core_) throw Napi::Error::New(info.Env(), "intilery: the environment has ended");
                          try {
                            return function(*self, info);
                          } catch (const IntileryError& error) {
                            return to_js(info.Env(), error.info());
                          }
                        },
                        name));
  };
  add("brand", [](NodeClient& client, const Napi::CallbackInfo& info) -> Napi::Value {
    return Napi::Number::New(info.Env(), client.core_->brand(info[0].As<Napi::String>().Utf8Value()));
  });
  add("refuse", [](NodeClient& client, const Napi::CallbackInfo& info) { return client.refuse(info); });
  add("drop", [](NodeClient& client, const Napi::CallbackInfo& info) { return client.drop(info); });
  add("setIds", [](NodeClient& client, const Napi::CallbackInfo& info) { return client.set_ids(info); });
  add("closeNow", [](NodeClient& client, const Napi::CallbackInfo& info) { return client.close_now(info); });
  add("flush", [](NodeClient& client, const Napi::CallbackInfo& info) {
    if (client.core_->is_idle()) {
      client.mailbox_->answer({info[0].As<Napi::Number>(), Flush{}});  // after the fates that are in there
      client.hold();
      return info.Env().Undefined();
    }
    client.run(info[0].As<Napi::Number>(), [&client, timeout = timeout_of(info[1])](Waiting& waiting) {
      return Result(client.core_->flush(timeout, waiting));
    });
    return info.Env().Undefined();
  });
  add("close", [](NodeClient& client, const Napi::CallbackInfo& info) {
    client.run(info[0].As<Napi::Number>(), [&client, timeout = timeout_of(info[1])](Waiting& waiting) {
      return Result(client.core_->close(timeout, waiting));
    });
    return info.Env().Undefined();
  });
  add("verify", [](NodeClient& client, const Napi::CallbackInfo& info) {
    const auto given = info[1].As<Napi::Array>();
    std::vector<std::string> ids;
    for (std::uint32_t i = 0; i < given.Length(); ++i) ids.push_back(given.Get(i).As<Napi::String>());
    std::string user_id = info[2].IsString() ? info[2].As<Napi::String>() : std::string();
    const auto timeout = timeout_of(info[3]).value_or(std::chrono::seconds(30));
    const auto brand = static_cast<std::uint16_t>(info[4].As<Napi::Number>().Uint32Value());
    const auto moment = [](const Napi::Value& value) -> std::optional<readback::PageQuery::Moment> {
      if (!value.IsNumber()) return std::nullopt;
      return readback::PageQuery::Moment(std::chrono::milliseconds(value.As<Napi::Number>().Int64Value()));
    };
    const auto start = moment(info[5]);
    const auto end = moment(info[6]);
    client.run(info[0].As<Napi::Number>(), [&client, ids = std::move(ids), user_id = std::move(user_id), timeout, brand,
                                            start, end](Waiting& waiting) {
      const readback::Where where{.user_id = user_id, .start = start, .end = end};
      return Result(client.core_->verify(ids, where, timeout, waiting, brand));
    });
    return info.Env().Undefined();
  });
  add("openReading", [](NodeClient&, const Napi::CallbackInfo& info) -> Napi::Value {
    const std::string what = info[0].As<Napi::String>();
    const std::string query = info[1].As<Napi::String>();
    auto reader = std::make_shared<readback::JsonReader>(what, nlohmann::json::parse(query, nullptr, false));
    return Napi::External<SharedReader>::New(info.Env(), new SharedReader(std::move(reader)),
                                             [](Napi::Env, SharedReader* owner) { delete owner; });
  });
  add("read", [](NodeClient& client, const Napi::CallbackInfo& info) {
    const SharedReader reader = *info[1].As<Napi::External<SharedReader>>().Data();
    const auto timeout = *timeout_of(info[2]);
    const auto brand = static_cast<std::uint16_t>(info[3].As<Napi::Number>().Uint32Value());
    client.run(info[0].As<Napi::Number>(), [&client, reader, timeout, brand](Waiting& waiting) {
      return Result(client.core_->next(*reader, timeout, waiting, brand));
    });
    return info.Env().Undefined();
  });
  add("stats", [](NodeClient& client, const Napi::CallbackInfo& info) -> Napi::Value {
    return to_js(info.Env(), client.core_->stats());
  });
  add("setAuthToken", [](NodeClient& client, const Napi::CallbackInfo& info) {
    client.core_->set_auth_token(info[0].As<Napi::String>());
    return info.Env().Undefined();
  });
  add("rowSender", [](NodeClient& client, const Napi::CallbackInfo& info) {
    return make_row_sender(info, client.shared_from_this());
  });
  wires.Set("dryRun", Napi::Boolean::New(env, core_->options().dry_run));
  wires.Set("debug", Napi::Boolean::New(env, core_->options().debug));
  wires.Set("exitTimeout", Napi::Number::New(env, static_cast<double>(core_->options().exit_timeout.count())));
  return wires;
}

template <std::size_t N, class Submit>
napi_value NodeClient::call(napi_env env, napi_callback_info info, Submit submit) {
  std::array<napi_value, N> arguments;
  std::size_t count = N;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, arguments.data(), nullptr, &data);
  NodeClient& client = *static_cast<NodeClient*>(data);
  try {
    if (!client.core_) return nullptr;
    event::MessageId id;
    if (submit(client, arguments, id) == Submitted::suspicious) {
      napi_value yes = nullptr;
      napi_get_boolean(env, true, &yes);
      return yes;
    }
    return client.hand_over(env, id);
  } catch (const IntileryError& error) {
    return to_js(env, error.info());
  } catch (const std::exception& error) {
    napi_throw_error(env, "internal", error.what());
    return nullptr;
  }
}

napi_value NodeClient::submit(napi_env env, napi_callback_info info) {
  return call<3>(env, info, [env](NodeClient& client, const auto& arguments, event::MessageId& id) {
    return submit_joined(env, arguments, *client.core_, client.reader_, tag_of(client.sequence_), id);
  });
}

napi_value NodeClient::submit_parts(napi_env env, napi_callback_info info) {
  constexpr auto count = static_cast<std::size_t>(Argument::count);
  return call<count>(env, info, [env](NodeClient& client, const auto& arguments, event::MessageId& id) {
    return node::submit_parts(env, arguments, *client.core_, client.reader_, tag_of(client.sequence_), id);
  });
}

napi_value NodeClient::hand_over(napi_env env, const event::MessageId& id) {
  hold();
  const std::size_t place = sequence_++ % ids_in_chunk;
  if (!id.is_uuid()) return text_of(env, id.custom());
  if (ids_bytes_ != nullptr) std::memcpy(ids_bytes_ + place * id_size, id.uuid().data(), id_size);
  return nullptr;
}

Napi::Value NodeClient::refuse(const Napi::CallbackInfo& info) {
  const std::string code = info[0].As<Napi::String>();
  const std::string path = info[1].As<Napi::String>();
  const std::string message = info[2].As<Napi::String>();
  core_->refuse(ValidationError(code, path, message), tag_of(sequence_));
  hold();
  ++sequence_;
  return info.Env().Undefined();
}

Napi::Value NodeClient::drop(const Napi::CallbackInfo& info) {
  core_->drop(tag_of(sequence_));
  hold();
  ++sequence_;
  return info.Env().Undefined();
}

Napi::Value NodeClient::set_ids(const Napi::CallbackInfo& info) {
  auto ids = info[0].As<Napi::Uint8Array>();
  ids_bytes_ = ids.Data();
  ids_ = Napi::Persistent(ids.As<Napi::Uint8Array>());
  return info.Env().Undefined();
}

Napi::Value NodeClient::close_now(const Napi::CallbackInfo& info) {
  Waiting waiting;
  const Flush flush = core_->close(timeout_of(info[0]), waiting);
  const Napi::Value dispatch = info[1];
  while (!deliver(info.Env(), dispatch, fates_in_turn)) {
  }
  return to_js(info.Env(), flush);
}

void NodeClient::run(double call, std::function<Result(Waiting&)> work) {
  calls_.emplace(call, std::thread([this, call, work = std::move(work)] {
                   try {
                     StoppableWaiting waiting(stopping_);
                     mailbox_->answer({call, work(waiting)});
                   } catch (const Stopped&) {
                   } catch (const IntileryError& error) {
                     mailbox_->answer({call, error.info()});
                   } catch (const std::exception& error) {
                     ErrorInfo info;
                     info.code = "internal";
                     info.message = error.what();
                     mailbox_->answer({call, info});
                   }
                 }));
  hold();
}

void NodeClient::hold() {
  if (under_way_++ == 0) napi_ref_threadsafe_function(env_, wake_);
}

void NodeClient::let_go(std::size_t count) {
  under_way_ -= count;
  if (under_way_ == 0) napi_unref_threadsafe_function(env_, wake_);
}

void NodeClient::wake(napi_env env, napi_value dispatch, void* context, void*) {
  if (env == nullptr || dispatch == nullptr) return;  // the environment is ending
  auto* const client = static_cast<NodeClient*>(context);
  // A callback may drop the last reference to us.
  const std::shared_ptr<NodeClient> alive = client->weak_from_this().lock();
  if (!alive || !alive->core_) return;
  if (!alive->deliver(env, dispatch, fates_in_turn) && alive->core_) {
    napi_call_threadsafe_function(alive->wake_, nullptr, napi_tsfn_nonblocking);
  }
}

bool NodeClient::deliver(napi_env env, napi_value dispatch, std::size_t limit) {
  if (mail_.empty()) {
    mail_ = mailbox_->take();
    delivered_ = 0;
  }
  const std::size_t count = std::min(limit, mail_.fates.size() - delivered_);
  if (count > 0) deliver_fates(env, dispatch, count);
  if (delivered_ < mail_.fates.size()) return false;
  // Answers come after the fates: when a flush returns, its events' callbacks have been called.
  deliver_rest(env, dispatch);
  return true;
}

void NodeClient::deliver_fates(napi_env env, napi_value dispatch, std::size_t count) {
  // buffer: float64 sequence[count], int32 outcome[count], int32 latency[count],
  //         then of each outcome int32 {status, attempts, route + 2 if read back, error}; error: index into the text's
  //         errors, or -1.
  // text:   {"eventIds": [of each outcome], "errors": […]}; read only by who wants to know.
  const std::span<const Fate> fates = std::span(mail_.fates).subspan(delivered_, count);
  const std::uint32_t first = fates.front().outcome;
  const std::size_t outcomes = fates.back().outcome - first + 1;
  const std::size_t size = count * 16 + outcomes * 16;
  void* bytes = nullptr;
  napi_value buffer = nullptr;
  if (napi_create_arraybuffer(env, size, &bytes, &buffer) != napi_ok) return;
  auto* const sequence = static_cast<double*>(bytes);
  auto* const outcome = reinterpret_cast<std::int32_t*>(sequence + count);
  auto* const latency = outcome + count;
  for (std::size_t i = 0; i < count; ++i) {
    sequence[i] = fates[i].sequence;
    outcome[i] = static_cast<std::int32_t>(fates[i].outcome - first);
    latency[i] = fates[i].latency_us;
  }

  nlohmann::json event_ids = nlohmann::json::array();
  nlohmann::json errors = nlohmann::json::array();
  const ErrorInfo* last_error = nullptr;
  std::int32_t* row = latency + count;
  for (std::size_t i = 0; i < outcomes; ++i) {
    const Outcome& shared = *mail_.outcomes[first + i];
    event_ids.push_back(shared.event_id ? nlohmann::json(*shared.event_id) : nlohmann::json());
    if (shared.error && shared.error.get() != last_error) errors.push_back(to_json(*shared.error));
    last_error = shared.error ? shared.error.get() : last_error;
    *row++ = shared.status;
    *row++ = shared.attempts;
    *row++ = static_cast<std::int32_t>(shared.route) + (shared.read_back ? 2 : 0);
    *row++ = shared.error ? static_cast<std::int32_t>(errors.size() - 1) : -1;
  }
  // An answer's body is the server's: it may hold any bytes.
  const std::string text = nlohmann::json{{"eventIds", event_ids}, {"errors", errors}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);

  delivered_ += count;
  let_go(count);
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  std::array<napi_value, 4> arguments{};
  napi_create_uint32(env, static_cast<std::uint32_t>(Dispatch::fates), &arguments[0]);
  napi_create_uint32(env, static_cast<std::uint32_t>(count), &arguments[1]);
  arguments[2] = buffer;
  arguments[3] = text_of(env, text);
  napi_call_function(env, undefined, dispatch, arguments.size(), arguments.data(), nullptr);
}

void NodeClient::deliver_rest(napi_env env, napi_value dispatch) {
  // JavaScript may call us again meanwhile (`closeNow` in a callback).
  const Mail mail = std::exchange(mail_, Mail{});
  delivered_ = 0;
  const Napi::Function call(env, dispatch);
  const auto tell = [&](Dispatch what, const std::initializer_list<napi_value>& rest) {
    std::vector<napi_value> arguments{Napi::Number::New(env, static_cast<double>(what))};
    arguments.insert(arguments.end(), rest);
    napi_value undefined = nullptr;
    napi_get_undefined(env, &undefined);
    napi_call_function(env, undefined, call, arguments.size(), arguments.data(), nullptr);
  };
  if (mail.rows) tell(Dispatch::rows, {});
  for (const LogLine& line : mail.lines) {
    tell(Dispatch::log, {Napi::Number::New(env, static_cast<double>(line.level)), text_of(env, line.text)});
  }
  for (const Answer& answer : mail.answers) {
    if (const auto thread = calls_.find(answer.call); thread != calls_.end()) {
      thread->second.join();  // it has posted its answer: it is ending
      calls_.erase(thread);
    }
    let_go(1);
    const Napi::Value nothing = Napi::Env(env).Undefined();
    const auto* const error = std::get_if<ErrorInfo>(&answer.result);
    Napi::Value result = nothing;
    if (const auto* flush = std::get_if<Flush>(&answer.result)) result = to_js(env, *flush);
    if (const auto* verification = std::get_if<Verification>(&answer.result)) result = to_js(env, *verification);
    if (const auto* text = std::get_if<std::string>(&answer.result)) result = Napi::Value(env, text_of(env, *text));
    tell(Dispatch::answer,
         {Napi::Number::New(env, answer.call), error != nullptr ? Napi::Value(to_js(env, *error)) : nothing, result});
  }
}

}  // namespace intilery::node
