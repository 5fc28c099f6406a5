// Pace: alone, beside others that are known only by 429s, and over a shared store. Clocks and servers are the test's
// own.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <queue>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "delivery/own_pace.hpp"
#include "delivery/shared_pace.hpp"
#include "fake_store.hpp"
#include "rate_bucket.hpp"

namespace intilery::delivery {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr TimePoint start{1h};

/// Clients with more to send than they may, on one account of 100 requests a second and a burst of 500.
class Fleet {
 public:
  struct Result {
    double used = 0;     ///< Of what the server would have granted.
    double refused = 0;  ///< Of the requests, those answered 429.
    double least = 0;    ///< What the client that got least got, of an equal share.
  };

  explicit Fleet(std::size_t clients) {
    for (std::size_t i = 0; i < clients; ++i) clients_.push_back({OwnPace(100, 500, 30s, 7 * i + 1, start), 0, 0});
  }

  Result run(std::chrono::seconds duration) {
    for (std::size_t i = 0; i < clients_.size(); ++i) at(start + 17ms * i, i, Kind::act);
    while (!events_.empty() && events_.top().moment <= start + duration) {
      const Event event = events_.top();
      events_.pop();
      event.kind == Kind::act ? act(event) : answer(event);
    }
    std::size_t accepted = 0;
    std::size_t refused = 0;
    std::size_t least = SIZE_MAX;
    for (const Client& client : clients_) {
      accepted += client.accepted;
      refused += client.refused;
      least = std::min(least, client.accepted);
    }
    const auto all = static_cast<double>(accepted);
    return {all / (500 + 100 * static_cast<double>(duration.count())),
            static_cast<double>(refused) / static_cast<double>(accepted + refused),
            static_cast<double>(least) * static_cast<double>(clients_.size()) / all};
  }

 private:
  enum class Kind { act, answer };
  struct Client {
    OwnPace pace;
    std::size_t accepted, refused;
    std::size_t under_way = 0;
    bool waits_for_answer = false;
  };
  struct Event {
    TimePoint moment;
    std::uint64_t number;
    std::size_t client;
    Kind kind;
    TimePoint sent;
    bool operator<(const Event& other) const { return std::tie(other.moment, other.number) < std::tie(moment, number); }
  };

  void at(TimePoint moment, std::size_t client, Kind kind, TimePoint sent = {}) {
    events_.push({moment, ++number_, client, kind, sent});
  }
  void act(const Event& event) {
    Client& client = clients_[event.client];
    while (client.under_way < 4 && client.pace.allows(event.moment, 1'000)) {
      client.pace.take(event.moment);
      ++client.under_way;
      at(event.moment + 3ms, event.client, Kind::answer, event.moment);
    }
    if (client.under_way == 4) return;
    const std::optional<TimePoint> next = client.pace.next(event.moment);
    client.waits_for_answer = !next;
    if (next) at(std::max(*next, event.moment + 1ms), event.client, Kind::act);
  }
  void answer(const Event& event) {
    Client& client = clients_[event.client];
    const bool was_full = client.under_way == 4;
    --client.under_way;
    if (server_.take(event.moment)) {
      ++client.accepted;
      client.pace.answered(true, event.moment);
    } else {
      ++client.refused;
      client.pace.answered(false, event.moment);
      client.pace.throttled(event.sent, milliseconds(1'000 * server_.retry_after(event.moment)), event.moment);
    }
    if (std::exchange(client.waits_for_answer, false) || was_full) at(event.moment, event.client, Kind::act);
  }

  std::vector<Client> clients_;
  intilery::testing::RateBucket server_{100, 500, start};
  std::priority_queue<Event> events_;
  std::uint64_t number_ = 0;
};

TEST(OwnPaceTest, AloneUsesWhatTheServerGrantsAndIsNeverRefused) {
  const Fleet::Result result = Fleet(1).run(60s);
  EXPECT_GE(result.used, 0.99);
  EXPECT_EQ(result.refused, 0);
}

TEST(OwnPaceTest, EightThatDoNotKnowOfEachOtherShareTheRate) {
  const Fleet::Result result = Fleet(8).run(60s);
  EXPECT_GE(result.used, 0.95);
  EXPECT_LT(result.refused, 0.02);
  EXPECT_GT(result.least, 0.4);
}

TEST(OwnPaceTest, SharesGetFairerWithTime) {
  const Fleet::Result result = Fleet(8).run(300s);
  EXPECT_GE(result.used, 0.99);
  EXPECT_LT(result.refused, 0.015);
  EXPECT_GT(result.least, 0.7);
}

TEST(OwnPaceTest, TwoShareTheRate) {
  const Fleet::Result result = Fleet(2).run(120s);
  EXPECT_GE(result.used, 0.95);
  EXPECT_LT(result.refused, 0.01);
  EXPECT_GT(result.least, 0.6);
}

TEST(OwnPaceTest, AFullBucketRefillsOnlyOnceTheServerHasAnswered) {
  OwnPace pace(100, 500, 30s, 1, start);
  pace.take(start);
  EXPECT_DOUBLE_EQ(pace.level(start + 300ms), 489) << "the server may not have seen the first request yet";
  pace.answered(true, start + 300ms);
  EXPECT_DOUBLE_EQ(pace.level(start + 305ms), 489.5);
}

TEST(OwnPaceTest, ABucketThatWaitsForAnAnswerKeepsNobodyAwake) {
  OwnPace pace(100, 1, 30s, 1, start);
  pace.take(start);
  EXPECT_FALSE(pace.allows(start + 1s, 1));
  EXPECT_EQ(pace.next(start + 1s), std::nullopt) << "the answer will wake us";
  pace.answered(true, start + 1s);
  EXPECT_EQ(pace.next(start + 1s), start + 1s + 10ms);
}

TEST(OwnPaceTest, A429HoldsEverythingBackForAsLongAsTheServerSays) {
  OwnPace pace(100, 500, 30s, 1, start);
  pace.take(start);
  pace.answered(false, start);
  pace.throttled(start, 3s, start);
  EXPECT_TRUE(pace.paused(start + 2'999ms));
  EXPECT_FALSE(pace.allows(start + 2'999ms, 1));
  EXPECT_FALSE(pace.paused(start + 3s));
  EXPECT_GE(*pace.next(start), start + 3s);
  EXPECT_LE(*pace.next(start), start + 3'100ms);
}

TEST(OwnPaceTest, ClientsThatAreRefusedTogetherAgainComeBackApart) {
  std::vector<TimePoint> back;
  for (const std::uint64_t seed : {1, 2, 3}) {
    OwnPace pace(100, 500, 30s, seed, start);
    for (const TimePoint moment : {start, start + 20s}) {
      pace.take(moment);
      pace.answered(false, moment);
      pace.throttled(moment, 5s, moment);
    }
    back.push_back(*pace.next(start + 20s));
  }
  EXPECT_TRUE(back[0] != back[1] && back[1] != back[2] && back[0] != back[2]);
}

TEST(OwnPaceTest, AnAbsurdWishIsBounded) {
  OwnPace pace(100, 500, 30s, 1, start);
  pace.take(start);
  pace.answered(false, start);
  pace.throttled(start, std::chrono::hours(10'000), start);
  EXPECT_LE(*pace.next(start), start + 40s);
}

TEST(OwnPaceTest, SeveralRefusalsOfTheSameMomentShrinkItOnce) {
  OwnPace pace(100, 500, 30s, 1, start);
  for (int i = 0; i < 4; ++i) pace.take(start);
  pace.throttled(start, 1s, start + 5ms);
  const double after_one = pace.rate(start + 1s);
  for (int i = 0; i < 3; ++i) pace.throttled(start, 1s, start + 6ms);
  EXPECT_DOUBLE_EQ(pace.rate(start + 1s), after_one);
  EXPECT_LT(after_one, 100);
}

TEST(OwnPaceTest, TakesTheWholeRateBackWhenTheOthersAreGone) {
  OwnPace pace(100, 500, 30s, 1, start);
  pace.take(start);
  pace.throttled(start, 1s, start);
  EXPECT_LT(pace.rate(start + 2s), 20);
  EXPECT_DOUBLE_EQ(pace.rate(start + 60s), 100);
}

TEST(OwnPaceTest, AnIsolated429DoesNotBringItBelowASixteenth) {
  OwnPace pace(100, 500, 30s, 1, start);
  TimePoint now = start;
  for (int i = 0; i < 50; ++i, now += 2s) {
    pace.throttled(now, 1s, now);
    pace.answered(true, now + 1s);
  }
  EXPECT_GE(pace.rate(now), 100.0 / 16);
}

TEST(OwnPaceTest, With429sAndNothingElseItGetsAsSlowAsAThousandClientsMustBe) {
  OwnPace pace(100, 500, 30s, 1, start);
  TimePoint now = start;
  for (int i = 0; i < 30; ++i, now += 2s) pace.throttled(now, 1s, now);
  EXPECT_LT(pace.rate(now), 0.11);
  pace.answered(true, now);
  EXPECT_DOUBLE_EQ(pace.rate(now + 5min), 100) << "the others may be gone";
}

TEST(OwnPaceTest, AHundredShareTheRateWithoutAStormOf429s) {
  const Fleet::Result result = Fleet(100).run(600s);
  EXPECT_GE(result.used, 0.95);
  EXPECT_LT(result.refused, 0.2);
  EXPECT_GT(result.least, 0.1);
}

class SharedPaceTest : public ::testing::Test {
 protected:
  SharedPaceTest() {
    auto owned = std::make_unique<FakeStore>();
    store = owned.get();
    pace = std::make_unique<SharedPace>(std::move(owned), OwnPace(100, 500, 30s, 1, start), Options{},
                                        [this](LogLevel, const std::string& line) { log.push_back(line); });
  }
  FakeStore* store = nullptr;
  std::unique_ptr<SharedPace> pace;
  std::vector<std::string> log;
};

TEST_F(SharedPaceTest, ASendsWhatTheStoreGrantsAndNoMore) {
  EXPECT_FALSE(pace->allows(start, 3));
  EXPECT_EQ(store->asked, (std::vector<std::size_t>{3}));
  EXPECT_EQ(pace->next(start), std::nullopt) << "the answer will wake us";
  store->next = FakeStore::granted(2);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(pace->allows(start, 3));
    pace->take(start);
  }
  EXPECT_FALSE(pace->allows(start, 1));
}

TEST_F(SharedPaceTest, AsksAgainWhenThereMayBeATokenAgain) {
  pace->allows(start, 1);
  store->next = FakeStore::granted(0, 80ms);
  EXPECT_FALSE(pace->allows(start, 1));
  EXPECT_EQ(*pace->next(start), start + 80ms);
  EXPECT_FALSE(pace->allows(start + 79ms, 1));
  EXPECT_EQ(store->asked.size(), 1u);
  EXPECT_FALSE(pace->allows(start + 80ms, 1));
  EXPECT_EQ(store->asked.size(), 2u);
}

TEST_F(SharedPaceTest, WhoFoundNothingComesBackInATurnOfItsOwn) {
  std::set<TimePoint> moments;
  for (TimePoint now = start; moments.size() < 5; now += 10s) {
    ASSERT_LT(now, start + 1h) << "all come back at the same moment";
    pace->allows(now, 1);
    store->next = FakeStore::granted(0, 80ms, 101);
    EXPECT_FALSE(pace->allows(now, 1));
    const TimePoint moment = *pace->next(now);
    EXPECT_GE(moment, now + 80ms);
    EXPECT_LE(moment, now + 80ms + 1s) << "a hundred others had a token each meanwhile";
    moments.insert(TimePoint(moment - now));
  }
}

TEST_F(SharedPaceTest, GoesOnWithItsShareWhenTheStoreIsGoneAndSaysSoOnce) {
  pace->allows(start, 1);
  store->next = FakeStore::granted(1, 0ms, 4);
  ASSERT_TRUE(pace->allows(start, 1));
  pace->take(start);
  pace->allows(start, 1);
  store->next = FakeStore::gone();
  EXPECT_FALSE(pace->allows(start, 1));
  ASSERT_EQ(log.size(), 1u);
  EXPECT_NE(log[0].find("25 requests a second"), std::string::npos) << log[0];
  int sent = 0;
  for (TimePoint now = start; now < start + 1s; now += 1ms) {
    if (store->asked.size() > 2) store->next = FakeStore::gone();
    if (!pace->allows(now, 100)) continue;
    pace->take(now);
    ++sent;
  }
  EXPECT_NEAR(sent, 25, 2);
  store->next = FakeStore::granted(0, 1s);
  pace->allows(start + 2s, 1);
  EXPECT_EQ(log.size(), 2u);
}

TEST_F(SharedPaceTest, AStoreThatComesBackBetweenTheLookAndTheSendingGivesNothingAway) {
  pace->allows(start, 1);
  store->next = FakeStore::gone();
  pace->allows(start, 1);
  TimePoint now = start + 3s;
  ASSERT_TRUE(pace->allows(now, 100)) << "its own share";
  store->next = FakeStore::granted(0, 1s);  // the answer to whether it is back
  pace->level(now);
  pace->take(now);
  int sent = 0;
  for (; sent < 100 && pace->allows(now, 100); ++sent) pace->take(now);
  EXPECT_EQ(sent, 0);
}

TEST_F(SharedPaceTest, TokensThatAreNotUsedLapse) {
  pace->allows(start, 5);
  store->next = FakeStore::granted(5);
  ASSERT_TRUE(pace->allows(start, 5));
  pace->take(start);
  EXPECT_TRUE(pace->allows(start + 500ms, 1));
  EXPECT_FALSE(pace->allows(start + 10s, 1)) << "the account's bucket has long been full without them";
  EXPECT_EQ(store->asked.size(), 2u);
}

TEST_F(SharedPaceTest, A429PausesEverybody) {
  pace->allows(start, 1);
  store->next = FakeStore::granted(1);
  ASSERT_TRUE(pace->allows(start, 1));
  pace->take(start);
  pace->throttled(start, 2s, start);
  EXPECT_EQ(store->drained, (std::vector<milliseconds>{2s}));
  EXPECT_TRUE(pace->paused(start + 1s));
  EXPECT_FALSE(pace->allows(start + 1s, 1));
  EXPECT_EQ(*pace->next(start), start + 2s);
}

/// A real redis-server on a free port.
class Redis {
 public:
  Redis() {
    port_ = free_port();
    run();
  }
  ~Redis() { stop(); }

  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_) + "/1"; }
  void run() {
    std::string port = std::to_string(port_);
    std::array<std::string, 11> words{"redis-server", "--port", port,        "--bind",   "127.0.0.1", "--save", "",
                                      "--appendonly", "no",     "--logfile", "/dev/null"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ASSERT_EQ(::posix_spawnp(&process_, "redis-server", nullptr, nullptr, arguments.data(), environ), 0);
    for (int i = 0; i < 500 && !answers(); ++i) std::this_thread::sleep_for(10ms);
  }
  void stop() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
  }

 private:
  static sockaddr_in address(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static int free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in any = address(0);
    ::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any);
    socklen_t size = sizeof any;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&any), &size);
    ::close(fd);
    return ntohs(any.sin_port);
  }
  bool answers() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in to = address(port_);
    const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    ::close(fd);
    return connected;
  }

  int port_ = 0;
  pid_t process_ = -1;
};

/// Asks, and waits for the answer.
class Asker {
 public:
  explicit Asker(const std::string& url, double rate = 100, double burst = 500)
      : store(options(url, rate, burst), [] {}) {}
  Grant ask(std::size_t tokens) {
    store.ask(tokens);
    for (int i = 0; i < 5'000; ++i) {
      if (std::optional<Grant> grant = store.answer()) return *grant;
      std::this_thread::sleep_for(1ms);
    }
    ADD_FAILURE() << "the store did not answer";
    return {};
  }

  RedisRateStore store;

 private:
  static Options options(const std::string& url, double rate, double burst) {
    Options options;
    options.client_id = options.account_id = "hea";
    options.rate_limit = rate;
    options.burst = burst;
    options.rate_limit_store = url;
    return options;
  }
};

TEST(RateStoreTest, ClientsShareOneExactBucket) {
  Redis redis;
  Asker one(redis.url(), 0.01, 100);
  Asker two(redis.url(), 0.01, 100);
  EXPECT_EQ(one.ask(60).tokens, 60u);
  const Grant grant = two.ask(60);
  EXPECT_EQ(grant.tokens, 38u);  // 98 of 100: the reserve
  EXPECT_EQ(grant.clients, 2u);
  const Grant empty = one.ask(1);
  EXPECT_EQ(empty.tokens, 0u);
  EXPECT_GT(empty.wait, 50s);
}

TEST(RateStoreTest, ManyAskingAtOnceGetNoMoreThanThereIs) {
  Redis redis;
  std::atomic<std::size_t> total{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Asker asker(redis.url(), 0.01, 500);
      for (int turn = 0; turn < 100; ++turn) total += asker.ask(1).tokens;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, 490u);
}

TEST(RateStoreTest, A429EmptiesTheBucketForAll) {
  Redis redis;
  Asker one(redis.url());
  Asker two(redis.url());
  EXPECT_EQ(one.ask(1).tokens, 1u);
  one.store.drain(60s);
  EXPECT_EQ(one.ask(1).tokens, 0u);
  const Grant grant = two.ask(1);
  EXPECT_EQ(grant.tokens, 0u);
  EXPECT_GT(grant.wait, 50s);
}

TEST(RateStoreTest, TellsWhenRedisIsGoneAndComesBackWithIt) {
  Redis redis;
  Asker asker(redis.url());
  EXPECT_TRUE(asker.ask(1).reachable);
  redis.stop();
  const Grant gone = asker.ask(1);
  EXPECT_FALSE(gone.reachable);
  EXPECT_NE(gone.why, "");
  redis.run();
  EXPECT_TRUE(asker.ask(1).reachable);
}

/// Stands in for a Redis server where the real one cannot be made to do it.
class Listener {
 public:
  Listener() {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(fd_, reinterpret_cast<const sockaddr*>(&any), sizeof any);
    ::listen(fd_, 5);
  }
  ~Listener() { ::close(fd_); }

  std::string address() const {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size);
    return "127.0.0.1:" + std::to_string(ntohs(own.sin_port));
  }
  /// Answers the first command of the next connection. \returns that.
  int answer(std::string_view with) const {
    const int fd = ::accept(fd_, nullptr, nullptr);
    std::array<char, 8192> command;
    EXPECT_GT(::recv(fd, command.data(), command.size(), 0), 0);
    EXPECT_EQ(::send(fd, with.data(), with.size(), MSG_NOSIGNAL), static_cast<ssize_t>(with.size()));
    return fd;
  }
  void give_up() const { ::shutdown(fd_, SHUT_RDWR); }

 private:
  int fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
};

constexpr std::string_view one_token = "*4\r\n:1\r\n:480500\r\n:0\r\n:1\r\n";

TEST(RateStoreTest, AConnectionThatEndedMeanwhileIsMadeAgain) {
  const Listener redis;
  Asker asker("redis://" + redis.address());
  int connection = -1;
  std::thread first([&] { connection = redis.answer(one_token); });
  const Grant grant = asker.ask(1);
  first.join();
  EXPECT_EQ(grant.tokens, 1u);
  EXPECT_DOUBLE_EQ(grant.level, 480.5);
  // Closed, and then gone: whoever writes to it now gets EPIPE, and SIGPIPE if it does not see to that.
  ::shutdown(connection, SHUT_WR);
  const linger at_once{1, 0};
  ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(connection);
  std::thread second([&] { ::close(redis.answer(one_token)); });
  const Grant again = asker.ask(1);
  EXPECT_TRUE(again.reachable) << again.why;
  redis.give_up();
  second.join();
}

TEST(RateStoreTest, NeverTellsThePassword) {
  const Listener redis;
  Asker asker("redis://:hunter2@" + redis.address());
  std::thread server(
      [&] { ::close(redis.answer("-ERR unknown command `AUTH`, with args beginning with: `hunter2`,\r\n")); });
  const Grant grant = asker.ask(1);
  server.join();
  EXPECT_FALSE(grant.reachable);
  EXPECT_EQ(grant.why, "it refuses the login");
}

}  // namespace
}  // namespace intilery::delivery
