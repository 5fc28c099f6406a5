// The public C++ API against the sandbox, over a real socket.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "sandbox_test.hpp"

namespace intilery {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

class ClientTest : public SandboxTest {};

TEST_F(ClientTest, ADeliveryGivesItsReceiptInAllForms) {
  Client client(options());
  std::promise<Receipt> told;
  const Delivery delivery = client.track("u", "Login");
  delivery.on_done([&](const Receipt& receipt) { told.set_value(receipt); });
  const Receipt receipt = delivery.wait(5s);
  EXPECT_EQ(receipt.status, 200);
  EXPECT_EQ(receipt.attempts, 1);
  EXPECT_EQ(receipt.message_id, delivery.message_id());
  EXPECT_EQ(receipt.event_id, events()[0]["eventId"].get<std::string>());
  EXPECT_GT(receipt.latency, 0us);
  EXPECT_EQ(told.get_future().get().message_id, receipt.message_id);
  EXPECT_EQ(delivery.future().get().message_id, receipt.message_id);
  EXPECT_TRUE(delivery.done());
}

TEST_F(ClientTest, RawJsonTravelsAsItStands) {
  Client client(options());
  client.track("u", "E", RawJson(R"({"b":1.0,"a":123456789012345678901234567890})")).wait(5s);
  EXPECT_NE(sandbox.requests()[0].body.find(R"({"b":1.0,"a":123456789012345678901234567890})"), std::string::npos);
  EXPECT_THROW(client.track("u", "E", RawJson("{\"a\":}")), ValidationError);
  EXPECT_THROW(client.track("u", "E", RawJson("[1]")), ValidationError);
}

TEST_F(ClientTest, AViewSendsToItsBrandAndSharesTheRest) {
  testing::Sandbox brands({.brand_ids = {"HEA", "HEB"}, .rate_limit = 0});
  Options own = options();
  own.endpoint = brands.url();
  Client client(own);
  {
    Client heb = client.brand("HEB");
    heb.identify("u", {{"city", "Bath"}});
    heb.send({{"action", "track"}, {"userId", "u"}, {"event", "Sent"}});
    const Delivery delivery = heb.track("u", "Viewed");
    EXPECT_EQ(heb.flush(5s).remaining, 0u);
    EXPECT_EQ(heb.stats().delivered, 3u);
    EXPECT_EQ(client.stats().delivered, 3u);
    const std::vector<std::string> ids{delivery.message_id()};
    EXPECT_EQ(heb.verify(ids, "u").found, 1u);
    EXPECT_EQ(brands.requests().back().path.rfind("/track/hea/hea/HEB/v1/profiles/", 0), 0u);
  }
  client.track("u", "Login").wait(5s);
  std::map<std::string, int> by_brand;
  for (const json& event : json::parse(brands.events_json())) ++by_brand[event["brandId"]];
  EXPECT_EQ(by_brand, (std::map<std::string, int>{{"HEA", 1}, {"HEB", 3}}));

  Client view = client.brand("HEB").brand("HEA");
  client = Client(own);
  EXPECT_THROW(view.track("u", "Late"), ClosedError) << "its client is gone";
}

TEST_F(ClientTest, AViewsNameIsCheckedAsTheOptionIs) {
  const Client client(options());
  for (const char* name : {"", "../x", "H B", "H/B", "..", "\xc3\xa4"}) {
    try {
      client.brand(name);
      FAIL() << name;
    } catch (const ConfigurationError& error) {
      EXPECT_EQ(error.option(), "brand_id");
    }
  }
}

TEST_F(ClientTest, ABrandWithoutRightsDoesNotHoldUpTheOthers) {
  Hooks hooks;
  std::promise<std::string> told;
  hooks.on_log = [&](LogLevel level, std::string_view line) {
    if (level == LogLevel::error && line.find("pauses") != line.npos) told.set_value(std::string(line));
  };
  Options own = options();
  own.exit_timeout = 1ms;
  hooks.on_failure = [](const Receipt&) {};
  {
    Client client(own, hooks);
    const Delivery refused = client.brand("HEB").track("u", "Login");
    EXPECT_NE(told.get_future().get().find("HEB"), std::string::npos);
    for (int i = 0; i < 20; ++i) client.track("u", "Login").wait(5s);
    EXPECT_FALSE(refused.done());
    EXPECT_EQ(client.stats().state, State::paused_auth);
  }
  EXPECT_EQ(sandbox.event_count(), 20u);
}

TEST_F(ClientTest, EveryModeDeliversEverythingInOrder) {
  for (const DeliveryMode mode : {DeliveryMode::event, DeliveryMode::batch, DeliveryMode::automatic}) {
    sandbox.clear();
    Options chosen = options();
    chosen.delivery = mode;
    chosen.rate_limit = chosen.burst = 1e6;
    Client client(chosen);
    for (int i = 0; i < 2'000; ++i) client.track("user-" + std::to_string(i % 7), "Step", {{"number", i}});
    const Flush flush = client.close(30s);
    EXPECT_EQ(flush.remaining, 0u);
    const json stored = events();
    ASSERT_EQ(stored.size(), 2'000u);
    std::map<std::string, int> last;
    for (const json& event : stored) {
      const int number = event["rawData"]["properties"]["number"];
      int& previous = last.try_emplace(event["userId"], -1).first->second;
      ASSERT_LT(previous, number);
      previous = number;
    }
  }
}

TEST_F(ClientTest, ManyThreadsShareAClient) {
  Client client(options());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&client, t] {
      for (int i = 0; i < 500; ++i) client.track("user-" + std::to_string(t), "Step", {{"number", i}});
    });
  }
  std::thread watcher([&client] {
    for (int i = 0; i < 200; ++i) {
      const Stats stats = client.stats();
      EXPECT_EQ(stats.accepted, stats.delivered + stats.failed + stats.queued);
      client.flush(1ms);
    }
  });
  for (std::thread& thread : threads) thread.join();
  watcher.join();
  EXPECT_EQ(client.close(30s).remaining, 0u);
  EXPECT_EQ(sandbox.event_count(), 2'000u);
}

#if defined(__linux__)
/// This process's threads and open files.
std::pair<std::ptrdiff_t, std::ptrdiff_t> held() {
  const auto count = [](const char* folder) {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  };
  return {count("/proc/self/task"), count("/proc/self/fd")};
}

TEST_F(ClientTest, AHundredClientsComeAndGoWithoutATrace) {
  Client(options()).track("first", "E").wait(10s);
  const auto before = held();
  std::vector<Client> clients;
  for (int i = 0; i < 100; ++i) clients.emplace_back(options());
  const std::clock_t used = std::clock();
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(std::clock() - used, CLOCKS_PER_SEC / 20) << "idle clients used CPU";
  for (std::size_t i = 0; i < clients.size(); ++i) clients[i].track("user-" + std::to_string(i), "E");
  for (Client& client : clients) EXPECT_EQ(client.close(30s).remaining, 0u);
  const auto gone = [&] { return held().first <= before.first && held().second <= before.second; };
  // The sandbox's threads, which are here too, end a moment after their clients.
  for (int i = 0; i < 2'000 && !gone(); ++i) std::this_thread::sleep_for(5ms);
  EXPECT_TRUE(gone()) << held().first << " threads, " << held().second << " files; before " << before.first << ", "
                      << before.second;
  EXPECT_EQ(sandbox.event_count(), 101u);
}

/// The threads that leave SIGPIPE alone.
std::ptrdiff_t deaf_to_sigpipe() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::count_if(begin(tasks), end(tasks), [](const auto& task) {
    std::ifstream status(task.path() / "status");
    for (std::string word; status >> word;) {
      if (word != "SigBlk:") continue;
      status >> word;
      return (std::stoull(word, nullptr, 16) >> (SIGPIPE - 1) & 1) != 0;
    }
    return false;
  });
}

TEST_F(ClientTest, ABrokenConnectionCannotEndTheProgramBySigpipe) {
  const std::ptrdiff_t before = deaf_to_sigpipe();
  Client client(options());
  client.track("u", "E").wait(10s);
  EXPECT_GE(deaf_to_sigpipe(), before + 1) << "the I/O thread";
}
#endif

TEST_F(ClientTest, TheDestructorSendsWhatIsQueued) {
  {
    Client client(options());
    for (int i = 0; i < 1'000; ++i) client.track("u", "E");
  }
  EXPECT_EQ(sandbox.event_count(), 1'000u);
}

TEST_F(ClientTest, FaultsOnTheWayLoseNothing) {
  for (const char* faults : {
           R"([{"status":503,"times":2}])",
           R"([{"status":502,"probability":0.3,"times":20,"seed":5}])",
           R"([{"close":"before","times":3}])",
           R"([{"close":"during","times":3}])",
           R"([{"garbage":true,"times":3}])",
           R"([{"lost_ack":true,"times":3}])",
           R"([{"status":429,"headers":{"retry-after":"0"},"times":2}])",
           R"([{"status":200,"body":"<html>captive portal</html>","times":2}])",
       }) {
    SCOPED_TRACE(faults);
    sandbox.clear();
    sandbox.set_faults(faults);
    Client client(options());
    std::vector<Delivery> deliveries;
    for (int i = 0; i < 200; ++i) deliveries.push_back(client.track("user-" + std::to_string(i % 11), "E"));
    for (const Delivery& delivery : deliveries) EXPECT_TRUE(delivery.wait(20s).delivered());
    std::set<std::string> ids;
    for (const json& event : events()) ids.insert(event["rawData"]["messageId"].get<std::string>());
    EXPECT_EQ(ids.size(), 200u);
  }
}

TEST_F(ClientTest, NoRequestIsSentAgainBehindTheCounters) {
  for (const std::size_t size : {10u, 100'000u}) {  // a long body travels in pieces
    SCOPED_TRACE(size);
    sandbox.clear();
    Client client(options(), {.on_failure = {}, .on_log = [](LogLevel, std::string_view) {}});
    client.track("u", "First").wait(5s);  // leaves a connection to be used again
    sandbox.set_faults(R"([{"lost_ack":true,"times":2}])");
    EXPECT_EQ(client.track("u", "Second", {{"text", std::string(size, 'x')}}).wait(5s).attempts, 3);
    EXPECT_EQ(client.stats().requests, (std::map<int, std::uint64_t>{{0, 2}, {200, 2}}));
    EXPECT_EQ(sandbox.requests().size(), 4u);
  }
}

TEST_F(ClientTest, AFailedDeliveryThrowsItsError) {
  sandbox.set_faults(R"([{"status":400,"body":"{\"success\":false,\"message\":\"no such user\"}"}])");
  Client client(options(), {.on_failure = {}, .on_log = [](LogLevel, std::string_view) {}});
  try {
    client.track("u", "E").wait(5s);
    FAIL() << "was delivered";
  } catch (const DeliveryError& error) {
    EXPECT_EQ(error.reason(), "rejected");
    EXPECT_EQ(error.status(), 400);
    EXPECT_EQ(error.arrived(), Arrived::no);
    EXPECT_NE(error.body().find("no such user"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("no such user"), std::string::npos);
  }
}

TEST_F(ClientTest, WhatNobodyObservesGoesToTheHook) {
  sandbox.set_faults(R"([{"status":400}])");
  std::atomic<int> failures = 0;
  Client client(options(),
                {.on_failure = [&](const Receipt& receipt) { failures += receipt.error != nullptr; }, .on_log = {}});
  client.track("u", "E");
  client.track("u", "E", {}, {.on_delivery = [](const Receipt&) {}});
  client.close(5s);
  EXPECT_EQ(failures, 1);
}

TEST_F(ClientTest, ACallbackMayUseTheClientAndMayThrow) {
  std::promise<void> again;
  std::mutex mutex;
  std::string log;
  Client client(options(), {.on_failure = {}, .on_log = [&](LogLevel, std::string_view line) {
                              const std::lock_guard lock(mutex);
                              log += line;
                            }});
  client.track("u", "First", {}, {.on_delivery = [](const Receipt&) { throw std::runtime_error("mine"); }});
  client.track("u", "Second", {}, {.on_delivery = [&](const Receipt&) {
                 client.track("u", "Third").wait(5s);
                 again.set_value();
               }});
  EXPECT_EQ(again.get_future().wait_for(5s), std::future_status::ready);
  client.close(5s);
  const std::lock_guard lock(mutex);
  EXPECT_NE(log.find("a callback threw: mine"), std::string::npos);
}

TEST_F(ClientTest, AFullQueueDoesAsOnFullSays) {
  sandbox.set_faults(R"([{"delay_ms":100}])");
  const json big{{"text", std::string(2'000, 'x')}};
  Options chosen = options();
  chosen.max_queue_bytes = 3'000;
  const Hooks quiet{.on_failure = [](const Receipt&) {}, .on_log = {}};
  {
    Client client(chosen, quiet);
    client.track("u", "E", big);
    EXPECT_THROW(client.track("u", "E", big).wait(5s), QueueFullError);
  }
  chosen.on_full = OnFull::raise;
  {
    Client client(chosen, quiet);
    client.track("u", "E", big);
    EXPECT_THROW(client.track("u", "E", big), QueueFullError);
  }
  chosen.on_full = OnFull::block;
  {
    Client client(chosen, quiet);
    client.track("u", "E", big);
    EXPECT_TRUE(client.track("u", "E", big).wait(5s).delivered());
  }
  chosen.on_full = OnFull::drop_oldest;
  chosen.max_queue_bytes = 6'000;
  {
    Client client(chosen, quiet);
    client.track("u", "E", big);
    while (client.stats().in_flight == 0) std::this_thread::sleep_for(1ms);
    const Delivery second = client.track("u", "E", big);
    const Delivery last = client.track("u", "E", big);
    try {
      second.wait(5s);
      FAIL() << "was delivered";
    } catch (const QueueFullError& error) {
      EXPECT_EQ(error.code(), "dropped");
    }
    EXPECT_TRUE(last.wait(5s).delivered());
  }
}

TEST_F(ClientTest, CallsAfterCloseAreClosedErrors) {
  Client client(options());
  client.close();
  client.close();
  EXPECT_THROW(client.track("u", "E"), ClosedError);
  EXPECT_THROW(client.track("", ""), ClosedError);
  EXPECT_EQ(client.stats().state, State::closed);
}

TEST_F(ClientTest, ATimeOutLosesNothing) {
  sandbox.set_faults(R"([{"delay_ms":200,"times":1}])");
  Client client(options());
  const Delivery delivery = client.track("u", "E");
  EXPECT_THROW(delivery.wait(20ms), TimeoutError);
  EXPECT_EQ(client.flush(20ms).remaining, 1u);
  EXPECT_TRUE(delivery.wait(5s).delivered());
}

TEST_F(ClientTest, VerifySaysWhatArrived) {
  Client client(options());
  std::vector<std::string> ids;
  for (int i = 0; i < 250; ++i) ids.push_back(client.track("a/b", "E").message_id());
  client.flush(10s);
  EXPECT_TRUE(client.verify(ids, "a/b", 5s).complete());
  EXPECT_TRUE(client.verify(ids, {}, 5s).complete());
  ids.push_back("never");
  const Verification found = client.verify(ids, "a/b", 200ms);
  EXPECT_EQ(found.missing, std::vector<std::string>{"never"});
  EXPECT_EQ(found.found, 250u);
}

TEST_F(ClientTest, ARedirectIsNeverFollowed) {
  intilery::testing::Sandbox other({.rate_limit = 0});
  sandbox.set_faults(R"([{"status":302,"headers":{"location":")" + other.url() + R"(/track/hea/hea/HEA/v1/track"}}])");
  Client client(options(), {.on_failure = {}, .on_log = [](LogLevel, std::string_view) {}});
  EXPECT_THROW(client.track("u", "E").wait(5s), DeliveryError);
  EXPECT_TRUE(other.requests().empty());
}

class BeforeSendTest : public ClientTest {
 protected:
  Client client_with(std::function<std::optional<json>(json)> before_send, OnInvalid on_invalid = OnInvalid::raise) {
    Options chosen = options();
    chosen.before_send = std::move(before_send);
    chosen.on_invalid = on_invalid;
    chosen.delivery = DeliveryMode::event;
    return Client(chosen, {.on_failure = [this](const Receipt&) { ++failures; }, .on_log = {}});
  }

  std::atomic<int> failures = 0;
};

TEST_F(BeforeSendTest, EveryCallIsSeenAsSendTakesIt) {
  std::vector<json> seen;
  Client client = client_with([&](json message) {
    seen.push_back(message);
    return message;
  });
  const EventOptions given{.context = {{"ip", "1.2.3.4"}},
                           .timestamp = std::chrono::system_clock::time_point(1'574'087'411'444ms),
                           .anonymous_id = "a-1",
                           .message_id = "m-1"};
  client.identify("u", {{"city", "Bath"}}, given);
  client.track("u", "Login");
  client.track("u", "Order", RawJson(R"({"revenue":30.5})"));
  client.page("", {{"path", "/"}}, {.anonymous_id = "a-1"});
  client.screen("u", "Checkout");
  client.send_email("u", "asset-7", {{"code", "1234"}});
  client.start_journey("u", "j", "2", {{"plan", "gold"}});
  client.start_journey("u", "j");
  client.send({{"action", "track"}, {"userId", "u"}, {"event", "Login"}});
  client.send(RawJson(R"({"action":"track","userId":"u","event":"Raw"})"));
  client.close(5s);
  EXPECT_EQ(client.stats().delivered, 10u);
  EXPECT_EQ(json(seen), json::parse(R"([
    {"action":"identify","userId":"u","anonymousId":"a-1","traits":{"city":"Bath"},"context":{"ip":"1.2.3.4"},
     "timestamp":"2019-11-18T14:30:11.444Z","messageId":"m-1"},
    {"action":"track","userId":"u","event":"Login"},
    {"action":"track","userId":"u","event":"Order","properties":{"revenue":30.5}},
    {"action":"page","anonymousId":"a-1","properties":{"path":"/"}},
    {"action":"screen","userId":"u","name":"Checkout"},
    {"action":"track","userId":"u","event":"send_email","assetId":"asset-7","code":"1234"},
    {"action":"track","userId":"u","event":"start_journey",
     "properties":{"journeyIdToTrigger":"j","stepIdToTrigger":"2"},"plan":"gold"},
    {"action":"track","userId":"u","event":"start_journey","properties":{"journeyIdToTrigger":"j"}},
    {"action":"track","userId":"u","event":"Login"},
    {"action":"track","userId":"u","event":"Raw"}])"));
}

TEST_F(BeforeSendTest, AnEventMayBeChangedOrDropped) {
  Client client = client_with([](json message) -> std::optional<json> {
    if (message["event"] == "Secret") return std::nullopt;
    message["properties"].erase("email");
    return message;
  });
  const Delivery dropped = client.track("u", "Secret");
  client.track("u", "Order", {{"email", "fred@example.com"}, {"revenue", 30.5}}).wait(5s);
  try {
    dropped.wait(5s);
    FAIL() << "was delivered";
  } catch (const DeliveryError& error) {
    EXPECT_EQ(error.reason(), "before_send");
    EXPECT_EQ(error.arrived(), Arrived::no);
  }
  client.track("u", "Secret");
  const Stats stats = client.stats();
  EXPECT_EQ(stats.failed_by_reason.at("before_send"), 2u);
  EXPECT_EQ(stats.accepted, stats.delivered + stats.failed + stats.queued);
  client.close(5s);
  EXPECT_EQ(failures, 0) << "the program chose it";
  ASSERT_EQ(sandbox.event_count(), 1u);
  EXPECT_EQ(events()[0]["rawData"]["properties"], (json{{"revenue", 30.5}}));
  EXPECT_THROW(client.track("u", "Secret"), ClosedError);
}

TEST_F(BeforeSendTest, WhatItThrowsIsTheCauseOfAnErrorAndNothingIsSent) {
  const auto throws = [](json) -> std::optional<json> { throw std::out_of_range("fred@example.com"); };
  const auto check = [](const ErrorInfo& error) {
    EXPECT_EQ(error.code, "before_send_failed");
    EXPECT_EQ(error.message.find("fred"), std::string::npos);
    EXPECT_THROW(std::rethrow_exception(error.cause), std::out_of_range);
  };
  Client raising = client_with(throws);
  try {
    raising.track("u", "E");
    FAIL() << "nothing was thrown";
  } catch (const ValidationError& error) {
    check(error.info());
  }
  EXPECT_EQ(raising.stats().accepted, 0u);
  Client reporting = client_with(throws, OnInvalid::report);
  try {
    reporting.track("u", "E").wait(5s);
    FAIL() << "was delivered";
  } catch (const ValidationError& error) {
    check(error.info());
  }
  reporting.track("u", "E", {}, {.on_delivery = [](const Receipt&) {}});
  reporting.close(5s);
  EXPECT_EQ(failures, 1) << "the first: nobody can wait for an event that fails in its call";
  EXPECT_EQ(sandbox.event_count(), 0u);
}

TEST_F(BeforeSendTest, WhatItReturnsIsCheckedAnew) {
  const auto error_of = [&](const json& returned) {
    Client client = client_with([&](json) { return returned; });
    try {
      client.track("u", "E");
      return std::string();
    } catch (const ValidationError& error) {
      return error.code() + " " + error.path();
    }
  };
  EXPECT_EQ(error_of(json::array({1})), "wrong_type before_send");
  EXPECT_EQ(error_of("text"), "wrong_type before_send");
  EXPECT_EQ(error_of({{"action", "track"}, {"userId", "u"}}), "required event");
  EXPECT_EQ(error_of({{"action", "page"}, {"userId", "u"}, {"properties", {{"x", std::nan("")}}}}),
            "not_finite properties.x");
}

TEST_F(BeforeSendTest, AMistakeThatItCannotBeShownIsRefusedBeforeIt) {
  int calls = 0;
  Client client = client_with([&](json message) {
    ++calls;
    return message;
  });
  const auto error_of = [](auto call) {
    try {
      call();
      return std::string();
    } catch (const ValidationError& error) {
      return error.code() + " " + error.path();
    }
  };
  EXPECT_EQ(error_of([&] { client.track("u", "E", RawJson("{")); }), "invalid_json properties");
  EXPECT_EQ(error_of([&] { client.track("u", "E", RawJson("{\"x\":1e999}")); }), "invalid_value properties");
  EXPECT_EQ(error_of([&] { client.send_email("u", "a", {{"userId", "x"}}); }), "reserved_field data.userId");
  EXPECT_EQ(error_of([&] { client.send_email("u", "a", "text"); }), "wrong_type data");
  EXPECT_EQ(error_of([&] { client.send(json::array()); }), "wrong_type ");
  EXPECT_EQ(calls, 0);
}

TEST_F(BeforeSendTest, ItMayCallTheClientAgainFromManyThreads) {
  Client* self = nullptr;
  Client client = client_with([&](json message) {
    if (message["event"] == "Outer") self->track("u", "Inner");
    return message;
  });
  self = &client;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) client.track("u", "Outer");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client.close(20s).remaining, 0u);
  EXPECT_EQ(client.stats().delivered, 800u);
  EXPECT_EQ(sandbox.event_count(), 800u);
}

class LogTest : public ClientTest {
 protected:
  Hooks hooks() {
    return {.on_failure = {}, .on_log = [this](LogLevel level, std::string_view line) {
              const std::lock_guard lock(mutex);
              lines.emplace_back(level, line);
            }};
  }
  std::mutex mutex;
  std::vector<std::pair<LogLevel, std::string>> lines;
};

TEST_F(LogTest, ADryRunSaysSoAndSendsNothing) {
  Options chosen = options();
  chosen.dry_run = true;
  chosen.spool_path = ::testing::TempDir() + "no-spool-in-a-dry-run";
  Client client(chosen, hooks());
  const Delivery delivery = client.track("u", "E");
  const Receipt receipt = delivery.wait(5s);
  EXPECT_EQ(receipt.status, 0);
  EXPECT_EQ(receipt.attempts, 0);
  EXPECT_FALSE(receipt.event_id);
  EXPECT_THROW(client.track("u", "E", {{"x", std::nan("")}}), ValidationError);
  try {
    client.verify(std::array{delivery.message_id()});
    FAIL() << "read back";
  } catch (const DeliveryError& error) {
    EXPECT_EQ(error.reason(), "dry_run");
    EXPECT_NE(std::string(error.what()).find("nothing was sent"), std::string::npos);
  }
  for (int i = 0; i < 1'000; ++i) client.track("u", "E");
  EXPECT_EQ(client.close(5s).remaining, 0u);
  EXPECT_EQ(client.stats().delivered, 1'001u);
  EXPECT_TRUE(sandbox.requests().empty());
  EXPECT_FALSE(std::filesystem::exists(chosen.spool_path));
  const std::lock_guard lock(mutex);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].first, LogLevel::info);
  EXPECT_NE(lines[0].second.find("dry_run"), std::string::npos);
}

TEST_F(LogTest, DebugShowsTheTrafficWithoutTheToken) {
  Options chosen = options();
  chosen.debug = true;
  Client client(chosen, hooks());
  client.track("u", "E", {{"email", "fred@example.com"}, {"token", chosen.auth_token}}).wait(5s);
  client.close(5s);
  const std::lock_guard lock(mutex);
  ASSERT_EQ(lines.size(), 2u);
  for (const auto& [level, line] : lines) {
    EXPECT_EQ(level, LogLevel::debug);
    EXPECT_EQ(line.find(chosen.auth_token), std::string::npos) << line;
  }
  EXPECT_NE(lines[0].second.find("POST " + chosen.endpoint + "/track/hea/hea/HEA/v1/track"), std::string::npos);
  EXPECT_NE(lines[0].second.find("fred@example.com"), std::string::npos);
  EXPECT_NE(lines[1].second.find("status 200"), std::string::npos);
}

TEST_F(LogTest, WithDebugStandardErrorGetsEveryLine) {
  Options chosen = options();
  chosen.dry_run = true;
  const auto written = [&] {
    ::testing::internal::CaptureStderr();
    Client(chosen).track("u", "E").wait(5s);
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(written(), "");
  chosen.debug = true;
  const std::string all = written();
  EXPECT_TRUE(all.starts_with("intilery: info: dry_run is on")) << all;
  EXPECT_NE(all.find("\nintilery: debug: not sent: POST "), std::string::npos) << all;
}

TEST_F(LogTest, AHookThatThrowsHarmsNothing) {
  Options chosen = options();
  chosen.debug = true;
  Client client(chosen,
                {.on_failure = {}, .on_log = [](LogLevel, std::string_view) { throw std::runtime_error("mine"); }});
  EXPECT_TRUE(client.track("u", "E").wait(5s).delivered());
}

TEST(OptionsTest, AMistakeIsNamed) {
  const auto code = [](Options given) -> std::string {
    try {
      Client client(std::move(given));
      return "";
    } catch (const ConfigurationError& error) {
      return error.option() + ": " + error.code();
    }
  };
  const Options good{.client_id = "a", .account_id = "a", .brand_id = "B", .auth_token = "t"};
  EXPECT_EQ(code(good), "");
  EXPECT_EQ(code({}), "client_id: required");
  Options wrong = good;
  wrong.auth_token = "line\nbreak";
  EXPECT_EQ(code(wrong), "auth_token: invalid_value");
  wrong = good;
  wrong.endpoint = "http://127.example.com";  // looks like a loopback address, and is none
  EXPECT_EQ(code(wrong), "endpoint: invalid_value");
  wrong.endpoint = "http://example.com";
  EXPECT_EQ(code(wrong), "endpoint: invalid_value");
  wrong.allow_insecure_http = true;
  EXPECT_EQ(code(wrong), "");
  wrong = good;
  wrong.context = {{"x", std::nan("")}};
  EXPECT_EQ(code(wrong), "context: not_finite");
  wrong.context = "text";
  EXPECT_EQ(code(wrong), "context: wrong_type");
  Options set = good;
  EXPECT_THROW(set_option(set, "flushat", 1), ConfigurationError);
  EXPECT_THROW(set_option(set, "flush_at", 0), ConfigurationError);
  EXPECT_THROW(set_option(set, "flush_at", 1.5), ConfigurationError);
  set_option(set, "flush_interval", 0.25);
  EXPECT_EQ(set.flush_interval, 250ms);
}

TEST(OptionsTest, EveryOptionIsInTheList) {
  Options options;
  for (const OptionInfo& option : option_list()) {
    EXPECT_FALSE(option.help.empty()) << option.name;
    EXPECT_NO_THROW(set_option(options, option.name, nullptr)) << option.name;
  }
  EXPECT_EQ(option_list().size(), 42u);
}

}  // namespace
}  // namespace intilery
