/// \file
/// Ends another thread's poll().
#pragma once

namespace intilery::transport {

/// A pipe that becomes readable.
class WakePipe {
 public:
  /// \throws std::runtime_error if the process has no descriptor left.
  WakePipe();
  ~WakePipe();
  WakePipe(const WakePipe&) = delete;
  WakePipe& operator=(const WakePipe&) = delete;

  /// What to wait for in poll().
  int descriptor() const { return ends_[0]; }
  /// Makes it readable. From any thread.
  void wake() const;
  /// Makes it unreadable again. For the thread that polls.
  void drain() const;

 private:
  int ends_[2];
};

}  // namespace intilery::transport
