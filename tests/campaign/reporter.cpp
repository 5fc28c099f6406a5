// Sends events until its standard input ends, and reports each call and each fate at once; as reporter.py.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <intilery/intilery.hpp>
#include <string>

using nlohmann::json;

namespace {

constexpr int users = 40;

/// Without memory of its own, and in one piece.
void say(const char* what, const char* about = "", const char* more = "", const char* last = "") {
  char line[512];
  const int length = std::snprintf(line, sizeof line, "%s %s %s %s\n", what, about, more, last);
  if (write(STDOUT_FILENO, line, static_cast<std::size_t>(length)) != length) std::_Exit(3);
}

void told(const intilery::Receipt& receipt) {
  const auto& error = receipt.error;
  if (!error) return say("delivered", receipt.message_id.c_str());
  say("failed", receipt.message_id.c_str(), error->code.c_str(),
      error->arrived == intilery::Arrived::no ? "no" : "unknown");
}

void send(intilery::Client& client, int life, int note, int number) {
  // In one order over all lives: an event's number is above those of the lives before.
  const int block = number / 50;
  const int place = number % 50;
  const std::string user = "user-" + std::to_string((life + (place < 2 ? block : number)) % users);
  const std::string n = std::to_string(life * 1'000'000 + number);
  const std::string id = user + ":" + n;
  const json values{{"n", life * 1'000'000 + number},
                    {"mark", user + "/" + n + "/é😀"},
                    {"note", std::string(static_cast<std::size_t>(note), 'x')}};
  const intilery::EventOptions options{.message_id = id, .on_delivery = told};
  if (place == 0) {
    client.identify(user, values, options);
  } else if (place == 1) {
    client.send_email(user, "asset-7", values, options);
  } else {
    client.track(user, "Step", values, options);
  }
  say("accepted", id.c_str());
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const int life = std::stoi(arguments[1]);
  const int note = std::stoi(arguments[2]);
  const int rate = std::stoi(arguments[3]);
  intilery::Client client = intilery::Client::from_env();
  const auto start = std::chrono::steady_clock::now();
  for (int number = 0;; ++number) {
    std::chrono::milliseconds early{-1};
    if (rate > 0) {
      const auto due = start + std::chrono::microseconds(std::int64_t{number} * 1'000'000 / rate);
      early = std::max(std::chrono::milliseconds{0},
                       std::chrono::ceil<std::chrono::milliseconds>(due - std::chrono::steady_clock::now()));
    }
    pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (poll(&input, 1, static_cast<int>(early.count())) > 0) break;
    try {
      send(client, life, note, number);
    } catch (const intilery::SpoolError&) {
      say("raised", "SpoolError");
    } catch (const intilery::IntileryError& error) {
      say("raised", error.code().c_str());
    } catch (const std::bad_alloc&) {
      say("raised", "bad_alloc");
    }
  }
  client.flush();
  client.close();
  say("ended");
}
