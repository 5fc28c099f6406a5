#include "event_store.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "wire_time.hpp"

namespace intilery::testing {

namespace {

using nlohmann::json;

void add(EventStore& store, const std::string& user, int number, std::int64_t time_ms) {
  const json call{{"userId", user}, {"event", "E"}, {"timestamp", format_wire_time(time_ms)}, {"number", number}};
  const std::string raw = call.dump();
  store.add({.action = "track",
             .brand_id = "HEA",
             .client_id = "hea",
             .account_id = "hea",
             .raw = raw,
             .call = &call,
             .received_ms = 1'700'000'000'000,
             .event_id = "e-" + std::to_string(number)});
}

TEST(EventStoreTest, KeepsTheLatestEventsAndTheirProfilesWithinItsBound) {
  constexpr std::size_t bound = 100'000;
  EventStore store(bound);
  for (int i = 0; i < 20'000; ++i) add(store, "u" + std::to_string(i / 2), i, 1'600'000'000'000 - i);
  EXPECT_EQ(store.count(), 20'000u);
  EXPECT_LT(store.all().size(), bound);
  const json kept = json::parse(store.all());
  ASSERT_GT(kept.size(), 50u);
  EXPECT_EQ(kept.back().at("rawData").at("number"), 19'999);

  // By time, which runs backwards here, and with no event that is gone.
  EventQuery earliest;
  earliest.ascending = true;
  earliest.size = 1;
  const json page = json::parse(store.page(earliest));
  EXPECT_EQ(page.at("total"), kept.size());
  EXPECT_EQ(page.at("events").at(0).at("rawData").at("number"), 19'999);

  EXPECT_FALSE(store.profile_meta("userId", "u0"));
  EXPECT_EQ(json::parse(*store.profile_meta("userId", "u9999")).at("events"), 2);
  EXPECT_EQ(json::parse(*store.profile_events("userId", "u9999", {})).at("total"), 2);
  EXPECT_EQ(json::parse(store.profiles(0)).at("profiles").size(), (kept.size() + 1) / 2);

  store.clear();
  EXPECT_EQ(store.count(), 0u);
  add(store, "u", 1, 1'600'000'000'000);
  EXPECT_EQ(json::parse(store.page({})).at("total"), 1);
}

TEST(EventStoreTest, ForgetsNothingWithoutABound) {
  EventStore store;
  for (int i = 0; i < 1'000; ++i) add(store, "u", i, 1'600'000'000'000 + i);
  EXPECT_EQ(json::parse(store.all()).size(), 1'000u);
}

}  // namespace

}  // namespace intilery::testing
