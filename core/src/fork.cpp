#include "fork.hpp"

#include <atomic>

#include "intilery/errors.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace intilery {

namespace {

constinit std::atomic<unsigned> generation{1};

}  // namespace

unsigned fork_generation() {
#if !defined(_WIN32)
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
#endif
  return generation.load(std::memory_order_relaxed);
}

void throw_foreign() {
  throw_error({.kind = ErrorKind::closed,
               .code = "closed",
               .message = "the client belongs to the process that forked this one; make a new one here"});
}

}  // namespace intilery
