// Every seed, and every input that once broke something, through the targets: no clang is needed to keep it fixed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "target.hpp"

namespace intilery::fuzz {
namespace {

namespace fs = std::filesystem;

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class FuzzTest : public testing::TestWithParam<std::string> {};

TEST_P(FuzzTest, HoldsForEverySeedAndEveryPastFinding) {
  std::size_t seeds = 0;
  for (const std::string kind : {"seeds", "findings"}) {
    const fs::path folder = fs::path(INTILERY_FUZZ_FILES) / kind / GetParam();
    if (!fs::exists(folder)) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (kind == "seeds") ++seeds;
      try {
        targets().at(GetParam())(content(entry.path()));
      } catch (const std::exception& error) {
        ADD_FAILURE() << entry.path() << ": " << error.what();
      }
    }
  }
  EXPECT_GT(seeds, 0u) << "there are no seeds";
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& [name, run] : targets()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzTest, testing::ValuesIn(names()),
                         [](const auto& target) { return target.param; });

// These are too long for a file.
TEST(FuzzFindingTest, BracketsWithoutEndAreNoPageOfEventsAndNoCall) {
  constexpr std::size_t levels = 90'000;
  const std::string deep = std::string(levels, '[') + std::string(levels, ']');
  EXPECT_NO_THROW(targets().at("reading")("events\n{}\n200 [{\"rawData\":{\"a\":" + deep + "}}]"));
  EXPECT_NO_THROW(targets().at("reading")("profile\n{\"userId\":\"u\"}\n200 {\"a\":" + deep + "}\n200 {}"));
  EXPECT_NO_THROW(
      targets().at("sandbox")("cidentify\n{\"userId\":\"u\",\"event\":\"identify\",\"traits\":{\"a\":" + deep + "}}"));
  EXPECT_NO_THROW(targets().at("sandbox")("Pfaults\n[{\"status\":200,\"body\":" + deep + "}]"));
}

}  // namespace
}  // namespace intilery::fuzz
