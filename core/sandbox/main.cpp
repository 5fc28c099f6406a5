#include <csignal>

#include "command.hpp"

namespace {

volatile std::sig_atomic_t interrupted = 0;

void interrupt(int) { interrupted = 1; }

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGINT, interrupt);
  std::signal(SIGTERM, interrupt);
  return intilery::testing::run_sandbox_command("intilery-sandbox", {argv + 1, argv + argc}, [] { return interrupted != 0; });
}
