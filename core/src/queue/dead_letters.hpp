/// \file
/// Events that failed for good, on disk.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "brands.hpp"
#include "intilery/errors.hpp"
#include "queue/event_list.hpp"
#include "queue/spool_database.hpp"

namespace intilery::queue {

/// Which dead letters; what is empty does not matter.
struct LetterFilter {
  std::string reason;
  std::string user_id;
  std::string message_id;
};

/// `dead_letters.sqlite`, which the clients of a folder share. For one thread at a time, and any process.
class DeadLetters {
 public:
  static std::filesystem::path path_in(const std::filesystem::path& folder);

  /// Makes the file if there is none.
  /// \throws SpoolError, as every member.
  DeadLetters(const std::filesystem::path& folder, std::size_t max_bytes);

  /// \param sender `spool_identity` of the client whose events they are.
  void add(const EventList& events, const ErrorInfo& error, const std::string& sender, const Brands& brands);

  /// How many there are, by reason, and when the first and the last failed.
  nlohmann::json status() const;

  /// Gives each one, oldest first, as JSON text.
  void each(const LetterFilter& filter, const std::function<void(const std::string& line)>& give) const;

  /// Has the next client send them again: they move to a new spool file for each sender. A crash in between leaves them
  /// in both places. What an older version buried does not say whose it is, and stays.
  struct Retried {
    std::size_t moved = 0;
    std::size_t unknown_sender = 0;
  };
  Retried retry(const LetterFilter& filter) const;

  /// \returns how many it deleted.
  std::size_t remove(const LetterFilter& filter) const;

 private:
  std::size_t move_to_spool(const LetterFilter& filter, const std::string& sender, std::int64_t last) const;
  [[noreturn]] void fail(int code, const std::string& why) const;

  const std::filesystem::path folder_;
  const std::filesystem::path path_;
  std::optional<Database> db_;
  std::optional<Statement> insert_;
};

}  // namespace intilery::queue
