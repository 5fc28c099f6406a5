// What tests/vectors cannot say: how plans are read, and what bad and hostile ones get.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "intilery/intilery.hpp"
#include "plan/checker.hpp"
#include "plan/compiler.hpp"
#include "plan/decimal.hpp"
#include "plan/guard.hpp"
#include "plan/lint.hpp"
#include "plan/pattern.hpp"
#include "plan/plan.hpp"

namespace intilery::plan {
namespace {

/// A file that is gone with the test.
class File {
 public:
  File(const std::string& suffix, const std::string& text)
      : path_(std::filesystem::temp_directory_path() /
              ("intilery-plan-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)) + suffix)) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

Draft compiled(const nlohmann::json& source, bool linted = false) {
  Draft draft = read_plan(source);
  const Plan plan(draft);
  if (linted) lint(draft);
  return draft;
}

/// `code@line pointer` of each problem.
std::vector<std::string> told(const Draft& draft) {
  std::vector<std::string> lines;
  for (const Problem& problem : draft.problems) {
    lines.push_back(problem.code + "@" + std::to_string(problem.line) + " " + problem.pointer);
  }
  return lines;
}

std::vector<std::string> told_of_yaml(const std::string& text, bool linted = false) {
  const File file(".yaml", text);
  return told(compiled(file.path(), linted));
}

using Lines = std::vector<std::string>;

TEST(PlanTest, MistakesAreToldWithLineAndPointerInYaml) {
  EXPECT_EQ(told_of_yaml("version: 1\n"
                         "events:\n"
                         "  Order Completed:\n"
                         "    properties:\n"
                         "      type: object\n"
                         "      properties:\n"
                         "        total:\n"
                         "          type: nmber\n"
                         "        code:\n"
                         "          pattern: \"(?=a)\"\n"
                         "        link:\n"
                         "          $ref: \"#/$defs/Nothing\"\n"
                         "        a/b~c:\n"
                         "          minLenght: 3\n"
                         "          multipleOf: 0\n"
                         "          minItems: -1\n"
                         "          required: [1]\n"),
            (Lines{"unknown_type@8 /events/Order Completed/properties/properties/total/type",
                   "invalid_pattern@10 /events/Order Completed/properties/properties/code/pattern",
                   "unresolved_reference@12 /events/Order Completed/properties/properties/link/$ref",
                   "unknown_keyword@14 /events/Order Completed/properties/properties/a~1b~0c/minLenght",
                   "invalid_value@15 /events/Order Completed/properties/properties/a~1b~0c/multipleOf",
                   "wrong_type@16 /events/Order Completed/properties/properties/a~1b~0c/minItems",
                   "wrong_type@17 /events/Order Completed/properties/properties/a~1b~0c/required"}));
}

TEST(PlanTest, MistakesAreToldWithLineAndPointerInJson) {
  const File file(".json",
                  "{\n \"version\": 2,\n \"evnts\": {},\n \"traits\": {\n  \"type\": [\"string\",\n   \"strin\"]}}");
  EXPECT_EQ(told(compiled(file.path())),
            (Lines{"unknown_keyword@3 /evnts", "unknown_version@2 /version", "unknown_type@6 /traits/type"}));
}

TEST(PlanTest, SyntaxErrorsHaveALine) {
  EXPECT_EQ(told_of_yaml("version: 1\nevents:\n  - a\n b: c\n"), (Lines{"invalid_yaml@4 "}));
  for (const auto& [text, line] : {std::pair{"{\"version\": 1,\n}", 2},
                                   {"{\"version\": 01}", 1},
                                   {"{\"version\": 1}\n\nx", 3},
                                   {"{\n\"version", 2},
                                   {"{\n\"a\": \"\\x\"}", 2},
                                   {"", 1},
                                   {"{\n\"a\": [1\n2]}", 3}}) {
    const File file(".json", text);
    EXPECT_EQ(told(compiled(file.path())), (Lines{"invalid_json@" + std::to_string(line) + " "})) << text;
  }
}

TEST(PlanTest, AFileThatCannotBeReadIsToldByItsName) {
  try {
    const Guard guard("/nowhere/plan.yaml", PlanMode::warn, {});
    FAIL();
  } catch (const ConfigurationError& error) {
    EXPECT_EQ(error.option(), "plan");
    EXPECT_EQ(error.code(), "unreadable");
    EXPECT_STREQ(error.what(), "plan: /nowhere/plan.yaml: cannot be read: No such file or directory");
  }
}

TEST(PlanTest, YamlIsReadAsJsonWouldBe) {
  const auto json = [](const std::string& text) {
    std::string out;
    append_json(read_document(text, false), out);
    return out;
  };
  EXPECT_EQ(json("{a: [yes, no, on, null, ~, true, 1.0, 1e400, 0x1F, 2024-01-01, '1', \"\\u00e9\"], 1: {}}"),
            R"({"a":["yes","no","on",null,null,true,1.0,1e400,"0x1F","2024-01-01","1","é"],"1":{}})");
  EXPECT_EQ(json("a: &x {b: 1}\nc: *x\n"), R"({"a":{"b":1},"c":{"b":1}})");
  EXPECT_EQ(json("a: !!str 1\n"), R"({"a":"1"})");
}

TEST(PlanTest, JsonKeepsNumbersAndSurrogatePairs) {
  std::string out;
  append_json(read_document(R"({"a": 123456789012345678901234567890.10, "b": "\ud83d\ude00"})", true), out);
  EXPECT_EQ(out, "{\"a\":123456789012345678901234567890.10,\"b\":\"\xF0\x9F\x98\x80\"}");
}

TEST(PlanTest, AReferenceThatLoopsIsRefused) {
  EXPECT_EQ(told_of_yaml("version: 1\n$defs:\n  A: {$ref: '#/$defs/B'}\n  B:\n    items: {$ref: '#/$defs/A'}\n"),
            (Lines{"reference_loop@5 /$defs/B/items/$ref"}));
  EXPECT_EQ(told_of_yaml("version: 1\ntraits:\n  properties:\n    a: {$ref: '#/traits'}\n"),
            (Lines{"reference_loop@4 /traits/properties/a/$ref"}));
  EXPECT_EQ(told_of_yaml("version: 1\ntraits: {$ref: 'other.yaml#/x'}\n"),
            (Lines{"unresolved_reference@2 /traits/$ref"}));
}

TEST(PlanTest, AKeyThatStandsTwiceIsRefused) {
  EXPECT_EQ(told_of_yaml("version: 1\nevents:\n  A: {}\n  A: {}\n"), (Lines{"duplicate_key@4 /events/A"}));
}

TEST(PlanTest, HostileDocumentsAreRefusedQuickly) {
  const auto start = std::chrono::steady_clock::now();
  const auto code = [](const std::string& text, bool json) -> std::string {
    try {
      read_document(text, json);
    } catch (const Problem& problem) {
      return problem.code;
    }
    return "";
  };
  EXPECT_EQ(code(std::string(1'000'000, '['), true), "too_deep");
  EXPECT_EQ(code(std::string(100'000, '['), false), "too_deep");
  EXPECT_EQ(code(std::string(11'000'000, ' '), true), "too_large");
  EXPECT_EQ(code("\xff", true), "invalid_text");
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int k = 0; k < 9; ++k) bomb += "," + before;
    bomb += "]\n";
  }
  EXPECT_EQ(code(bomb, false), "too_large");
  EXPECT_EQ(code("a: &a [*a]\n", false), "invalid_yaml");
  EXPECT_EQ(code("<<: {a: 1}\n", false), "invalid_yaml");
  EXPECT_EQ(code("a: !!python/object:os.system x\n", false), "invalid_yaml");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(PlanTest, ReferencesThatWouldMultiplyAreRefused) {
  nlohmann::json definitions{{"S0", {{"type", "object"}}}};
  for (int i = 1; i < 40; ++i) {
    const nlohmann::json lower{{"$ref", "#/$defs/S" + std::to_string(i - 1)}};
    definitions["S" + std::to_string(i)] = {{"properties", {{"x", lower}, {"y", lower}}}};
  }
  const Draft draft = compiled({{"version", 1}, {"$defs", definitions}});
  ASSERT_EQ(draft.problems.size(), 1U);
  EXPECT_EQ(draft.problems[0].code, "too_large");
}

TEST(PlanTest, AChainOfReferencesOverflowsNoStack) {
  nlohmann::json definitions{{"S0", {{"type", "object"}}}};
  for (int i = 1; i < 100'000; ++i) {
    definitions["S" + std::to_string(i)] = {{"$ref", "#/$defs/S" + std::to_string(i - 1)}};
  }
  const Draft draft = compiled({{"version", 1}, {"traits", {{"$ref", "#/$defs/S99999"}}}, {"$defs", definitions}});
  ASSERT_FALSE(draft.problems.empty());
  EXPECT_EQ(draft.problems[0].code, "too_deep");
}

TEST(PlanTest, APatternThatWouldTakeExponentialTimeTakesLinearTime) {
  const Pattern pattern("^(a+)+$");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(pattern.found_in(std::string(1'000'000, 'a') + "b"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(PlanTest, PatternsThatOnlyRunInExponentialTimeAreRefusedWithTheReason) {
  const auto why = [](const char* source) -> std::string {
    try {
      const Pattern pattern(source);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  for (const char* source : {"a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b"}) {
    EXPECT_EQ(why(source), "lookahead and lookbehind are not supported: they may take exponential time") << source;
  }
  for (const char* source : {"(a)\\1", "(?<n>a)\\k<n>"}) {
    EXPECT_EQ(why(source), "backreferences are not supported: they may take exponential time") << source;
  }
  EXPECT_EQ(why("\\p{L}{1000}"), "the pattern is too large");
  EXPECT_EQ(why("x{1001}"), "repetitions, multiplied where they are nested, may be at most 1000");
  for (const char* source :
       {"(", ")", "[a", "*", "a**", "(?i)a", "\\q", "a\\", "\\u12", "\\ud800", "\\p{Nope}", "[b-a]"}) {
    EXPECT_NE(why(source), "") << source;
  }
}

TEST(PlanTest, PatternsMeanWhatTheyMeanInJavaScript) {
  const auto found = [](const char* source, std::string_view text) { return Pattern(source).found_in(text); };
  EXPECT_TRUE(found("^a{,3}$", "a{,3}"));
  EXPECT_TRUE(found("^[[:alpha:]]$", ":]"));
  EXPECT_TRUE(found("^[]", "") == false);
  EXPECT_TRUE(found("^[^]$", "\n"));
  EXPECT_FALSE(found("^.$", "\xe2\x80\xa8"));  // U+2028
  EXPECT_TRUE(found("^[\\s\\d]$", "\xc2\xa0"));
  EXPECT_FALSE(found("^[^\\S]$", "x"));
  EXPECT_TRUE(found("(?<year>\\d{4})", "in 2024"));
  EXPECT_TRUE(found("^\\p{Letter}\\p{Script=Greek}$", "x\xce\xb1"));
  EXPECT_TRUE(found("^\\cA[\\b]$", "\x01\x08"));
  EXPECT_TRUE(found("^\\x41\\/\\-$", "A/-"));
  EXPECT_TRUE(found("}]", "}]"));
}

TEST(PlanTest, NumbersAreExact) {
  const auto compare = [](std::string_view a, std::string_view b) { return Decimal(a).compare(Decimal(b)); };
  EXPECT_EQ(compare("1.0", "1"), 0);
  EXPECT_EQ(compare("1E2", "100.00"), 0);
  EXPECT_EQ(compare("-0.0", "0"), 0);
  EXPECT_LT(compare("-1e400", "-9e399"), 0);
  EXPECT_GT(compare("0.1", "0.09999999999999999999999999999"), 0);
  EXPECT_LT(compare("9007199254740992", "9007199254740992.0000000001"), 0);
  EXPECT_LT(compare("1e-400", "2e-400"), 0);
  EXPECT_GT(compare("1", "-2"), 0);
  for (const char* whole : {"1.0", "0.0", "1e400", "12.5e1", "100", "-0"})
    EXPECT_TRUE(Decimal(whole).is_integer()) << whole;
  for (const char* broken : {"1.5", "1e-1", "0.10", "12.55e1"}) EXPECT_FALSE(Decimal(broken).is_integer()) << broken;
  const auto divides = [](std::string_view by, std::string_view number) {
    return Divisor(by).divides(Decimal(number));
  };
  EXPECT_TRUE(divides("0.01", "19.99"));
  EXPECT_TRUE(divides("0.01", "1e400"));
  EXPECT_TRUE(divides("1e-8", "12391239123"));
  EXPECT_TRUE(divides("2.5", "-7.50"));
  EXPECT_TRUE(divides("999999999999999999", "999999999999999999000"));
  EXPECT_FALSE(divides("0.01", "19.995"));
  EXPECT_FALSE(divides("0.123456789", "1e308"));
  EXPECT_FALSE(divides("7", "1e400"));
  EXPECT_FALSE(Divisor::accepts("0.0"));
  EXPECT_FALSE(Divisor::accepts("-1"));
  EXPECT_FALSE(Divisor::accepts("1.234567890123456789"));
}

TEST(PlanTest, LintTellsOfNamesAndOfRulesThatNothingCanMeet) {
  EXPECT_EQ(told_of_yaml("version: 1\n"
                         "events:\n"
                         "  order_completed: {}\n"
                         "  Order Completed:\n"
                         "    properties:\n"
                         "      required: [nowhere]\n"
                         "      properties:\n"
                         "        orderId: {type: string}\n"
                         "        total: {type: number, minimum: 3, maximum: 2}\n"
                         "        currency: {type: string, enum: [GBP, 1]}\n"
                         "        count: {type: integer, minLength: 1}\n"
                         "        kind: {type: string, const: 7}\n"
                         "        size: {exclusiveMinimum: 1, maximum: 1}\n"
                         "        none: {enum: []}\n"
                         "  page: {}\n"
                         "  send_email: {}\n"
                         "traits:\n"
                         "  properties:\n"
                         "    marketingPreferences: {}\n",
                         true),
            (Lines{"event_name@3 /events/order_completed", "similar_names@5 /events/Order Completed",
                   "undescribed@6 /events/Order Completed/properties/required/0",
                   "property_name@8 /events/Order Completed/properties/properties/orderId",
                   "unreachable@9 /events/Order Completed/properties/properties/total/minimum",
                   "unreachable@10 /events/Order Completed/properties/properties/currency/enum/1",
                   "never_applies@11 /events/Order Completed/properties/properties/count/minLength",
                   "unreachable@12 /events/Order Completed/properties/properties/kind/const",
                   "unreachable@13 /events/Order Completed/properties/properties/size/exclusiveMinimum",
                   "unreachable@14 /events/Order Completed/properties/properties/none/enum"}));
}

TEST(PlanTest, TheErrorOfARejectedEventHasAllThatIsWrong) {
  const Guard guard(
      {{"version", 1},
       {"events", {{"E", {{"properties", {{"required", {"a"}}, {"properties", {{"b", {{"type", "string"}}}}}}}}}}}},
      PlanMode::reject, {});
  try {
    guard.check(event::Action::track, false, "E", R"({"b": 1})");
    FAIL();
  } catch (const ValidationError& error) {
    ASSERT_EQ(error.violations().size(), 2U);
    EXPECT_STREQ(error.what(), "properties.b must be text, not a number (and 1 more: see errors)");
    EXPECT_EQ(error.violations()[0].rule, "/events/E/properties/properties/b/type");
    EXPECT_EQ(error.violations()[1].code, "required");
    EXPECT_EQ(error.violations()[1].path, "properties.a");
    EXPECT_EQ(error.violations()[1].rule, "/events/E/properties/required/0");
  }
}

TEST(PlanTest, WarnCountsEachEventAndRuleAndLogsItOnce) {
  std::vector<std::string> lines;
  const Guard guard(
      {{"version", 1}, {"events", {{"E", {{"properties", {{"properties", {{"b", {{"type", "string"}}}}}}}}}}}},
      PlanMode::warn, [&](LogLevel, const std::string& line) { lines.push_back(line); });
  for (int i = 0; i < 3; ++i) guard.check(event::Action::track, false, "E", R"({"b": 1})");
  guard.check(event::Action::track, false, "e", "{}");
  Stats stats;
  guard.fill(stats);
  EXPECT_EQ(stats.plan_violations, (std::map<std::string, std::uint64_t>{
                                       {"E: /events/E/properties/properties/b/type", 3}, {"e: unplanned_event", 1}}));
  EXPECT_EQ(lines,
            (Lines{"the event \"E\" breaks the plan (it is sent; this is told once): properties.b must be text, not a "
                   "number",
                   "the event \"e\" breaks the plan (it is sent; this is told once): event \"e\" is not in the plan; "
                   "did you mean \"E\"?"}));
}

TEST(PlanTest, NamesWithoutEndAreCountedTogether) {
  std::size_t lines = 0;
  const Guard guard({{"version", 1}}, PlanMode::warn, [&](LogLevel, const std::string&) { ++lines; });
  for (int i = 0; i < 5000; ++i) guard.check(event::Action::track, false, "E" + std::to_string(i), "{}");
  Stats stats;
  guard.fill(stats);
  EXPECT_EQ(stats.plan_violations.size(), 1001U);
  EXPECT_EQ(stats.plan_violations.at("other"), 4000U);
  EXPECT_EQ(lines, 1001U);
}

TEST(PlanTest, AMemberThatStandsTwiceIsCheckedTwice) {
  const Guard guard({{"version", 1}, {"traits", {{"properties", {{"a", {{"type", "string"}}}}}}}}, PlanMode::reject,
                    {});
  EXPECT_THROW(guard.check(event::Action::identify, false, "", R"({"a": 1, "a": "x"})"), ValidationError);
  EXPECT_THROW(guard.check(event::Action::identify, false, "", R"({"a": "x", "a": 1})"), ValidationError);
}

TEST(PlanTest, JsonWithSpacesIsCheckedAsWithout) {
  const Guard guard({{"version", 1},
                     {"traits", {{"properties", {{"a", {{"items", {{"type", "integer"}}}, {"uniqueItems", true}}}}}}}},
                    PlanMode::reject, {});
  guard.check(event::Action::identify, false, "", "{ \"b\" : { \"c\" : [ 1 , 2 ] } ,\n\t\"a\" : [ 1 , 2 ] }");
  EXPECT_THROW(guard.check(event::Action::identify, false, "", "{ \"a\" : [ 1 , 1.0 ] }"), ValidationError);
  EXPECT_THROW(guard.check(event::Action::identify, false, "", "{ \"a\" : [ 1.5 ] }"), ValidationError);
}

TEST(PlanTest, ManyViolationsAreCut) {
  const Guard guard({{"version", 1}, {"traits", {{"properties", {{"a", {{"items", {{"type", "string"}}}}}}}}}},
                    PlanMode::reject, {});
  std::string many = "{\"a\":[0";
  for (int i = 0; i < 100'000; ++i) many += ",0";
  try {
    guard.check(event::Action::identify, false, "", many + "]}");
    FAIL();
  } catch (const ValidationError& error) {
    EXPECT_EQ(error.violations().size(), max_violations);
  }
}

}  // namespace
}  // namespace intilery::plan
