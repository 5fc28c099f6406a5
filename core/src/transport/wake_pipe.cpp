#include "transport/wake_pipe.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace intilery::transport {

WakePipe::WakePipe() {
  if (pipe(ends_) != 0) throw std::runtime_error("no file descriptor is left for the client");
  for (const int end : ends_) {
    fcntl(end, F_SETFD, FD_CLOEXEC);
    fcntl(end, F_SETFL, O_NONBLOCK);
  }
}

WakePipe::~WakePipe() {
  close(ends_[0]);
  close(ends_[1]);
}

void WakePipe::wake() const {
  // A full pipe is readable already.
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = write(ends_[1], &byte, 1);
}

void WakePipe::drain() const {
  std::array<char, 64> bytes;
  while (read(ends_[0], bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size())) {
  }
}

}  // namespace intilery::transport
