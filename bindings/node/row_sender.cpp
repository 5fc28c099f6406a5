#include "row_sender.hpp"

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "call.hpp"
#include "convert.hpp"
#include "event/contract.hpp"
#include "event/json_check.hpp"
#include "rows/checkpoint.hpp"
#include "rows/line_sender.hpp"
#include "text.hpp"

namespace intilery::node {

namespace {

using nlohmann::json;
using rows::LineSender;

/// Of so many lines the members are looked at.
constexpr std::uint64_t lines_with_names = 100;
/// For counting, lines may be of any length.
constexpr std::size_t any_length = 16'000'000;

template <class Function>
void add(Napi::Object& object, const char* name, Function function) {
  const Napi::Env env = object.Env();
  object.Set(name, Napi::Function::New(
                       env,
                       [function](const Napi::CallbackInfo& info) -> Napi::Value {
                         try {
                           return function(info);
                         } catch (const IntileryError& error) {
                           return to_js(info.Env(), error.info());
                         }
                       },
                       name));
}

/// The text of a JavaScript string, half surrogate pairs and all.
std::string text_of(const Napi::CallbackInfo& info, std::size_t argument) {
  TextReader reader;
  TextReader::Place place;
  return reader.read(info.Env(), info[argument], place) ? std::string(reader.view(place)) : std::string();
}

/// Bytes that need not be UTF-8, as a string.
Napi::Value shown(Napi::Env env, std::string_view bytes) { return Napi::String::New(env, bytes.data(), bytes.size()); }

std::string_view bytes_of(const Napi::Value& value) {
  const auto bytes = value.As<Napi::Uint8Array>();
  return {reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength()};
}

Napi::Array texts(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (std::uint32_t i = 0; i < values.size(); ++i) array.Set(i, values[i]);
  return array;
}

rows::Columns columns_of(const Napi::Object& given) {
  const auto name = [&](const char* key) {
    const Napi::Value value = given.Get(key);
    return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
  };
  rows::Columns columns{.user_id = name("userId"),
                        .anonymous_id = name("anonymousId"),
                        .event = name("event"),
                        .timestamp = name("timestamp"),
                        .message_id = name("messageId"),
                        .only = given.Get("only").ToBoolean()};
  const auto listed = given.Get("listed").As<Napi::Array>();
  for (std::uint32_t i = 0; i < listed.Length(); ++i) columns.listed.insert(listed.Get(i).As<Napi::String>());
  return columns;
}

Napi::Array numbers(Napi::Env env, const rows::Tally& tally) {
  Napi::Array array = Napi::Array::New(env, 5);
  std::uint32_t at = 0;
  for (const std::uint64_t count : {tally.rows, tally.delivered, tally.rejected, tally.failed, tally.resent}) {
    array.Set(at++, static_cast<double>(count));
  }
  return array;
}

/// `{settled, total, rejects, failures, ended}`: rejects and failures since the last time.
Napi::Value take(Napi::Env env, LineSender& sender) {
  const std::vector<rows::RejectedRow> rejected = sender.take_rejects();
  const rows::Progress progress = sender.take();
  Napi::Array rejects = Napi::Array::New(env, rejected.size());
  for (std::uint32_t i = 0; i < rejected.size(); ++i) {
    Napi::Object reject = Napi::Object::New(env);
    reject.Set("row", static_cast<double>(rejected[i].row));
    reject.Set("line", static_cast<double>(rejected[i].line));
    reject.Set("error", to_js(env, rejected[i].error));
    reject.Set("text", shown(env, rejected[i].values));
    rejects.Set(i, reject);
  }
  Napi::Array failures = Napi::Array::New(env, progress.failed.size());
  for (std::uint32_t i = 0; i < progress.failed.size(); ++i) {
    Napi::Object failure = Napi::Object::New(env);
    failure.Set("row", static_cast<double>(progress.failed[i].row));
    failure.Set("error", to_js(env, progress.failed[i].error));
    failure.Set("messageId", progress.failed[i].error.message_id);
    failure.Set("text", shown(env, progress.failed[i].event));
    failures.Set(i, failure);
  }
  Napi::Object taken = Napi::Object::New(env);
  taken.Set("settled", progress.settled.text());
  taken.Set("total", numbers(env, progress.total));
  taken.Set("rejects", rejects);
  taken.Set("failures", failures);
  if (progress.ended) taken.Set("ended", to_js(env, *progress.ended));
  return taken;
}

/// What the program's function, given as `(text, timed) => text | [code, message] |
/// {refused: what values.cjs says of it}`, makes of an event.
LineSender::Change change_of(const Napi::Value& function) {
  if (!function.IsFunction()) return {};
  return [function = function.As<Napi::Function>()](const std::string& event, bool timed) -> std::string {
    const Napi::Env env = function.Env();
    const Napi::Value changed = function.Call({Napi::String::New(env, event), Napi::Boolean::New(env, timed)});
    if (changed.IsString()) return changed.As<Napi::String>();
    if (!changed.IsArray()) raise_refused(env, changed.As<Napi::Object>().Get("refused"));
    const auto refused = changed.As<Napi::Array>();
    const std::string code = refused.Get(0u).As<Napi::String>();
    throw ValidationError(code, code == "before_send" ? "" : "before_send", refused.Get(1u).As<Napi::String>());
  };
}

}  // namespace

Napi::Value make_row_sender(const Napi::CallbackInfo& info, std::shared_ptr<NodeClient> client) {
  const Napi::Env env = info.Env();
  const auto given = info[0].As<Napi::Object>();
  const auto number = [&](const char* key) {
    return static_cast<std::uint64_t>(given.Get(key).As<Napi::Number>().Int64Value());
  };
  LineSender::Plan plan{.action = event::action_named(given.Get("action").As<Napi::String>().Utf8Value()),
                        .event = given.Get("event").As<Napi::String>(),
                        .source = given.Get("source").As<Napi::String>(),
                        .before = rows::RowRanges::parse(given.Get("before").As<Napi::String>().Utf8Value()),
                        .stop = given.Get("stop").ToBoolean(),
                        .brand = static_cast<std::uint16_t>(number("brand"))};
  if (given.Get("limit").IsNumber()) plan.limit = number("limit");
  const auto sender = std::make_shared<LineSender>(client->core(), std::move(plan));

  Napi::Object wires = Napi::Object::New(env);
  add(wires, "isDone", [sender](const Napi::CallbackInfo& call) {
    const auto row = static_cast<std::uint64_t>(call[0].As<Napi::Number>().Int64Value());
    return Napi::Boolean::New(call.Env(), sender->is_done(row));
  });
  add(wires, "setColumns", [sender](const Napi::CallbackInfo& call) {
    sender->set_columns(columns_of(call[0].As<Napi::Object>()));
    return call.Env().Undefined();
  });
  add(wires, "names", [sender](const Napi::CallbackInfo& call) { return texts(call.Env(), sender->names()); });
  add(wires, "feed", [sender](const Napi::CallbackInfo& call) {
    sender->feed(bytes_of(call[0]));
    return call.Env().Undefined();
  });
  add(wires, "end", [sender](const Napi::CallbackInfo& call) {
    sender->end();
    return call.Env().Undefined();
  });
  add(wires, "add", [sender](const Napi::CallbackInfo& call) {
    sender->add(text_of(call, 0));
    return call.Env().Undefined();
  });
  add(wires, "refuse", [sender](const Napi::CallbackInfo& call) {  // (what values.cjs says of it, its text)
    try {
      raise_refused(call.Env(), call[0]);
    } catch (event::BadValue& bad) {
      sender->refuse(std::move(bad), text_of(call, 1));
    }
    return call.Env().Undefined();
  });
  add(wires, "step", [sender, client](const Napi::CallbackInfo& call) -> Napi::Value {  // (milliseconds, change?)
    client->core();                                                                     // there still is one
    const std::chrono::duration<double, std::milli> time(call[0].As<Napi::Number>().DoubleValue());
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
    return Napi::Number::New(call.Env(), static_cast<double>(sender->step(until, change_of(call[1]))));
  });
  add(wires, "take", [sender](const Napi::CallbackInfo& call) { return take(call.Env(), *sender); });
  return wires;
}

Napi::Value make_row_counter(const Napi::CallbackInfo& info) {
  struct Counter {
    rows::LineSplitter lines{any_length};
    std::uint64_t rows = 0;
    std::vector<std::string> names;
    std::set<std::string> seen;

    void count() {
      while (lines.next()) {
        if (++rows > lines_with_names) continue;
        std::vector<event::JsonMember> members;
        try {
          event::check_json(event::trim(lines.line()), &members, event::JsonWriter::max_depth + 1);
        } catch (const event::BadValue&) {
          continue;
        }
        for (const event::JsonMember& member : members) {
          if (seen.insert(member.key).second) names.push_back(member.key);
        }
      }
    }
  };
  const auto counter = std::make_shared<Counter>();
  Napi::Object wires = Napi::Object::New(info.Env());
  add(wires, "feed", [counter](const Napi::CallbackInfo& call) {
    counter->lines.feed(bytes_of(call[0]));
    counter->count();
    return Napi::Number::New(call.Env(), static_cast<double>(counter->rows));
  });
  add(wires, "end", [counter](const Napi::CallbackInfo& call) -> Napi::Value {  // {rows, names}
    counter->lines.end();
    counter->count();
    Napi::Object found = Napi::Object::New(call.Env());
    found.Set("rows", static_cast<double>(counter->rows));
    found.Set("names", texts(call.Env(), counter->names));
    return found;
  });
  return wires;
}

Napi::Value open_checkpoint(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    const auto checkpoint = std::make_shared<std::optional<rows::Checkpoint>>();
    checkpoint->emplace(info[0].As<Napi::String>().Utf8Value(), json::parse(info[1].As<Napi::String>().Utf8Value()));
    Napi::Object wires = Napi::Object::New(env);
    if (!(*checkpoint)->state().is_null()) wires.Set("state", (*checkpoint)->state().dump());
    add(wires, "save", [checkpoint](const Napi::CallbackInfo& call) {
      (*checkpoint)->save(json::parse(call[0].As<Napi::String>().Utf8Value()));
      return call.Env().Undefined();
    });
    add(wires, "close", [checkpoint](const Napi::CallbackInfo& call) {
      checkpoint->reset();
      return call.Env().Undefined();
    });
    return wires;
  } catch (const IntileryError& error) {
    return to_js(env, error.info());
  }
}

}  // namespace intilery::node
