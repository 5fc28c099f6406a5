/// \file
/// Where a run of a source's rows has got to, so that a killed one goes on.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

struct sqlite3;

namespace intilery::rows {

/// A SQLite file with one row: what the run was asked to do (`plan`), and how far it is. One process at a time has it.
/// Not thread-safe.
class Checkpoint {
 public:
  /// \throws ConfigurationError `checkpoint_unusable`, or `checkpoint_differs` if the file is of a run with another
  ///         plan.
  Checkpoint(std::string path, nlohmann::json plan);
  ~Checkpoint();
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  /// What was saved last; null if nothing was.
  const nlohmann::json& state() const { return state_; }
  /// Survives kill -9; a power cut may cost the last saves, and so some rows are sent again.
  /// \param state an object, to which the plan is added. \throws ConfigurationError `checkpoint_unusable`.
  void save(nlohmann::json state);

 private:
  [[noreturn]] void fail() const;
  void run(const char* sql);

  struct Close {
    void operator()(sqlite3* db) const;
  };
  const std::string path_;
  const nlohmann::json plan_;
  std::unique_ptr<sqlite3, Close> db_;
  nlohmann::json state_;
};

}  // namespace intilery::rows
