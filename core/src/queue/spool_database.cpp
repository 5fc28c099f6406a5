#include "queue/spool_database.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#include <process.h>
#endif

#include "event/timestamp.hpp"
#include "intilery/errors.hpp"
#include "queue/spool_log_writes.hpp"

namespace intilery::queue {

namespace {

namespace fs = std::filesystem;

constexpr const char* schema = R"(
  CREATE TABLE sender (identity TEXT NOT NULL);
  CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    brand TEXT NOT NULL,
    wire BLOB NOT NULL,            -- the event's JSON object without its closing brace
    lane INTEGER NOT NULL,         -- hash of the user
    id_size INTEGER NOT NULL,      -- bytes of the message id, which ends `wire` before a quote
    action INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    called_unix_us INTEGER NOT NULL);
)";

/// What SQLite calls a database's files.
constexpr std::array database_parts{"", "-wal", "-shm", "-journal"};

enum Flag : int { alone = 1, has_sent_at = 2, identifies = 4, commands = 8 };

int process_id() {
#if defined(_WIN32)
  return _getpid();
#else
  return getpid();
#endif
}

/// A name that no other client has and that sorts by time: behind those that are there, also if the clock was set back,
/// since what they hold goes first.
fs::path new_name(const fs::path& folder) {
  constexpr std::int64_t last = 99'999'999'999'999;
  std::int64_t moment = event::unix_now_ms();
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, failed)) {
    if (entry.path().extension() != spool_extension) continue;
    moment = std::max<std::int64_t>(moment, std::strtoll(entry.path().filename().c_str(), nullptr, 10) + 1);
  }
  std::random_device random;
  char text[64];
  std::snprintf(text, sizeof text, "%014lld-%d-%08x", static_cast<long long>(std::min(moment, last)), process_id(),
                static_cast<unsigned>(random()));
  return folder / (text + std::string(spool_extension));
}

}  // namespace

void raise_spool_error(std::string code, std::string message) {
  throw_error({.kind = ErrorKind::spool, .code = std::move(code), .message = std::move(message)});
}

const char* spool_code(int sqlite) { return sqlite == SQLITE_FULL ? "spool_full" : "spool_unusable"; }

bool is_damage(int sqlite) { return sqlite == SQLITE_CORRUPT || sqlite == SQLITE_NOTADB || sqlite == SQLITE_IOERR; }

std::string spool_identity(const Options& options) {
  return nlohmann::json{options.client_id, options.account_id, options.brand_id, options.endpoint}.dump();
}

int spool_flags(const Event& event) {
  return (event.alone ? Flag::alone : 0) | (event.has_sent_at ? Flag::has_sent_at : 0) |
         (event.identifies ? Flag::identifies : 0) | (event.commands ? Flag::commands : 0);
}

void set_spool_flags(Event& event, int flags) {
  event.alone = (flags & Flag::alone) != 0;
  event.has_sent_at = (flags & Flag::has_sent_at) != 0;
  event.identifies = (flags & Flag::identifies) != 0;
  event.commands = (flags & Flag::commands) != 0;
}

std::optional<std::int64_t> number(const Database& db, const char* sql) {
  Statement statement(db, sql);
  if (statement.step() != SQLITE_ROW) return std::nullopt;
  return statement.integer(0);
}

void create_private(const fs::path& path) {
#if !defined(_WIN32)
  const int file = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) {
    if (errno == EEXIST) return;
    raise_spool_error("spool_unusable", "the spool " + path.string() + " cannot be made: " + std::strerror(errno));
  }
  ::close(file);
#else
  static_cast<void>(path);
#endif
}

bool is_open_to_all(const fs::path& folder) {
  std::error_code failed;
  return (fs::status(folder, failed).permissions() & fs::perms::others_write) != fs::perms::none && !failed;
}

void refuse_planted(const fs::path& path) {
#if !defined(_WIN32)
  struct stat folder{};
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (::stat(parent.c_str(), &folder) != 0) return;  // whoever opens the file says why that fails
  const uid_t self = ::geteuid();
  const bool is_private = (folder.st_uid == self || folder.st_uid == 0) && (folder.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  if (is_private) return;
  for (const char* const part : database_parts) {
    struct stat file{};
    const std::string name = path.string() + part;
    if (::lstat(name.c_str(), &file) != 0) continue;
    const bool is_own = file.st_uid == self || file.st_uid == folder.st_uid;
    if (S_ISREG(file.st_mode) && file.st_nlink == 1 && is_own) continue;
    raise_spool_error("spool_unusable",
                      name +
                          " is a link, or another user's: it may be planted there by one of those who may write to "
                          "the folder, and is left alone. Remove it, and give the folder the mode 0700");
  }
#else
  static_cast<void>(path);
#endif
}

void unlink_all(const fs::path& path) {
  std::error_code ignored;
  for (const char* const part : database_parts) fs::remove(path.string() + part, ignored);
}

NewSpoolFile make_spool_file(const fs::path& folder, std::string_view identity, SpoolSync sync, std::size_t max_bytes) {
  const fs::path path = new_name(folder);
  create_private(path);
  auto db = std::make_unique<Database>(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, one_write_vfs());
  const auto must = [&](int code) {
    if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return;
    const std::string why = db->error();
    db.reset();
    unlink_all(path);
    raise_spool_error(spool_code(code), "the spool " + path.string() + " cannot be written: " + why);
  };
  sqlite3_busy_timeout(db->get(), 5'000);  // somebody may look whether the new file can be adopted
  must(db->run("PRAGMA locking_mode = EXCLUSIVE"));
  must(db->run("PRAGMA journal_mode = WAL"));
  must(db->run(sync == SpoolSync::power ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = OFF"));
  must(
      db->run("PRAGMA journal_size_limit = 4000000; PRAGMA wal_autocheckpoint = 500; PRAGMA secure_delete = FAST; "
              "PRAGMA temp_store = MEMORY"));
  must(db->limit_size(max_bytes));
  // All at once: a file with tables is whole.
  must(db->run("BEGIN EXCLUSIVE"));
  must(db->run(schema));
  must(Statement(*db, "INSERT INTO sender (identity) VALUES (?)").bind(1, identity).step());
  must(db->run("PRAGMA application_id = " + std::to_string(spool_application_id)));
  must(db->run("PRAGMA user_version = " + std::to_string(spool_schema_version)));
  must(db->run("COMMIT"));
  std::error_code failed;
  if (!fs::exists(path, failed) && !failed) {  // another client took it for a dead one's
    return make_spool_file(folder, identity, sync, max_bytes);
  }
  return {path, std::move(db)};
}

}  // namespace intilery::queue
