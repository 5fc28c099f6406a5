/// \file
/// The disk under the spool: SQLite's real files, written through a layer that can make trouble.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>

namespace intilery::simulator {

/// One for the process, since SQLite has one.
struct Disk {
  static Disk& get();

  bool full = false;                        ///< Nothing can be written.
  std::chrono::microseconds slow{0};        ///< What each write takes.
  std::function<void()> before_write = {};  ///< Called before each.
  /// A folder in memory, for the spools of one simulation. Removed with this.
  class Folder {
   public:
    Folder();
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    const std::filesystem::path& path() const { return path_; }

   private:
    std::filesystem::path path_;
  };
};

}  // namespace intilery::simulator
