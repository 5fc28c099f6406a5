#include "intilery/errors.hpp"

#include <utility>

namespace intilery {

void throw_error(ErrorInfo info) {
  switch (info.kind) {
    case ErrorKind::configuration:
      throw ConfigurationError(std::move(info));
    case ErrorKind::validation:
      throw ValidationError(std::move(info));
    case ErrorKind::queue_full:
      throw QueueFullError(std::move(info));
    case ErrorKind::closed:
      throw ClosedError(std::move(info));
    case ErrorKind::auth:
      throw AuthError(std::move(info));
    case ErrorKind::timeout:
      throw TimeoutError(std::move(info));
    case ErrorKind::spool:
      throw SpoolError(std::move(info));
    case ErrorKind::delivery:
      break;
  }
  throw DeliveryError(std::move(info));
}

}  // namespace intilery
