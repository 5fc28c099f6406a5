/// \file
/// Looking after a spool folder from outside of the clients that use it.
///
/// Not in a process that has a client with this folder: looking at its files would let go of their locks (POSIX).
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "queue/dead_letters.hpp"

namespace intilery::queue {

/// What lies in a folder, without anything of what the events hold. Takes no lock, and changes nothing but that an old
/// `dead_letters.sqlite` gets the columns of this version.
///
/// - `folder`
/// - `files`: for each client's file `file`, `bytes`, `state`, `held` (a living client has it), `pid` (of that one;
/// null:
///   none, or it cannot be seen from here), `account` (client, account, brand, endpoint; or null), `events` and
///   `oldest` (ISO 8601) of those that wait (null if that cannot be read). `state` is `ok`, `damaged` (the next client
///   sets it aside), `newer` (a newer version's), `other` (none of ours), `unfinished` (its client died, or is, while
///   it makes it) or `unreadable` (`why` says why).
/// - `dead_letters`: `count`, `bytes`, `reasons` (how many by reason), `oldest`, `newest`.
/// - `damaged`: `file` and `bytes` of each file that was set aside.
///
/// \throws SpoolError if there is no such folder, as all functions here.
nlohmann::json spool_status(const std::filesystem::path& folder);

/// Gives each chosen dead letter as a line of JSON: `event` as on the wire, `brand`, `reason`, `message`, `status`,
/// `attempts`, `failed_at`. With `waiting` (for which the filter must be empty), what waits comes before: `event`,
/// `brand` and `called_at`.
/// \returns the files whose events could not be read.
std::vector<std::string> export_spool(const std::filesystem::path& folder, const LetterFilter& filter, bool waiting,
                                      const std::function<void(const std::string& line)>& give);

/// Has the next client that starts send the chosen dead letters again.
DeadLetters::Retried retry_spool(const std::filesystem::path& folder, const LetterFilter& filter);

/// Deletes the chosen dead letters, and with `waiting` the events in files that no living client holds.
/// \returns `dead_letters` and `waiting`, how many it deleted; `held`: `file` and `pid` of those that it left alone.
nlohmann::json purge_spool(const std::filesystem::path& folder, const LetterFilter& filter, bool waiting);

}  // namespace intilery::queue
