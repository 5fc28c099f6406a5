// The public C++ API against the sandbox, over a real socket.
#include <gtest/gtest.h>

#include <atomic>
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
  EXPECT_EQ(option_list().size(), 35u);
}

}  // namespace
}  // namespace intilery
