#include "queue/lanes.hpp"

#include <gtest/gtest.h>

#include <string>

namespace intilery::queue {
namespace {

using namespace std::chrono_literals;

class LanesTest : public testing::Test {
 protected:
  /// An event whose bytes are its name.
  void add(const std::string& name, std::uint64_t lane, std::uint16_t brand, TimePoint accepted = TimePoint(1s),
           bool alone = false) {
    EventPtr event = Event::make(name);
    event->sequence = ++sequence;
    event->alone = alone;
    event->lane = lane;
    event->brand = brand;
    EventList one;
    one.push_back(std::move(event));
    lanes.add(std::move(one), accepted);
  }
  std::optional<Lanes::Turn> turn(std::size_t full = 100) const { return lanes.turn(TimePoint(0s), full); }
  EventList take_batch() { return lanes.take_batch(turn()->brand, 1'000'000, 0); }
  static std::string names(const EventList& events) {
    std::string text;
    for (const Event* event = events.front(); event != nullptr; event = event->next) {
      text += (text.empty() ? "" : " ") + std::string(event->bytes());
    }
    return text;
  }

  Lanes lanes;
  std::uint64_t sequence = 0;
};

TEST_F(LanesTest, ABrandWaitsForNoOther) {
  add("a1", 1, 0);
  add("a2", 2, 0);
  add("b1", lane_of(1, 7), 7, TimePoint(2s));
  EXPECT_EQ(lanes.ready(), 3u);
  const EventList first = take_batch();
  EXPECT_EQ(names(first), "a1 a2");
  EXPECT_EQ(turn()->brand, 7);
  const EventList second = take_batch();
  EXPECT_EQ(names(second), "b1");
  EXPECT_EQ(lanes.ready(), 0u);
}

TEST_F(LanesTest, AnAdoptedCommandWaitsAsIfItsUserHadJustBeenIdentified) {
  const auto adopted = [&](const std::string& name, bool commands) {
    EventPtr event = Event::make(name);
    event->lane = 1;
    event->adopted = true;
    event->commands = commands;
    EventList one;
    one.push_back(std::move(event));
    lanes.add(std::move(one), TimePoint(1s));
  };
  adopted("step", false);
  adopted("email", true);
  adopted("sms", true);
  add("another's", 2, 0);
  EventList first = take_batch();
  EXPECT_EQ(names(first), "step another's");
  lanes.release(first, true, TimePoint(1s));
  EXPECT_EQ(lanes.ready(), 0u);
  EXPECT_EQ(lanes.next_settled(), TimePoint(1500ms));
  lanes.settle(TimePoint(1499ms));
  EXPECT_EQ(lanes.ready(), 0u);
  lanes.settle(TimePoint(1500ms));
  EXPECT_EQ(names(take_batch()), "email sms");
}

TEST_F(LanesTest, ManyUsersComeAndGo) {
  for (const std::uint64_t users : {5'000, 5'000, 4, 4, 4, 4, 5'000}) {
    for (std::uint64_t user = 0; user < users; ++user) {
      add(std::to_string(user) + "a", user, 0);
      add(std::to_string(user) + "b", user, 0);
    }
    EXPECT_EQ(lanes.ready(), 2 * users);
    EventList firsts;
    for (std::uint64_t user = 0; user < users; ++user) firsts.push_back(lanes.take_one(0));
    EXPECT_FALSE(turn());  // each user's second event waits for the first
    // Half of the first ones come to nothing and go again.
    EventList again;
    EventList delivered;
    while (EventPtr event = firsts.pop_front()) (event->lane % 2 == 0 ? again : delivered).push_back(std::move(event));
    lanes.put_back(std::move(again));
    lanes.release(delivered, true, TimePoint(1s));
    EXPECT_EQ(lanes.ready(), 2 * users - users / 2);
    std::uint64_t seen = 0;
    while (turn()) {
      const EventList batch = take_batch();
      for (const Event* event = batch.front(); event != nullptr; event = event->next) {
        const std::string name(event->bytes());
        EXPECT_TRUE(name == std::to_string(event->lane) + "b" || event->lane % 2 == 0) << name;
        ++seen;
      }
      lanes.release(batch, true, TimePoint(1s));
    }
    EXPECT_EQ(seen, 2 * users - users / 2);
  }
}

TEST_F(LanesTest, ABatchHoldsOneBrandEvenWhereTwoHashesFallTogether) {
  add("a1", 1, 0);
  add("b1", 1, 1);
  add("a2", 1, 0);
  std::string all;
  while (turn()) {
    const EventList batch = take_batch();
    all += names(batch) + "|";
    lanes.release(batch, true, TimePoint(1s));
  }
  EXPECT_EQ(all, "a1|b1|a2|");
  EXPECT_EQ(lanes.ready(), 0u);
}

TEST_F(LanesTest, AHeldBrandIsNotReadyUntilItIsLetGo) {
  add("a1", 1, 0, TimePoint(2s));
  add("b1", 2, 1, TimePoint(1s));
  lanes.hold(1, true);
  add("b2", 2, 1, TimePoint(3s));
  EXPECT_EQ(lanes.ready(), 1u);
  EXPECT_EQ(turn()->brand, 0);
  EXPECT_EQ(*lanes.oldest_ready(), TimePoint(2s));
  EXPECT_TRUE(lanes.waits(1));
  EXPECT_EQ(names(lanes.take_older(TimePoint(3s), 1)), "b1");
  lanes.hold(1, false);
  EXPECT_EQ(lanes.ready(), 2u);
  lanes.take_all();
  EXPECT_FALSE(lanes.waits(1));
}

TEST_F(LanesTest, AFullBatchGoesBeforeWhatIsOlderButNotBeforeWhatHasAged) {
  add("a1", 1, 0, TimePoint(1s));
  add("b1", 2, 1, TimePoint(2s));
  add("b2", 3, 1, TimePoint(2s));
  EXPECT_EQ(lanes.turn(TimePoint(500ms), 3)->brand, 0);
  EXPECT_EQ(lanes.turn(TimePoint(500ms), 2)->brand, 1);
  EXPECT_EQ(lanes.turn(TimePoint(1s), 2)->brand, 0);
}

TEST_F(LanesTest, ABatchTakesWhatFitsAndNotAByteMore) {
  for (std::uint64_t user = 0; user < 20; ++user) add("four", user, 0);
  EXPECT_EQ(lanes.take_batch(0, 3 * (4 + 2) - 1, 2).size(), 2u);
  EXPECT_EQ(lanes.take_batch(0, 3 * (4 + 2), 2).size(), 3u);
  EXPECT_EQ(lanes.take_batch(0, 1, 2).size(), 1u);  // what fits into none goes by itself
  EXPECT_EQ(lanes.ready(), 14u);
}

TEST_F(LanesTest, TheOldestGoOfWhicheverUserAndNoMoreThanAsked) {
  add("a1", 1, 0);
  add("b1", 2, 0);
  add("a2", 1, 0);
  add("b2", 2, 0);
  const std::size_t each = sizeof(Event) + 2;
  EXPECT_EQ(names(lanes.take_oldest(1)), "a1");
  EXPECT_EQ(names(lanes.take_oldest(each)), "b1");
  EXPECT_EQ(lanes.take_oldest(each + 1).size(), 2u);
  EXPECT_EQ(lanes.ready(), 0u);
}

TEST_F(LanesTest, WhatStaysWhenOthersExpireIsThereOnceAndAsItWas) {
  add("a1", 1, 0, TimePoint(1s));
  add("a2", 1, 0, TimePoint(3s), true);
  add("b1", 2, 0, TimePoint(3s), true);
  add("c1", 3, 0, TimePoint(3s));
  EXPECT_EQ(names(lanes.take_older(TimePoint(2s), 0)), "a1");
  EXPECT_EQ(lanes.ready(), 1u);
  EXPECT_EQ(names(take_batch()), "c1");
  EventList alone;
  while (lanes.any_alone()) alone.push_back(lanes.take_alone());
  EXPECT_EQ(alone.size(), 2u);
}

}  // namespace
}  // namespace intilery::queue
