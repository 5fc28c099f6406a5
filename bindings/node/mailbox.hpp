/// \file
/// What the client's threads have to tell JavaScript.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "client_core.hpp"

namespace intilery::node {

/// The fate of one event, as it lies in the array that JavaScript reads.
struct Fate {
  double sequence = 0;
  std::uint32_t outcome = 0;  ///< Index into the mail's outcomes.
  std::int32_t latency_us = 0;
};

struct LogLine {
  LogLevel level = LogLevel::info;
  std::string text;
};

/// A blocking call (flush, close, verify, read) that ended.
struct Answer {
  double call = 0;
  std::variant<Flush, Verification, ErrorInfo, std::string> result;
};

struct Mail {
  std::vector<Fate> fates;
  std::vector<std::shared_ptr<const Outcome>> outcomes;
  std::vector<LogLine> lines;
  std::vector<Answer> answers;
  bool rows = false;  ///< Rows of a source have got their fates.

  bool empty() const { return fates.empty() && lines.empty() && answers.empty() && !rows; }
};

/// The tag of an event that is no row; those of rows are odd.
constexpr std::uintptr_t tag_of(std::uintptr_t sequence) { return sequence << 1; }
constexpr std::uintptr_t sequence_of(std::uintptr_t tag) { return tag >> 1; }

/// Collects, and wakes the event loop once for all that has come since it last looked: a thread-safe function call for
/// every event would cost more than the event. Any thread, but where a member says otherwise.
class Mailbox : public Observer {
 public:
  /// From now on new mail calls `wake`. JavaScript thread.
  void open(napi_threadsafe_function wake);
  /// From now on mail is collected, and wakes nobody. JavaScript thread, before `wake` is released.
  void shut();
  /// All that has come. The next mail wakes the loop again.
  Mail take();

  void finished(std::span<const Finished> group) override;
  void log(LogLevel level, std::string_view line) override;
  void answer(Answer answer);

 private:
  void collect(std::span<const Finished> group);
  void wake_locked();

  std::mutex mutex_;
  Mail mail_;
  napi_threadsafe_function wake_ = nullptr;
  bool awake_ = false;
};

}  // namespace intilery::node
