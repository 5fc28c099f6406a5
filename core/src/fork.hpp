/// \file
/// What of a client is left in a forked child: memory, without the threads that work on it, and with locks that those
/// may hold for ever. So a child touches nothing of its parent's.
#pragma once

namespace intilery {

/// How many forks lie between this process and the first that asked. What was made under another number is the
/// parent's. Any thread; cheap.
unsigned fork_generation();

/// \throws ClosedError that says so, always.
[[noreturn]] void throw_foreign();

}  // namespace intilery
