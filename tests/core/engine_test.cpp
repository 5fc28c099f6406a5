// The delivery engine with a transport and a clock of the test's own: no network, no waiting.
#include "delivery/engine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "delivery/own_pace.hpp"
#include "delivery/shared_pace.hpp"
#include "event/encoder.hpp"
#include "fake_store.hpp"

namespace intilery::delivery {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr const char* good = R"({"success":true,"eventId":"e"})";

class FakeTransport : public transport::Transport {
 public:
  struct Sent {
    std::uint64_t id;
    std::string brand;
    std::string action;
    std::string body;
    std::string path;
  };
  void start(transport::Request request) override {
    std::string body;
    for (const std::string_view part : request.body) body += part;
    EXPECT_EQ(body.size(), request.body_size);
    EXPECT_TRUE(body.empty() || nlohmann::json::accept(body)) << body;
    std::vector<std::string> path;  // track, client, account, brand, v1, action
    std::istringstream parts(request.path.substr(1));
    for (std::string part; std::getline(parts, part, '/');) path.push_back(part);
    sent.push_back({request.id, path.at(3), path.at(5), std::move(body), request.path});
  }
  std::vector<transport::Response> poll(std::chrono::milliseconds) override { return {}; }
  void wake() override {}
  void abandon() override { sent.clear(); }
  void set_token(const std::string& given) override { token = given; }

  std::vector<Sent> sent;  ///< Without an answer.
  std::string token;
};

class EngineTest : public testing::Test {
 protected:
  struct Fate {
    int status = 0;
    int attempts = 0;
    Route route = Route::event;
    std::string error = {};
    Arrived arrived = Arrived::no;
    ErrorKind kind = ErrorKind::delivery;
    bool away = false;
    std::string event_id = {};
    bool read_back = false;
    bool closing = false;
    std::string message = {};
  };

  EngineTest() {
    options.client_id = options.account_id = "hea";
    options.brand_id = "HEA";
    options.auth_token = "t";
    options.max_connections = 100;
  }

  static std::string brand_name(std::uint16_t brand) { return brand == 0 ? "HEA" : "HE" + std::to_string(brand); }

  void begin() {
    queue = std::make_unique<queue::BoundedQueue>(options.max_queue_bytes);
    encoder = std::make_unique<event::Encoder>(options, "test", "0");
    engine = std::make_unique<Engine>(
        options, *queue, transport,
        Surroundings{.settled =
                         [this](const queue::EventList& events, std::shared_ptr<const Outcome> outcome) {
                           for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
                             Fate fate{
                                 .status = outcome->status, .attempts = outcome->attempts, .route = outcome->route};
                             if (outcome->error) {
                               fate.error = outcome->error->code;
                               fate.arrived = outcome->error->arrived;
                               fate.kind = outcome->error->kind;
                               fate.away = outcome->away;
                               fate.message = outcome->error->message;
                               EXPECT_EQ(outcome->error->status, outcome->status);
                               EXPECT_EQ(outcome->error->attempts, outcome->attempts);
                             }
                             fate.closing = outcome->closing;
                             EXPECT_TRUE(fates.emplace(event->message_id(), fate).second) << "a second fate";
                             order.push_back(event->message_id());
                             fates.at(event->message_id()).event_id = outcome->event_id.value_or("");
                             fates.at(event->message_id()).read_back = outcome->read_back;
                           }
                           queue->count(events, outcome->error ? outcome->error->code : "");
                           queue->conclude(events, outcome->error == nullptr);
                         },
                     .log = [this](LogLevel, const std::string& line) { log.push_back(line); },
                     .unix_now_ms = [] { return std::int64_t{1'574'087'411'444}; },
                     .seed = 7,
                     .pace = std::move(pace),
                     .brand_name = brand_name},
        now);
  }

  void track(const std::string& user, const std::string& id, std::uint16_t brand = 0) {
    submit({.user_id = user, .event = "E", .message_id = id}, brand);
  }
  void row(const std::string& user, const std::string& id) {
    submit({.user_id = user, .event = "E", .message_id = id}, 0, true);
  }
  void submit(const event::Draft& draft, std::uint16_t brand = 0, bool row = false) {
    event::MessageId ignored;
    queue::EventPtr event = encoder->encode(draft, ignored);
    event->row = row;
    event->brand = brand;
    event->lane = queue::lane_of(event->lane, brand);
    ASSERT_NE(queue->push(event), queue::BoundedQueue::Push::full);
  }
  void identify(const std::string& user, const std::string& id, std::uint16_t brand = 0) {
    const std::string_view traits = R"({"city":"Bath"})";
    submit({.action = event::Action::identify, .user_id = user, .body = source(traits), .message_id = id}, brand);
  }
  void email(const std::string& user, const std::string& id, std::uint16_t brand = 0) {
    submit({.user_id = user,
            .event = "send_email",
            .message_id = id,
            .asset_id = "a-7",
            .command = event::Draft::Command::asset},
           brand);
  }
  static event::ValueSource source(const std::string_view& json) {
    return {&json,
            [](event::JsonWriter& out, const void* text) { out.literal(*static_cast<const std::string_view*>(text)); }};
  }
  void step() { engine->step(now); }
  /// Answers the oldest request, or that with `index`.
  void answer(int status, const std::string& body = good, std::size_t index = 0, const std::string& retry_after = "") {
    ASSERT_LT(index, transport.sent.size());
    transport::Response response;
    response.id = transport.sent[index].id;
    response.status = status;
    response.body = body;
    response.retry_after = retry_after;
    response.sent = true;
    finish(std::move(response), index);
  }
  void lose(std::size_t index = 0, bool sent = true) {
    ASSERT_LT(index, transport.sent.size());
    transport::Response response;
    response.id = transport.sent[index].id;
    response.failure = sent ? transport::Failure::broken : transport::Failure::unreachable;
    response.detail = "lost";
    response.sent = sent;
    finish(std::move(response), index);
  }
  void finish(transport::Response response, std::size_t index) {
    transport.sent.erase(transport.sent.begin() + static_cast<std::ptrdiff_t>(index));
    engine->handle(std::move(response), now);
    step();
  }
  /// Lets the clock run to when the engine next wants to do something, at most to `limit`.
  bool advance(TimePoint limit) {
    const Engine::Nap nap = engine->nap(now);
    if (!nap.until || *nap.until > limit) return false;
    now = std::max(*nap.until, now + 1ms);
    step();
    return true;
  }
  Stats stats() const {
    Stats stats;
    engine->fill(stats);
    queue->fill(stats);
    return stats;
  }
  State state() const { return stats().state; }

  /// Gives the engine a shared pace with a store of the test's.
  FakeStore& share() {
    auto owned = std::make_unique<FakeStore>();
    FakeStore& store = *owned;
    OwnPace own(options.rate_limit, options.burst, options.retry_max, 1, now);
    pace = std::make_unique<SharedPace>(std::move(owned), std::move(own), options, [](LogLevel, const std::string&) {});
    return store;
  }
  /// Steps as the I/O thread does, as long as the engine wants to at once. It must get anywhere by that.
  void run_now() {
    for (int idle = 0; idle < 3; ++idle) {
      const std::size_t before = transport.sent.size() + fates.size();
      step();
      const Engine::Nap nap = engine->nap(now);
      if (!nap.until || *nap.until > now) return;
      if (transport.sent.size() + fates.size() != before) idle = -1;
    }
    FAIL() << "the engine spins";
  }

  Options options;
  FakeTransport transport;
  std::unique_ptr<queue::BoundedQueue> queue;
  std::unique_ptr<event::Encoder> encoder;
  std::unique_ptr<Pace> pace;  ///< For `begin`; null: the engine's own.
  std::unique_ptr<Engine> engine;
  TimePoint now{1h};
  std::map<std::string, Fate> fates;
  std::vector<std::string> order;
  std::vector<std::string> log;
};

TEST_F(EngineTest, OneUsersEventsGoOneAfterTheOther) {
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  track("a", "a2");
  track("b", "b1");
  step();
  ASSERT_EQ(transport.sent.size(), 2u);
  answer(200);
  EXPECT_EQ(fates.at("a1").error, "");
  ASSERT_EQ(transport.sent.size(), 2u);
  answer(200, good, 1);
  answer(200);
  EXPECT_EQ(order, (std::vector<std::string>{"a1", "a2", "b1"}));
}

TEST_F(EngineTest, AFailingUserDoesNotHoldUpAnother) {
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  track("a", "a2");
  step();
  answer(503);
  EXPECT_TRUE(transport.sent.empty());
  track("b", "b1");
  step();
  ASSERT_EQ(transport.sent.size(), 1u);
  answer(200);
  EXPECT_TRUE(fates.contains("b1"));
  while (transport.sent.empty() && advance(now + 1s)) {
  }
  answer(200);
  answer(200);
  EXPECT_EQ(order, (std::vector<std::string>{"b1", "a1", "a2"}));
  EXPECT_EQ(fates.at("a1").attempts, 2);
}

TEST_F(EngineTest, ACommandWaitsUntilTheIdentifyBeforeItHasSettled) {
  options.delivery = DeliveryMode::event;
  begin();
  identify("a", "a1");
  email("a", "a2");
  track("a", "a3");
  email("b", "b1");
  step();
  ASSERT_EQ(transport.sent.size(), 2u);
  const TimePoint identified = now;
  answer(200);  // a1
  answer(200);  // b1: another user does not wait
  EXPECT_TRUE(transport.sent.empty());
  while (transport.sent.empty() && advance(now + 1s)) {
  }
  EXPECT_EQ(now - identified, 500ms);
  ASSERT_EQ(transport.sent.size(), 1u);
  answer(200);
  answer(200);
  EXPECT_EQ(order, (std::vector<std::string>{"a1", "b1", "a2", "a3"}));
  EXPECT_FALSE(engine->nap(now).until) << "an engine at rest wakes for nothing";
}

TEST_F(EngineTest, ACommandThatComesLaterWaitsToo) {
  options.delivery = DeliveryMode::event;
  begin();
  identify("a", "a1");
  step();
  answer(200);
  const TimePoint identified = now;
  now += 300ms;
  track("a", "a2");
  email("a", "a3");
  step();
  ASSERT_EQ(transport.sent.size(), 1u) << "only the command waits";
  answer(200);
  EXPECT_TRUE(transport.sent.empty());
  while (transport.sent.empty() && advance(now + 1s)) {
  }
  EXPECT_EQ(now - identified, 500ms);
}

TEST_F(EngineTest, ABatchDoesNotHoldACommandBesideTheIdentifyThatItWaitsFor) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 4;
  begin();
  identify("a", "a1");
  track("a", "a2");
  email("a", "a3");
  email("b", "b1");
  step();
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_EQ(transport.sent[0].body.find("a3"), std::string::npos);
  EXPECT_NE(transport.sent[0].body.find("b1"), std::string::npos);
  const TimePoint identified = now;
  answer(200, R"({"success":true})");
  while (transport.sent.empty() && advance(now + 1s)) {
  }
  EXPECT_GE(now - identified, 500ms);
  ASSERT_EQ(transport.sent.size(), 1u);
  answer(200, R"({"success":true})");
  EXPECT_EQ(order, (std::vector<std::string>{"a1", "b1", "a2", "a3"}));  // of one batch, in turn
}

TEST_F(EngineTest, ACommandDoesNotWaitForAnIdentifyThatFailed) {
  options.delivery = DeliveryMode::event;
  begin();
  identify("a", "a1");
  email("a", "a2");
  step();
  answer(400, R"({"success":false})");
  EXPECT_EQ(fates.at("a1").error, "rejected");
  ASSERT_EQ(transport.sent.size(), 1u);
}

TEST_F(EngineTest, AutoSendsSinglyWhileTheRateAllowsAndBatchesTheRest) {
  options.burst = 20;
  options.flush_at = 1'000;
  begin();
  track("x", "x0");
  step();
  ASSERT_EQ(transport.sent.at(0).action, "track");
  answer(200);
  for (int i = 0; i < 100; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  step();
  EXPECT_TRUE(transport.sent.empty()) << "more may come: a batch waits for flush_at or flush_interval";
  EXPECT_TRUE(advance(now + 200ms));
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_EQ(transport.sent[0].action, "batch");
  answer(200, R"({"success":true})");
  EXPECT_EQ(fates.size(), 101u);
  EXPECT_EQ(fates.at("m0").route, Route::batch);
  track("x", "x1");
  step();
  EXPECT_EQ(transport.sent.at(0).action, "track");
}

TEST_F(EngineTest, BatchWaitsForFlushAtOrFlushInterval) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 3;
  begin();
  track("a", "a1");
  step();
  EXPECT_TRUE(transport.sent.empty());
  const TimePoint before = now;
  EXPECT_TRUE(advance(now + 1s));
  EXPECT_GE(now - before, 100ms);
  ASSERT_EQ(transport.sent.size(), 1u);
  answer(200, R"({"success":true})");
  for (int i = 0; i < 3; ++i) track("b", "b" + std::to_string(i));
  step();
  EXPECT_EQ(transport.sent.size(), 1u);
}

TEST_F(EngineTest, AServerWithoutBatchGetsSingleRequestsForGood) {
  options.burst = 50;
  options.flush_at = 1;
  begin();
  for (int i = 0; i < 5; ++i) track("a", "a" + std::to_string(i));
  step();
  ASSERT_EQ(transport.sent.at(0).action, "batch");
  answer(404, "");
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(transport.sent.size(), 1u);
    EXPECT_EQ(transport.sent[0].action, "track");
    answer(200);
  }
  EXPECT_EQ(order, (std::vector<std::string>{"a0", "a1", "a2", "a3", "a4"}));
}

TEST_F(EngineTest, ARefusedBatchIsSplitUntilTheCulpritStandsAlone) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 1;
  begin();
  for (int i = 0; i < 32; ++i) track("user-" + std::to_string(i % 5), "m" + std::to_string(i));
  step();
  int requests = 0;
  while (fates.size() < 32) {
    if (transport.sent.empty()) {
      ASSERT_TRUE(advance(now + 1s));
    }
    ++requests;
    const bool bad = transport.sent[0].body.find("\"m13\"") != std::string::npos;
    answer(bad ? 400 : 200, bad ? R"({"success":false,"message":"no"})" : R"({"success":true})");
  }
  EXPECT_EQ(fates.at("m13").error, "rejected");
  EXPECT_EQ(std::count_if(fates.begin(), fates.end(), [](const auto& fate) { return !fate.second.error.empty(); }), 1);
  EXPECT_LT(requests, 20);
  std::map<int, int> last;
  for (const std::string& id : order) {
    const int number = std::stoi(id.substr(1));
    EXPECT_LT(last[number % 5], number + 1) << "out of order";
    last[number % 5] = number;
  }
}

TEST_F(EngineTest, BothPartsOfASplitBatchMayHaveArrivedIfTheWholeMay) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 2;
  begin();
  track("a", "a1");
  track("b", "b1");
  step();
  lose();
  ASSERT_TRUE(advance(now + 1min));
  answer(400);
  run_now();
  while (!transport.sent.empty()) answer(400);
  for (const char* id : {"a1", "b1"}) {
    EXPECT_EQ(fates[id].error, "rejected");
    EXPECT_EQ(fates[id].arrived, Arrived::unknown);
    EXPECT_EQ(fates[id].attempts, 3);
  }
}

TEST_F(EngineTest, A413TeachesTheServersLimit) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 1;
  begin();
  for (int i = 0; i < 1'000; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  constexpr std::size_t limit = 60'000;
  int refused = 0;
  step();
  const auto serve = [&](std::size_t all) {
    while (fates.size() < all) {
      if (transport.sent.empty()) {
        ASSERT_TRUE(advance(now + 1s));
      }
      const bool large = transport.sent[0].body.size() > limit;
      refused += large;
      answer(large ? 413 : 200, large ? "" : R"({"success":true})");
    }
  };
  serve(1'000);
  EXPECT_GT(refused, 0);
  refused = 0;
  for (int i = 1'000; i < 2'000; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  step();
  serve(2'000);
  EXPECT_EQ(refused, 0);
}

TEST_F(EngineTest, A429StopsEverythingForAsLongAsTheServerSays) {
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  step();
  answer(429, "", 0, "3");
  EXPECT_EQ(state(), State::paused_rate);
  track("b", "b1");
  step();
  EXPECT_TRUE(transport.sent.empty());
  const TimePoint before = now;
  while (transport.sent.empty() && advance(now + 10s)) {
  }
  EXPECT_GE(now - before, 3s);
  EXPECT_FALSE(transport.sent.empty());
}

TEST_F(EngineTest, A403PausesAndANewTokenGoesOn) {
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  track("b", "b1");
  step();
  answer(403, "", 0);
  answer(403, "", 0);
  EXPECT_EQ(state(), State::paused_auth);
  EXPECT_EQ(log.size(), 1u) << "told once";
  EXPECT_TRUE(fates.empty());
  engine->set_token("new", now);
  EXPECT_EQ(transport.token, "new");
  step();
  ASSERT_EQ(transport.sent.size(), 1u) << "one probe";
  answer(200);
  EXPECT_EQ(state(), State::running);
  answer(200);
  EXPECT_EQ(fates.size(), 2u);
}

TEST_F(EngineTest, AnEventExpiresAfterDeliveryTimeoutOfFailing) {
  options.delivery = DeliveryMode::event;
  options.delivery_timeout = 5s;
  begin();
  track("a", "a1");
  track("a", "a2");
  step();
  const TimePoint before = now;
  while (fates.size() < 2) {
    if (!transport.sent.empty()) {
      lose();
    } else {
      ASSERT_TRUE(advance(now + 60s));
    }
  }
  EXPECT_EQ(fates.at("a1").error, "expired");
  EXPECT_EQ(fates.at("a1").arrived, Arrived::unknown);
  EXPECT_EQ(fates.at("a2").error, "expired");
  EXPECT_EQ(fates.at("a2").arrived, Arrived::no);
  EXPECT_GE(now - before, 5s);
  EXPECT_LT(now - before, 12s);
}

TEST_F(EngineTest, WaitingForTheRateDoesNotExpireAnEvent) {
  options.delivery = DeliveryMode::event;
  options.delivery_timeout = 1s;
  options.rate_limit = 1;
  options.burst = 1;
  begin();
  for (int i = 0; i < 10; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  step();
  while (fates.size() < 10) {
    if (!transport.sent.empty()) {
      answer(200);
    } else {
      ASSERT_TRUE(advance(now + 60s));
    }
  }
  for (const auto& [id, fate] : fates) EXPECT_EQ(fate.error, "") << id;
}

TEST_F(EngineTest, MaxRetriesBoundsTheAttempts) {
  options.delivery = DeliveryMode::event;
  options.max_retries = 2;
  begin();
  track("a", "a1");
  step();
  while (fates.empty()) {
    if (!transport.sent.empty()) {
      answer(503, "");
    } else {
      ASSERT_TRUE(advance(now + 60s));
    }
  }
  EXPECT_EQ(fates.at("a1").error, "retries_exhausted");
  EXPECT_EQ(fates.at("a1").attempts, 3);
}

TEST_F(EngineTest, AbortGivesEverythingAFate) {
  begin();
  for (int i = 0; i < 50; ++i) track("user-" + std::to_string(i % 7), "m" + std::to_string(i));
  step();
  engine->abort(now);
  ASSERT_EQ(fates.size(), 50u);
  for (const auto& [id, fate] : fates) {
    EXPECT_EQ(fate.error, "closed") << id;
    EXPECT_TRUE(fate.closing) << id;
  }
}

TEST_F(EngineTest, AFateBeforeTheCloseIsNotOneOfTheClose) {
  begin();
  track("a", "a1");
  step();
  answer(400);
  EXPECT_FALSE(fates["a1"].closing);
  EXPECT_EQ(fates["a1"].status, 400);
}

TEST_F(EngineTest, WithBatchesOnlyAServerThatHasNoneIsAFailureThatSaysWhatToDo) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 2;
  begin();
  track("a", "a1");
  track("b", "b1");
  step();
  answer(404);
  for (const char* id : {"a1", "b1"}) {
    EXPECT_EQ(fates[id].error, "not_found");
    EXPECT_EQ(fates[id].status, 404);
    EXPECT_EQ(fates[id].attempts, 1);
    EXPECT_EQ(fates[id].route, Route::batch);
    EXPECT_NE(fates[id].message.find("use delivery auto or event"), std::string::npos) << fates[id].message;
  }
}

TEST_F(EngineTest, TheCountersFollowEachRequest) {
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  track("b", "b1");
  step();
  ASSERT_EQ(transport.sent.size(), 2u);
  const std::size_t bytes = transport.sent[0].body.size() + transport.sent[1].body.size();
  EXPECT_EQ(stats().bytes_sent, bytes);
  EXPECT_EQ(stats().in_flight, 2u);
  answer(200);
  EXPECT_EQ(stats().in_flight, 1u);
  answer(503);
  EXPECT_EQ(stats().in_flight, 0u);
  EXPECT_EQ(stats().retried, 0u);
  ASSERT_TRUE(advance(now + 1min));
  EXPECT_EQ(stats().retried, 1u);
  EXPECT_EQ(stats().in_flight, 1u);
  EXPECT_EQ(stats().bytes_sent, bytes + transport.sent[0].body.size());
  lose();
  EXPECT_EQ(stats().requests, (std::map<int, std::uint64_t>{{0, 1}, {200, 1}, {503, 1}}));
}

TEST_F(EngineTest, RoomIsMadeOfTheOldestEventsAndOfNoneWhereThereIsSome) {
  options.delivery = DeliveryMode::batch;
  options.flush_interval = 1h;
  options.max_queue_bytes = 10'000;
  begin();
  for (int i = 10; i < 30; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  const std::size_t used = options.max_queue_bytes - stats().queued_bytes;
  engine->drop_oldest(used, now);
  EXPECT_EQ(fates.size(), 0u);
  engine->drop_oldest(used + 1, now);
  // The one that is too many, and a tenth more.
  const std::size_t one = stats().queued_bytes / stats().queued;
  EXPECT_EQ(fates.size(), (1'001 + one - 1) / one);
  int next = 10;
  for (const auto& [id, fate] : fates) {  // a map: by their numbers
    EXPECT_EQ(id, "m" + std::to_string(next++));
    EXPECT_EQ(fate.error, "dropped");
    EXPECT_EQ(fate.kind, ErrorKind::queue_full);
  }
}

TEST_F(EngineTest, AnIdleEngineWantsToSleep) {
  begin();
  EXPECT_FALSE(engine->nap(now).until);
  track("a", "a1");
  step();
  answer(200);
  EXPECT_FALSE(engine->nap(now).until);
}

TEST_F(EngineTest, ADryRunDeliversEverythingAndSendsNothing) {
  options.dry_run = true;
  options.rate_limit = options.burst = 1;
  begin();
  identify("a", "a1");
  email("a", "a2");
  for (int i = 0; i < 50; ++i) track("user-" + std::to_string(i % 7), "m" + std::to_string(i));
  step();
  EXPECT_TRUE(transport.sent.empty());
  ASSERT_EQ(fates.size(), 52u);
  for (const auto& [id, fate] : fates) {
    EXPECT_EQ(fate.error, "") << id;
    EXPECT_EQ(fate.status, 0) << id;
    EXPECT_EQ(fate.attempts, 0) << id;
  }
  EXPECT_EQ(order.at(0), "a1");
  EXPECT_EQ(order.back(), "m49");
  Stats stats;
  engine->fill(stats);
  queue->fill(stats);
  EXPECT_EQ(stats.delivered, 52u);
  EXPECT_EQ(stats.queued_bytes, 0u);
  EXPECT_EQ(stats.bytes_sent, 0u);
  EXPECT_EQ(stats.rate_left, 1) << "no token was taken";
  EXPECT_FALSE(engine->nap(now).until);
}

TEST_F(EngineTest, ADryRunWithDebugShowsWhatWouldBeSent) {
  options.dry_run = options.debug = true;
  options.auth_token = "secret-token";
  begin();
  track("a", "a1");
  step();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_TRUE(
      log[0].starts_with("not sent: POST https://tracking.intilery.com/track/hea/hea/HEA/v1/track, "
                         "auth-token: [redacted], 1 event, "))
      << log[0];
  EXPECT_NE(log[0].find(R"("messageId":"a1")"), std::string::npos);
}

TEST_F(EngineTest, WithoutDebugNoTrafficIsLogged) {
  begin();
  track("a", "a1");
  step();
  answer(200);
  EXPECT_TRUE(log.empty());
}

TEST_F(EngineTest, DebugShowsEachRequestAndEachAnswerInALineOfItsOwn) {
  options.debug = true;
  options.auth_token = "secret-token";
  begin();
  track("a", "a1");
  step();
  now += 12ms;
  answer(503, "busy");
  while (transport.sent.empty() && advance(now + 1min)) {
  }
  lose();
  while (transport.sent.empty() && advance(now + 1min)) {
  }
  answer(200);
  ASSERT_EQ(log.size(), 6u);
  const std::string request =
      "POST https://tracking.intilery.com/track/hea/hea/HEA/v1/track, auth-token: [redacted], 1 event, ";
  EXPECT_TRUE(log[0].starts_with("request 1, attempt 1: " + request)) << log[0];
  EXPECT_NE(log[0].find(R"( bytes: {"userId":"a","event":"E",)"), std::string::npos) << log[0];
  EXPECT_EQ(log[1], "request 1: status 503 after 12 ms: busy");
  EXPECT_TRUE(log[2].starts_with("request 2, attempt 2: " + request)) << log[2];
  EXPECT_EQ(log[3], "request 2: no answer (lost) after 0 ms");
  EXPECT_EQ(log[5], std::string("request 3: status 200 after 0 ms: ") + good);
}

TEST_F(EngineTest, DebugShowsAtMostTwoThousandBytesOfABody) {
  options.debug = true;
  options.auth_token = "secret-token";
  options.delivery = DeliveryMode::batch;
  options.flush_at = 100;
  begin();
  for (int i = 0; i < 100; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  step();
  answer(200, "{\"success\":true,\"more\":\"" + std::string(5'000, 'x') + "\"}");
  ASSERT_EQ(log.size(), 2u);
  EXPECT_NE(log[0].find(" 100 events, "), std::string::npos) << log[0];
  for (const std::string& line : log) {
    EXPECT_TRUE(line.ends_with("…")) << line;
    EXPECT_LT(line.size(), 2'200u);
    EXPECT_GT(line.size(), 2'000u);
  }
}

TEST_F(EngineTest, DebugNeverShowsTheToken) {
  const std::string token = R"(se/cr"et\token%2F+)";
  options.debug = true;
  options.auth_token = token;
  options.delivery = DeliveryMode::event;
  begin();
  const auto leaves = [&](const std::string& properties) {
    const std::string_view json = properties;
    submit({.user_id = "a", .event = "E", .body = source(json)});
    step();
  };
  leaves(R"({"x":)" + nlohmann::json(token).dump() + "}");
  answer(400, R"({"success":true,"you sent":")" + token + "\"}");
  leaves(R"({"x":"se\/cr\"et\\token%2F+"})");
  answer(400, R"({"success":true,"you sent":"\u0073e\/cr\u0022et\u005Ctoken%252F\u002b"})");
  // A token that the cut would part, and many that make the text shorter.
  for (std::size_t before = 1'780; before < 1'900; before += 3) {
    leaves(R"({"x":")" + std::string(before, 'x') + nlohmann::json(token).dump().substr(1) + "}");
    answer(400, std::string(before + 100, 'x') + token + token + token);
  }
  std::string many;
  for (int i = 0; i < 500; ++i) many += token;
  leaves("{}");
  answer(400, many);
  engine->set_token("another-token", now);
  leaves(R"({"x":"another-token"})");
  answer(400, "the old one was " + token);
  engine->read(
      {.path = "profiles/userId:se%2Fcr%22et%5Ctoken%252F%2B/events", .deadline = now + 1s, .done = [](ReadResult) {}});
  step();
  EXPECT_EQ(transport.sent.size(), 1u);
  std::size_t redacted = 0;
  for (const std::string& line : log) {
    EXPECT_EQ(line.find("token%2"), std::string::npos) << line;
    EXPECT_EQ(line.find("se/cr"), std::string::npos) << line;
    EXPECT_EQ(line.find("se\\/cr"), std::string::npos) << line;
    EXPECT_EQ(line.find("another"), std::string::npos) << line;
    for (std::size_t at = line.find("[redacted]"); at != std::string::npos; at = line.find("[redacted]", at + 1))
      ++redacted;
  }
  EXPECT_GT(redacted, log.size() + 80);
  EXPECT_NE(log.back().find("GET https://tracking.intilery.com/track/hea/hea/HEA/v1/profiles/userId:[redacted]/events"),
            std::string::npos)
      << log.back();
}

TEST_F(EngineTest, DebugIsSafeForATerminal) {
  options.debug = true;
  options.auth_token = "secret-token";
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  step();
  answer(400, "é – \x1b[31m\r\n\x7f \xc2\x9b \xe2\x80\xae \xe2\x81\xa6 \xff \xe2\x82");
  EXPECT_EQ(
      log.back(),
      R"(request 1: status 400 after 0 ms: é – \x1b[31m\x0d\x0a\x7f \xc2\x9b \xe2\x80\xae \xe2\x81\xa6 \xff \xe2\x82)");
}

TEST_F(EngineTest, AServersWordsAreSafeForATerminal) {
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  step();
  std::string words = "\x1b[31m";
  for (int i = 0; i < 300; ++i) words += "é";
  answer(403, nlohmann::json{{"message", words}}.dump());
  ASSERT_EQ(log.size(), 1u);
  EXPECT_NE(log[0].find("HTTP status 403: \\x1b[31mé"), std::string::npos) << log[0];
  EXPECT_EQ(nlohmann::json::parse(nlohmann::json(log[0]).dump()), log[0]) << "cut within a character";
}

TEST_F(EngineTest, ABatchHoldsEventsOfOneBrand) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 6;
  begin();
  for (int i = 0; i < 30; ++i) {
    const auto brand = static_cast<std::uint16_t>(i % 3);
    track("u", "brand-" + std::to_string(brand) + "-" + std::to_string(10 + i), brand);
  }
  step();
  ASSERT_EQ(transport.sent.size(), 3u) << "the same user's events of another brand do not wait";
  for (const FakeTransport::Sent& request : transport.sent) {
    EXPECT_EQ(request.action, "batch");
    for (const int brand : {0, 1, 2}) {
      const bool its_own = request.brand == brand_name(static_cast<std::uint16_t>(brand));
      EXPECT_EQ(request.body.find("brand-" + std::to_string(brand)) != std::string::npos, its_own) << request.brand;
    }
  }
  answer(200, R"({"success":true})", 2);
  answer(200, R"({"success":true})", 1);
  answer(200, R"({"success":true})", 0);
  ASSERT_EQ(order.size(), 30u);
  for (std::size_t i = 1; i < order.size(); ++i) {
    const bool same_brand = order[i].substr(0, 7) == order[i - 1].substr(0, 7);
    EXPECT_TRUE(!same_brand || order[i - 1] < order[i]) << order[i - 1] << " before " << order[i];
  }
}

TEST_F(EngineTest, TheBrandThatHasWaitedLongestGoesFirstUnlessAnotherHasAFullBatch) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 3;
  options.max_connections = 1;
  begin();
  track("a", "a1");
  step();
  now += 10ms;
  for (int i = 0; i < 3; ++i) track("b", "b" + std::to_string(i), 1);
  step();
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_EQ(transport.sent[0].brand, "HE1") << "its batch is full, and the other's event is young";
  for (int i = 3; i < 6; ++i) track("c", "b" + std::to_string(i), 1);
  now += 100ms;
  answer(200, R"({"success":true})");
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_EQ(transport.sent[0].brand, "HEA") << "its event has waited for flush_interval";
  answer(200, R"({"success":true})");
  EXPECT_EQ(transport.sent.at(0).brand, "HE1");
}

TEST_F(EngineTest, A403OnOneBrandDoesNotHoldUpTheOthers) {
  options.delivery = DeliveryMode::event;
  begin();
  track("a", "a1");
  track("b", "b1", 1);
  track("b", "b2", 1);
  step();
  ASSERT_EQ(transport.sent.size(), 2u);
  answer(200);
  answer(403, "");
  EXPECT_EQ(state(), State::paused_auth);
  EXPECT_EQ(log.size(), 1u);
  for (int i = 0; i < 10; ++i) {
    track("a", "more-" + std::to_string(i));
    track("c", "c" + std::to_string(i), 1);
    step();
    ASSERT_EQ(transport.sent.size(), 1u) << "the refused brand waits";
    EXPECT_EQ(transport.sent[0].brand, "HEA");
    answer(200);
  }
  EXPECT_EQ(fates.size(), 11u);
  ASSERT_TRUE(advance(now + 1s)) << "a probe now and then";
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_NE(transport.sent[0].body.find("b1"), std::string::npos) << "what was refused goes first";
  answer(403, "");
  EXPECT_TRUE(transport.sent.empty());
  EXPECT_EQ(log.size(), 1u) << "told once";
  engine->set_token("new", now);
  step();
  ASSERT_EQ(transport.sent.size(), 1u);
  answer(200);
  EXPECT_EQ(state(), State::running);
  while (!transport.sent.empty()) answer(200);
  EXPECT_EQ(fates.size(), 23u);
  EXPECT_FALSE(engine->nap(now).until);
}

TEST_F(EngineTest, ARefusedBrandsEventsExpireWhileTheOthersGoOn) {
  options.delivery = DeliveryMode::event;
  options.delivery_timeout = 5s;
  options.retry_max = 1s;
  begin();
  track("b", "b1", 1);
  track("b", "b2", 1);
  step();
  const TimePoint before = now;
  int others = 0;
  while (!fates.contains("b2")) {
    ASSERT_TRUE(!transport.sent.empty() || advance(now + 60s));
    track("a", "a" + std::to_string(others++));
    step();
    while (!transport.sent.empty()) {
      const bool refused = transport.sent[0].brand == "HE1";
      answer(refused ? 403 : 200, refused ? "" : good);
    }
  }
  EXPECT_EQ(fates.at("b1").kind, ErrorKind::auth);
  EXPECT_EQ(fates.at("b2").error, "unauthorised");
  EXPECT_GE(now - before, 5s);
  EXPECT_LT(now - before, 12s);
  for (int i = 0; i < others; ++i) EXPECT_EQ(fates.at("a" + std::to_string(i)).error, "");
  track("b", "b3", 1);
  step();
  while (!fates.contains("b3")) {
    while (!transport.sent.empty()) answer(200);
    ASSERT_TRUE(fates.contains("b3") || advance(now + 60s));
  }
  EXPECT_EQ(fates.at("b3").error, "") << "a brand that lost its events probes with new ones";
  EXPECT_EQ(state(), State::running);
}

TEST_F(EngineTest, ARefusedBrandAloneWithAServerThatIsGoneDoesNotKeepTheEngineAwake) {
  options.delivery = DeliveryMode::event;
  options.max_retries = 0;
  begin();
  track("b", "b1", 1);
  step();
  answer(403, "");
  for (int i = 0; i < 3; ++i) track("user-" + std::to_string(i), "a" + std::to_string(i));
  step();
  while (!transport.sent.empty()) lose();
  EXPECT_EQ(fates.size(), 3u) << "only what is refused is left";
  for (int i = 0; i < 50; ++i) {
    const Engine::Nap nap = engine->nap(now);
    ASSERT_TRUE(nap.until && *nap.until > now) << "nothing may leave before";
    now = *nap.until;
    step();
    if (!transport.sent.empty()) answer(403, "");
  }
}

TEST_F(EngineTest, AStoreThatDoesNotAnswerNeitherKeepsTheEngineAwakeNorMakesItForget) {
  for (const DeliveryMode mode : {DeliveryMode::event, DeliveryMode::batch, DeliveryMode::automatic}) {
    fates.clear();
    options.delivery = mode;
    FakeStore& store = share();
    begin();
    for (int i = 0; i < 3; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
    run_now();
    EXPECT_EQ(store.asked.size(), 1u);
    for (int i = 0; i < 100; ++i) {
      const Engine::Nap nap = engine->nap(now);
      now = nap.until ? std::max(*nap.until, now) : now + 1h;
      run_now();
      ASSERT_TRUE(transport.sent.empty());
    }
    EXPECT_EQ(store.asked.size(), 1u) << "one question at a time";
    while (fates.size() < 3) {
      store.next = FakeStore::granted(store.asked.back());  // and the I/O thread is woken
      run_now();
      ASSERT_FALSE(transport.sent.empty() && !advance(now + 1s));
      while (!transport.sent.empty()) answer(200);
    }
    EXPECT_FALSE(engine->nap(now).until);
  }
}

TEST_F(EngineTest, AClosedEngineHasNoStore) {
  bool ended = false;
  share().ended = &ended;
  begin();
  track("a", "a1");
  step();
  engine->abort(now);
  EXPECT_TRUE(ended);
  EXPECT_EQ(fates.at("a1").error, "closed");
}

TEST_F(EngineTest, NoTokenIsTakenForWhatMayNotLeaveYet) {
  options.delivery = DeliveryMode::event;
  options.retry_initial = options.retry_max = 1h;
  FakeStore& store = share();
  begin();
  track("a", "a1");
  track("b", "b1", 1);
  run_now();
  store.next = FakeStore::granted(2);
  run_now();
  ASSERT_EQ(transport.sent.size(), 2u);
  answer(503, "");
  answer(403, "");
  for (const TimePoint end = now + 1min; advance(end);) run_now();
  EXPECT_EQ(store.asked.size(), 1u) << "others could use it";
}

TEST_F(EngineTest, AStoresAnswerThatComesWhileTheServerIsGoneIsNotForgotten) {
  options.delivery = DeliveryMode::event;
  options.spool_path = "/none";  // so no delivery_timeout wakes the engine
  FakeStore& store = share();
  begin();
  for (int i = 0; i < 4; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  run_now();
  store.next = FakeStore::granted(3);
  run_now();
  ASSERT_EQ(transport.sent.size(), 3u);
  while (transport.sent.size() > 1) lose(0, false);
  track("another", "m4");
  run_now();
  ASSERT_EQ(store.asked.size(), 2u);
  lose(0, false);
  EXPECT_EQ(state(), State::paused_unreachable);
  store.next = FakeStore::granted(5);
  run_now();
  for (int i = 0; i < 100 && fates.size() < 5; ++i) {
    while (!transport.sent.empty()) answer(200);
    if (store.asked.size() > 2) store.next = FakeStore::granted(5);
    run_now();
    ASSERT_TRUE(!transport.sent.empty() || fates.size() == 5 || advance(now + 1min)) << "sleeps for ever";
  }
  EXPECT_EQ(fates.size(), 5u);
}

TEST_F(EngineTest, WhatComesWhileTheBucketIsEmptyDoesNotWaitForWhatWaitsLonger) {
  options.delivery = DeliveryMode::event;
  options.spool_path = "/none";  // so no delivery_timeout wakes the engine
  options.rate_limit = options.burst = 1;
  options.retry_initial = options.retry_max = 1h;
  for (const int status : {403, 503}) {  // a probe of the brand, or a retry, in about an hour
    begin();
    track("b", "b" + std::to_string(status), 1);
    run_now();
    answer(status, "");
    ASSERT_TRUE(transport.sent.empty());
    const Engine::Nap nap = engine->nap(now);
    EXPECT_TRUE(nap.wake_at == 1 || (nap.until && *nap.until <= now + 1s)) << status;
    const std::string id = "a" + std::to_string(status);
    track("a", id);
    now = std::min(*nap.until, now + 1h);
    run_now();
    while (transport.sent.empty()) ASSERT_TRUE(advance(now + 1s)) << status;
    answer(200);
    EXPECT_TRUE(fates.contains(id));
  }
}

TEST_F(EngineTest, RetriesBeyondTheirBudgetAreDeferredAndOthersGoOn) {
  options.delivery = DeliveryMode::event;
  options.rate_limit = 10;
  options.burst = 500;
  options.max_connections = 1'000;
  options.retry_initial = options.retry_max = 90ms;
  begin();
  constexpr int failing = 150;  // the budget: 98, and 5 more a second
  for (int i = 0; i < failing; ++i) track("bad-" + std::to_string(i), "b" + std::to_string(i));
  step();
  ASSERT_EQ(transport.sent.size(), failing);
  int others = 0;
  const auto another_gets_through = [&] {
    const std::string id = "g" + std::to_string(others++);
    track("good", id);
    step();
    ASSERT_FALSE(transport.sent.empty());
    answer(200, good, transport.sent.size() - 1);
    ASSERT_TRUE(fates.contains(id)) << "it waits for those that fail";
  };
  for (int i = 0; i < failing; ++i) {
    answer(503, "");
    another_gets_through();  // so the circuit stays closed
  }
  const TimePoint before = now;
  while (now < before + 1s) {
    another_gets_through();
    while (!transport.sent.empty()) answer(200);
    now += 100ms;
    step();
  }
  const auto delivered = [&] {
    return std::count_if(fates.begin(), fates.end(), [](const auto& fate) { return fate.first[0] == 'b'; });
  };
  EXPECT_NEAR(static_cast<double>(delivered()), 103, 5) << "the budget";
  while (delivered() < failing) {
    while (!transport.sent.empty()) answer(200);
    ASSERT_TRUE(delivered() == failing || !transport.sent.empty() || advance(now + 1min));
  }
  EXPECT_LT(now - before, 15s);
  for (const auto& [id, fate] : fates) EXPECT_EQ(fate.error, "") << id;
}

TEST_F(EngineTest, A429IsNeitherAFailureNorTimeOfFailing) {
  options.delivery = DeliveryMode::event;
  options.delivery_timeout = 5s;
  options.max_retries = 1;
  begin();
  track("a", "a1");
  track("b", "b1");
  step();
  answer(503, "");  // a's first failure
  const TimePoint before = now;
  while (now - before < 60s) {
    while (!transport.sent.empty()) answer(429, "", 0, "1");
    ASSERT_TRUE(advance(now + 1min));
    ASSERT_TRUE(fates.empty()) << fates.begin()->second.error;
  }
  while (fates.size() < 2) {
    while (!transport.sent.empty()) answer(200);
    ASSERT_TRUE(fates.size() == 2 || advance(now + 1min));
  }
  EXPECT_EQ(fates.at("a1").error, "");
  EXPECT_EQ(fates.at("b1").error, "");
}

TEST_F(EngineTest, AnEventThatGetsNothingBut429DoesNotHoldUpTheOthers) {
  options.delivery = DeliveryMode::event;
  begin();
  track("bad", "b1");
  step();
  answer(429, "");
  for (int i = 0; i < 5; ++i) track("user-" + std::to_string(i), "m" + std::to_string(i));
  const TimePoint before = now;
  while (fates.size() < 5) {
    while (!transport.sent.empty()) {
      const bool bad = transport.sent[0].body.find("\"bad\"") != std::string::npos;
      answer(bad ? 429 : 200, bad ? "" : good);
    }
    ASSERT_TRUE(fates.size() == 5 || (now < before + 5min && advance(now + 1min))) << fates.size() << " got through";
  }
}

TEST_F(EngineTest, AnEventHasALastChanceBeforeItExpires) {
  options.delivery = DeliveryMode::event;
  options.delivery_timeout = 5s;
  options.retry_initial = options.retry_max = 1h;
  begin();
  track("a", "a1");
  step();
  answer(503, "");
  const TimePoint before = now;
  while (transport.sent.empty()) ASSERT_TRUE(fates.empty() && advance(now + 1min));
  EXPECT_LE(now - before, 5s);
  answer(503, "");
  EXPECT_TRUE(transport.sent.empty()) << "it was the last";
  while (fates.empty()) ASSERT_TRUE(advance(now + 1min));
  EXPECT_EQ(fates.at("a1").error, "expired");
  EXPECT_EQ(fates.at("a1").attempts, 2);
}

TEST_F(EngineTest, RowsOfASourceWaitOutAServerThatIsAwayWhereOtherEventsExpire) {
  options.delivery = DeliveryMode::batch;
  options.flush_at = 3;
  begin();
  track("a", "a1");
  row("b", "b1");
  row("b", "b2");
  step();
  track("a", "a2");
  row("c", "c1");
  const TimePoint before = now;
  while (now < before + 20min) {
    if (!transport.sent.empty()) {
      lose();
    } else {
      ASSERT_TRUE(advance(now + 1min));
    }
  }
  EXPECT_EQ(fates.size(), 2u);
  EXPECT_EQ(fates["a1"].error, "expired");
  EXPECT_EQ(fates["a2"].error, "expired");
  EXPECT_EQ(fates["a1"].arrived, Arrived::unknown);  // each of its answers was lost
  EXPECT_EQ(fates["a1"].route, Route::batch);
  EXPECT_GT(fates["a1"].attempts, 1);
  EXPECT_NE(fates["a1"].message.find("lost"), std::string::npos) << fates["a1"].message;
  while (fates.size() < 5) {
    if (!transport.sent.empty()) {
      answer(200);
    } else {
      ASSERT_TRUE(advance(now + 1min));
    }
  }
  for (const char* id : {"b1", "b2", "c1"}) EXPECT_EQ(fates[id].error, "") << id;
}

TEST_F(EngineTest, RowsAreGivenBackWhenTheServerIsAwayForTooLong) {
  options.delivery = DeliveryMode::event;
  const auto fail_all = [&](std::chrono::minutes within) {
    fates.clear();
    begin();
    row("a", "a1");
    row("a", "a2");
    step();
    const TimePoint before = now;
    while (fates.size() < 2) {
      if (!transport.sent.empty()) {
        lose();
      } else {
        ASSERT_TRUE(advance(before + within));
      }
    }
    for (const auto& [id, fate] : fates) EXPECT_TRUE(fate.error == "expired" && fate.away) << id;
  };
  fail_all(62min);
  options.delivery_timeout = 10s;
  fail_all(1min);
}

TEST_F(EngineTest, ARowThatFailsWhileOthersGetThroughExpiresForItsOwnSake) {
  options.delivery = DeliveryMode::event;
  begin();
  row("a", "a1");
  const TimePoint before = now;
  for (int other = 0; !fates.contains("a1"); ++other) {
    row("b", "b" + std::to_string(other));
    step();
    while (!transport.sent.empty()) {
      const bool bad = transport.sent.front().body.find("\"a1\"") != std::string::npos;
      answer(bad ? 503 : 200, bad ? "" : good);
    }
    ASSERT_LT(now, before + 6min);
    now += 1s;
    step();
  }
  EXPECT_EQ(fates["a1"].error, "expired");
  EXPECT_FALSE(fates["a1"].away);
}

TEST_F(EngineTest, TheLedgerBalancesAtEachOfTenThousandSteps) {
  for (const unsigned seed : {11u, 12u, 13u, 14u, 15u, 16u}) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto one_of = [&](unsigned n) { return random() % n == 0; };
    fates.clear();
    order.clear();
    transport.sent.clear();
    constexpr std::array modes{DeliveryMode::automatic, DeliveryMode::event, DeliveryMode::batch};
    options.delivery = modes[seed % 3];
    options.max_connections = 4;
    options.burst = 30;
    options.flush_at = 5;
    options.delivery_timeout = 30s;
    options.max_retries = seed % 2 == 0 ? std::optional<std::size_t>(6) : std::nullopt;
    FakeStore* const store = seed > 13 ? &share() : nullptr;
    begin();

    struct Made {
      std::string lane;
      bool identifies = false, commands = false;
    };
    std::vector<Made> made;
    std::map<std::string, TimePoint> settled;  // by lane
    std::size_t told = 0;
    std::map<std::string, int> last;
    const auto balance = [&] {
      const Stats now_are = stats();
      EXPECT_EQ(now_are.accepted, made.size());
      EXPECT_EQ(now_are.delivered + now_are.failed, fates.size());
      EXPECT_EQ(now_are.accepted, now_are.delivered + now_are.failed + now_are.queued);
      std::size_t under_way = 0;
      for (const FakeTransport::Sent& request : transport.sent) {
        for (std::size_t at = 0; (at = request.body.find("\"messageId\"", at)) != std::string::npos; ++at) ++under_way;
      }
      EXPECT_EQ(now_are.in_flight, under_way);
      const bool somebody_answers = !transport.sent.empty() || (store != nullptr && !store->asked.empty());
      EXPECT_TRUE(now_are.queued == 0 || somebody_answers || engine->nap(now).until) << "sleeps for ever";
      for (; told < order.size(); ++told) {
        const int number = std::stoi(order[told].substr(1));
        if (!fates.at(order[told]).error.empty()) continue;
        const Made& event = made[static_cast<std::size_t>(number)];
        EXPECT_LT(std::exchange(last.try_emplace(event.lane, -1).first->second, number), number) << "out of order";
        if (event.identifies) settled[event.lane] = now + 500ms;
      }
      for (const FakeTransport::Sent& request : transport.sent) {
        if (request.action == "batch" || request.body.find("send_email") == std::string::npos) continue;
        const std::size_t from = request.body.find("\"messageId\":\"m") + 14;
        const Made& event = made[std::stoul(request.body.substr(from))];
        EXPECT_LE(settled[event.lane], now) << "a command before its identify has settled";
      }
    };
    const auto serve = [&](bool gracious) {
      if (transport.sent.empty()) return;
      const std::size_t index = random() % transport.sent.size();
      const bool batch = transport.sent[index].action == "batch";
      switch (gracious ? 99 : random() % 20) {
        case 0:
          return answer(503, "", index, one_of(3) ? "2" : "");
        case 1:
          return lose(index);
        case 2:
          return lose(index, false);
        case 3:
          return answer(429, "", index, one_of(2) ? "1" : "");
        case 4:
          return answer(413, "", index);
        case 5:
          return answer(400, "{}", index);
        case 6:
          return answer(403, "", index);
        case 7:
          return answer(batch ? 404 : 504, "", index);
        case 8:
          return answer(200, "garbage", index);
        default:
          return answer(200, good, index);
      }
    };
    const auto let_store_speak = [&](bool gracious) {
      if (store == nullptr || store->asked.empty()) return;
      const std::size_t wanted = store->asked.back();
      store->asked.clear();
      const auto kind = gracious ? 9 : random() % 10;
      store->next = kind == 0   ? FakeStore::gone()
                    : kind == 1 ? FakeStore::granted(0, milliseconds(random() % 300))
                                : FakeStore::granted(wanted);
      store->next->level = static_cast<double>(random() % 30);
    };
    for (int turn = 0; turn < 10'000; ++turn) {
      switch (random() % 16) {
        case 0:
        case 1:
        case 2: {
          const auto brand = static_cast<std::uint16_t>(random() % 3);
          const std::string user = "user-" + std::to_string(random() % 9);
          const std::string id = "m" + std::to_string(made.size());
          const auto kind = random() % 6;
          made.push_back({user + "/" + std::to_string(brand), kind == 0, kind == 1});
          if (kind == 0) {
            identify(user, id, brand);
          } else if (kind == 1) {
            email(user, id, brand);
          } else {
            track(user, id, brand);
          }
          break;
        }
        case 3:
          if (one_of(20)) engine->set_token("t" + std::to_string(turn), now);
          break;
        case 4: {
          Waiting waiting;
          queue->flush(TimePoint{}, waiting, [&] { step(); });
          break;
        }
        case 5:
        case 6:
          let_store_speak(false);
          break;
        case 7:
        case 8:
          if (const auto until = engine->nap(now).until; until && *until < now + 1s) now = std::max(now, *until);
          break;
        case 9:
          now += milliseconds(random() % 50);
          break;
        default:
          serve(false);
      }
      run_now();
      balance();
      if (HasFailure()) return;
    }
    for (int turn = 0; fates.size() < made.size(); ++turn) {
      ASSERT_LT(turn, 100'000) << "never comes to an end";
      let_store_speak(true);
      run_now();
      if (!transport.sent.empty()) {
        serve(true);
      } else if (store == nullptr || store->asked.empty()) {
        ASSERT_TRUE(fates.size() == made.size() || advance(now + 1h)) << "sleeps for ever";
      }
      balance();
      if (HasFailure()) return;
    }
    EXPECT_GT(made.size(), 1'000u);
    EXPECT_GT(stats().delivered, made.size() / 2);
  }
}

/// Whatever the server does, every event gets one fate, and each user's delivered events are in order.
// Lost acknowledgements, with on_unknown=check.

class CheckTest : public EngineTest {
 protected:
  CheckTest() {
    options.delivery = DeliveryMode::event;
    options.on_unknown = OnUnknown::check;
  }

  /// Made at the time that the engine's clock shows.
  void track(const std::string& user, const std::string& id) {
    submit({.user_id = user, .event = "E", .message_id = id, .timestamp = moment});
  }

  /// Lets the clock run until a request leaves.
  void until_sent(milliseconds limit = 60s) {
    const TimePoint last = now + limit;
    while (transport.sent.empty() && advance(last)) {
    }
    ASSERT_FALSE(transport.sent.empty()) << "nothing leaves";
  }
  static std::string page(const std::vector<std::string>& message_ids) {
    nlohmann::json events = nlohmann::json::array();
    for (const std::string& id : message_ids)
      events.push_back({{"eventId", "e-" + id}, {"rawData", {{"messageId", id}}}});
    return nlohmann::json{{"events", events}}.dump();
  }
  /// A batch of an event of each user, of which nothing is heard again.
  void lose_batch(int users) {
    options.delivery = DeliveryMode::batch;
    options.flush_at = static_cast<std::size_t>(users);
    begin();
    for (int i = 0; i < users; ++i) track("u" + std::to_string(i), "m" + std::to_string(i));
    step();
    ASSERT_EQ(transport.sent.size(), 1u);
    lose();
  }

  static constexpr const char* moment = "2019-11-18T14:30:11.444Z";
};

TEST_F(CheckTest, AnEventThatIsThereIsDeliveredWithoutASecondCopy) {
  begin();
  track("a/b", "a1");
  track("a/b", "a2");
  step();
  const TimePoint lost = now;
  lose();
  EXPECT_TRUE(transport.sent.empty());
  until_sent();
  EXPECT_EQ(now - lost, 5s);
  ASSERT_EQ(transport.sent.size(), 1u) << "the user's next event waits meanwhile";
  EXPECT_EQ(transport.sent[0].path,
            "/track/hea/hea/HEA/v1/profiles/userId:a%2Fb/events?size=100&from=0&start=2019-11-18T14%3A20%3A11.444Z&end="
            "2019-11-18T14%3A40%3A11.444Z&sort=asc")
      << "ten minutes around the event's time";
  answer(200, page({"a0", "a1"}));
  EXPECT_EQ(fates.at("a1").error, "");
  EXPECT_EQ(fates.at("a1").event_id, "e-a1");
  EXPECT_TRUE(fates.at("a1").read_back);
  EXPECT_EQ(fates.at("a1").attempts, 1);
  EXPECT_EQ(stats().read_back, 1u);
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_NE(transport.sent[0].body.find("a2"), std::string::npos);
  answer(200);
  EXPECT_FALSE(fates.at("a2").read_back);
  EXPECT_FALSE(engine->nap(now).until) << "an engine at rest wakes for nothing";
}

TEST_F(CheckTest, AnEventThatIsNotThereIsSentAgainBeforeTheUsersNext) {
  begin();
  track("a", "a1");
  track("a", "a2");
  step();
  lose();
  until_sent();
  answer(404, R"({"error":{"code":"not_found"}})");
  until_sent();
  EXPECT_NE(transport.sent[0].body.find("a1"), std::string::npos);
  answer(200);
  answer(200);
  EXPECT_EQ(order, (std::vector<std::string>{"a1", "a2"}));
  EXPECT_FALSE(fates.at("a1").read_back);
  EXPECT_EQ(fates.at("a1").attempts, 2);
}

TEST_F(CheckTest, AnAnswerThatSaysThatNothingWasDoneNeedsNoLooking) {
  begin();
  track("a", "a1");
  step();
  answer(503, "");
  until_sent();
  EXPECT_EQ(transport.sent[0].action, "track");
  lose(0, /*sent=*/false);
  until_sent();
  EXPECT_EQ(transport.sent[0].action, "track");
}

TEST_F(CheckTest, PagesAreReadUntilTheEventIsFound) {
  begin();
  track("a", "a1");
  step();
  lose();
  until_sent();
  std::vector<std::string> others;
  for (int i = 0; i < 100; ++i) others.push_back("x" + std::to_string(i));
  answer(200, page(others));
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_NE(transport.sent[0].path.find("from=100&"), std::string::npos);
  answer(200, page({"a1"}));
  EXPECT_TRUE(fates.at("a1").read_back);
}

TEST_F(CheckTest, AnEventWithATimeFarAwayIsLookedForThereAndAtItsArrival) {
  begin();
  submit({.user_id = "a", .event = "E", .message_id = "a1", .timestamp = "2015-01-01T00:00:00.000Z"});
  step();
  lose();
  until_sent();
  EXPECT_NE(transport.sent[0].path.find("start=2014-12-31T23%3A50"), std::string::npos);
  EXPECT_NE(transport.sent[0].path.find("end=2015-01-01T00%3A10"), std::string::npos);
  answer(200, page({}));
  ASSERT_EQ(transport.sent.size(), 1u);
  EXPECT_NE(transport.sent[0].path.find("start=2019-11-18T14%3A20"), std::string::npos);
  EXPECT_EQ(transport.sent[0].path.find("end="), std::string::npos);
  answer(200, page({"a1"}));
  EXPECT_TRUE(fates.at("a1").read_back);
}

TEST_F(CheckTest, AReadingThatFailsIsTriedAgainUntilTheEventExpires) {
  options.delivery_timeout = 60s;
  begin();
  track("a", "a1");
  step();
  const TimePoint lost = now;
  lose();
  int readings = 0;
  while (fates.empty() && advance(now + 60s)) {
    if (transport.sent.empty()) continue;
    ++readings;
    EXPECT_EQ(transport.sent[0].action, "profiles");
    readings % 2 == 0 ? lose() : answer(503, "");
  }
  EXPECT_GT(readings, 3);
  EXPECT_EQ(fates.at("a1").error, "expired");
  EXPECT_EQ(fates.at("a1").arrived, Arrived::unknown);
  EXPECT_LE(now - lost, 61s);
  EXPECT_FALSE(engine->nap(now).until);
}

TEST_F(CheckTest, AReadingGoesOnAfterATroubleThatPasses) {
  begin();
  track("a", "a1");
  step();
  lose();
  until_sent();
  answer(503, "");
  until_sent();
  answer(429, "");
  until_sent();
  answer(200, page({"a1"}));
  EXPECT_TRUE(fates.at("a1").read_back);
  EXPECT_EQ(state(), State::running);
}

TEST_F(CheckTest, WhereReadingIsNotAllowedEventsAreSentAgainAndTheLogSaysSoOnce) {
  begin();
  for (int round = 0; round < 2; ++round) {
    const std::string id = "a" + std::to_string(round);
    track("a", id);
    step();
    lose();
    until_sent();
    if (round == 0) {
      EXPECT_EQ(transport.sent[0].action, "profiles");
      answer(403, R"({"message":"Token Not Authorised"})");
      until_sent();
    }
    EXPECT_EQ(transport.sent[0].action, "track");
    answer(200);
    EXPECT_FALSE(fates.at(id).read_back);
  }
  const auto about = [](const std::string& line) {
    return line.find("on_unknown=check is not possible") != std::string::npos;
  };
  EXPECT_EQ(std::count_if(log.begin(), log.end(), about), 1) << log.at(0);

  engine->set_token("another", now);
  track("a", "a3");
  step();
  lose();
  until_sent();
  EXPECT_EQ(transport.sent[0].action, "profiles") << "a new token may be allowed to read";
}

TEST_F(CheckTest, WhatIsClosedBeforeItWasLookedForMayHaveArrived) {
  begin();
  track("a", "a1");
  track("b", "b1");
  step();
  lose();
  now += 5s;
  step();
  ASSERT_EQ(transport.sent.size(), 2u);
  lose();  // b1's own request, while a1's reading is under way
  engine->abort(now);
  for (const char* id : {"a1", "b1"}) {
    EXPECT_EQ(fates.at(id).error, "closed");
    EXPECT_EQ(fates.at(id).arrived, Arrived::unknown);
  }
}

TEST_F(CheckTest, OfABatchOnlyTheMissingEventsAreSentAgain) {
  lose_batch(3);
  const std::array<std::vector<std::string>, 3> there{{{"m0"}, {}, {"m2"}}};
  until_sent();
  for (std::size_t user = 0; user < 3; ++user) {
    ASSERT_EQ(transport.sent.size(), 1u) << "one reading after the other";
    EXPECT_NE(transport.sent[0].path.find("userId:u" + std::to_string(user)), std::string::npos);
    answer(200, page(there.at(user)));
  }
  EXPECT_EQ(fates.at("m0").event_id, "e-m0");
  EXPECT_EQ(fates.at("m0").route, Route::batch);
  EXPECT_TRUE(fates.at("m2").read_back);
  until_sent();
  EXPECT_EQ(transport.sent[0].action, "batch");
  EXPECT_EQ(transport.sent[0].body.find("m0"), std::string::npos);
  EXPECT_NE(transport.sent[0].body.find("m1"), std::string::npos);
  answer(200, R"({"success":true})");
  EXPECT_EQ(fates.size(), 3u);
}

TEST_F(CheckTest, ABatchOfManyUsersIsLookedForAmongTheAccountsEvents) {
  lose_batch(150);
  until_sent();
  EXPECT_EQ(transport.sent[0].action.substr(0, 7), "events?");
  std::vector<std::string> first;
  std::vector<std::string> second;
  for (int i = 0; i < 149; ++i) (i < 100 ? first : second).push_back("m" + std::to_string(i));
  answer(200, page(first));
  answer(200, page(second));
  ASSERT_EQ(transport.sent.size(), 1u) << "whom the account's events did not show is asked for";
  EXPECT_NE(transport.sent[0].path.find("userId:u149/"), std::string::npos);
  answer(200, page({"m149"}));
  EXPECT_EQ(stats().read_back, 150u);
}

TEST_F(CheckTest, ABatchOfManyUsersOfWhichNothingIsThereCostsOneReading) {
  lose_batch(150);
  until_sent();
  answer(200, page({}));
  until_sent();
  EXPECT_EQ(transport.sent[0].action, "batch");
}

TEST_F(CheckTest, AnAnonymousEventIsLookedForAmongTheAccountsEvents) {
  begin();
  submit({.action = event::Action::page, .anonymous_id = "v", .message_id = "p1", .timestamp = moment});
  step();
  lose();
  until_sent();
  EXPECT_NE(transport.sent[0].path.find("v1/events?size=100&from=0&start=2019-11-18T14%3A30%3A09"), std::string::npos)
      << transport.sent[0].path;
  answer(200, page({"p1"}));
  EXPECT_TRUE(fates.at("p1").read_back);
}

TEST_F(CheckTest, ThatReadingWorksDoesNotEndAPauseOfSending) {
  begin();
  for (const char* user : {"a", "b", "c"}) track(user, std::string(user) + "1");
  step();
  for (int i = 0; i < 3; ++i) lose();
  EXPECT_EQ(state(), State::paused_unreachable);
  until_sent();
  ASSERT_EQ(transport.sent.size(), 1u) << "a probe";
  answer(200, page({}));
  EXPECT_EQ(state(), State::paused_unreachable);
  until_sent();
  while (transport.sent[0].action == "profiles") {
    answer(200, page({}));
    until_sent();
  }
  answer(200);
  EXPECT_EQ(state(), State::running);
}

TEST_F(EngineTest, EveryEventGetsOneFateWhateverTheServerDoes) {
  nlohmann::json every = nlohmann::json::array();
  for (int i = 0; i < 400; ++i)
    every.push_back({{"eventId", "e"}, {"rawData", {{"messageId", "m" + std::to_string(i)}}}});
  const std::string every_event = every.dump();
  for (const unsigned seed : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u}) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    fates.clear();
    order.clear();
    transport.sent.clear();
    constexpr std::array modes{DeliveryMode::automatic, DeliveryMode::event, DeliveryMode::batch};
    options.delivery = modes[seed % 3];
    options.on_unknown = seed > 6 ? OnUnknown::check : OnUnknown::resend;
    options.max_connections = 4;
    options.burst = 30;
    options.flush_at = 5;
    begin();
    int made = 0;
    constexpr int all = 400;
    while (fates.size() < all) {
      if (made < all && random() % 3 != 0) {
        const auto brand = static_cast<std::uint16_t>(seed > 3 ? made % 3 : 0);  // of 9 users, each has one
        track("user-" + std::to_string(made % 9), "m" + std::to_string(made), brand);
        ++made;
        step();
      }
      if (!transport.sent.empty() && random() % 2 == 0) {
        const std::size_t index = random() % transport.sent.size();
        const bool batch = transport.sent[index].action == "batch";
        if (transport.sent[index].action == "profiles") {
          const bool there = random() % 2 == 0;
          random() % 4 == 0 ? lose(index) : answer(200, there ? every_event : R"({"events":[]})", index);
          continue;
        }
        switch (random() % 13) {
          case 0:
            answer(503, "", index);
            break;
          case 1:
            lose(index);
            break;
          case 2:
            answer(429, "", index, random() % 2 == 0 ? "1" : "");
            break;
          case 3:
            answer(batch ? 413 : 200, batch ? "" : good, index);
            break;
          case 4:
            answer(batch ? 400 : 200, batch ? "{}" : good, index);
            break;
          case 5:
            lose(index, false);
            break;
          case 6:
            answer(200, "garbage", index);
            break;
          case 7:
            answer(403, "", index);
            break;
          default:
            answer(200, good, index);
        }
      } else if (transport.sent.empty() && !advance(now + 1h)) {
        ASSERT_LT(made, all) << "the engine sleeps for ever";
      }
    }
    std::map<int, int> last;
    for (const std::string& id : order) {
      const int number = std::stoi(id.substr(1));
      EXPECT_LE(last[number % 9], number) << "out of order";
      last[number % 9] = number;
    }
    EXPECT_TRUE(transport.sent.empty());
  }
}

TEST_F(EngineTest, DoesNotSendAReadThatNobodyWaitsForAnyMore) {
  options.rate_limit = 10;
  options.burst = 1;
  begin();
  std::vector<std::string> ended;
  const auto read = [&](const std::string& path, std::chrono::milliseconds patience) {
    engine->read({.path = path, .deadline = now + patience, .done = [&ended, path](ReadResult result) {
                    const std::string error = result.error ? result.error->code + " " : "";
                    EXPECT_FALSE(result.error && result.error->message.empty());
                    ended.push_back(path + " " + error + std::to_string(result.status));
                  }});
  };
  read("first", 1h);
  run_now();
  for (int i = 0; i < 20; ++i) read("late", 5ms);
  read("last", 1h);
  answer(200, "{}");
  now += 1s;
  run_now();
  ASSERT_EQ(transport.sent.size(), 1u);
  answer(200, "{}");
  ASSERT_EQ(ended.size(), 22u);
  EXPECT_EQ(ended.front(), "first 200");
  EXPECT_EQ(ended[1], "late timeout 0");
  EXPECT_EQ(ended.back(), "last 200");
}

}  // namespace
}  // namespace intilery::delivery
