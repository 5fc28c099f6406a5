#include "queue/spool.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <thread>
#include <utility>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "event/bad_value.hpp"
#include "event/draft.hpp"
#include "event/json_check.hpp"
#include "event/timestamp.hpp"
#include "intilery/errors.hpp"

namespace intilery::queue {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

/// An empty file that takes so much of the disk is made small again.
constexpr std::uintmax_t shrink_at = 1'000'000;

/// How many rows are removed before the next caller has his turn, a tenth of a millisecond's worth, and in a call.
constexpr std::size_t forget_at_once = 256;
constexpr std::size_t forget_in_call = 64;
constexpr std::size_t all_rows = std::numeric_limits<std::size_t>::max();

/// Rows go when no caller came for so long, or so late.
constexpr auto between_calls = 500us;
constexpr auto forget_within = 100ms;

void make_folder(const fs::path& folder) {
  std::error_code failed;
  if (fs::create_directories(folder, failed)) {
    fs::permissions(folder, fs::perms::owner_all, fs::perm_options::replace, failed);
  }
  if (!fs::is_directory(folder, failed)) {
    raise_spool_error("spool_unusable", "spool_path " + folder.string() + " is no folder, and none can be made there" +
                                            (failed ? ": " + failed.message() : std::string()));
  }
}

bool is_old(const fs::path& path) {
  std::error_code failed;
  const fs::file_time_type written = fs::last_write_time(path, failed);
  return !failed && fs::file_time_type::clock::now() - written > 1min;
}

/// Whether the bytes are an event's, with a message id of so many bytes at their end.
bool is_event(std::string_view wire, std::int64_t id_size) {
  constexpr std::string_view before_id = R"("messageId":")";
  const auto least = static_cast<std::int64_t>(before_id.size()) + 1;
  if (id_size < 0 || id_size > static_cast<std::int64_t>(wire.size()) - least) return false;
  const std::size_t from = wire.size() - 1 - static_cast<std::size_t>(id_size);
  if (wire.substr(from - before_id.size(), before_id.size()) != before_id) return false;
  try {
    event::check_json(std::string(wire) + "}", nullptr, event::JsonWriter::max_depth + 1);
    const std::string_view id = wire.substr(from - 1);
    const bool is_plain = id.find_first_of("\"\\", 1) == id.size() - 1;
    if (!is_plain) event::check_json(id);  // which it is not if it holds more than one text
  } catch (const event::BadValue&) {
    return false;
  }
  return true;
}

/// The event of a row of `read_events`. Null if the row makes no sense: SQLite finds damage to its pages, not inside a
/// row.
EventPtr event_of(Statement& row, Brands& brands) {
  const std::string_view wire = row.bytes(1);
  const bool is_action = row.integer(4) >= 0 && row.integer(4) <= static_cast<int>(event::Action::screen);
  if (!is_action || !event::is_timestamp(row.integer(6) / 1000) || !is_event(wire, row.integer(3))) return nullptr;
  EventPtr event = Event::make(wire);
  event->spool_row = row.integer(0);
  event->id_size = static_cast<std::uint32_t>(row.integer(3));
  event->action = static_cast<std::uint8_t>(row.integer(4));
  set_spool_flags(*event, static_cast<int>(row.integer(5)));
  event->called_unix_us = row.integer(6);
  event->adopted = true;
  try {
    if (row.has(7)) event->brand = brands.number_of(row.bytes(7));
  } catch (const ConfigurationError&) {
    return nullptr;
  }
  event->lane = lane_of(static_cast<std::uint64_t>(row.integer(2)), event->brand);
  return event;
}

/// Reads all events that can be read: those before any damage, and those behind it, which are read from the other end.
/// \returns whether there is any damage.
bool read_events(const Database& db, std::int64_t version, Brands& brands, EventList& events) {
  // The events of version 1 are all of the file's own brand, which is ours.
  const std::string select = std::string("SELECT id, wire, lane, id_size, action, flags, called_unix_us, ") +
                             (version == 1 ? "NULL" : "brand") + " FROM events ORDER BY id";
  bool damaged = false;
  int code = SQLITE_DONE;
  std::int64_t last = 0;
  Statement forward(db, select);
  while ((code = forward.step()) == SQLITE_ROW) {
    last = forward.integer(0);
    if (EventPtr event = event_of(forward, brands)) {
      events.push_back(std::move(event));
    } else {
      damaged = true;
    }
  }
  if (code == SQLITE_DONE) return damaged;
  std::vector<EventPtr> behind;
  Statement backward(db, select + " DESC");
  while (backward.step() == SQLITE_ROW && backward.integer(0) > last) {
    if (EventPtr event = event_of(backward, brands)) behind.push_back(std::move(event));
  }
  for (auto event = behind.rbegin(); event != behind.rend(); ++event) events.push_back(std::move(*event));
  return true;
}

}  // namespace

/// One file of the spool, locked by this client.
class Spool::File {
 public:
  /// The file must have its schema already.
  File(fs::path path, std::unique_ptr<Database> db, std::size_t live)
      : path_(std::move(path)),
        db_(std::move(db)),
        insert_(*db_, insert_spool_row),
        delete_(*db_, "DELETE FROM events WHERE id BETWEEN ? AND ?"),
        live_(live) {}

  static std::unique_ptr<File> make(const Options& options) {
    NewSpoolFile made =
        make_spool_file(options.spool_path, spool_identity(options), options.spool_sync, options.spool_max_bytes);
    return std::make_unique<File>(std::move(made.path), std::move(made.db), 0);
  }

  const Database& db() const { return *db_; }
  const fs::path& path() const { return path_; }
  std::size_t live() const { return live_; }

  /// False if it was removed, or lies in a folder that was.
  bool exists() const {
    std::error_code failed;
    return fs::exists(path_, failed) || failed;
  }
  /// The opposite. Looks now and then only.
  bool vanished(TimePoint now) {
    if (now < next_look_) return false;
    next_look_ = now + 100ms;
    return !exists();
  }

  /// Copies what another file holds. The rows keep their ids.
  Database::Result copy(const File& other) {
    constexpr int columns = 8;
    Statement from(*other.db_, "SELECT id, wire, lane, id_size, action, flags, called_unix_us, brand FROM events");
    Statement to(*db_,
                 "INSERT INTO events (id, wire, lane, id_size, action, flags, called_unix_us, brand) "
                 "VALUES (?,?,?,?,?,?,?,?)");
    Database::Result result = db_->transact([&] {
      int code = SQLITE_OK;
      while ((code = from.step()) == SQLITE_ROW) {
        for (int i = 0; i < columns; ++i) to.bind_column(i + 1, from, i);
        if (const int inserted = to.run(); inserted != SQLITE_DONE) return inserted;
      }
      return code == SQLITE_DONE ? SQLITE_OK : code;
    });
    if (result.code == SQLITE_OK) {
      live_ = other.live_;
      unneeded_ = other.unneeded_;
    }
    return result;
  }

  int insert(Event& event, std::string_view brand) {
    insert_.bind_blob(1, event.bytes()).bind(2, static_cast<std::int64_t>(lane_of(event.lane, event.brand)));
    insert_.bind(3, event.id_size)
        .bind(4, event.action)
        .bind(5, spool_flags(event))
        .bind(6, event.called_unix_us)
        .bind(7, brand);
    const int code = insert_.run();
    if (code != SQLITE_DONE) return code;
    event.spool_row = sqlite3_last_insert_rowid(db_->get());
    return SQLITE_OK;
  }
  /// To be told of what a transaction inserted once that has ended.
  void count_inserted(std::size_t rows) { live_ += rows; }

  /// Rows that can go, but are there still.
  bool has_unneeded() const { return !unneeded_.empty(); }
  bool needs_any() const { return unneeded_.size() < live_; }
  void add_unneeded(std::int64_t row) { unneeded_.push_back(row); }
  void add_unneeded(const std::vector<std::int64_t>& rows) {
    unneeded_.insert(unneeded_.end(), rows.begin(), rows.end());
  }
  /// Removes up to `count` of them, the earliest: rows side by side go together.
  Database::Result remove_unneeded(std::size_t count) {
    if (!std::is_sorted(unneeded_.begin(), unneeded_.end(), std::greater<>())) {
      std::sort(unneeded_.begin(), unneeded_.end(), std::greater<>());
    }
    const auto begin = unneeded_.rbegin();
    const auto end = begin + static_cast<std::ptrdiff_t>(std::min(count, unneeded_.size()));
    Database::Result result = db_->transact([&] {
      for (auto from = begin; from != end;) {
        auto to = from + 1;
        while (to != end && *to == *(to - 1) + 1) ++to;
        const int code = delete_.bind(1, *from).bind(2, *(to - 1)).run();
        if (code != SQLITE_DONE) return code;
        from = to;
      }
      return SQLITE_OK;
    });
    if (result.code == SQLITE_OK) {
      live_ -= std::min(live_, static_cast<std::size_t>(end - begin));
      unneeded_.erase(end.base(), unneeded_.end());
    }
    return result;
  }

  /// Lets go of a file, and removes it if it is empty.
  static void leave(std::unique_ptr<File>& file) {
    const bool empty = !file->needs_any();
    const fs::path path = file->path_;
    file.reset();
    if (empty) unlink_all(path);
  }

  /// Gives the disk back what an empty file does not need.
  void shrink() {
    if (live_ > 0 || size_on_disk() < shrink_at) return;
    db_->run("VACUUM");
    db_->run("PRAGMA wal_checkpoint(TRUNCATE)");
  }

 private:
  std::uintmax_t size_on_disk() const {
    std::uintmax_t bytes = 0;
    for (const char* const part : {"", "-wal"}) {
      std::error_code failed;
      const std::uintmax_t size = fs::file_size(path_.string() + part, failed);
      if (!failed) bytes += size;
    }
    return bytes;
  }

  fs::path path_;
  std::unique_ptr<Database> db_;
  Statement insert_;
  Statement delete_;
  std::size_t live_;                    ///< Rows that are there.
  std::vector<std::int64_t> unneeded_;  ///< Those of them that can go.
  TimePoint next_look_{};
};

/// A caller who waits until its event is written.
struct Spool::Caller {
  Event* event = nullptr;
  int code = SQLITE_OK;
  std::string why;
  bool done = false;
};

/// All spools of the process, for `fork`.
class Spool::Forks {
 public:
  /// Never destroyed: a fork may come at the very end.
  static Forks& all() {
    static Forks* const forks = new Forks;
    return *forks;
  }

  void add(Spool& spool) {
    const std::lock_guard lock(mutex_);
    spools_.push_back(&spool);
  }
  void remove(Spool& spool) {
    const std::lock_guard lock(mutex_);
    std::erase(spools_, &spool);
  }

 private:
  Forks() {
#if !defined(_WIN32)
    pthread_atfork([] { all().lock(); }, [] { all().unlock(); }, [] { all().unlock(); });
#endif
  }
  void lock() {
    mutex_.lock();
    for (Spool* spool : spools_) spool->mutex_.lock();
  }
  void unlock() {
    for (Spool* spool : spools_) spool->mutex_.unlock();
    mutex_.unlock();
  }

  std::mutex mutex_;
  std::vector<Spool*> spools_;
};

Spool::Registration::Registration(Spool& given) : spool(given) { Forks::all().add(spool); }
Spool::Registration::~Registration() { Forks::all().remove(spool); }

Spool::Spool(const Options& options, Brands& brands, Log log)
    : options_(options), brands_(brands), log_(std::move(log)) {
  make_folder(options_.spool_path);
  if (is_open_to_all(options_.spool_path)) {
    log_(LogLevel::warning, "everybody may write to the spool " + options_.spool_path +
                                ", and so put files in the place of the client's: give it the mode 0700");
  }
  const std::lock_guard lock(mutex_);
  files_.emplace_back();
  try {
    restore_own();
  } catch (const SpoolError& error) {
    if (error.code() != "spool_full") throw;
    // What earlier clients left may be what fills the disk: it must be delivered, so the own file has time.
    log_(LogLevel::warning, std::string(error.what()) + "; no event is accepted until there is room");
  }
}

Spool::~Spool() { close(); }

void Spool::close() {
  const std::lock_guard lock(mutex_);
  if (files_.front()) remove_own_unneeded(all_rows);
  try {
    if (files_.front() && files_.front()->needs_any() && !files_.front()->exists()) restore_own();
  } catch (const IntileryError& error) {
    log_(LogLevel::error, error.what());
  }
  for (std::unique_ptr<File>& file : files_) {
    if (file) File::leave(file);
  }
  dead_letters_.reset();
  closed_ = true;
}

EventList Spool::adopt() {
  std::vector<std::string> paths;
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.spool_path, failed)) {
    const bool own = files_.front() && entry.path() == files_.front()->path();
    if (entry.path().extension() == spool_extension && !own) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  EventList all;
  for (const std::string& path : paths) {
    try {
      EventList events = adopt(path);
      while (EventPtr event = events.pop_front()) all.push_back(std::move(event));
    } catch (const IntileryError& error) {
      log_(LogLevel::warning, error.what());
    }
  }
  if (!all.empty()) {
    log_(LogLevel::info, "took over " + std::to_string(all.size()) + " undelivered events from the spool");
  }
  return all;
}

EventList Spool::adopt(const std::string& path) {
  EventList events;
  if (take_over(path, events)) set_aside(path, events);
  return events;
}

bool Spool::take_over(const std::string& path, EventList& events) {
  const std::lock_guard lock(mutex_);
  refuse_planted(path);
  const bool old = is_old(path);
  auto db = std::make_unique<Database>(path, SQLITE_OPEN_READWRITE);
  db->run("PRAGMA locking_mode = EXCLUSIVE");
  const int locked = db->run("BEGIN EXCLUSIVE; COMMIT");
  if (locked == SQLITE_BUSY) return false;  // its client lives
  const std::int64_t version = number(*db, "PRAGMA user_version").value_or(0);
  if (!is_damage(locked)) {
    if (version == 0) {
      // Its client died while it made the file: a living one needs no minute until it locks it, and looks then.
      if (old && number(*db, "SELECT count(*) FROM sqlite_master") == 0) unlink_all(path);
      return false;
    }
    if (version > spool_schema_version) {
      log_(LogLevel::warning, "the spool file " + path + " was written by a newer version; it is left alone");
      return false;
    }
    Statement sender(*db, "SELECT identity FROM sender");
    const int code = sender.step();
    if (is_damage(code)) return true;  // whose events they are is unknown, so they must not be sent
    if (code != SQLITE_ROW || sender.bytes(0) != spool_identity(options_)) return false;
  }
  if (read_events(*db, version, brands_, events)) return true;
  const auto index = static_cast<std::uint16_t>(files_.size());
  for (Event* event = events.front(); event != nullptr; event = event->next) event->spool_file = index;
  if (options_.spool_sync == SpoolSync::process) db->run("PRAGMA synchronous = OFF");
  auto file = std::make_unique<File>(path, std::move(db), events.size());
  if (events.empty()) {
    File::leave(file);
  } else {
    files_.push_back(std::move(file));
  }
  return false;
}

void Spool::set_aside(const std::string& path, EventList& events) {
  for (Event* event = events.front(); event != nullptr; event = event->next) store(*event);
  const std::string aside = path + ".damaged";
  std::error_code failed;
  fs::rename(path, aside, failed);
  fs::rename(path + "-wal", aside + "-wal", failed);
  log_(LogLevel::error, "the spool file " + path + " is damaged; it is set aside as " + aside + ", and " +
                            std::to_string(events.size()) + " events that could be read go on");
}

void Spool::insert(std::span<Caller* const> group) {
  const std::lock_guard lock(mutex_);
  const TimePoint now = Clock::now();
  std::optional<ErrorInfo> failed;
  if (closed_) {
    failed = {.kind = ErrorKind::closed, .code = "closed", .message = "the client is closed"};
  } else if (!files_.front() || files_.front()->vanished(now)) {
    try {
      restore_own();
    } catch (const IntileryError& error) {
      failed = error.info();
    }
  }
  if (failed) {
    for (Caller* caller : group) {
      caller->code = failed->code == "spool_full" ? SQLITE_FULL : SQLITE_CANTOPEN;
      caller->why = failed->message;
    }
    return;
  }
  File& own = *files_.front();
  const auto insert_all = [&] {
    for (Caller* caller : group) {
      caller->event->spool_file = 0;
      const std::uint16_t brand = caller->event->brand;
      const int code = own.insert(*caller->event, brand == Brands::own ? options_.brand_id : brands_.name_of(brand));
      if (code != SQLITE_OK) return code;
    }
    return SQLITE_OK;
  };
  Database::Result result;
  if (group.size() > 1) {
    result = own.db().transact(insert_all);
  } else if ((result.code = insert_all()) != SQLITE_OK) {  // a statement is a transaction of its own
    result.why = own.db().error();
  }
  if (result.code == SQLITE_OK) {
    own.count_inserted(group.size());
    last_call_.store(now, std::memory_order_relaxed);
    if (help_wanted_) remove_own_unneeded(forget_in_call);
    return;
  }
  for (Caller* caller : group) {
    caller->event->spool_row = 0;
    caller->code = result.code;
    caller->why = result.why;
  }
}

void Spool::restore_own() {
  std::unique_ptr<File>& own = files_.front();
  make_folder(options_.spool_path);
  std::unique_ptr<File> restored = File::make(options_);
  if (own) {
    if (const Database::Result result = restored->copy(*own); result.code != SQLITE_OK) {
      File::leave(restored);
      raise_spool_error(spool_code(result.code), "what a removed file held cannot be written again: " + result.why);
    }
    log_(LogLevel::warning, "somebody removed the spool file " + own->path().string() + "; its " +
                                std::to_string(own->live()) + " events stand in " + restored->path().string() + " now");
  }
  own = std::move(restored);
}

void Spool::gather(std::unique_lock<std::mutex>& lock) {
  // As long as the commit takes at most: they would have to wait for that and for one more.
  if (companions_ > 0) all_here_.wait_for(lock, last_commit_, [this] { return group_.size() > companions_; });
}

void Spool::store(Event& event) {
  Caller self{.event = &event, .code = SQLITE_OK, .why = {}, .done = false};
  std::unique_lock lock(group_mutex_);
  const bool wait = committing_;
  const bool share = wait || !group_.empty() || companions_ > 0;
  if (share) group_.push_back(&self);
  if (wait && group_.size() == companions_ + 1) all_here_.notify_one();
  if (wait) committed_[group_number_ % 2].wait(lock, [&] { return self.done || !committing_; });
  if (!self.done) {
    // Whoever comes when nobody commits does so for all that came meanwhile.
    committing_ = true;
    const bool power = options_.spool_sync == SpoolSync::power;
    if (power) gather(lock);
    const std::vector<Caller*> shared = std::exchange(group_, {});
    const unsigned number = group_number_++;
    lock.unlock();
    const TimePoint started = power ? Clock::now() : TimePoint();
    Caller* const alone = &self;
    insert(shared.empty() ? std::span<Caller* const>(&alone, 1) : shared);
    const Clock::duration took = power ? Clock::now() - started : Clock::duration();
    lock.lock();
    committing_ = false;
    if (power) {
      last_commit_ = took;
      companions_ = std::max<std::size_t>(1, shared.size()) + group_.size() - 1;
    }
    for (Caller* caller : shared) caller->done = true;
    if (shared.size() > 1) committed_[number % 2].notify_all();
    if (!group_.empty()) committed_[group_number_ % 2].notify_one();
    lock.unlock();
  }
  if (self.code == SQLITE_OK) return;
  raise_spool_error(
      spool_code(self.code),
      "the event was not accepted, for the spool " + options_.spool_path +
          (self.code == SQLITE_FULL ? " is full (spool_max_bytes, or the disk): " : " cannot be written: ") + self.why);
}

void Spool::forget(const EventList& events) {
  bool any_adopted = adopted_unneeded_;
  {
    const std::lock_guard lock(unneeded_mutex_);
    const std::size_t before = unneeded_.size();
    if (!any_unneeded_) unneeded_since_ = Clock::now();
    for (const Event* event = events.front(); event != nullptr; event = event->next) {
      if (event->spool_file == 0) {
        unneeded_.push_back(event->spool_row);
      } else {
        any_adopted = true;
      }
    }
    if (unneeded_.size() > before) any_unneeded_ = true;
  }
  if (!any_adopted) return;
  std::unique_lock lock(mutex_);
  for (const Event* event = events.front(); event != nullptr; event = event->next) {
    if (event->spool_file > 0 && files_[event->spool_file]) {
      files_[event->spool_file]->add_unneeded(event->spool_row);
    }
  }
  adopted_unneeded_ = false;
  for (std::size_t i = 1; i < files_.size(); ++i) {
    while (remove_unneeded(i, forget_at_once)) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
    if (files_[i] && files_[i]->has_unneeded()) adopted_unneeded_ = true;
  }
}

bool Spool::tidy() {
  const TimePoint started = Clock::now();
  while (any_unneeded_) {
    const TimePoint now = Clock::now();
    if (now < last_call_.load(std::memory_order_relaxed) + between_calls) {
      {
        const std::lock_guard lock(unneeded_mutex_);
        if (now < unneeded_since_ + forget_within) return true;
      }
      // To take turns with callers would cost them more than to do it: one thread has to wake the other then, and
      // SQLite's memory to go from core to core.
      if (now < started + 1ms) {
        help_wanted_ = true;
        std::this_thread::yield();
        continue;
      }
    }
    const std::lock_guard lock(mutex_);
    remove_own_unneeded(forget_at_once);
  }
  return false;
}

void Spool::remove_own_unneeded(std::size_t count) {
  {
    const std::lock_guard lock(unneeded_mutex_);
    if (files_[0]) files_[0]->add_unneeded(unneeded_);
    unneeded_.clear();
    any_unneeded_ = false;
    help_wanted_ = false;
  }
  if (remove_unneeded(0, count)) any_unneeded_ = help_wanted_ = true;
}

bool Spool::remove_unneeded(std::size_t index, std::size_t count) {
  std::unique_ptr<File>& file = files_[index];
  if (!file || !file->has_unneeded()) return false;
  const bool adopted = index > 0;
  const TimePoint started = Clock::now();
  if (file->needs_any()) {
    if (started < try_again_) return false;
  } else if (adopted) {
    File::leave(file);
    return false;
  }
  const Database::Result result = file->remove_unneeded(count);
  if (result.code == SQLITE_OK) {
    file->shrink();
    if (file->has_unneeded()) return true;
    complained_ = false;
  } else if (!file->needs_any()) {
    // A full disk takes no deletion either; but a file of which nothing is needed can go as a whole.
    File::leave(file);
  } else {
    const TimePoint ended = Clock::now();
    try_again_ = ended + std::max<Clock::duration>(1s, 10 * (ended - started));
    if (!std::exchange(complained_, true)) {
      log_(LogLevel::warning, "what was delivered cannot be taken out of the spool " + options_.spool_path +
                                  " now: " + result.why + ". It may be sent again, with the same message ids");
    }
  }
  return false;
}

void Spool::remove_soon(const EventList& events) {
  forget(events);
  tidy();
}

void Spool::remove(const EventList& events) {
  forget(events);
  while (any_unneeded_) {
    const std::lock_guard lock(mutex_);
    remove_own_unneeded(forget_at_once);
  }
}

void Spool::remove(const Event& event) {
  const std::lock_guard lock(mutex_);
  if (!files_[event.spool_file]) return;
  files_[event.spool_file]->add_unneeded(event.spool_row);
  remove_unneeded(event.spool_file, all_rows);
}

void Spool::bury(const EventList& events, const ErrorInfo& error) {
  try {
    const std::lock_guard lock(mutex_);
    if (!dead_letters_) dead_letters_ = std::make_unique<DeadLetters>(options_.spool_path, options_.spool_max_bytes);
    dead_letters_->add(events, error, spool_identity(options_), brands_);
  } catch (const IntileryError& failed) {
    log_(LogLevel::error, std::string(failed.what()) + ". " + std::to_string(events.size()) +
                              " failed events stay in the spool, and are sent again by the next client");
    return;
  }
  remove(events);
}

}  // namespace intilery::queue
