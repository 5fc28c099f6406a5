/// \file
/// What can go wrong.
///
///     IntileryError
///      ├─ ConfigurationError   an option is missing or makes no sense
///      ├─ ValidationError      an event breaks the contract: `code()`, `path()`
///      ├─ QueueFullError       more waits than `max_queue_bytes`
///      ├─ ClosedError          the client was closed before the call
///      ├─ DeliveryError        the event was accepted and will not be sent (again): `reason()`, `arrived()` …
///      │   └─ AuthError        … because the token has no rights
///      ├─ TimeoutError         a wait ended before what it waited for; nothing is lost
///      └─ SpoolError           the spool cannot be opened, or an event not be written there
///
/// No message ever shows the token, nor what an event holds.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "intilery/export.hpp"

namespace intilery {

/// Which class an error is of.
enum class ErrorKind { configuration, validation, queue_full, closed, delivery, auth, timeout, spool };

/// Whether an event that failed reached Intilery.
enum class Arrived {
  no,       ///< Surely not.
  unknown,  ///< It was sent, and never answered.
};

/// One rule of the tracking plan that an event breaks.
struct Violation {
  std::string code;     ///< Stable, documented in docs/errors.md.
  std::string path;     ///< The culprit, such as `properties.products[3].price`.
  std::string rule;     ///< Where the rule stands in the plan: a JSON pointer.
  std::string message;  ///< What is wrong; never what the event holds.
};

/// What an error knows, in a form that crosses threads and languages.
struct ErrorInfo {
  ErrorKind kind = ErrorKind::delivery;
  std::string code = {};     ///< Stable, documented in docs/errors.md; of a DeliveryError, the reason.
  std::string message = {};  ///< What is wrong and what to do.
  /// ValidationError: the culprit, such as `properties.products[3].price`. ConfigurationError: the option.
  std::string path = {};
  Arrived arrived = Arrived::no;
  int status = 0;         ///< Last HTTP status; 0: no answer.
  std::string body = {};  ///< The server's last answer, cut to 2 kB.
  int attempts = 0;       ///< Requests that carried the event.
  std::string message_id = {};
  std::vector<Violation> violations = {};  ///< ValidationError: of the tracking plan (`PlanMode::reject`).
  std::exception_ptr cause = {};           ///< What the program's own function (`before_send`) threw.
};

/// Base of all errors of this library.
class INTILERY_API IntileryError : public std::runtime_error {
 public:
  explicit IntileryError(ErrorInfo info) : std::runtime_error(info.message), info_(std::move(info)) {}
  const ErrorInfo& info() const noexcept { return info_; }
  const std::string& code() const noexcept { return info_.code; }

 private:
  ErrorInfo info_;
};

/// An option is missing or makes no sense.
class INTILERY_API ConfigurationError : public IntileryError {
 public:
  ConfigurationError(std::string option, std::string code, std::string message)
      : IntileryError({.kind = ErrorKind::configuration,
                       .code = std::move(code),
                       .message = std::move(message),
                       .path = std::move(option)}) {}
  explicit ConfigurationError(ErrorInfo info) : IntileryError(std::move(info)) {}
  const std::string& option() const noexcept { return info().path; }
};

/// An event breaks the contract; nothing of it was accepted.
class INTILERY_API ValidationError : public IntileryError {
 public:
  ValidationError(std::string code, std::string path, std::string message)
      : IntileryError({.kind = ErrorKind::validation,
                       .code = std::move(code),
                       .message = std::move(message),
                       .path = std::move(path)}) {}
  explicit ValidationError(ErrorInfo info) : IntileryError(std::move(info)) {}
  const std::string& path() const noexcept { return info().path; }
  /// What breaks the tracking plan, the first of which `code` and `path` tell; empty for another mistake.
  const std::vector<Violation>& violations() const noexcept { return info().violations; }
};

/// More waits than `max_queue_bytes` allows.
class INTILERY_API QueueFullError : public IntileryError {
  using IntileryError::IntileryError;
};

/// The client was closed before the call.
class INTILERY_API ClosedError : public IntileryError {
  using IntileryError::IntileryError;
};

/// An accepted event will not be sent (again).
class INTILERY_API DeliveryError : public IntileryError {
 public:
  using IntileryError::IntileryError;
  const std::string& reason() const noexcept { return info().code; }
  Arrived arrived() const noexcept { return info().arrived; }
  int status() const noexcept { return info().status; }
  const std::string& body() const noexcept { return info().body; }
  int attempts() const noexcept { return info().attempts; }
  const std::string& message_id() const noexcept { return info().message_id; }
};

/// An accepted event was given up because the token has no rights.
class INTILERY_API AuthError : public DeliveryError {
  using DeliveryError::DeliveryError;
};

/// A wait ended before what it waited for. Nothing is lost: delivery goes on.
class INTILERY_API TimeoutError : public IntileryError {
  using IntileryError::IntileryError;
};

/// The spool cannot be opened or written: `spool_unusable`, or `spool_full`. Of an event call: it was not accepted.
class INTILERY_API SpoolError : public IntileryError {
  using IntileryError::IntileryError;
};

/// Throws the class that `info.kind` names.
[[noreturn]] INTILERY_API void throw_error(ErrorInfo info);

}  // namespace intilery
