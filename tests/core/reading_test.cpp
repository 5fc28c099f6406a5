// Reading back: what the pages of a bounded API add up to.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "event/timestamp.hpp"
#include "readback/reader.hpp"
#include "sandbox_test.hpp"

namespace intilery {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Moment = std::chrono::system_clock::time_point;

Moment at(std::int64_t ms) { return Moment(std::chrono::milliseconds(1'700'000'000'000 + ms)); }
std::int64_t ms_of(const Event& event) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(*event.event_time - at(0)).count();
}

class ReadingTest : public SandboxTest {
 protected:
  using SandboxTest::SandboxTest;
  ReadingTest() = default;

  Options quick() const {
    Options options = this->options();
    options.delivery = DeliveryMode::batch;
    options.rate_limit = 100'000;
    options.burst = 100'000;
    return options;
  }
  /// Event `i` happens at `moment_of(i)`.
  void send(Client& client, int count, const std::function<std::int64_t(int)>& moment_of,
            const std::string& user = "u") {
    for (int i = 0; i < count; ++i) client.track(user, "E", {{"i", i}}, {.timestamp = at(moment_of(i))});
    ASSERT_EQ(client.flush(60s).remaining, 0u);
    ASSERT_EQ(client.stats().failed, 0u);
  }
  std::string last_path() const {
    const std::string path = sandbox.requests().back().path;
    return path.substr(path.find("/v1/") + 4);
  }
};

template <class T>
std::vector<T> all(Reading<T> reading) {
  std::vector<T> list;
  for (const T& one : reading) list.push_back(one);
  return list;
}

std::set<int> numbers(const std::vector<Event>& events) {
  std::set<int> numbers;
  for (const Event& event : events) numbers.insert(event.raw_data.at("properties").at("i").get<int>());
  return numbers;
}

TEST_F(ReadingTest, AnEventIsReadAsItWasSent) {
  Client client(options());
  const auto receipt = client.track("ABC/123", "Order Completed", {{"total", 30.5}}, {.timestamp = at(444)}).wait(5s);
  client.page("ABC/123", {}, {.timestamp = at(1)}).wait(5s);
  const std::vector<Event> events = all(client.events({.user_id = "ABC/123"}));
  ASSERT_EQ(events.size(), 2u);
  const Event& event = events.front();
  EXPECT_EQ(event.event_id, *receipt.event_id);
  EXPECT_EQ(event.event_time, at(444));
  EXPECT_LT(std::chrono::abs(*event.received_time - std::chrono::system_clock::now()), 1min);
  EXPECT_EQ(event.action, "track");
  EXPECT_EQ(event.name, "Order Completed");
  EXPECT_EQ(event.client_id + event.account_id + event.brand_id, "heaheaHEA");
  EXPECT_EQ(event.user_id, "ABC/123");
  EXPECT_EQ(event.raw_data["properties"], json({{"total", 30.5}}));
  EXPECT_EQ(event.raw_data["messageId"], receipt.message_id);
  EXPECT_EQ(events.back().name, "page");
  static_assert(std::input_iterator<Reading<Event>::Iterator>);
}

TEST_F(ReadingTest, MoreEventsThanThePagingReachesAreReadInBothOrders) {
  constexpr int count = 10'450;
  Client client(quick());
  send(client, count, [](int i) { return i / 3; });
  for (const Sort sort : {Sort::descending, Sort::ascending}) {
    const std::size_t before = sandbox.requests().size();
    const std::vector<Event> events = all(client.events({.sort = sort}));
    EXPECT_EQ(events.size(), static_cast<std::size_t>(count));
    EXPECT_EQ(numbers(events).size(), static_cast<std::size_t>(count));
    EXPECT_TRUE(std::is_sorted(events.begin(), events.end(), [&](const Event& a, const Event& b) {
      return sort == Sort::ascending ? ms_of(a) < ms_of(b) : ms_of(a) > ms_of(b);
    }));
    EXPECT_LE(sandbox.requests().size() - before, 106u) << "the second window begins where the first ended";
  }
  EXPECT_EQ(all(client.events({.limit = 10'050})).size(), 10'050u);
}

TEST_F(ReadingTest, ManyEventsOfOneMillisecondAreReadAcrossTheReach) {
  Client client(quick());
  send(client, 18'000, [](int i) { return i / 9'000; });
  EXPECT_EQ(numbers(all(client.events())).size(), 18'000u);
}

TEST_F(ReadingTest, TooManyEventsOfOneMillisecondAreAnErrorAfterThoseThatCanBeRead) {
  Client client(quick());
  send(client, 10'001, [](int) { return 0; });
  Reading<Event> reading = client.events();
  std::size_t read = 0;
  try {
    while (reading.next()) ++read;
    FAIL() << "one event was lost in silence";
  } catch (const DeliveryError& error) {
    EXPECT_EQ(error.code(), "too_many_at_once");
  }
  EXPECT_EQ(read, 10'000u);
}

TEST_F(ReadingTest, WhatArrivesMeanwhileShiftsThePagesAndNoEventIsShownTwice) {
  Client client(quick());
  send(client, 300, [](int i) { return i; });
  Reading<Event> reading = client.events();
  std::vector<Event> events;
  while (std::optional<Event> event = reading.next()) {
    events.push_back(std::move(*event));
    if (events.size() == 100) send(client, 150, [](int i) { return 1'000 + i; }, "other");
  }
  std::set<std::string> ids;
  for (const Event& event : events) ids.insert(event.event_id);
  EXPECT_EQ(ids.size(), events.size());
  std::erase_if(events, [](const Event& event) { return event.user_id != "u"; });
  EXPECT_EQ(events.size(), 300u);
  EXPECT_EQ(numbers(events).size(), 300u);
}

TEST_F(ReadingTest, AQueryNarrowsDown) {
  Client client(quick());
  for (int i = 0; i < 20; ++i)
    client.track("u" + std::to_string(i % 2), i < 10 ? "A" : "B", {{"i", i}}, {.timestamp = at(i)});
  client.flush(10s);
  EXPECT_EQ(numbers(all(client.events({.user_id = "u1", .include = {"A"}}))), (std::set{1, 3, 5, 7, 9}));
  EXPECT_EQ(numbers(all(client.events({.exclude = {"A"}, .limit = 3}))), (std::set{19, 18, 17}));
  EXPECT_EQ(numbers(all(client.events({.start = at(4), .end = at(6)}))), (std::set{4, 5, 6}));
  EXPECT_EQ(numbers(all(client.events({.sort = Sort::ascending, .limit = 2}))), (std::set{0, 1}));
}

TEST_F(ReadingTest, WhoIsNotKnownHasNoEventsAndNoProfile) {
  Client client(options());
  EXPECT_TRUE(all(client.events({.user_id = "nobody"})).empty());
  EXPECT_TRUE(all(client.events({.email = "nobody@example.com"})).empty());
  EXPECT_FALSE(client.profile({.user_id = "nobody"}));
  EXPECT_FALSE(client.profile({.email = "nobody@example.com"}));
  EXPECT_FALSE(client.profile({.id = "nobody"}));
  EXPECT_TRUE(all(client.profiles()).empty());
}

TEST_F(ReadingTest, AProfileIsFoundByEachOfItsKeys) {
  Client client(options());
  client.identify("ABC/123", {{"email", "fred@example.com"}, {"age", 40}}).wait(5s);
  client.track("ABC/123", "Login").wait(5s);
  const std::optional<Profile> profile = client.profile({.user_id = "ABC/123"});
  ASSERT_TRUE(profile);
  EXPECT_EQ(profile->user_id, "ABC/123");
  EXPECT_EQ(profile->traits, json({{"email", "fred@example.com"}, {"age", 40}}));
  EXPECT_EQ(profile->meta.at("events"), 2);
  for (const ProfileKey& key : {ProfileKey{.id = profile->id}, ProfileKey{.email = "fred@example.com"}}) {
    const std::optional<Profile> same = client.profile(key);
    ASSERT_TRUE(same);
    EXPECT_EQ(std::tie(same->id, same->user_id, same->traits),
              std::tie(profile->id, profile->user_id, profile->traits));
  }
  EXPECT_EQ(all(client.events({.id = profile->id})).size(), 2u);
}

TEST_F(ReadingTest, AnEmailThatSeveralHaveGivesTheEventsOfAllInOrderAndNoSingleProfile) {
  Client client(quick());
  for (const char* user : {"a", "b", "c"}) {
    client.identify(user, {{"email", user == std::string("c") ? "else@example.com" : "shared@example.com"}},
                    {.timestamp = at(-1)});
  }
  client.flush(10s);
  for (int i = 0; i < 500; ++i) client.track(i % 3 == 0 ? "a" : "b", "E", {{"i", i}}, {.timestamp = at(i)});
  client.track("c", "E", {{"i", 1'000}});
  client.flush(10s);
  const std::vector<Event> events = all(client.events({.email = "shared@example.com", .include = {"E"}}));
  ASSERT_EQ(events.size(), 500u);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(ms_of(events[static_cast<std::size_t>(i)]), 499 - i);
  EXPECT_EQ(numbers(all(client.events({.email = "shared@example.com", .limit = 3}))), (std::set{499, 498, 497}));

  EXPECT_EQ(all(client.profiles("shared@example.com")).size(), 2u);
  try {
    client.profile({.email = "shared@example.com"});
    FAIL() << "chose one";
  } catch (const ValidationError& error) {
    EXPECT_EQ(error.code(), "ambiguous");
    EXPECT_EQ(std::string(error.what()).find("shared@"), std::string::npos);
  }
}

TEST_F(ReadingTest, AllProfilesAreListed) {
  Client client(quick());
  for (int i = 0; i < 250; ++i) client.identify("user-" + std::to_string(i), {{"i", i}});
  client.flush(10s);
  const std::vector<Profile> profiles = all(client.profiles());
  std::set<std::string> users;
  for (const Profile& profile : profiles) {
    users.insert(profile.user_id);
    EXPECT_EQ("user-" + profile.traits.at("i").dump(), profile.user_id);
    EXPECT_FALSE(profile.id.empty());
  }
  EXPECT_EQ(profiles.size(), 250u);
  EXPECT_EQ(users.size(), 250u);
}

TEST(BrandReadingTest, AViewReadsItsOwnBrand) {
  intilery::testing::Sandbox brands({.brand_ids = {"HEA", "HEB"}, .rate_limit = 0});
  Client client({.client_id = "hea",
                 .account_id = "hea",
                 .brand_id = "HEA",
                 .auth_token = "sandbox-token",
                 .endpoint = brands.url()});
  Client heb = client.brand("HEB");
  static_cast<void>(all(heb.events({.user_id = "u"})));
  EXPECT_EQ(brands.requests().back().path.rfind("/track/hea/hea/HEB/v1/profiles/", 0), 0u);
  static_cast<void>(all(heb.profiles()));
  EXPECT_EQ(brands.requests().back().path, "/track/hea/hea/HEB/v1/profiles");
}

class ThrottledReadingTest : public ReadingTest {
 protected:
  ThrottledReadingTest() : ReadingTest({.rate_limit = 3, .burst = 5}) {}
};

TEST_F(ThrottledReadingTest, A429MeanwhileSlowsTheReadingAndLosesNothing) {
  Client client(quick());
  send(client, 700, [](int i) { return i; });
  const auto before = client.stats().requests[429];
  EXPECT_EQ(numbers(all(client.events())).size(), 700u);
  EXPECT_GT(client.stats().requests[429], before);
}

TEST_F(ReadingTest, AWrongTokenIsAnErrorAndAfterANewOneTheReadingGoesOn) {
  Client client(quick(), {.on_log = [](LogLevel, std::string_view) {}});
  send(client, 250, [](int i) { return i; });
  Reading<Event> reading = client.events();
  std::vector<Event> events;
  while (events.size() < 100) events.push_back(*reading.next());
  sandbox.set_token("new-token");
  EXPECT_THROW(reading.next(), AuthError);
  EXPECT_THROW(reading.next(), AuthError);
  client.set_auth_token("new-token");
  while (std::optional<Event> event = reading.next()) events.push_back(std::move(*event));
  EXPECT_EQ(events.size(), 250u);
  EXPECT_EQ(numbers(events).size(), 250u);
}

TEST_F(ReadingTest, ClosingEndsAReadingThatIsUnderWay) {
  Options slow = options();
  slow.rate_limit = 0.01;
  slow.burst = 1;
  Client client(slow);
  Reading<Event> reading = client.events({.timeout = 60s});
  EXPECT_FALSE(reading.next());
  Reading<Event> waiting = client.events({.timeout = 60s});
  std::atomic<bool> closed = false;
  std::thread reader([&] {
    EXPECT_THROW(waiting.next(), ClosedError);
    EXPECT_TRUE(closed) << "it waits for the account's pace until then";
  });
  std::this_thread::sleep_for(20ms);  // either way it must end; mostly it is under way then
  closed = true;
  client.close(0ms);
  reader.join();
  EXPECT_THROW(client.events().next(), ClosedError);
}

TEST_F(ReadingTest, AReadingKnowsWhenItTakesTooLong) {
  Options slow = options();
  slow.rate_limit = 0.01;
  slow.burst = 1;
  Client client(slow);
  client.events().next();
  EXPECT_THROW(client.events({.timeout = 20ms}).next(), TimeoutError);
  EXPECT_THROW(client.profile({.user_id = "u"}, 20ms), TimeoutError);
}

TEST_F(ReadingTest, ADryRunReadsNothing) {
  Options dry = options();
  dry.dry_run = true;
  Client client(dry);
  EXPECT_THROW(client.events().next(), DeliveryError);
  EXPECT_TRUE(sandbox.requests().empty());
}

/// A service that answers like the sandbox, but as the test says.
class FakeService {
 public:
  explicit FakeService(std::size_t events, bool end_is_in) : events_(events), end_is_in_(end_is_in) {}

  delivery::ReadResult operator()(const std::string& path, readback::TimePoint) const {
    const auto number = [&](const std::string& name, std::int64_t otherwise) {
      const std::size_t place = path.find(name + "=");
      return place == std::string::npos ? otherwise : std::stoll(path.substr(place + name.size() + 1));
    };
    std::int64_t end = INT64_MAX;
    if (const std::size_t place = path.find("end="); place != std::string::npos) {
      std::string text = path.substr(place + 4, 28);
      for (std::size_t at = text.find("%3A"); at != std::string::npos; at = text.find("%3A")) text.replace(at, 3, ":");
      end = event::parse_timestamp(text);
    }
    std::vector<std::int64_t> times;  // five events a millisecond, the newest first
    for (std::size_t i = events_; i-- > 0;) {
      const auto time = static_cast<std::int64_t>(i / 5);
      if (time < end || (end_is_in_ && time == end)) times.push_back(static_cast<std::int64_t>(i));
    }
    json page = json::array();
    for (std::int64_t i = number("from", 0); i < number("from", 0) + 100; ++i) {
      if (i >= static_cast<std::int64_t>(times.size())) break;
      const std::int64_t event = times[static_cast<std::size_t>(i)];
      const event::TimestampText time = event::format_timestamp(event / 5);
      page.push_back({{"eventId", std::to_string(event)}, {"eventTime", std::string(time.data(), time.size())}});
    }
    return {.status = 200, .body = json{{"events", page}}.dump(), .error = {}};
  }

 private:
  std::size_t events_;
  bool end_is_in_;
};

TEST(FakeServiceTest, AServerThatLeavesTheBoundOfAWindowOutLosesNothing) {
  for (const bool end_is_in : {true, false}) {
    const FakeService service(22'222, end_is_in);
    readback::EventReader reader({});
    std::set<std::string> ids;
    std::size_t count = 0;
    for (;;) {
      const std::vector<Event> events = reader.next(service, {});
      if (events.empty()) break;
      count += events.size();
      for (const Event& event : events) ids.insert(event.event_id);
    }
    EXPECT_EQ(count, 22'222u) << end_is_in;
    EXPECT_EQ(ids.size(), 22'222u) << end_is_in;
  }
}

TEST(FakeServiceTest, AnAnswerThatIsNoneIsAnError) {
  for (const char* body : {"", "null", "7", "[7]", "{\"events\":[\"x\"]}", "{\"events\":7}", "<html>", "[{]"}) {
    readback::EventReader reader({});
    const auto read = [&](const std::string&, readback::TimePoint) {
      return delivery::ReadResult{.status = 200, .body = body, .error = {}};
    };
    try {
      reader.next(read, {});
      ADD_FAILURE() << body;
    } catch (const DeliveryError& error) {
      EXPECT_EQ(error.code(), "invalid_answer") << body;
    }
  }
  const auto not_found = [](const std::string&, readback::TimePoint) {
    return delivery::ReadResult{.status = 404, .body = {}, .error = {}};
  };
  EXPECT_THROW(readback::EventReader({}).next(not_found, {}), DeliveryError) << "not no events: no such address";
  EXPECT_THROW(readback::ProfileReader().next(not_found, {}), DeliveryError);
}

EventQuery query_of(const json& given) {
  const auto text = [&](const char* name) {
    const json value = given.value(name, json());
    return value.is_null() ? std::string() : value.get<std::string>();
  };
  EventQuery query{.user_id = text("userId"), .email = text("email"), .id = text("id")};
  const auto names = [&](const char* name) -> std::vector<std::string> {
    if (!given.contains(name)) return {};
    if (given.at(name).is_string()) return {given.at(name).get<std::string>()};
    return given.at(name).get<std::vector<std::string>>();
  };
  const auto moment = [&](const char* name) -> std::optional<Moment> {
    if (!given.contains(name) || given.at(name).is_null()) return std::nullopt;
    const json& value = given.at(name);
    return Moment(std::chrono::milliseconds(value.is_object() ? value.at("ms").get<std::int64_t>()
                                                              : event::parse_timestamp(value.get<std::string>())));
  };
  query.include = names("include");
  query.exclude = names("exclude");
  query.start = moment("start");
  query.end = moment("end");
  query.sort = given.value("sort", "desc") == "asc" ? Sort::ascending : Sort::descending;
  if (given.contains("limit") && !given.at("limit").is_null()) query.limit = given.at("limit").get<std::size_t>();
  return query;
}

TEST_F(ReadingTest, TheVectorsOfReadingHold) {
  std::ifstream file(std::string(INTILERY_VECTORS) + "/reading.json");
  Client client(quick());
  for (const json& vector : json::parse(file)) {
    SCOPED_TRACE(vector.at("name").get<std::string>());
    const json languages = vector.value("languages", json{"cpp"});
    if (std::find(languages.begin(), languages.end(), "cpp") == languages.end()) continue;
    const EventQuery query = query_of(vector.at("query"));
    try {
      if (vector.at("read") == "events") {
        client.events(query).next();
      } else if (vector.at("read") == "profile") {
        client.profile({.user_id = query.user_id, .email = query.email, .id = query.id});
      } else {
        client.profiles(query.email).next();
      }
      EXPECT_EQ(last_path(), vector.value("path", "an error"));
    } catch (const ValidationError& error) {
      EXPECT_EQ(json({{"code", error.code()}, {"path", error.path()}}), vector.value("error", json())) << error.what();
    }
  }
}

}  // namespace
}  // namespace intilery
