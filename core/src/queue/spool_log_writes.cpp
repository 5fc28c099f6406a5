#include "queue/spool_log_writes.hpp"

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

namespace intilery::queue {

namespace {

/// As SQLite's file format has it: a frame is a header, whose second word is not 0 if a transaction ends with it, and a
/// page.
constexpr int frame_header_size = 24;
bool ends_transaction(const char* frame_header) {
  constexpr std::array<char, 4> zero{};
  return std::memcmp(frame_header + 4, zero.data(), zero.size()) != 0;
}

sqlite3_vfs* plain = nullptr;  ///< SQLite's own layer.

constexpr std::size_t hold_at_most = 32'768;

/// The log. What is held back belongs to a transaction that has not ended, or else SQLite is still writing it.
struct LogFile {
  sqlite3_file base{};
  sqlite3_int64 start = 0;  ///< Where in the file the bytes that are held belong.
  std::size_t held = 0;
  bool in_frame = false;  ///< The last write was a frame's header,
  bool is_last = false;   ///< and a transaction ends with that frame.
  std::unique_ptr<char[]> bytes;

  explicit LogFile(const sqlite3_io_methods& methods) : bytes(new(std::nothrow) char[hold_at_most]) {
    base.pMethods = &methods;
  }
  static LogFile& of(sqlite3_file* file) { return *reinterpret_cast<LogFile*>(file); }
  /// SQLite's own file lies behind this one.
  sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  const sqlite3_io_methods& methods() { return *file()->pMethods; }

  int write_held() {
    const std::size_t size = held;
    held = 0;  // also if it fails: then its transaction has failed
    return size == 0 ? SQLITE_OK : methods().xWrite(file(), bytes.get(), static_cast<int>(size), start);
  }

  int write(const char* data, int size, sqlite3_int64 offset) {
    const auto count = static_cast<std::size_t>(size);
    const bool follows = held > 0 && offset == start + static_cast<sqlite3_int64>(held);
    if (!follows || held + count > hold_at_most) {
      if (const int code = write_held(); code != SQLITE_OK) return code;
      start = offset;
    }
    const bool is_header = size == frame_header_size;
    const bool hold = is_header || (in_frame && !is_last);
    if (is_header) is_last = ends_transaction(data);
    in_frame = is_header;
    if (held == 0 && (!hold || count > hold_at_most)) return methods().xWrite(file(), data, size, offset);
    std::memcpy(bytes.get() + held, data, count);
    held += count;
    return hold ? SQLITE_OK : write_held();
  }
};

template <class Then>
int after_held(sqlite3_file* file, Then then) {
  LogFile& log = LogFile::of(file);
  const int code = log.write_held();
  return code == SQLITE_OK ? then(log.methods(), log.file()) : code;
}

const sqlite3_io_methods log_methods = {
    .iVersion = 1,
    .xClose =
        [](sqlite3_file* file) {
          LogFile& log = LogFile::of(file);
          const int code = log.write_held();
          const int closed = log.methods().xClose(log.file());
          log.~LogFile();
          return code == SQLITE_OK ? closed : code;
        },
    .xRead =
        [](sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
          return after_held(file, [&](auto& own, auto* log) { return own.xRead(log, data, size, offset); });
        },
    .xWrite =
        [](sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
          return LogFile::of(file).write(static_cast<const char*>(data), size, offset);
        },
    .xTruncate =
        [](sqlite3_file* file, sqlite3_int64 size) {
          return after_held(file, [&](auto& own, auto* log) { return own.xTruncate(log, size); });
        },
    .xSync = [](sqlite3_file* file,
                int flags) { return after_held(file, [&](auto& own, auto* log) { return own.xSync(log, flags); }); },
    .xFileSize =
        [](sqlite3_file* file, sqlite3_int64* size) {
          return after_held(file, [&](auto& own, auto* log) { return own.xFileSize(log, size); });
        },
    .xLock = [](sqlite3_file* file,
                int kind) { return LogFile::of(file).methods().xLock(LogFile::of(file).file(), kind); },
    .xUnlock = [](sqlite3_file* file,
                  int kind) { return LogFile::of(file).methods().xUnlock(LogFile::of(file).file(), kind); },
    .xCheckReservedLock =
        [](sqlite3_file* file, int* out) {
          return LogFile::of(file).methods().xCheckReservedLock(LogFile::of(file).file(), out);
        },
    .xFileControl =
        [](sqlite3_file* file, int what, void* argument) {
          return LogFile::of(file).methods().xFileControl(LogFile::of(file).file(), what, argument);
        },
    .xSectorSize = [](sqlite3_file* file) { return LogFile::of(file).methods().xSectorSize(LogFile::of(file).file()); },
    .xDeviceCharacteristics =
        [](sqlite3_file* file) { return LogFile::of(file).methods().xDeviceCharacteristics(LogFile::of(file).file()); },
    .xShmMap = nullptr,
    .xShmLock = nullptr,
    .xShmBarrier = nullptr,
    .xShmUnmap = nullptr,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  if ((flags & SQLITE_OPEN_WAL) == 0) return plain->xOpen(plain, name, file, flags, out_flags);
  auto* log = new (file) LogFile(log_methods);
  const int code = log->bytes ? plain->xOpen(plain, name, log->file(), flags, out_flags) : SQLITE_NOMEM;
  if (code != SQLITE_OK) {
    log->~LogFile();
    file->pMethods = nullptr;  // or SQLite would close it
  }
  return code;
}

/// The layer, made and registered once. Never taken back: connections may outlive any of ours.
struct Layer {
  Layer() {
    plain = sqlite3_vfs_find(nullptr);
    if (plain == nullptr) return;
    vfs = *plain;
    // Two copies of this library in a process must not meet.
    std::snprintf(name.data(), name.size(), "intilery-%p", static_cast<void*>(this));
    vfs.zName = name.data();
    vfs.szOsFile += static_cast<int>(sizeof(LogFile));
    vfs.xOpen = open;
    registered = sqlite3_vfs_register(&vfs, /*makeDflt=*/0) == SQLITE_OK;
  }
  std::array<char, 40> name{};
  sqlite3_vfs vfs{};
  bool registered = false;
};

}  // namespace

const char* one_write_vfs() {
  static Layer* const layer = new Layer;
  return layer->registered ? layer->name.data() : nullptr;
}

}  // namespace intilery::queue
