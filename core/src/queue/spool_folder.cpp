#include "queue/spool_folder.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#if !defined(_WIN32)
#include <fcntl.h>
#include <unistd.h>
#endif

#include "event/bad_value.hpp"
#include "event/json_check.hpp"
#include "event/timestamp.hpp"

namespace intilery::queue {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void check_folder(const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) {
    raise_spool_error("spool_unusable", folder.string() + " is no folder" + (failed ? ": " + failed.message() : ""));
  }
}

std::vector<fs::path> files_in(const fs::path& folder, std::string_view ending) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, failed)) {
    if (entry.path().filename().string().ends_with(ending)) found.push_back(entry.path());
  }
  if (failed) raise_spool_error("spool_unusable", folder.string() + " cannot be read: " + failed.message());
  std::sort(found.begin(), found.end());
  return found;
}

std::uintmax_t bytes_of(const fs::path& path) {
  std::uintmax_t bytes = 0;
  for (const char* const part : {"", "-wal"}) {
    std::error_code failed;
    const std::uintmax_t size = fs::file_size(path.string() + part, failed);
    if (!failed) bytes += size;
  }
  return bytes;
}

/// Who has a file locked: nobody, or a process, whose id is 0 if it cannot be seen from here.
std::optional<int> holder_of([[maybe_unused]] const fs::path& path) {
#if !defined(_WIN32)
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 0x40000000;  // SQLite's locks, from PENDING_BYTE on
  lock.l_len = 512;
  const bool asked = ::fcntl(file, F_GETLK, &lock) == 0;
  ::close(file);
  if (asked && lock.l_type != F_UNLCK) return std::max(0, static_cast<int>(lock.l_pid));
#endif
  return std::nullopt;
}

json pid_of(std::optional<int> holder) { return holder.value_or(0) > 0 ? json(*holder) : json(); }

/// A copy of a spool file, for its eyes only. Its client has it locked, and goes on writing; SQLite would not let
/// anybody read it, and a lock of ours could keep a starting client from taking it over.
class Snapshot {
 public:
  explicit Snapshot(const fs::path& path) {
    refuse_planted(path);
    std::string name = (fs::temp_directory_path() / "intilery-spool-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      raise_spool_error("spool_unusable", "no temporary folder can be made: " + std::string(std::strerror(errno)));
    }
    folder_ = name;
    try {
      copy(path);
      db_ = std::make_unique<Database>(folder_ / "copy", SQLITE_OPEN_READWRITE);
    } catch (...) {
      remove();
      throw;
    }
  }
  ~Snapshot() {
    db_.reset();
    remove();
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  const Database& db() const { return *db_; }

 private:
  /// Which log it is: its header has a salt, which changes when the log begins anew.
  using LogHeader = std::array<char, 32>;
  static LogHeader log_of(const fs::path& path) {
    LogHeader header{};
    std::ifstream(path.string() + "-wal", std::ios::binary)
        .read(header.data(), static_cast<std::streamsize>(header.size()));
    return header;
  }

  /// The database first, then the log. While it is the same log, it has all that came into the database meanwhile, so
  /// SQLite puts the two together to one state.
  void copy(const fs::path& path) const {
    constexpr int tries = 20;
    for (int i = 0; i < tries; ++i) {
      const LogHeader before = log_of(path);
      std::error_code failed;
      fs::copy_file(path, folder_ / "copy", fs::copy_options::overwrite_existing, failed);
      if (failed && failed != std::errc::io_error) raise_spool_error("spool_unusable", failed.message());
      if (failed) continue;  // it got shorter meanwhile
      fs::copy_file(path.string() + "-wal", folder_ / "copy-wal", fs::copy_options::overwrite_existing, failed);
      if (failed == std::errc::no_such_file_or_directory) fs::remove(folder_ / "copy-wal", failed);
      if (!failed && log_of(path) == before) return;
    }
    raise_spool_error("spool_unusable", "its client writes to it so fast that it cannot be read; try again");
  }
  void remove() const {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path folder_;
  std::unique_ptr<Database> db_;
};

/// What is wrong with a file; nothing: its events can be read.
std::string state_of(const Database& db) {
  Statement version(db, "PRAGMA user_version");
  const int code = version.step();
  if (code != SQLITE_ROW) return is_damage(code) ? "damaged" : "unreadable";
  if (version.integer(0) == 0 && number(db, "SELECT count(*) FROM sqlite_master") == 0) return "unfinished";
  if (number(db, "PRAGMA application_id") != spool_application_id) return "other";
  return version.integer(0) > spool_schema_version ? "newer" : "";
}

json time_of(std::int64_t unix_us) {
  const std::int64_t ms = std::clamp(unix_us / 1000, event::first_timestamp_ms, event::last_timestamp_ms);
  const event::TimestampText text = event::format_timestamp(ms);
  return std::string(text.data(), text.size());
}

json account_of(const Database& db) {
  Statement sender(db, "SELECT identity FROM sender");
  if (sender.step() != SQLITE_ROW) return nullptr;
  const json identity = json::parse(sender.bytes(0), nullptr, /*allow_exceptions=*/false);
  return identity.is_array() ? identity : json();
}

json file_status(const fs::path& path) {
  const std::optional<int> holder = holder_of(path);
  json file{{"file", path.filename().string()},
            {"bytes", bytes_of(path)},
            {"held", holder.has_value()},
            {"pid", pid_of(holder)},
            {"account", nullptr},
            {"events", nullptr},
            {"oldest", nullptr}};
  try {
    const Snapshot snapshot(path);
    std::string state = state_of(snapshot.db());
    if (state.empty()) {
      file["account"] = account_of(snapshot.db());
      Statement events(snapshot.db(), "SELECT count(*), min(called_unix_us) FROM events");
      if (events.step() == SQLITE_ROW) {
        file["events"] = events.integer(0);
        if (events.has(1)) file["oldest"] = time_of(events.integer(1));
      } else {
        state = "damaged";
      }
    }
    file["state"] = state.empty() ? "ok" : state;
  } catch (const SpoolError& error) {
    file["state"] = "unreadable";
    file["why"] = error.what();
  }
  return file;
}

/// \returns whether all of the file's events could be read.
bool export_events(const fs::path& path, const std::function<void(const std::string&)>& give) {
  const Snapshot snapshot(path);
  const std::string state = state_of(snapshot.db());
  if (!state.empty()) return state != "damaged" && state != "newer";
  json own = account_of(snapshot.db());
  own = own.is_array() && own.size() == 4 ? own[2] : json();
  const bool has_brand =
      number(snapshot.db(), "SELECT count(*) FROM pragma_table_info('events') WHERE name = 'brand'") == 1;
  Statement rows(snapshot.db(), std::string("SELECT wire, called_unix_us, ") + (has_brand ? "brand" : "NULL") +
                                    " FROM events ORDER BY id");
  int code = SQLITE_DONE;
  bool whole = true;
  while ((code = rows.step()) == SQLITE_ROW) {
    const std::string event = std::string(rows.bytes(0)) + "}";
    try {
      event::check_json(event, nullptr, event::JsonWriter::max_depth + 1);
    } catch (const event::BadValue&) {  // as the next client will find
      whole = false;
      continue;
    }
    const json brand = rows.has(2) ? json(std::string(rows.bytes(2))) : own;
    give("{\"event\":" + event + ",\"brand\":" + brand.dump(-1, ' ', false, json::error_handler_t::replace) +
         ",\"called_at\":" + time_of(rows.integer(1)).dump() + "}");
  }
  return whole && code == SQLITE_DONE;
}

/// Null if there are none.
std::unique_ptr<DeadLetters> letters_in(const fs::path& folder) {
  std::error_code failed;
  if (!fs::exists(DeadLetters::path_in(folder), failed)) return nullptr;
  return std::make_unique<DeadLetters>(folder, std::size_t{1'000'000'000'000});
}

}  // namespace

json spool_status(const fs::path& folder) {
  check_folder(folder);
  json status{{"folder", folder.string()},
              {"files", json::array()},
              {"dead_letters", {{"count", 0}, {"reasons", json::object()}, {"oldest", nullptr}, {"newest", nullptr}}},
              {"damaged", json::array()}};
  for (const fs::path& path : files_in(folder, spool_extension)) {
    json file = file_status(path);
    std::error_code failed;
    if (fs::exists(path, failed)) status["files"].push_back(std::move(file));  // else it was emptied meanwhile
  }
  for (const fs::path& path : files_in(folder, std::string(spool_extension) + ".damaged")) {
    status["damaged"].push_back({{"file", path.filename().string()}, {"bytes", bytes_of(path)}});
  }
  if (const auto letters = letters_in(folder)) status["dead_letters"] = letters->status();
  status["dead_letters"]["bytes"] = bytes_of(DeadLetters::path_in(folder));
  return status;
}

std::vector<std::string> export_spool(const fs::path& folder, const LetterFilter& filter, bool waiting,
                                      const std::function<void(const std::string&)>& give) {
  check_folder(folder);
  std::vector<std::string> unread;
  if (waiting) {
    for (const fs::path& path : files_in(folder, spool_extension)) {
      try {
        if (export_events(path, give)) continue;
      } catch (const SpoolError&) {
        std::error_code failed;
        if (!fs::exists(path, failed)) continue;  // emptied meanwhile
      }
      unread.push_back(path.filename().string());
    }
  }
  if (const auto letters = letters_in(folder)) letters->each(filter, give);
  return unread;
}

DeadLetters::Retried retry_spool(const fs::path& folder, const LetterFilter& filter) {
  check_folder(folder);
  const auto letters = letters_in(folder);
  return letters ? letters->retry(filter) : DeadLetters::Retried{};
}

json purge_spool(const fs::path& folder, const LetterFilter& filter, bool waiting) {
  check_folder(folder);
  json purged{{"dead_letters", 0}, {"waiting", 0}, {"held", json::array()}};
  if (const auto letters = letters_in(folder)) purged["dead_letters"] = letters->remove(filter);
  if (!waiting) return purged;
  std::size_t deleted = 0;
  for (const fs::path& path : files_in(folder, spool_extension)) {
    refuse_planted(path);
    const std::optional<int> holder = holder_of(path);  // asked before SQLite has the file open here
    Database db(path, SQLITE_OPEN_READWRITE);
    db.run("PRAGMA locking_mode = EXCLUSIVE");
    if (db.run("BEGIN EXCLUSIVE; COMMIT") == SQLITE_BUSY) {
      purged["held"].push_back({{"file", path.filename().string()}, {"pid", pid_of(holder)}});
      continue;
    }
    if (!state_of(db).empty()) continue;
    deleted += static_cast<std::size_t>(number(db, "SELECT count(*) FROM events").value_or(0));
    unlink_all(path);  // locked until here
  }
  purged["waiting"] = deleted;
  return purged;
}

}  // namespace intilery::queue
