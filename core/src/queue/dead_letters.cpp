#include "queue/dead_letters.hpp"

#include <utility>

#if !defined(_WIN32)
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "event/timestamp.hpp"

namespace intilery::queue {

namespace {

namespace fs = std::filesystem;

constexpr const char* schema = R"(
  CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY,
    event TEXT NOT NULL,           -- JSON
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    status INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at TEXT NOT NULL,
    sender TEXT,                   -- this and the rest: as in a spool file
    brand TEXT,
    lane INTEGER,
    id_size INTEGER,
    action INTEGER,
    flags INTEGER,
    called_unix_us INTEGER);
)";

/// What an older version had not.
constexpr const char* upgrade = R"(
  ALTER TABLE dead_letters ADD COLUMN sender TEXT;
  ALTER TABLE dead_letters ADD COLUMN brand TEXT;
  ALTER TABLE dead_letters ADD COLUMN lane INTEGER;
  ALTER TABLE dead_letters ADD COLUMN id_size INTEGER;
  ALTER TABLE dead_letters ADD COLUMN action INTEGER;
  ALTER TABLE dead_letters ADD COLUMN flags INTEGER;
  ALTER TABLE dead_letters ADD COLUMN called_unix_us INTEGER;
)";

constexpr const char* chosen =
    " WHERE (?1 = '' OR reason = ?1) AND (?2 = '' OR json_extract(event, '$.userId') = ?2)"
    " AND (?3 = '' OR json_extract(event, '$.messageId') = ?3)";

Statement& choose(Statement& statement, const LetterFilter& filter) {
  return statement.bind(1, filter.reason).bind(2, filter.user_id).bind(3, filter.message_id);
}

/// As whoever owns the dead letters must be able to read it, even if the superuser makes it.
void take_owner([[maybe_unused]] const fs::path& path, [[maybe_unused]] const fs::path& from) {
#if !defined(_WIN32)
  struct stat owner{};
  if (::stat(from.c_str(), &owner) != 0 || owner.st_uid == ::geteuid()) return;
  if (::chown(path.c_str(), owner.st_uid, owner.st_gid) != 0) {
    unlink_all(path);
    raise_spool_error("spool_unusable", "the dead letters belong to another user; retry them as that user");
  }
#endif
}

}  // namespace

fs::path DeadLetters::path_in(const fs::path& folder) { return folder / "dead_letters.sqlite"; }

DeadLetters::DeadLetters(const fs::path& folder, std::size_t max_bytes) : folder_(folder), path_(path_in(folder)) {
  refuse_planted(path_);
  create_private(path_);
  db_.emplace(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  sqlite3_busy_timeout(db_->get(), 5'000);
  db_->run("PRAGMA journal_mode = WAL");
  db_->run("PRAGMA synchronous = NORMAL");
  db_->limit_size(max_bytes);
  const Database::Result made = db_->transact([&] {
    const int code = db_->run(schema);
    if (code != SQLITE_OK) return code;
    const bool old = number(*db_, "SELECT count(*) FROM pragma_table_info('dead_letters') WHERE name = 'sender'") == 0;
    return old ? db_->run(upgrade) : SQLITE_OK;
  });
  if (made.code != SQLITE_OK) fail(made.code, made.why);
  insert_.emplace(*db_,
                  "INSERT INTO dead_letters (event, reason, message, status, attempts, failed_at, sender, brand, lane, "
                  "id_size, action, flags, called_unix_us) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)");
}

void DeadLetters::add(const EventList& events, const ErrorInfo& error, const std::string& sender,
                      const Brands& brands) {
  const event::TimestampText now = event::format_timestamp(event::unix_now_ms());
  const Database::Result result = db_->transact([&] {
    for (const Event* event = events.front(); event != nullptr; event = event->next) {
      const std::string json = std::string(event->bytes()) + "}";
      const std::string brand = brands.name_of(event->brand);
      insert_->bind(1, json).bind(2, error.code).bind(3, error.message).bind(4, error.status);
      insert_->bind(5, error.attempts).bind(6, {now.data(), now.size()}).bind(7, sender).bind(8, brand);
      insert_->bind(9, static_cast<std::int64_t>(lane_of(event->lane, event->brand))).bind(10, event->id_size);
      insert_->bind(11, event->action).bind(12, spool_flags(*event)).bind(13, event->called_unix_us);
      if (const int code = insert_->run(); code != SQLITE_DONE) return code;
    }
    return SQLITE_OK;
  });
  if (result.code != SQLITE_OK) fail(result.code, result.why);
}

nlohmann::json DeadLetters::status() const {
  nlohmann::json reasons = nlohmann::json::object();
  std::int64_t count = 0;
  Statement by_reason(*db_, "SELECT reason, count(*) FROM dead_letters GROUP BY reason");
  int code = SQLITE_DONE;
  while ((code = by_reason.step()) == SQLITE_ROW) {
    reasons[std::string(by_reason.bytes(0))] = by_reason.integer(1);
    count += by_reason.integer(1);
  }
  if (code != SQLITE_DONE) fail(code, db_->error());
  Statement times(*db_, "SELECT min(failed_at), max(failed_at) FROM dead_letters");
  times.step();
  const auto time = [&](int column) {
    return times.has(column) ? nlohmann::json(std::string(times.bytes(column))) : nlohmann::json();
  };
  return {{"count", count}, {"reasons", reasons}, {"oldest", time(0)}, {"newest", time(1)}};
}

void DeadLetters::each(const LetterFilter& filter, const std::function<void(const std::string&)>& give) const {
  Statement rows(*db_, std::string("SELECT event, brand, reason, message, status, attempts, failed_at, sender "
                                   "FROM dead_letters") +
                           chosen + " ORDER BY id");
  choose(rows, filter);
  const auto text = [&](int column) {
    return rows.has(column) ? nlohmann::json(std::string(rows.bytes(column))).dump() : std::string("null");
  };
  int code = SQLITE_DONE;
  while ((code = rows.step()) == SQLITE_ROW) {
    give("{\"event\":" + std::string(rows.bytes(0)) + ",\"brand\":" + text(1) + ",\"reason\":" + text(2) +
         ",\"message\":" + text(3) + ",\"status\":" + std::to_string(rows.integer(4)) +
         ",\"attempts\":" + std::to_string(rows.integer(5)) + ",\"failed_at\":" + text(6) + "}");
  }
  if (code != SQLITE_DONE) fail(code, db_->error());
}

DeadLetters::Retried DeadLetters::retry(const LetterFilter& filter) const {
  const std::int64_t last = number(*db_, "SELECT max(id) FROM dead_letters").value_or(0);
  std::vector<std::string> senders;
  Retried retried;
  {
    Statement groups(*db_, std::string("SELECT sender, count(*) FROM dead_letters") + chosen + " GROUP BY sender");
    choose(groups, filter);
    int code = SQLITE_DONE;
    while ((code = groups.step()) == SQLITE_ROW) {
      if (groups.has(0)) {
        senders.emplace_back(groups.bytes(0));
      } else {
        retried.unknown_sender = static_cast<std::size_t>(groups.integer(1));
      }
    }
    if (code != SQLITE_DONE) fail(code, db_->error());
  }
  for (const std::string& sender : senders) retried.moved += move_to_spool(filter, sender, last);
  return retried;
}

std::size_t DeadLetters::move_to_spool(const LetterFilter& filter, const std::string& sender, std::int64_t last) const {
  const std::string these = std::string(chosen) + " AND sender = ?4 AND id <= ?5";
  NewSpoolFile file = make_spool_file(folder_, sender, SpoolSync::power, 1'000'000'000'000);
  std::size_t moved = 0;
  const Database::Result written = file.db->transact([&] {
    Statement from(*db_, "SELECT event, lane, id_size, action, flags, called_unix_us, brand FROM dead_letters" + these +
                             " ORDER BY id");
    choose(from, filter).bind(4, sender).bind(5, last);
    Statement to(*file.db, insert_spool_row);
    int code = SQLITE_OK;
    while ((code = from.step()) == SQLITE_ROW) {
      const std::string_view json = from.bytes(0);
      to.bind_blob(1, json.substr(0, json.size() - 1));
      for (int column = 1; column <= 6; ++column) to.bind_column(column + 1, from, column);
      if (const int inserted = to.run(); inserted != SQLITE_DONE) return inserted;
      ++moved;
    }
    return code == SQLITE_DONE ? SQLITE_OK : code;
  });
  if (written.code != SQLITE_OK) {
    file.db.reset();
    unlink_all(file.path);
    raise_spool_error(spool_code(written.code), "the spool " + folder_.string() + " cannot be written: " + written.why);
  }
  // Nobody can take the file before they are gone from here: it is locked until its connection ends.
  take_owner(file.path, path_);
  Statement gone(*db_, "DELETE FROM dead_letters" + these);
  choose(gone, filter).bind(4, sender).bind(5, last);
  if (const int code = gone.step(); code != SQLITE_DONE) {
    const std::string why = db_->error();
    file.db.reset();
    unlink_all(file.path);
    fail(code, why);
  }
  return moved;
}

std::size_t DeadLetters::remove(const LetterFilter& filter) const {
  Statement gone(*db_, std::string("DELETE FROM dead_letters") + chosen);
  if (const int code = choose(gone, filter).step(); code != SQLITE_DONE) fail(code, db_->error());
  const auto removed = static_cast<std::size_t>(sqlite3_changes64(db_->get()));
  if (removed > 0) db_->run("VACUUM");  // customers' data must not stay behind in free pages
  return removed;
}

void DeadLetters::fail(int code, const std::string& why) const {
  raise_spool_error(spool_code(code), "the dead letters " + path_.string() + " cannot be used: " + why);
}

}  // namespace intilery::queue
