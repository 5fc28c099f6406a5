#include "disk.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "machine.hpp"

namespace intilery::simulator {

namespace {

namespace fs = std::filesystem;

/// A file of SQLite's own layer lies behind each of ours.
struct File {
  sqlite3_file base{};
  static sqlite3_file* real(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<File*>(file) + 1);
  }
};

template <auto Method>
struct Forward;
template <class... Arguments, int (*sqlite3_io_methods::*Method)(sqlite3_file*, Arguments...)>
struct Forward<Method> {
  static int call(sqlite3_file* file, Arguments... arguments) {
    sqlite3_file* const real = File::real(file);
    return (real->pMethods->*Method)(real, arguments...);
  }
};

int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  const Disk& disk = Disk::get();
  if (disk.before_write) disk.before_write();
  if (disk.slow.count() > 0 && Machine::current() != nullptr) Machine::current()->spend(disk.slow);
  if (disk.full) return SQLITE_FULL;
  sqlite3_file* const real = File::real(file);
  return real->pMethods->xWrite(real, data, size, offset);
}

sqlite3_vfs* plain = nullptr;

const sqlite3_io_methods& methods() {
  static const sqlite3_io_methods made = [] {
    using M = sqlite3_io_methods;
    M m{};
    m.iVersion = 2;
    m.xClose = Forward<&M::xClose>::call;
    m.xRead = Forward<&M::xRead>::call;
    m.xWrite = write;
    m.xTruncate = Forward<&M::xTruncate>::call;
    m.xSync = Forward<&M::xSync>::call;
    m.xFileSize = Forward<&M::xFileSize>::call;
    m.xLock = Forward<&M::xLock>::call;
    m.xUnlock = Forward<&M::xUnlock>::call;
    m.xCheckReservedLock = Forward<&M::xCheckReservedLock>::call;
    m.xFileControl = Forward<&M::xFileControl>::call;
    m.xSectorSize = Forward<&M::xSectorSize>::call;
    m.xDeviceCharacteristics = Forward<&M::xDeviceCharacteristics>::call;
    m.xShmMap = Forward<&M::xShmMap>::call;
    m.xShmLock = Forward<&M::xShmLock>::call;
    m.xShmBarrier = [](sqlite3_file* file) { File::real(file)->pMethods->xShmBarrier(File::real(file)); };
    m.xShmUnmap = Forward<&M::xShmUnmap>::call;
    return m;
  }();
  return made;
}

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;
  const int code = plain->xOpen(plain, name, File::real(file), flags, out_flags);
  if (code == SQLITE_OK) file->pMethods = &methods();
  return code;
}

void install() {
  plain = sqlite3_vfs_find(nullptr);
  static sqlite3_vfs layer = *plain;
  layer.szOsFile = static_cast<int>(sizeof(File)) + plain->szOsFile;
  layer.zName = "intilery-simulator";
  layer.pNext = nullptr;
  layer.xOpen = open;
  sqlite3_vfs_register(&layer, 1);
}

}  // namespace

Disk& Disk::get() {
  static Disk* const disk = [] {
    install();
    return new Disk;
  }();
  return *disk;
}

Disk::Folder::Folder() {
  const fs::path memory = "/dev/shm";
  const fs::path base = fs::is_directory(memory) ? memory : fs::temp_directory_path();
  std::string name = (base / "intilery-simulator-XXXXXX").string();
  path_ = mkdtemp(name.data());
}
Disk::Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace intilery::simulator
