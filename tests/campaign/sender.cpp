// Sends the campaign's events from C++; arguments and output as sender.py has them.
#include <cstdlib>
#include <fstream>
#include <intilery/intilery.hpp>
#include <iostream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

using nlohmann::json;

int main(int count, char** arguments) {
  if (count != 5) return 2;
  const int events = std::stoi(arguments[1]);
  const int users = std::stoi(arguments[2]);
  const int rate = std::stoi(arguments[3]);
  const std::string ids_file = arguments[4];

  // Touched on the client's callback thread, and here once that has ended.
  std::vector<std::string> delivered_ids;
  int delivered = 0;
  int failed = 0;
  const auto told = [&](const intilery::Receipt& receipt) {
    ++(receipt.delivered() ? delivered : failed);
    if (receipt.delivered() && ids_file != "-") delivered_ids.push_back(receipt.message_id);
  };
  const intilery::EventOptions common{.on_delivery = told};

  std::unordered_map<std::string, int> due;
  const auto numbered = [&](const std::string& user, json values) {
    const int number = due[user]++;
    values["n"] = number;
    values["mark"] = user + "/" + std::to_string(number) + "/é😀";
    return values;
  };

  intilery::Client client = intilery::Client::from_env();
  const auto send = [&](int i) {
    const int block = i / 50;
    const int place = i % 50;
    const auto number = (place < 2 ? block : std::int64_t{i} * 7919) % users;
    const std::string user = "user-" + std::to_string(number);
    if (place == 0) {
      client.identify(user, numbered(user, {{"email", "fred@example.com"}, {"plan", nullptr}}), common);
    } else if (place == 1) {
      client.send_email(user, "asset-7", numbered(user, {{"code", "1234"}}), common);
    } else if (place == 2) {
      intilery::EventOptions options = common;
      options.anonymous_id = "visitor-" + std::to_string(block % users);
      client.page("", numbered(options.anonymous_id, {{"path", "/cart"}}), options);
    } else {
      const std::string note(i % 1000 == 999 ? 40'000 : std::int64_t{i} * 31 % 500, 'x');
      const json items = json::array({{{"sku", "a-1"}}});
      client.track(user, "Order Completed", numbered(user, {{"revenue", 30.25}, {"items", items}, {"note", note}}),
                   common);
    }
  };
  const auto check_balance = [&] {
    const intilery::Stats stats = client.stats();
    if (stats.accepted == stats.delivered + stats.failed + stats.queued) return;
    std::cerr << "accepted is not delivered + failed + queued: " << stats.accepted << ", " << stats.delivered << ", "
              << stats.failed << ", " << stats.queued << '\n';
    std::exit(1);
  };

  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < events; ++i) {
    if (rate > 0) {
      const auto due_at = start + std::chrono::microseconds(std::int64_t{i} * 1'000'000 / rate);
      const auto now = std::chrono::steady_clock::now();
      if (due_at > now) std::this_thread::sleep_until(std::max(due_at, now + std::chrono::milliseconds(10)));
    }
    send(i);
    if (i % 1000 == 0) check_balance();
  }
  client.flush();
  check_balance();
  client.close();
  const intilery::Stats stats = client.stats();
  if (ids_file != "-") {
    std::ofstream file(ids_file);
    for (const std::string& id : delivered_ids) file << id << '\n';
  }
  json requests = json::object();
  for (const auto& [status, number] : stats.requests) requests[std::to_string(status)] = number;
  const json report{{"accepted", stats.accepted}, {"delivered", stats.delivered},
                    {"failed", stats.failed},     {"failed_by_reason", stats.failed_by_reason},
                    {"queued", stats.queued},     {"receipts", {{"delivered", delivered}, {"failed", failed}}},
                    {"requests", requests}};
  std::cout << report.dump() << '\n';
}
