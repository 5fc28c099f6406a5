#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "event/bad_value.hpp"
#include "event/blake2b.hpp"
#include "event/encoder.hpp"
#include "event/message_id.hpp"
#include "queue/event.hpp"
#include "rows/json_row.hpp"
#include "rows/row_ledger.hpp"
#include "rows/row_ranges.hpp"

namespace intilery {

namespace {

using event::MessageId;
using rows::Columns;
using rows::JsonRow;
using rows::Progress;
using rows::RowLedger;
using rows::RowRanges;

std::string blake2b(std::string_view text, std::size_t piece) {
  event::Blake2b hash;
  for (std::size_t at = 0; at < text.size(); at += piece) hash.add(text.substr(at, piece));
  std::string hex;
  for (const unsigned byte : hash.finish()) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

// Python's hashlib.blake2b(text, digest_size=16), in pieces that fall on and between the blocks of 128 bytes.
TEST(Blake2bTest, GivesTheDigestsThatOthersGive) {
  EXPECT_EQ(blake2b("", 1), "cae66941d9efbd404e4d88758ea67670");
  EXPECT_EQ(blake2b("abc", 2), "cf4ab791c62b8d2b2109c90275287816");
  for (const std::size_t piece : {1, 127, 128, 129, 1'000'000}) {
    EXPECT_EQ(blake2b(std::string(128, 'a'), piece), "1271d28e731afb57bdfba6bdaf3501be");
    EXPECT_EQ(blake2b(std::string(129, 'a'), piece), "68b7bafbad5055c4ebe6eb170a0f8524");
    EXPECT_EQ(blake2b(std::string(1'000'000, 'a'), piece), "7b704218d19f31b3a0fb7e4336822ae1");
  }
}

TEST(MessageIdTest, IsDerivedFromItsPartsAsAUuidOfVersion8) {
  const auto derive = [](std::vector<std::string_view> parts) { return MessageId::derive(parts).text(); };
  const std::string id = derive({"a", "b"});
  EXPECT_EQ(id, derive({"a", "b"}));
  EXPECT_EQ(id[14], '8');
  EXPECT_NE(std::string("89ab").find(id[19]), std::string::npos);
  EXPECT_NE(id, derive({"ab", ""}));
  EXPECT_NE(id, derive({"", "ab"}));
}

TEST(MessageIdTest, OfARowIsTheSameWhereverTheTextOfItsEventGrows) {
  Options options;
  options.client_id = options.account_id = "hea";
  options.brand_id = "HEA";
  options.auth_token = "t";
  const event::Encoder encoder(options, "test", "0");
  std::vector<std::size_t> sizes{1'000'000, 3'000'000};
  for (std::size_t size = 3'000; size < 4'200; size += 40) sizes.push_back(size);
  for (const std::size_t size : sizes) {
    // A thread has a buffer of its own, small at first.
    std::thread([&] {
      const std::string json = R"({"text":")" + std::string(size, 'x') + "\"}";
      const std::string_view body = json;
      event::MessageId id;
      encoder.encode(
          {.user_id = "u",
           .event = "E",
           .body = {&body, [](event::JsonWriter& out,
                              const void* text) { out.literal(*static_cast<const std::string_view*>(text)); }},
           .origin = event::RowOrigin{"s", 7}},
          id);
      const std::string_view parts[] = {"s", "7", "track", "u", "", "E", "", json};
      EXPECT_EQ(id.text(), MessageId::derive(parts).text()) << size;
    }).join();
  }
}

/// Reports fates of rows as a client does.
void settle(std::uintptr_t tag, const ErrorInfo* error = nullptr, int attempts = 1, bool closing = false,
            bool away = false) {
  Outcome outcome;
  outcome.attempts = attempts;
  outcome.closing = closing;
  outcome.away = away;
  if (error != nullptr) outcome.error = std::make_shared<const ErrorInfo>(*error);
  const queue::EventPtr event = queue::Event::make(R"({"messageId":"m-1")");
  event->id_size = 3;
  const Finished finished{tag, event.get(), std::make_shared<const Outcome>(std::move(outcome)), {}};
  RowLedger::settle({&finished, 1});
}

TEST(RowRangesTest, AreWhatASetWouldBe) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    RowRanges ranges;
    std::set<std::uint64_t> rows;
    for (int i = 0; i < 200; ++i) {
      const std::uint64_t row = 1 + random() % 300;
      ranges.add(row);
      rows.insert(row);
    }
    const RowRanges read = RowRanges::parse(ranges.text());
    EXPECT_EQ(read.text(), ranges.text());
    for (std::uint64_t row = 0; row < 302; ++row) {
      EXPECT_EQ(ranges.contains(row), rows.contains(row)) << row;
      EXPECT_EQ(read.contains(row), rows.contains(row)) << row;
    }
  }
}

TEST(RowRangesTest, AreTextThatOnlyTellsOfTheGaps) {
  RowRanges rows;
  EXPECT_EQ(rows.text(), "");
  for (const std::uint64_t row : {8, 3, 5, 1, 2, 4}) rows.add(row);
  EXPECT_EQ(rows.text(), "0+5 2+1");
  for (const std::string_view bad :
       {"5", "0+0", "0+5 0+1", "0+5  2+1", "1-2", "0+5 ", " 0+5", "-1+2", "0+99999999999999999999"})
    EXPECT_THROW(RowRanges::parse(bad), std::invalid_argument) << bad;
}

TEST(RowLedgerTest, SettlesRowsInAnyOrder) {
  const auto ledger = std::make_shared<RowLedger>(RowRanges());
  const std::uintptr_t first = ledger->begin(1);
  const std::uintptr_t second = ledger->begin(2);
  ledger->reject(3);
  EXPECT_TRUE(RowLedger::owns(first));
  settle(second, nullptr, 2);
  Progress progress = ledger->take();
  EXPECT_EQ(progress.settled.text(), "1+2");
  EXPECT_EQ(progress.total.rows, 3u);
  EXPECT_EQ(progress.total.delivered, 1u);
  EXPECT_EQ(progress.total.resent, 1u);
  settle(first);
  progress = ledger->take();
  EXPECT_EQ(progress.settled.text(), "0+3");
  EXPECT_EQ(progress.total.delivered, 2u);
  EXPECT_EQ(progress.total.rejected, 1u);
}

TEST(RowLedgerTest, TellsEachFailureOnceWithItsEvent) {
  const auto ledger = std::make_shared<RowLedger>(RowRanges::parse("0+10"));
  const ErrorInfo error{.code = "rejected", .message = "no"};
  settle(ledger->begin(11), &error);
  const Progress progress = ledger->take();
  ASSERT_EQ(progress.failed.size(), 1u);
  EXPECT_EQ(progress.failed[0].row, 11u);
  EXPECT_EQ(progress.failed[0].error.code, "rejected");
  EXPECT_EQ(progress.failed[0].error.message_id, "m-1");
  EXPECT_EQ(progress.failed[0].event, R"({"messageId":"m-1"})");
  EXPECT_EQ(progress.settled.text(), "0+11");
  EXPECT_TRUE(ledger->take().failed.empty());
}

TEST(RowLedgerTest, KeepsARowWithoutAFateWhoseClientWasClosedOrWhoseServiceWasAway) {
  const auto ledger = std::make_shared<RowLedger>(RowRanges());
  const ErrorInfo closed{.code = "closed"};
  settle(ledger->begin(1), &closed, 0, /*closing=*/true);
  Progress progress = ledger->take();
  EXPECT_FALSE(progress.ended);
  const ErrorInfo expired{.code = "expired"};
  settle(ledger->begin(2), &expired, 3, /*closing=*/false, /*away=*/true);
  progress = ledger->take();
  EXPECT_EQ(progress.settled.text(), "");
  EXPECT_EQ(progress.total.rows, 2u);
  EXPECT_EQ(progress.total.failed, 0u);
  EXPECT_TRUE(progress.failed.empty());
  ASSERT_TRUE(progress.ended);
  EXPECT_EQ(progress.ended->code, "expired");
}

TEST(RowLedgerTest, ForgetsARowThatWasNotSubmitted) {
  const auto ledger = std::make_shared<RowLedger>(RowRanges());
  ledger->forget(ledger->begin(1), /*rejected=*/false);
  EXPECT_EQ(ledger->take().total.rows, 0u);
  ledger->forget(ledger->begin(1), /*rejected=*/true);
  const Progress progress = ledger->take();
  EXPECT_EQ(progress.settled.text(), "0+1");
  EXPECT_EQ(progress.total.rejected, 1u);
}

TEST(RowLedgerTest, OutlivesItsSenderWhileItsRowsAreUnderWay) {
  auto ledger = std::make_shared<RowLedger>(RowRanges());
  const std::weak_ptr<RowLedger> watched = ledger;
  const std::uintptr_t tag = ledger->begin(1);
  ledger.reset();
  EXPECT_FALSE(watched.expired());
  settle(tag);
  EXPECT_TRUE(watched.expired());
}

std::string body_of(const event::Draft& draft) {
  event::JsonWriter out;
  draft.body.write(out, draft.body.value);
  return std::string(out.view());
}

TEST(JsonRowTest, SplitsALineIntoWhatIsMappedAndTheRest) {
  JsonRow row;
  event::Draft draft;
  const Columns columns{.user_id = "id", .event = "what", .listed = {"secret"}};
  row.read(R"( {"id": 12345678901234567890, "what":"B\u00e9", "n": 77.00, "secret": 1, "a\"b": [1e400, null]} )",
           columns, draft);
  EXPECT_EQ(draft.user_id, "12345678901234567890");
  EXPECT_EQ(draft.event, "Bé");
  EXPECT_EQ(body_of(draft), R"({"n":77.00,"a\"b":[1e400, null]})");
}

TEST(JsonRowTest, TakesOnlyTheListedMembersWhereThatIsAsked) {
  JsonRow row;
  event::Draft draft;
  row.read(R"({"user_id":"u","a":1,"b":2})", {.user_id = "user_id", .only = true, .listed = {"b"}}, draft);
  EXPECT_EQ(body_of(draft), R"({"b":2})");
}

TEST(JsonRowTest, RefusesWhatIsNoRow) {
  const auto code = [](std::string_view line) {
    JsonRow row;
    event::Draft draft;
    try {
      row.read(line, {.user_id = "u", .timestamp = "t"}, draft);
    } catch (const event::BadValue& bad) {
      return bad.code + " " + bad.path;
    }
    return std::string();
  };
  EXPECT_EQ(code(R"({"u":"1","t":"2024-01-01T00:00:00Z"})"), "");
  EXPECT_EQ(code("[]"), "wrong_type ");
  EXPECT_EQ(code(R"({"u":)"), "invalid_json ");
  EXPECT_EQ(code(R"({"u":true})"), "wrong_type u");
  EXPECT_EQ(code(R"({"u":"1"})"), "required timestamp");
  EXPECT_EQ(code(R"({"u":"1","t":5})"), "wrong_type t");
}

}  // namespace

}  // namespace intilery
