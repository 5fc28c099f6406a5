#include "command.hpp"

int main(int argc, char** argv) {
  return intilery::testing::run_sandbox_command("intilery-sandbox", {argv + 1, argv + argc});
}
