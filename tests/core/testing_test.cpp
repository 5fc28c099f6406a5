// What users have for their own tests: expectations, the fixture, the client in memory.
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "expectation.hpp"
#include "intilery/gtest.hpp"
#include "intilery/intilery.hpp"
#include "intilery/testing.hpp"

namespace {

using namespace std::chrono_literals;
using intilery::testing::Arrival;
using intilery::testing::as_arrived;
using intilery::testing::Expectation;
using intilery::testing::MemoryClient;
using nlohmann::json;

json order(double revenue) {
  return as_arrived({{"action", "track"},
                     {"event", "Order Completed"},
                     {"userId", "ABC/123"},
                     {"properties", {{"revenue", revenue}, {"items", json::array({{{"sku", "a"}, {"n", 1}}})}}}},
                    "HEA");
}

bool matches(const json& expected, const json& arrived) { return Expectation(expected).matches(arrived); }

TEST(Expectation, TakesMembersMoreButNoElementsMore) {
  const json arrived = order(30);
  EXPECT_TRUE(matches(json::object(), arrived));
  EXPECT_TRUE(matches({{"brandId", "HEA"}, {"properties", {{"revenue", 30.0}}}}, arrived));
  EXPECT_TRUE(matches({{"properties", {{"items", json::array({{{"sku", "a"}}})}}}}, arrived));
  EXPECT_FALSE(matches({{"properties", {{"items", json::array()}}}}, arrived));
  EXPECT_FALSE(matches({{"properties", {{"revenue", "30"}}}}, arrived));
  EXPECT_FALSE(matches({{"properties", {{"tax", nullptr}}}}, arrived));
}

TEST(Expectation, FindsAScreenByItsAction) {
  EXPECT_TRUE(matches({{"event", "screen"}}, as_arrived({{"action", "screen"}, {"name", "Cart"}}, "HEA")));
}

TEST(Expectation, SaysWhatArrivedAndInWhatTheNearestDiffers) {
  const std::vector<json> arrived{order(30), as_arrived({{"action", "identify"},
                                                         {"event", "identify"},
                                                         {"userId", "ABC/123"},
                                                         {"traits", {{"email", "fred@example.com"}}}},
                                                        "HEA")};
  const Expectation expectation(
      {{"event", "Order Completed"}, {"properties", {{"revenue", 30.5}, {"currency", "GBP"}}}});
  EXPECT_EQ(expectation.nothing_matches(arrived, {"track: 400 no"}),
            R"(no event arrived that matches {"event":"Order Completed","properties":{"currency":"GBP","revenue":30.5}}
2 events arrived:
  1. track "Order Completed" of "ABC/123" {"items":[{"n":1,"sku":"a"}],"revenue":30.0}
  2. identify of "ABC/123" {"email":"fred@example.com"}
1 request got no success:
  track: 400 no
the nearest is 1:
  properties.currency: expected "GBP", but it is not there (there are items, revenue)
  properties.revenue: expected 30.5, arrived 30.0)");
  EXPECT_EQ(expectation.nothing_matches({}),
            "no event arrived that matches "
            R"({"event":"Order Completed","properties":{"currency":"GBP","revenue":30.5}})"
            "\nno event arrived at all");
}

TEST(Expectation, ShowsHostileAndEndlessValuesSafely) {
  const json arrived = as_arrived({{"action", "track"}, {"event", "\x1b[2J" + std::string(10'000, 'x')}}, "HEA");
  const std::string text = Expectation(json{{"event", "E"}}).nothing_matches({arrived});
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_LT(text.size(), 1'000U);
  EXPECT_THROW(Expectation(json::array()), std::invalid_argument);
}

class UsersOwnTest : public intilery::testing::SandboxTest {};

TEST_F(UsersOwnTest, ExpectsWhatItsClientSends) {
  client.identify("ABC/123", {{"email", "fred@example.com"}});
  client.track("ABC/123", "Order Completed", {{"revenue", 30.5}});
  EXPECT_TRUE(arrived({{"event", "Order Completed"}, {"properties", {{"revenue", 30.5}}}}));
  EXPECT_TRUE(none_arrived({{"event", "Order Cancelled"}}));
  EXPECT_EQ(json::parse(sandbox.matching_json({{"userId", "ABC/123"}})).size(), 2U);
}

TEST_F(UsersOwnTest, FailsWithAReportThatCanBeRead) {
  client.track("ABC/123", "Login").wait(5s);
  const ::testing::AssertionResult missed = arrived({{"event", "Logout"}}, 1ms);
  EXPECT_FALSE(missed);
  EXPECT_NE(std::string(missed.message()).find(R"(event: expected "Logout", arrived "Login")"), std::string::npos);
  const ::testing::AssertionResult unwanted = none_arrived({{"event", "Login"}});
  EXPECT_FALSE(unwanted);
  EXPECT_NE(std::string(unwanted.message()).find("but 1 event does"), std::string::npos);
}

TEST_F(UsersOwnTest, TellsOfRefusedRequests) {
  sandbox.set_faults(R"([{"status": 400, "body": {"success": false, "message": "no such shop"}}])");
  EXPECT_ANY_THROW(client.track("ABC/123", "Login").wait(5s));
  EXPECT_NE(sandbox.expect({{"event", "Login"}}, 0ms).report.find("no such shop"), std::string::npos);
}

TEST_F(UsersOwnTest, WaitsForAnEventThatComesLate) {
  sandbox.set_faults(R"([{"delay_ms": 100}])");
  client.track("ABC/123", "Login");
  EXPECT_FALSE(sandbox.expect({{"event", "Login"}}, 0ms));
  const Arrival arrival = sandbox.expect({{"event", "Login"}});
  EXPECT_EQ(json::parse(arrival.event_json).at("userId"), "ABC/123");
}

TEST_F(UsersOwnTest, GoesOnWaitingThroughAClear) {
  client.track("ABC/123", "First").wait(5s);
  std::thread waits([&] { EXPECT_TRUE(sandbox.expect({{"event", "Second"}})); });
  std::this_thread::sleep_for(20ms);  // so that it has seen the first; the test holds if it has not
  sandbox.clear();
  client.track("ABC/123", "Second");
  waits.join();
}

TEST(MemoryClient, KeepsWhatWouldHaveGoneOverTheWire) {
  MemoryClient client;
  const intilery::Receipt receipt = client.track("ABC/123", "Login", {{"n", 1}}).wait(5s);
  EXPECT_EQ(receipt.status, 200);
  EXPECT_EQ(receipt.event_id, "00000000-0000-4000-8000-000000000001");
  const json sent = json::parse(client.sent_json());
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].at("action"), "track");
  EXPECT_EQ(sent[0].at("messageId"), receipt.message_id);
  EXPECT_EQ(sent[0].at("properties"), json({{"n", 1}}));
  EXPECT_EQ(sent[0].at("context").at("library").at("name"), "intilery-cpp");
  EXPECT_TRUE(client.expect({{"event", "Login"}}));
  EXPECT_TRUE(client.expect_none({{"event", "Logout"}}));
  client.clear();
  EXPECT_EQ(client.sent_json(), "[]");
}

TEST(MemoryClient, TakesBatchesApart) {
  intilery::Options options = MemoryClient::default_options();
  options.delivery = intilery::DeliveryMode::batch;
  MemoryClient client(options);
  client.identify("u", {{"a", "]},{"}});
  client.page("u", {{"path", "/"}});
  client.screen("u", "Cart");
  client.brand("HEB").track("u", "Login", intilery::RawJson(R"({"n": 123456789012345678901234567890})"));
  EXPECT_EQ(client.flush(5s).delivered, 4U);
  json actions = json::array();
  for (const json& message : json::parse(client.sent_json())) actions.push_back(message.at("action"));
  EXPECT_EQ(actions, json({"identify", "page", "screen", "track"}));
  EXPECT_TRUE(client.expect({{"event", "Login"}, {"brandId", "HEB"}}));
  EXPECT_NE(client.sent_json().find("123456789012345678901234567890"), std::string::npos);
}

TEST(MemoryClient, AnswersWhatATestWants) {
  MemoryClient client;
  client.answer(400, {}, R"({"success": false, "message": "no such shop"})");
  try {
    client.track("u", "Login").wait(5s);
    FAIL() << "it was delivered";
  } catch (const intilery::DeliveryError& error) {
    EXPECT_EQ(error.status(), 400);
    EXPECT_NE(std::string(error.what()).find("no such shop"), std::string::npos);
  }
  EXPECT_NE(client.expect({{"event", "Login"}}).report.find("track: 400"), std::string::npos);
  client.answer(503, 2);
  EXPECT_EQ(client.track("u", "Login").wait(5s).attempts, 3);
  client.answer(0, 1);
  EXPECT_EQ(client.track("u", "Logout").wait(5s).attempts, 2);
  EXPECT_THROW(client.answer(42), std::invalid_argument);
}

}  // namespace
