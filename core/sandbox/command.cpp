#include "command.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "intilery/testing.hpp"
#include "intilery/version.hpp"

namespace intilery::testing {

namespace {

std::string file_or_text(const std::string& value) {
  std::ifstream file(value);
  if (!file) return value;
  return {std::istreambuf_iterator<char>(file), {}};
}

volatile std::sig_atomic_t interrupted = 0;

void interrupt(int) { interrupted = 1; }

void wait_for_signal() {
  interrupted = 0;
  const auto on_interrupt = std::signal(SIGINT, interrupt);
  const auto on_terminate = std::signal(SIGTERM, interrupt);
  while (interrupted == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_terminate);
}

}  // namespace

int run_sandbox_command(const std::string& name, const std::vector<std::string>& args) {
  SandboxOptions options;
  options.max_stored_bytes = 512'000'000;
  if (const char* token = std::getenv("INTILERY_AUTH_TOKEN"); token != nullptr && *token != '\0') options.token = token;
  std::string faults;

  CLI::App app(
      "A stand-in for the Intilery service: holds callers to the API's contract and shows what arrived, in a "
      "browser, too: open its URL.",
      name);
  app.set_version_flag("--version", INTILERY_VERSION);
  app.add_option("--host", options.host, "Address to bind.")->capture_default_str();
  app.add_option("--port", options.port, "Port; 0 is any free one. The URL is printed first.")
      ->capture_default_str()
      ->check(CLI::Range(0, 65'535));
  app.add_option("--token", options.token,
                 "The token that has rights. Others can see it in the process list: prefer INTILERY_AUTH_TOKEN. "
                 "Default: sandbox-token.");
  app.add_option("--client-id", options.client_id)->capture_default_str();
  app.add_option("--account-id", options.account_id)->capture_default_str();
  app.add_option("--brand-id", options.brand_ids, "May be given more than once.")->capture_default_str();
  app.add_option("--rate-limit", options.rate_limit, "Requests a second; 0: no limit.")->capture_default_str();
  app.add_option("--burst", options.burst)->capture_default_str();
  const std::map<std::string, Profile> profiles{{"guide", Profile::guide}, {"vendor", Profile::vendor}};
  app.add_option("--profile", options.profile,
                 "guide: the API guide alone. vendor: the later documentation (screen, batch, 1 MB). Default: vendor.")
      ->transform(CLI::CheckedTransformer(profiles));
  app.add_option("--max-request-bytes", options.max_request_bytes, "Default: what the profile says.");
  app.add_option("--store", options.store, "A SQLite file that keeps what was accepted, over restarts.");
  app.add_option("--plan", options.plan, "A tracking plan, JSON or YAML: the page shows which events break it.");
  double visible_after = 0;
  app.add_option("--visible-after", visible_after, "Seconds from an event's arrival until it can be read back.")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86'400.0));
  app.add_option("--faults", faults, "A JSON array of fault rules, or a file with one.");
  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 takes them
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::cerr << name << ": " << error.what() << "\nTry " << name << " --help\n";
    return 2;
  }
  try {
    options.visible_after = std::chrono::milliseconds(std::llround(visible_after * 1000));
    if (!faults.empty()) options.faults = file_or_text(faults);
    Sandbox sandbox(std::move(options));
    std::cout << sandbox.url() << '\n' << std::flush;
    wait_for_signal();
    return 0;
  } catch (const std::invalid_argument& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return 2;
  } catch (const std::runtime_error& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace intilery::testing
