/// \file
/// The spool's files as SQLite has them: what the client and those who look after its folder share.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "intilery/options.hpp"
#include "queue/event.hpp"

namespace intilery::queue {

constexpr int spool_application_id = 0x494e5459;  // "INTY"
constexpr int spool_schema_version = 2;           // 1 had no brand
constexpr std::string_view spool_extension = ".spool";

/// \throws SpoolError.
[[noreturn]] void raise_spool_error(std::string code, std::string message);

/// The code of the SpoolError for one of SQLite's.
const char* spool_code(int sqlite);

bool is_damage(int sqlite);

/// Whose events a file holds, as JSON: client, account, brand, endpoint. Others must not send them.
std::string spool_identity(const Options& options);

/// An event's flags as they stand in a row.
int spool_flags(const Event& event);
void set_spool_flags(Event& event, int flags);

/// Its values: wire, lane, id_size, action, flags, called_unix_us, brand.
constexpr const char* insert_spool_row =
    "INSERT INTO events (wire, lane, id_size, action, flags, called_unix_us, brand) VALUES (?,?,?,?,?,?,?)";

/// A connection, for one thread at a time.
class Database {
 public:
  /// \param vfs null: SQLite's own.
  Database(const std::filesystem::path& path, int flags, const char* vfs = nullptr) {
    const int code = sqlite3_open_v2(path.string().c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX, vfs);
    if (code != SQLITE_OK) {
      const std::string why = sqlite3_errmsg(db_);
      sqlite3_close(db_);
      raise_spool_error("spool_unusable", "the spool " + path.string() + " cannot be opened: " + why);
    }
  }
  ~Database() { sqlite3_close_v2(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  sqlite3* get() const { return db_; }
  int run(const std::string& sql) const { return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr); }
  int limit_size(std::size_t bytes) const {
    constexpr std::size_t page = 4096;
    return run("PRAGMA max_page_count = " + std::to_string(std::max<std::size_t>(16, bytes / page)));
  }
  std::string error() const { return sqlite3_errmsg(db_); }

  struct Result {
    int code = SQLITE_OK;
    std::string why = {};
  };
  /// Runs `body`, which gives a code of SQLite's, in a transaction that ends with it: all or nothing.
  template <class Body>
  Result transact(Body body) const {
    int code = run("BEGIN IMMEDIATE");
    if (code == SQLITE_OK) code = body();
    if (code == SQLITE_OK) code = run("COMMIT");
    if (code == SQLITE_OK) return {};
    Result result{code, error()};
    run("ROLLBACK");
    return result;
  }

 private:
  sqlite3* db_ = nullptr;
};

/// A prepared statement. `step` says what SQLite says; the rest is for a row.
class Statement {
 public:
  Statement(const Database& db, const std::string& sql) {
    code_ = sqlite3_prepare_v3(db.get(), sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int place, std::int64_t value) {
    sqlite3_bind_int64(statement_, place, value);
    return *this;
  }
  Statement& bind(int place, std::string_view text) {
    sqlite3_bind_text64(statement_, place, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
    return *this;
  }
  Statement& bind_blob(int place, std::string_view bytes) {
    sqlite3_bind_blob64(statement_, place, bytes.data(), bytes.size(), SQLITE_STATIC);
    return *this;
  }
  Statement& bind_column(int place, const Statement& row, int column) {
    sqlite3_bind_value(statement_, place, sqlite3_column_value(row.statement_, column));
    return *this;
  }
  int step() { return statement_ == nullptr ? code_ : sqlite3_step(statement_); }
  /// Steps once and makes ready for the next time.
  int run() {
    const int code = step();
    sqlite3_reset(statement_);
    return code;
  }
  bool has(int column) { return sqlite3_column_type(statement_, column) != SQLITE_NULL; }
  std::int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }
  std::string_view bytes(int column) {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return {data == nullptr ? "" : data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int code_ = SQLITE_OK;
};

/// The first column of a query's first row, if there is one.
std::optional<std::int64_t> number(const Database& db, const char* sql);

/// Makes an empty file that only its owner may read. SQLite's other files take its mode.
void create_private(const std::filesystem::path& path);

/// Whether everybody may put files into the folder, or rename those in it.
bool is_open_to_all(const std::filesystem::path& folder);

/// Where others may write to the folder, a file in it may be planted: then it, and SQLite's files beside it, must be
/// plain ones of this user's (or of the folder's owner), each with one name only.
/// \throws SpoolError.
void refuse_planted(const std::filesystem::path& path);

/// Removes a database with all of its files.
void unlink_all(const std::filesystem::path& path);

/// A new file of the spool, with its tables, locked by its connection.
struct NewSpoolFile {
  std::filesystem::path path;
  std::unique_ptr<Database> db;
};

/// \throws SpoolError.
NewSpoolFile make_spool_file(const std::filesystem::path& folder, std::string_view identity, SpoolSync sync,
                             std::size_t max_bytes);

}  // namespace intilery::queue
