/// \file
/// What arrived, in a file, so that a sandbox that is started again still has it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "event_store.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace intilery::testing {

/// Accepted calls in a SQLite file. Not thread-safe.
class StoredCalls {
 public:
  /// Makes the file if it is not there.
  /// \throws std::runtime_error naming the file.
  explicit StoredCalls(const std::string& path);
  ~StoredCalls();
  StoredCalls(const StoredCalls&) = delete;
  StoredCalls& operator=(const StoredCalls&) = delete;

  /// Hands over each call, the oldest first.
  void read(const std::function<void(const EventStore::Call&)>& take);
  void begin();
  void add(const EventStore::Call& call);
  void commit();
  void clear();

 private:
  void run(const char* sql);
  void check(int code, int expected);

  std::string path_;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> file_;
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> insert_;
};

}  // namespace intilery::testing
