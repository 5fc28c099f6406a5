#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "event/bad_value.hpp"
#include "event/blake2b.hpp"
#include "event/encoder.hpp"
#include "event/message_id.hpp"
#include "event/repeats.hpp"
#include "queue/event.hpp"
#include "rows/checkpoint.hpp"
#include "rows/json_row.hpp"
#include "rows/line_sender.hpp"
#include "rows/line_splitter.hpp"
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

TEST(Blake2bTest, GivesFourTextsAtOnceTheirOwnDigests) {
  const std::string bytes = [] {
    std::string text(1'000, ' ');
    std::mt19937 random(7);
    for (char& c : text) c = static_cast<char>(random());
    return text;
  }();
  const std::array<std::size_t, 12> sizes{0, 1, 127, 128, 129, 200, 255, 256, 257, 384, 512, 1'000};
  for (std::size_t i = 0; i < 200; ++i) {
    std::array<std::string_view, 4> texts;
    for (std::size_t lane = 0; lane < 4; ++lane) {
      texts[lane] = std::string_view(bytes).substr(lane).substr(0, sizes[(i * (lane + 1) + lane * 5) % sizes.size()]);
    }
    const std::array<event::Blake2bDigest, 4> digests = event::blake2b_of_four(texts);
    for (std::size_t lane = 0; lane < 4; ++lane) {
      event::Blake2b alone;
      alone.add(texts[lane]);
      EXPECT_EQ(digests[lane], alone.finish()) << i << ' ' << texts[lane].size();
    }
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

TEST(RepeatsTest, NumbersARowAmongItsEqualsAndTheSameRowOnce) {
  const auto content = [](std::string_view text) { return MessageId::derive({&text, 1}); };
  event::Repeats repeats;
  EXPECT_EQ(repeats.number(1, content("a")), 1u);
  EXPECT_EQ(repeats.number(2, content("b")), 1u);
  EXPECT_EQ(repeats.number(3, content("a")), 2u);
  EXPECT_EQ(repeats.number(3, content("a")), 2u);  // it found no room, and is tried again
  EXPECT_EQ(repeats.number(4, content("a")), 3u);
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
           .origin = event::RowOrigin{"s", 7, nullptr}},
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

TEST(RowRangesTest, TakesRangesThatTouchOrLieOverOthers) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    RowRanges rows;
    std::set<std::uint64_t> expected;
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t first = 1 + random() % 60;
      const std::uint64_t last = first + random() % 8;
      rows.add(first, last);
      for (std::uint64_t row = first; row <= last; ++row) expected.insert(row);
    }
    RowRanges singly;
    for (const std::uint64_t row : expected) singly.add(row);
    ASSERT_EQ(rows.text(), singly.text());
    for (std::uint64_t row = 1; row < 70; ++row) ASSERT_EQ(rows.contains(row), expected.contains(row));
  }
}

TEST(RowLedgerTest, BooksAGroupOfManyLedgersRowsAndKeepsEachLedgerUntilItsLast) {
  auto one = std::make_shared<RowLedger>(RowRanges());
  auto two = std::make_shared<RowLedger>(RowRanges());
  const auto delivered = std::make_shared<const Outcome>();
  std::vector<Finished> group;
  for (std::uint64_t row = 1; row <= 2'000; ++row) {
    group.push_back({.tag = (row % 3 == 0 ? two : one)->begin(row), .event = nullptr, .outcome = delivered});
  }
  const std::weak_ptr<RowLedger> gone = two;
  two.reset();
  EXPECT_FALSE(gone.expired());
  RowLedger::settle(std::span(group).first(1'998));
  EXPECT_TRUE(gone.expired());  // 1,998 was its last
  EXPECT_EQ(one->take().total.delivered, 1'332u);
  RowLedger::settle(std::span(group).last(2));
  EXPECT_EQ(one->take().total.delivered, 1'334u);
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

std::vector<std::string> lines_of(std::string_view text, std::size_t piece, std::size_t max_size = 1'000) {
  rows::LineSplitter splitter(max_size);
  std::vector<std::string> lines;
  const auto take = [&] {
    while (splitter.next()) {
      lines.push_back(std::to_string(splitter.number()) + (splitter.too_long() ? "+" : " ") +
                      std::string(splitter.line()));
    }
  };
  for (std::size_t at = 0; at < text.size(); at += piece) {
    splitter.feed(text.substr(at, piece));
    take();
  }
  splitter.end();
  take();
  return lines;
}

TEST(LineSplitterTest, FindsTheSameLinesInPiecesOfAnySize) {
  constexpr std::string_view text =
      "\xEF\xBB\xBF"
      "a\r\n\r\nbc\n\n\nd e\r\n  \nlast";
  const std::vector<std::string> expected{"1 a", "3 bc", "6 d e", "7   ", "8 last"};
  for (const std::size_t piece : {1, 2, 3, 5, 100}) EXPECT_EQ(lines_of(text, piece), expected);
  EXPECT_TRUE(lines_of("", 1).empty());
  EXPECT_TRUE(lines_of("\n\r\n", 1).empty());
}

TEST(LineSplitterTest, KeepsOnlyTheBeginningOfALineThatIsTooLong) {
  const std::vector<std::string> expected{"1 1234", "2+1234", "3+abcd", "4 x", "5+long"};
  for (const std::size_t piece : {1, 2, 3, 7, 100}) {
    EXPECT_EQ(lines_of("1234\n12345\nabcdefghijklmnop\r\nx\nlonger", piece, 4), expected) << piece;
  }
}

/// A client that sends nothing, and the rows that it was told of.
struct DryClient {
  struct Told : Observer {
    void finished(std::span<const Finished> group) override {
      const std::lock_guard lock(mutex);
      for (const Finished& finished : group) ids.insert(finished.event->message_id());
      RowLedger::settle(group);
    }
    void log(LogLevel, std::string_view) override {}
    std::mutex mutex;
    std::set<std::string> ids;
  };

  static Options options() {
    Options options;
    options.client_id = options.account_id = "hea";
    options.brand_id = "HEA";
    options.auth_token = "token";
    options.dry_run = true;
    options.max_queue_bytes = 4'000;
    options.flush_at = 1;
    return options;
  }

  std::shared_ptr<Told> told = std::make_shared<Told>();
  ClientCore core{options(), Library{"test", "0"}, told};

  /// Steps until all rows that were handed over have their fates.
  rows::LineSender::Step finish(rows::LineSender& sender, const rows::LineSender::Change& change = {}) {
    for (;;) {
      const auto step = sender.step(std::chrono::steady_clock::now() + std::chrono::milliseconds(1), change);
      if (step != rows::LineSender::Step::paused && step != rows::LineSender::Step::full) {
        Waiting waiting;
        core.flush({}, waiting);
        return step;
      }
    }
  }
};

using rows::LineSender;
using Step = LineSender::Step;

TEST(LineSenderTest, GivesEachRowItsFateThoughTheQueueIsFull) {
  DryClient client;
  LineSender sender(client.core, {.event = "E", .before = rows::RowRanges::parse("0+2")});
  sender.feed("{\"id\":1}\n{\"id\":2}\n");
  EXPECT_EQ(client.finish(sender), Step::names);
  EXPECT_EQ(sender.names(), std::vector<std::string>{"id"});
  sender.set_columns({.user_id = "id"});
  for (int n = 3; n <= 200; ++n) {
    sender.feed("{\"id\":" + std::to_string(n) + ",\"long\":\"" + std::string(200, 'x') + "\"}\n");
  }
  sender.feed("[]");
  sender.end();
  EXPECT_EQ(client.finish(sender), Step::hungry);
  const Progress progress = sender.take();
  EXPECT_EQ(progress.settled.text(), "0+201");
  EXPECT_EQ(progress.total.rows, 199u);
  EXPECT_EQ(progress.total.delivered, 198u);
  EXPECT_EQ(client.told->ids.size(), 198u);
  const std::vector<rows::RejectedRow> rejects = sender.take_rejects();
  ASSERT_EQ(rejects.size(), 1u);
  EXPECT_EQ(rejects[0].row, 201u);
  EXPECT_EQ(rejects[0].line, 201u);
  EXPECT_EQ(rejects[0].values, "[]");
}

TEST(LineSenderTest, EndsAtTheLimitAndBeforeAMistakeWhereThatIsAsked) {
  DryClient client;
  LineSender limited(client.core, {.event = "E", .limit = 2});
  limited.set_columns({.user_id = "u"});
  limited.feed("{\"u\":1}\n{\"u\":2}\n{\"u\":3}\n");
  EXPECT_EQ(client.finish(limited), Step::done);
  EXPECT_EQ(limited.take().total.delivered, 2u);

  LineSender stopping(client.core, {.event = "E", .stop = true});
  stopping.set_columns({.user_id = "u"});
  stopping.feed("{\"u\":1}\n{}\n{\"u\":3}\n");
  EXPECT_EQ(client.finish(stopping), Step::stopped);
  const Progress progress = stopping.take();
  EXPECT_EQ(progress.total.rows, 1u);
  EXPECT_EQ(progress.settled.text(), "0+1");
  EXPECT_EQ(stopping.take_rejects().size(), 1u);
  EXPECT_EQ(client.finish(stopping), Step::stopped);

  LineSender refused(client.core, {.event = "E", .stop = true});
  refused.refuse({"cycle", "contains itself", ""}, "{}");
  EXPECT_EQ(refused.take_rejects().size(), 1u);
  refused.add(R"({"u":1})");
  EXPECT_EQ(client.finish(refused), Step::stopped);
  EXPECT_EQ(refused.take().total.rows, 0u);
}

TEST(LineSenderTest, PausesWhenManyRowsAreRejectedSoThatMemoryIsBounded) {
  DryClient client;
  LineSender sender(client.core, {.event = "E"});
  for (int n = 0; n < 1'500; ++n) sender.feed("[]\n");
  EXPECT_EQ(client.finish(sender), Step::rejects);
  EXPECT_EQ(sender.take_rejects().size(), 1'000u);
  EXPECT_EQ(client.finish(sender), Step::hungry);
  EXPECT_EQ(sender.take_rejects().size(), 500u);
}

TEST(LineSenderTest, ARowThatTheCallerRefusedHasTheNamesOfTheWireInItsPath) {
  DryClient client;
  LineSender sender(client.core, {.action = event::Action::identify});
  sender.set_columns({.user_id = "customer"});
  sender.refuse({"cycle", "contains itself", "a.b"}, "{}");
  sender.refuse({"not_finite", "is NaN", "customer"}, "{}");
  sender.add(R"({"customer":"u"})");
  EXPECT_EQ(client.finish(sender), Step::hungry);
  const std::vector<rows::RejectedRow> rejects = sender.take_rejects();
  ASSERT_EQ(rejects.size(), 2u);
  EXPECT_EQ(rejects[0].error.path, "traits.a.b");
  EXPECT_EQ(rejects[1].error.path, "userId");
  EXPECT_EQ(rejects[1].row, 2u);
  EXPECT_EQ(sender.take().total.rows, 3u);
}

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string why(const std::string& path, nlohmann::json plan) {
    try {
      const rows::Checkpoint checkpoint(path, std::move(plan));
    } catch (const ConfigurationError& error) {
      return error.code() + ": " + error.what();
    }
    return "";
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("intilery-" + event::MessageId::generate(0).text());
  const std::string path_ = (folder_ / "c").string();
};

TEST_F(CheckpointTest, GivesBackWhatWasSavedLastToARunWithTheSamePlan) {
  {
    rows::Checkpoint checkpoint(path_, {{"event", "E"}, {"user_id", nullptr}});
    EXPECT_TRUE(checkpoint.state().is_null());
    checkpoint.save({{"settled", "0+1"}});
    checkpoint.save({{"settled", "0+2"}});
  }
  EXPECT_EQ(std::filesystem::status(path_).permissions() & std::filesystem::perms::mask,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(rows::Checkpoint(path_, {{"event", "E"}, {"user_id", nullptr}}).state().at("settled"), "0+2");
  EXPECT_NE(why(path_, {{"event", "F"}, {"user_id", nullptr}}).find("checkpoint_differs: "), std::string::npos);
  EXPECT_NE(why(path_, {{"event", "F"}, {"user_id", nullptr}}).find(": event had another value"), std::string::npos);
}

TEST_F(CheckpointTest, IsOfOneRunAtATimeAndNoOtherFile) {
  const rows::Checkpoint checkpoint(path_, {{"event", "E"}});
  EXPECT_NE(why(path_, {{"event", "E"}}).find("another run has it"), std::string::npos);
  std::ofstream(folder_ / "text") << "this is no database at all, but a text";
  EXPECT_NE(why((folder_ / "text").string(), {}).find("checkpoint_unusable: "), std::string::npos);
  EXPECT_NE(why((folder_ / "no" / "c").string(), {}).find("checkpoint_unusable: "), std::string::npos);
}

}  // namespace

}  // namespace intilery
