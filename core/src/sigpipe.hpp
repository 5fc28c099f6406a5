/// \file
/// Writing to a connection that its peer has ended.
#pragma once

#if !defined(_WIN32)
#include <signal.h>
#endif

namespace intilery {

/// Such a write raises SIGPIPE, which ends a program that does not ignore it, wherever a library underneath does not
/// say MSG_NOSIGNAL: hiredis, and OpenSSL below an older libcurl. On a thread that calls this it does not.
inline void block_sigpipe() {
#if !defined(_WIN32)
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
#endif
}

}  // namespace intilery
