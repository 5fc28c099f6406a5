#include "rows/checkpoint.hpp"

#include <sqlite3.h>

#include <filesystem>
#include <system_error>
#include <utility>

#if !defined(_WIN32)
#include <fcntl.h>
#include <unistd.h>
#endif

#include "intilery/errors.hpp"

namespace intilery::rows {

namespace {

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Statement prepare(sqlite3* db, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(db, sql, -1, &statement, nullptr);
  return Statement(statement);
}

}  // namespace

void Checkpoint::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }

Checkpoint::Checkpoint(std::string path, nlohmann::json plan) : path_(std::move(path)), plan_(std::move(plan)) {
#if !defined(_WIN32)
  // Never open to others, not even for a moment. If it cannot be made, SQLite says why.
  if (const int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); file >= 0) ::close(file);
#endif
  sqlite3* db = nullptr;
  const int opened = sqlite3_open_v2(path_.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  db_.reset(db);
  if (opened != SQLITE_OK) fail();
  std::error_code ignored;
  std::filesystem::permissions(path_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
                               ignored);
  // A second run of the same source would count the same rows.
  run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
  run("CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)");
  run("BEGIN EXCLUSIVE; COMMIT");
  const Statement select = prepare(db, "SELECT state FROM run");
  const int found = sqlite3_step(select.get());
  if (found == SQLITE_DONE) return;
  if (found != SQLITE_ROW) fail();
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(select.get(), 0));
  state_ = nlohmann::json::parse(text == nullptr ? "" : text, nullptr, false);
  std::string changed;
  for (const auto& [name, value] : plan_.items()) {
    if (state_.is_object() && state_.contains("plan") && state_["plan"].value(name, nlohmann::json()) == value)
      continue;
    changed += (changed.empty() ? "" : ", ") + name;
  }
  if (changed.empty()) return;
  throw ConfigurationError("checkpoint", "checkpoint_differs",
                           "the checkpoint '" + path_ + "' is of another run: " + changed +
                               " had another value; go on as before, or remove it to begin anew");
}

Checkpoint::~Checkpoint() = default;

void Checkpoint::save(nlohmann::json state) {
  state["plan"] = plan_;
  const std::string text = state.dump();
  const Statement insert = prepare(db_.get(), "INSERT OR REPLACE INTO run VALUES (1, ?)");
  sqlite3_bind_text64(insert.get(), 1, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (!insert || sqlite3_step(insert.get()) != SQLITE_DONE) fail();
}

void Checkpoint::run(const char* sql) {
  if (sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

void Checkpoint::fail() const {
  const bool busy = sqlite3_errcode(db_.get()) == SQLITE_BUSY;
  throw ConfigurationError(
      "checkpoint", "checkpoint_unusable",
      "the checkpoint '" + path_ + "' cannot be used: " + (busy ? "another run has it" : sqlite3_errmsg(db_.get())));
}

}  // namespace intilery::rows
