#include <gtest/gtest.h>

#include "delivery/backoff.hpp"
#include "delivery/circuit.hpp"
#include "delivery/retry_after.hpp"
#include "delivery/token_bucket.hpp"
#include "delivery/verdict.hpp"

namespace intilery::delivery {
namespace {

using namespace std::chrono_literals;

const TimePoint start{1h};

TEST(TokenBucketTest, StartsFullButForItsReserve) {
  TokenBucket bucket(100, 500, start);
  EXPECT_DOUBLE_EQ(bucket.available(start), 490);
}

TEST(TokenBucketTest, LetsGoTheBurstAndThenTheRate) {
  TokenBucket bucket(100, 500, start);
  int sent = 0;
  TimePoint now = start;
  while (now < start + 10s) {
    if (bucket.available(now) >= 1) {
      bucket.take(now);
      ++sent;
    } else {
      now = bucket.next(now);
    }
  }
  EXPECT_NEAR(sent, 490 + 1'000, 1);
}

TEST(TokenBucketTest, NeverHoldsMoreThanItsCapacity) {
  TokenBucket bucket(100, 500, start);
  EXPECT_DOUBLE_EQ(bucket.available(start + 1h), 490);
}

TEST(TokenBucketTest, DrainedGivesOneTokenAfterATick) {
  TokenBucket bucket(100, 500, start);
  bucket.drain(start);
  EXPECT_EQ(bucket.next(start), start + 10ms);
}

TEST(TokenBucketTest, ABurstOfOneStillLetsOneGo) {
  TokenBucket bucket(1, 1, start);
  EXPECT_GE(bucket.available(start), 1);
}

TEST(BackoffTest, IsUniformUpToADoublingBound) {
  Backoff backoff(100ms, 1'000ms, 7);
  for (int failures = 1; failures < 8; ++failures) {
    const auto bound = std::min(100ms * (1 << (failures - 1)), 1'000ms);
    Backoff::Duration longest{0};
    for (int i = 0; i < 500; ++i) longest = std::max(longest, backoff.next(failures));
    EXPECT_LE(longest, bound);
    EXPECT_GT(longest, bound * 9 / 10);
  }
}

TEST(CircuitTest, OpensAfterThreeFailuresInARow) {
  Circuit circuit(Backoff(100ms, 1'000ms, 7));
  EXPECT_FALSE(circuit.failed(Circuit::Reason::unreachable, 1, start, 0ms));
  circuit.succeeded();
  EXPECT_FALSE(circuit.failed(Circuit::Reason::unreachable, 1, start, 0ms));
  EXPECT_FALSE(circuit.failed(Circuit::Reason::unreachable, 1, start, 0ms));
  EXPECT_TRUE(circuit.failed(Circuit::Reason::unreachable, 1, start, 0ms));
  EXPECT_TRUE(circuit.open());
}

TEST(CircuitTest, OpensAtOnceOnARefusedToken) {
  Circuit circuit(Backoff(100ms, 1'000ms, 7));
  EXPECT_TRUE(circuit.failed(Circuit::Reason::unauthorised, 1, start, 0ms));
}

TEST(CircuitTest, LetsOneProbeGoAtATimeAndClosesWhenItGetsThrough) {
  Circuit circuit(Backoff(100ms, 1'000ms, 7));
  circuit.failed(Circuit::Reason::unauthorised, 1, start, 0ms);
  const TimePoint probe = *circuit.next_probe();
  EXPECT_LE(probe, start + 100ms);
  EXPECT_TRUE(circuit.allows(probe));
  circuit.sent(2);
  EXPECT_FALSE(circuit.allows(probe));
  EXPECT_FALSE(circuit.next_probe());
  circuit.succeeded();
  EXPECT_TRUE(circuit.allows(probe));
  circuit.sent(3);
  EXPECT_TRUE(circuit.allows(probe));
}

TEST(CircuitTest, OnlyTheProbesOwnAnswerLetsTheNextOneGo) {
  Circuit circuit(Backoff(100ms, 1'000ms, 7));
  for (const std::uint64_t request : {1, 2, 3}) circuit.failed(Circuit::Reason::unreachable, request, start, 0ms);
  circuit.sent(6);
  circuit.failed(Circuit::Reason::unreachable, 4, start, 0ms);
  circuit.probe_ended(5);
  EXPECT_FALSE(circuit.allows(start + 1h)) << "these had left before it opened";
  circuit.probe_ended(6);
  EXPECT_TRUE(circuit.allows(start + 1h));
}

TEST(CircuitTest, WaitsAsLongAsTheServerAsks) {
  Circuit circuit(Backoff(100ms, 60s, 7));
  for (int i = 0; i < 3; ++i) circuit.failed(Circuit::Reason::unreachable, 1, start, 20s);
  EXPECT_EQ(circuit.next_probe(), start + 20s);
}

TEST(RetryAfterTest, ReadsSecondsAndDates) {
  const std::int64_t now = 784'111'777'000;  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(parse_retry_after("120", now), 120s);
  EXPECT_EQ(parse_retry_after("0", now), 0s);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), 10s);
}

TEST(RetryAfterTest, IgnoresWhatSaysNothing) {
  for (const char* text : {"", "soon", "-5", "Sun, 06 Nov 1994 08:49:37 GMT", "1e9x"}) {
    EXPECT_EQ(parse_retry_after(text, 784'111'777'000), std::nullopt) << text;
  }
}

using Kind = Verdict::Kind;

struct Answer {
  int status;
  const char* body;
  Route route;
  Kind kind;
  const char* code;
  bool may_have_arrived;
};

class VerdictTest : public testing::TestWithParam<Answer> {};

TEST_P(VerdictTest, FollowsTheContractsTable) {
  const Answer& answer = GetParam();
  transport::Response response;
  response.status = answer.status;
  response.body = answer.body;
  const Verdict verdict = judge(response, answer.route, 0);
  EXPECT_EQ(verdict.kind, answer.kind);
  EXPECT_EQ(verdict.code, answer.code);
  EXPECT_EQ(verdict.may_have_arrived, answer.may_have_arrived);
}

INSTANTIATE_TEST_SUITE_P(
    Answers, VerdictTest,
    testing::Values(Answer{200, R"({"success":true,"eventId":"e"})", Route::event, Kind::accepted, "", false},
                    Answer{202, R"({"success":true})", Route::batch, Kind::accepted, "", false},
                    Answer{200, R"({"success":false,"message":"no"})", Route::event, Kind::refused, "rejected", false},
                    Answer{200, "<html>welcome</html>", Route::event, Kind::unavailable, "invalid_answer", true},
                    Answer{200, "", Route::event, Kind::unavailable, "invalid_answer", true},
                    Answer{400, R"({"success":false,"message":"no"})", Route::event, Kind::refused, "rejected", false},
                    Answer{401, "", Route::event, Kind::unauthorised, "unauthorised", false},
                    Answer{403, "", Route::batch, Kind::unauthorised, "unauthorised", false},
                    Answer{404, "", Route::event, Kind::refused, "not_found", false},
                    Answer{404, "", Route::batch, Kind::no_batch, "not_found", false},
                    Answer{405, "", Route::batch, Kind::no_batch, "not_found", false},
                    Answer{413, "", Route::event, Kind::too_large, "too_large", false},
                    Answer{301, "", Route::event, Kind::refused, "redirected", false}));

TEST(VerdictTest, UnavailableAnswersAreTriedAgain) {
  for (const int status : {500, 502, 503, 504}) {
    transport::Response response;
    response.status = status;
    response.retry_after = "7";
    const Verdict verdict = judge(response, Route::event, 0);
    EXPECT_EQ(verdict.kind, Kind::unavailable) << status;
    EXPECT_EQ(verdict.retry_after, 7s) << status;
    EXPECT_EQ(verdict.may_have_arrived, status != 503) << status;
  }
}

TEST(VerdictTest, AnEventIdIsHandedOn) {
  transport::Response response;
  response.status = 200;
  response.body = R"({"success":true,"eventId":"11-22"})";
  EXPECT_EQ(judge(response, Route::event, 0).event_id, "11-22");
}

TEST(VerdictTest, WithoutAnAnswerItDependsOnWhetherItWasSent) {
  transport::Response response;
  response.failure = transport::Failure::broken;
  response.sent = true;
  EXPECT_TRUE(judge(response, Route::event, 0).may_have_arrived);
  response.failure = transport::Failure::unreachable;
  response.sent = false;
  EXPECT_FALSE(judge(response, Route::event, 0).may_have_arrived);
}

}  // namespace
}  // namespace intilery::delivery
