/// \file
/// A client as JavaScript holds it.
#pragma once

#include <napi.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <variant>

#include "client_core.hpp"
#include "mailbox.hpp"
#include "text.hpp"

namespace intilery::node {

/// The core, its mailbox and the wires to one JavaScript environment. Every member is called on that environment's
/// thread. Lives until JavaScript has dropped the functions that `wires` made; its threads end then, or with the
/// environment, whichever comes first.
class NodeClient : public std::enable_shared_from_this<NodeClient> {
 public:
  /// What `dispatch` is told, first of its arguments.
  enum class Dispatch : std::uint32_t {
    fates,   ///< `(count, buffer, text)`, see `deliver_fates`.
    log,     ///< `(level, line)`
    answer,  ///< `(call, error, result)`
    rows,    ///< `()`: rows of a source have got their fates.
  };

  /// \param dispatch called on the event loop with what has come. Must not hold the client in JavaScript, or that is
  ///        never collected.
  /// \throws ConfigurationError.
  /// \param outbox of a client in memory, or null.
  NodeClient(Napi::Env env, Options options, Napi::Function dispatch, std::shared_ptr<memory::Outbox> outbox);
  ~NodeClient();
  NodeClient(const NodeClient&) = delete;
  NodeClient& operator=(const NodeClient&) = delete;

  /// An object with the functions that node/client.cjs calls.
  Napi::Object wires(Napi::Env env);

  /// \throws Napi::Error when the environment has ended.
  ClientCore& core() const;

 private:
  using Result = decltype(Answer::result);

  /// The hot path, without node-addon-api. \returns undefined (accepted), true (suspicious: serialise exactly), a text
  /// (accepted, under this id of the caller's) or an error's fields.
  static napi_value submit(napi_env env, napi_callback_info info);
  static napi_value submit_parts(napi_env env, napi_callback_info info);
  template <std::size_t N, class Submit>
  static napi_value call(napi_env env, napi_callback_info info, Submit submit);
  /// The id as JavaScript finds it: a UUID goes into the array that `set_ids` gave, by `sequence`.
  napi_value hand_over(napi_env env, const event::MessageId& id);
  Napi::Value refuse(const Napi::CallbackInfo& info);
  Napi::Value drop(const Napi::CallbackInfo& info);
  Napi::Value set_ids(const Napi::CallbackInfo& info);
  Napi::Value close_now(const Napi::CallbackInfo& info);

  /// Runs `work` on a thread of its own and posts its result. Not on libuv's pool: a few flushes would fill it.
  void run(double call, std::function<Result(Waiting&)> work);

  void hold();  ///< One more thing under way: the event loop stays.
  void let_go(std::size_t count);
  static void wake(napi_env env, napi_value dispatch, void* context, void* data);
  /// Hands what has come to JavaScript, at most `limit` fates. \returns false if some is left.
  bool deliver(napi_env env, napi_value dispatch, std::size_t limit);
  void deliver_fates(napi_env env, napi_value dispatch, std::size_t count);
  void deliver_rest(napi_env env, napi_value dispatch);

  /// Ends every thread. Events without a fate are lost: whoever wants them closes before.
  void shut();
  static void environment_ends(void* self);

  napi_env env_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  std::unique_ptr<ClientCore> core_;
  napi_threadsafe_function wake_ = nullptr;
  TextReader reader_;
  Mail mail_;                    ///< Taken from the mailbox, not yet handed over …
  std::size_t delivered_ = 0;    ///< … but for so many of its fates.
  std::size_t under_way_ = 0;    ///< Events without a fate and blocking calls, as JavaScript knows them.
  std::uintptr_t sequence_ = 0;  ///< Of the next event; JavaScript counts in step.
  Napi::Reference<Napi::Uint8Array> ids_;
  std::uint8_t* ids_bytes_ = nullptr;
  std::map<double, std::thread> calls_;
  std::atomic<bool> stopping_{false};
};

/// How many events share an array of ids, and how long a UUID is in it. node/delivery.cjs has the same numbers.
constexpr std::size_t ids_in_chunk = 1024;
constexpr std::size_t id_size = 16;

}  // namespace intilery::node
