// Reading back: over the paging limit, and what may be seen late.
#include <algorithm>
#include <random>

#include "readback/sought.hpp"
#include "readback/sweep.hpp"
#include "sandbox_test.hpp"

namespace intilery {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using readback::PageQuery;

PageQuery::Moment moment(std::int64_t ms) { return PageQuery::Moment(std::chrono::milliseconds(ms)); }

/// An account's events by their times, read as the API has it.
class Account {
 public:
  explicit Account(std::vector<std::int64_t> times) : times_(std::move(times)) {
    std::sort(times_.rbegin(), times_.rend());
  }

  /// How many events were met at least once, reading the span in no more than `most` pages.
  std::size_t met(readback::Sweep& sweep, std::size_t most) const {
    std::vector<bool> seen(times_.size());
    for (std::size_t pages = 0; const auto query = sweep.next(); ++pages) {
      if (pages >= most) {
        ADD_FAILURE() << "more than " << most << " pages";
        break;
      }
      EXPECT_LE(query->from + query->size, readback::reach);
      const std::vector<std::size_t> page = read(*query);
      for (const std::size_t place : page) seen[place] = true;
      sweep.take(page.size());
    }
    return static_cast<std::size_t>(std::count(seen.begin(), seen.end(), true));
  }

 private:
  std::vector<std::size_t> read(const PageQuery& query) const {
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < times_.size(); ++i) {
      const PageQuery::Moment time = moment(times_[i]);
      if ((!query.start || time >= *query.start) && (!query.end || time <= *query.end)) places.push_back(i);
    }
    places.erase(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(std::min(query.from, places.size())));
    places.resize(std::min(query.size, places.size()));
    return places;
  }

  std::vector<std::int64_t> times_;
};

TEST(SweepTest, MeetsEveryEventOfASpanHoweverMany) {
  std::mt19937 random(1);
  std::vector<std::int64_t> times;
  for (int i = 0; i < 25'000; ++i) times.push_back(1'000'000 + random() % 100'000'000);
  PageQuery span;
  span.start = moment(1'000'000);
  span.end = moment(101'000'000);
  readback::Sweep sweep(span, moment(200'000'000));
  EXPECT_EQ(Account(times).met(sweep, 270), times.size());
  EXPECT_TRUE(sweep.crowded().empty());
}

TEST(SweepTest, ASpanWithoutAnEndGoesBeyondNow) {
  std::vector<std::int64_t> times;
  for (int i = 0; i < 12'000; ++i) times.push_back(i);
  for (int i = 0; i < 300; ++i) times.push_back(50'000 + i);  // of the future
  PageQuery span;
  span.start = moment(0);
  readback::Sweep sweep(span, moment(20'000));
  EXPECT_EQ(Account(times).met(sweep, 140), times.size());
}

TEST(SweepTest, TellsOfAMillisecondThatHoldsMoreThanCanBeRead) {
  std::vector<std::int64_t> times(10'050, 7'000);
  times.push_back(6'999);
  times.push_back(7'001);
  PageQuery span;
  span.start = moment(0);
  span.end = moment(60'000);
  readback::Sweep sweep(span, moment(100'000));
  EXPECT_EQ(Account(times).met(sweep, 160), 10'002u);
  ASSERT_EQ(sweep.crowded().size(), 1u);
  EXPECT_EQ(sweep.crowded()[0].start, moment(7'000));
  EXPECT_EQ(sweep.crowded()[0].end, moment(7'000));
}

TEST(SweepTest, WithoutAStartTheNewestEventsAreRead) {
  std::vector<std::int64_t> times;
  for (int i = 0; i < 10'500; ++i) times.push_back(i);
  readback::Sweep sweep(PageQuery{}, moment(20'000));
  EXPECT_EQ(Account(times).met(sweep, 110), readback::reach);
  EXPECT_EQ(sweep.crowded().size(), 1u);
}

TEST(SoughtTest, TellsWhatIsMissingAndWhatIsThereTwice) {
  readback::Sought sought;
  const std::string uuid = "0190f3c5-7a4b-7c3d-8e9f-0a1b2c3d4e5f";
  const std::vector<std::string> ids{"own-1", uuid, "own-2", "own-1", "0190f3c5-7a4b-7c3d-8e9f-0a1b2c3d4e60"};
  for (std::size_t i = 0; i < ids.size(); ++i) sought.add(ids[i], i);
  sought.seal();
  EXPECT_EQ(sought.expected(), 4u);
  EXPECT_EQ(sought.repeated(), 1u);
  const auto see = [&](const char* event, const std::string& id) {
    sought.see({{"eventId", event}, {"rawData", {{"messageId", id}}}});
  };
  see("e1", "own-1");
  see("e1", "own-1");  // met on two pages
  see("e2", uuid);
  see("e3", uuid);
  see("e4", "a stranger");
  sought.see("no event");
  EXPECT_EQ(sought.found(), 2u);
  const auto missing = sought.missing();
  ASSERT_EQ(missing.size(), 2u);
  EXPECT_EQ(missing[0].number, 2u);
  EXPECT_EQ(missing[0].id, "");
  EXPECT_EQ(missing[1].id, ids[4]);
  const auto duplicate = sought.duplicate();
  ASSERT_EQ(duplicate.size(), 1u);
  EXPECT_EQ(duplicate[0].id, uuid);
}

class VerifyTest : public SandboxTest {
 protected:
  VerifyTest() {
    all = options();
    all.max_queue_bytes = 200'000'000;
  }

  Options all;
};

TEST_F(VerifyTest, GoesOverThePagingLimitAndThroughTheProfilesOfACrowdedMillisecond) {
  all.delivery = DeliveryMode::batch;
  Client client(all);
  std::vector<std::string> ids;
  const auto noon = std::chrono::sys_days(std::chrono::year(2024) / 7 / 5) + 12h;
  const auto track = [&](int user, std::chrono::system_clock::time_point when, std::string id = {}) {
    const auto sent =
        client.track("u" + std::to_string(user), "E", {}, {.timestamp = when, .message_id = std::move(id)});
    ids.push_back(sent.message_id());
  };
  for (int i = 0; i < 11'000; ++i) track(i % 50, noon);
  for (int i = 0; i < 200; ++i) track(i % 50, noon + std::chrono::seconds(i + 1));
  const std::string twice = ids[3];
  track(3, noon, twice);
  ids.pop_back();
  ASSERT_EQ(client.flush(20s).failed, 0u);
  ids.push_back("never-sent");

  const Verification found = client.verify(ids, {}, 3s, noon, noon + 1h);
  EXPECT_EQ(found.expected, ids.size());
  EXPECT_EQ(found.missing, std::vector<std::string>{"never-sent"});
  EXPECT_EQ(found.duplicate, std::vector<std::string>{twice});
  EXPECT_EQ(client.verify(std::span(ids).first(10), {}, 50ms, noon + 1h).missing.size(), 10u) << "of another time";
}

TEST_F(VerifyTest, WithoutATimeItLooksSinceTheIdsWereMade) {
  all.delivery = DeliveryMode::batch;
  Client client(all);
  std::vector<std::string> ids;
  for (int i = 0; i < 12'000; ++i) ids.push_back(client.track("u" + std::to_string(i % 50), "E").message_id());
  ASSERT_EQ(client.flush(20s).failed, 0u);
  EXPECT_TRUE(client.verify(ids, {}, 10s).complete());
}

// Lost acknowledgements. The sandbox shows each event only some time after its arrival.

class LateTest : public SandboxTest {
 protected:
  explicit LateTest(std::chrono::milliseconds visible_after = 100ms)
      : SandboxTest({.rate_limit = 0, .visible_after = visible_after}) {}

  Options checking(std::chrono::milliseconds delay) const {
    Options all = options();
    all.on_unknown = OnUnknown::check;
    all.check_delay = delay;
    return all;
  }
  std::size_t copies(const std::string& message_id) const {
    const json stored = events();
    return static_cast<std::size_t>(std::count_if(stored.begin(), stored.end(), [&](const json& event) {
      return event.at("rawData").at("messageId") == message_id;
    }));
  }
};

TEST_F(LateTest, WhatIsVisibleByTheCheckIsNotSentTwice) {
  for (const DeliveryMode mode : {DeliveryMode::event, DeliveryMode::batch}) {
    sandbox.set_faults(R"([{"lost_ack": true, "times": 1, "user_id": "u/1"}])");
    Options all = checking(400ms);
    all.delivery = mode;
    Client client(all);
    const Delivery first = client.track("u/1", "E");
    const Delivery second = client.track("u/1", "E");
    const Delivery other = client.page("v", {});
    EXPECT_EQ(client.flush(10s).delivered, 3u);
    for (const Delivery& delivery : {first, second, other}) EXPECT_EQ(copies(delivery.message_id()), 1u);
    EXPECT_TRUE(first.wait().read_back);
    EXPECT_FALSE(first.wait().event_id.value_or("").empty());
    EXPECT_EQ(client.stats().read_back, mode == DeliveryMode::event ? 1u : 3u);
    EXPECT_EQ(client.stats().retried, 0u);
  }
}

class TooLateTest : public LateTest {
 protected:
  TooLateTest() : LateTest(1h) {}
};

TEST_F(TooLateTest, WhatIsShownLaterIsSentTwiceWithTheSameMessageId) {
  sandbox.set_faults(R"([{"lost_ack": true, "times": 1}])");
  Client client(checking(50ms));
  const Delivery delivery = client.track("u", "E");
  const Receipt receipt = delivery.wait(10s);
  EXPECT_FALSE(receipt.read_back);
  EXPECT_EQ(receipt.attempts, 2);
  EXPECT_EQ(copies(delivery.message_id()), 2u);
}

TEST_F(LateTest, AReadingThatFailsAtFirstIsRepeated) {
  sandbox.set_faults(R"([{"lost_ack": true, "times": 1}, {"action": "profiles", "status": 503, "times": 2}])");
  Client client(checking(200ms));
  const Delivery delivery = client.track("u", "E");
  EXPECT_TRUE(delivery.wait(10s).read_back);
  EXPECT_EQ(copies(delivery.message_id()), 1u);
}

TEST_F(LateTest, WithoutTheRightToReadItIsSentAgain) {
  sandbox.set_faults(R"([{"lost_ack": true, "times": 1}, {"action": "profiles", "status": 403}])");
  std::vector<std::string> lines;
  Client client(checking(50ms), {.on_log = [&](LogLevel, std::string_view line) { lines.emplace_back(line); }});
  const Delivery delivery = client.track("u", "E");
  EXPECT_EQ(delivery.wait(10s).attempts, 2);
  EXPECT_EQ(copies(delivery.message_id()), 2u);
  client.close(5s);
  EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
    return line.starts_with("on_unknown=check is not possible for the brand HEA");
  }));
}

TEST_F(LateTest, AClientThatIsClosedMeanwhileSaysThatItMayHaveArrived) {
  sandbox.set_faults(R"([{"lost_ack": true, "times": 1}])");
  Client client(checking(1h));
  const Delivery delivery = client.track("u", "E");
  const Flush flushed = client.close(300ms);
  EXPECT_EQ(flushed.remaining, 1u);
  try {
    delivery.wait();
    FAIL() << "it has no fate of its own";
  } catch (const DeliveryError& error) {
    EXPECT_EQ(error.reason(), "closed");
    EXPECT_EQ(error.arrived(), Arrived::unknown);
  }
}

TEST_F(LateTest, TheSandboxShowsAnEventWhenItsTimeHasCome) {
  Client client(options());
  const Delivery delivery = client.track("u", "E");
  delivery.wait(5s);
  EXPECT_EQ(sandbox.event_count(), 1u);
  const std::vector<std::string> ids{delivery.message_id()};
  EXPECT_EQ(client.verify(ids, "u", 30ms).found, 0u);
  EXPECT_TRUE(client.verify(ids, "u", 5s).complete());
}

}  // namespace
}  // namespace intilery
