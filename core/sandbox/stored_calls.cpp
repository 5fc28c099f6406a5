#include "stored_calls.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace intilery::testing {

namespace {

std::string text_at(sqlite3_stmt* row, int column) {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(row, column));
  return bytes == nullptr ? std::string()
                          : std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(row, column)));
}

}  // namespace

StoredCalls::StoredCalls(const std::string& path)
    : path_(path), file_(nullptr, sqlite3_close), insert_(nullptr, sqlite3_finalize) {
  // What customers are called may be in it. If it cannot be made, SQLite says why.
  if (const int made = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); made >= 0) ::close(made);
  sqlite3* file = nullptr;
  const int opened = sqlite3_open_v2(path.c_str(), &file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  file_.reset(file);
  check(opened, SQLITE_OK);
  run("PRAGMA journal_mode = WAL");
  run("PRAGMA synchronous = NORMAL");
  run("CREATE TABLE IF NOT EXISTS call (action TEXT, brand_id TEXT, client_id TEXT, account_id TEXT, "
      "received_ms INTEGER, event_id TEXT, raw TEXT)");
  sqlite3_stmt* insert = nullptr;
  const int prepared = sqlite3_prepare_v2(file, "INSERT INTO call VALUES (?, ?, ?, ?, ?, ?, ?)", -1, &insert, nullptr);
  insert_.reset(insert);
  check(prepared, SQLITE_OK);
}

StoredCalls::~StoredCalls() = default;

void StoredCalls::read(const std::function<void(const EventStore::Call&)>& take) {
  sqlite3_stmt* select = nullptr;
  check(sqlite3_prepare_v2(file_.get(),
                           "SELECT action, brand_id, client_id, account_id, received_ms, event_id, raw FROM call "
                           "ORDER BY rowid",
                           -1, &select, nullptr),
        SQLITE_OK);
  const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> rows(select, sqlite3_finalize);
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(select)) == SQLITE_ROW) {
    const std::string raw = text_at(select, 6);
    const nlohmann::json call = nlohmann::json::parse(raw, nullptr, /*allow_exceptions=*/false);
    if (!call.is_object()) throw std::runtime_error(path_ + " holds something that is no call");
    take({text_at(select, 0), text_at(select, 1), text_at(select, 2), text_at(select, 3), raw, &call,
          sqlite3_column_int64(select, 4), text_at(select, 5)});
  }
  check(code, SQLITE_DONE);
}

void StoredCalls::begin() { run("BEGIN"); }

void StoredCalls::add(const EventStore::Call& call) {
  int column = 0;
  const auto bind = [&](std::string_view text) {
    check(sqlite3_bind_text(insert_.get(), ++column, text.data(), static_cast<int>(text.size()), SQLITE_STATIC),
          SQLITE_OK);
  };
  bind(call.action);
  bind(call.brand_id);
  bind(call.client_id);
  bind(call.account_id);
  check(sqlite3_bind_int64(insert_.get(), ++column, call.received_ms), SQLITE_OK);
  bind(call.event_id);
  bind(call.raw);
  const int stepped = sqlite3_step(insert_.get());
  sqlite3_reset(insert_.get());
  check(stepped, SQLITE_DONE);
}

void StoredCalls::commit() { run("COMMIT"); }

void StoredCalls::clear() { run("DELETE FROM call"); }

void StoredCalls::run(const char* sql) { check(sqlite3_exec(file_.get(), sql, nullptr, nullptr, nullptr), SQLITE_OK); }

void StoredCalls::check(int code, int expected) {
  if (code == expected) return;
  const std::string why = file_ ? sqlite3_errmsg(file_.get()) : sqlite3_errstr(code);
  if (file_ && sqlite3_get_autocommit(file_.get()) == 0) {
    sqlite3_exec(file_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  throw std::runtime_error("the store " + path_ + " cannot be used: " + why);
}

}  // namespace intilery::testing
