/// \file
/// How a language waits.
#pragma once

namespace intilery {

/// Handed to every call that blocks. A language with a lock of its own (Python's GIL) lets go of it between `release`
/// and `reacquire`; waits run in slices of at most 50 ms, and after each `check` may throw to end the wait (Ctrl-C).
struct Waiting {
  virtual ~Waiting() = default;
  virtual void release() {}
  virtual void reacquire() {}
  virtual void check() {}
};

/// Lets go of the language's lock while it lives.
class Released {
 public:
  explicit Released(Waiting& waiting) : waiting_(waiting) { waiting_.release(); }
  ~Released() { waiting_.reacquire(); }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  Waiting& waiting_;
};

}  // namespace intilery
