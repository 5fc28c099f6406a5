/// \file
/// Events on disk, so that they outlive the process.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "brands.hpp"
#include "client_core.hpp"
#include "intilery/options.hpp"
#include "queue/dead_letters.hpp"
#include "queue/event_list.hpp"

namespace intilery::queue {

/// The spool: a folder in which each client has a file of its own (SQLite, mode 0600, locked while the client lives).
/// An event's row is there from before its call returns until its fate is known. Files of clients that are gone are
/// adopted: their rows stay where they are until they are delivered too, so no crash can lose or double them on the
/// way. What failed for good goes to `dead_letters.sqlite` beside them. docs/spool.md describes the files.
///
/// Thread-safe. A forked child must not touch its parent's, and may make its own: a fork waits until no thread is
/// inside SQLite, whose locks the child would otherwise find taken for ever.
class Spool {
 public:
  using Log = std::function<void(LogLevel, const std::string&)>;

  /// Makes this client's file, and the folder if there is none.
  /// \param brands must outlive this. Gets the brands of adopted events.
  /// \throws SpoolError if that cannot be.
  Spool(const Options& options, Brands& brands, Log log);
  ~Spool();

  /// Removes the files in which nothing is left, and leaves the others to the next client. Nothing can be stored after.
  void close();

  /// Takes over what clients of the same account, brand and endpoint left behind, in the order in which it was
  /// accepted.
  EventList adopt();

  /// Writes an event down. With `power`, what several threads bring at once shares one fsync.
  /// \throws SpoolError if it cannot be written; then it is not in the spool.
  void store(Event& event);

  /// The events need not be kept any more. `soon` for those of which it does no harm if a crash has them sent again.
  void remove_soon(const EventList& events);
  void remove(const EventList& events);
  void remove(const Event& event);
  /// The same for events that failed for good: they become dead letters.
  void bury(const EventList& events, const ErrorInfo& error);

  /// Takes out what `remove_soon` left, when no calls come, at the latest after a tenth of a second.
  /// \returns whether some are left, so that it should be called again in a moment.
  bool tidy();

 private:
  class File;
  class Forks;
  struct Caller;

  /// Waits for callers who went along with the last commit and may come again: a moment, against what an fsync takes.
  void gather(std::unique_lock<std::mutex>& lock);
  void insert(std::span<Caller* const> group);
  /// Makes the own file if there is none; again, with all that it held, if somebody removed it.
  /// \throws SpoolError.
  void restore_own();
  /// Puts the events' rows where `tidy` finds them; those in adopted files it removes.
  void forget(const EventList& events);
  /// Removes up to `count` rows of a file that it need not keep. For who holds `mutex_`.
  /// \returns whether there are more, and no trouble.
  bool remove_unneeded(std::size_t file, std::size_t count);
  /// The same for the own file's `unneeded_`.
  void remove_own_unneeded(std::size_t count);
  EventList adopt(const std::string& path);
  /// Reads a file and keeps it locked, if it is there for us to take. \returns whether it is damaged.
  bool take_over(const std::string& path, EventList& events);
  /// Renames a damaged file once what was readable in it stands in the own one.
  void set_aside(const std::string& path, EventList& events);

  const Options options_;
  Brands& brands_;
  const Log log_;
  std::mutex mutex_;                          ///< Held wherever SQLite works; guards what follows.
  std::vector<std::unique_ptr<File>> files_;  ///< The own one, then the adopted; null when emptied.
  bool closed_ = false;
  std::unique_ptr<DeadLetters> dead_letters_;  ///< Opened when there is one.
  bool complained_ = false;
  TimePoint try_again_{};  ///< To remove rows, if that failed.

  std::mutex group_mutex_;      ///< Guards the callers who wait while one commits, for himself and others.
  std::vector<Caller*> group_;  ///< Those whom the next commit takes along.
  unsigned group_number_ = 0;   ///< Of that commit.
  bool committing_ = false;
  std::size_t companions_ = 0;         ///< How many others wanted the last commit, or came while it went on,
  TimePoint::duration last_commit_{};  ///< and how long it took.
  std::condition_variable all_here_;   ///< As many as that came again.
  std::array<std::condition_variable, 2> committed_;  ///< By the last bit of the commit's number.

  std::mutex unneeded_mutex_;           ///< Taken after `mutex_`. Guards the two below.
  std::vector<std::int64_t> unneeded_;  ///< Rows of the own file, which it has not been told of.
  TimePoint unneeded_since_{};
  std::atomic<bool> any_unneeded_{false};      ///< Whether there are any, or it has some of its own that can go now.
  std::atomic<bool> help_wanted_{false};       ///< Callers should take some out.
  std::atomic<bool> adopted_unneeded_{false};  ///< Whether an adopted file has some that could not go.
  std::atomic<TimePoint> last_call_{};

  /// Has forks wait for `mutex_` while it lives.
  struct Registration {
    explicit Registration(Spool& spool);
    ~Registration();
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;
    Spool& spool;
  };
  const Registration registration_{*this};  ///< Last, so that it goes first.
};

}  // namespace intilery::queue
