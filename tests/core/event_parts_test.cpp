#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <thread>

#include "event/json_check.hpp"
#include "event/json_value.hpp"
#include "event/json_writer.hpp"
#include "event/message_id.hpp"
#include "event/timestamp.hpp"

namespace intilery::event {
namespace {

std::string shown(std::int64_t ms) {
  const TimestampText text = format_timestamp(ms);
  return {text.data(), text.size()};
}

TEST(TimestampTest, ReadsBackWhatItWrites) {
  std::mt19937_64 random(7);
  std::uniform_int_distribution<std::int64_t> moments(first_timestamp_ms, last_timestamp_ms);
  for (int i = 0; i < 10'000; ++i) {
    const std::int64_t moment = moments(random);
    ASSERT_EQ(parse_timestamp(shown(moment)), moment);
  }
  EXPECT_EQ(shown(first_timestamp_ms), "0000-01-01T00:00:00.000Z");
  EXPECT_EQ(shown(last_timestamp_ms), "9999-12-31T23:59:59.999Z");
}

TEST(MessageIdTest, IsAUuidOfVersion7ThatSortsByTime) {
  std::string last;
  for (int i = 0; i < 5'000; ++i) {
    const std::string id = MessageId::generate(1'574'087'411'444 + i / 1'000).text();
    ASSERT_EQ(id.size(), 36u);
    ASSERT_EQ(id[14], '7');
    ASSERT_NE(std::string("89ab").find(id[19]), std::string::npos);
    ASSERT_GT(id, last);
    last = id;
  }
}

TEST(MessageIdTest, DiffersAmongThreads) {
  std::vector<std::vector<std::string>> made(4);
  std::vector<std::thread> threads;
  for (std::vector<std::string>& ids : made) {
    threads.emplace_back([&ids] {
      for (int i = 0; i < 5'000; ++i) ids.push_back(MessageId::generate(1'574'087'411'444).text());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> all;
  for (const std::vector<std::string>& ids : made) all.insert(ids.begin(), ids.end());
  EXPECT_EQ(all.size(), 20'000u);
}

std::string number(double value) {
  std::array<char, JsonWriter::small> text;
  return {text.data(), JsonWriter::number(text.data(), value)};
}

TEST(JsonWriterTest, ADoubleReadsBackAsItself) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t bits = random();
    double value = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    const std::string text = number(value);
    ASSERT_EQ(std::strtod(text.c_str(), nullptr), value) << text;
    ASSERT_LE(text.size(), 25u);
  }
}

TEST(JsonWriterTest, GrowsAsNeeded) {
  nlohmann::json value;
  for (int i = 0; i < 10'000; ++i) value.push_back({{"number", i}, {"texts", {std::string(i % 70, 'a'), "\n\"é"}}});
  value.push_back(std::vector<int>(1'000, -1));
  JsonWriter out(1);
  write_json(out, value);
  EXPECT_EQ(out.view(), value.dump());
}

/// The code that a text is refused with; "" if it is accepted.
std::string refusal(std::string_view text) {
  try {
    check_json(text);
    return "";
  } catch (const BadValue& bad) {
    return bad.code;
  }
}

TEST(JsonCheckTest, AcceptsWhatRfc8259Accepts) {
  for (const char* text : {"{}", "[]", " {\"a\" : [1, -0.5e+9, true, null, \"\\u00e9\\ud83d\\ude00\"]} ", "5", "\"x\"",
                           "123456789012345678901234567890"}) {
    EXPECT_EQ(refusal(text), "") << text;
  }
}

TEST(JsonCheckTest, RefusesEverythingElse) {
  for (const char* text :
       {"",      "{",     "{]",    "[1,]",    "{\"a\"}", "{\"a\":01}", "[1.]",     "[.5]", "[+1]",  "[NaN]",
        "[nul]", "[tru]", "{} {}", "{'a':1}", "[1 2]",   "{\"a\":1,}", "[\"\t\"]", "[1e]", "[--1]", "[0x1]"}) {
    EXPECT_NE(refusal(text), "") << text;
  }
  EXPECT_EQ(refusal("[\"\xff\"]"), "invalid_text");
  EXPECT_EQ(refusal("[\"\\ud800\"]"), "invalid_text");
}

TEST(JsonCheckTest, AgreesWithAnotherParserOnDamagedText) {
  const std::string good = R"({"a":[1,-2.5e3,"x\n\u00e9",{"b":null,"c":[true,false]}],"d":""})";
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string text = good;
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int change = 0; change < changes; ++change) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = static_cast<char>(random());
      } else {
        text.erase(at, 1 + random() % 4);
      }
      if (text.empty()) text = "x";
    }
    ASSERT_EQ(refusal(text).empty(), nlohmann::json::accept(text)) << text;
  }
}

TEST(JsonCheckTest, FindsTheMembersOfAnObject) {
  std::vector<JsonMember> members;
  check_json(R"( {"a" : 1 , "b\u0062": {"c":[2]}, "d": "x" } )", &members);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].value, "1");
  EXPECT_EQ(members[1].key, "bb");
  EXPECT_EQ(members[1].value, R"({"c":[2]})");
  EXPECT_EQ(members[2].value, R"("x")");
}

}  // namespace
}  // namespace intilery::event
