#include <gtest/gtest.h>

#include <cstdint>
#include <intilery/typed.hpp>
#include <string>
#include <type_traits>
#include <vector>

// tests/python/test_codegen.py compiles what a plan becomes; here is what it is made of.

namespace intilery {
namespace {

enum class Colour { red };

TEST(TypedTest, AMemberTakesWhatFitsItWithoutLossAndNothingElse) {
  static_assert(!std::is_default_constructible_v<Required<double>>);
  static_assert(std::is_default_constructible_v<Optional<double>>);

  static_assert(std::is_convertible_v<int, Required<double>>);
  static_assert(std::is_convertible_v<float, Optional<double>>);
  static_assert(!std::is_convertible_v<bool, Required<double>>);

  static_assert(std::is_convertible_v<unsigned, Required<std::int64_t>>);
  static_assert(!std::is_convertible_v<double, Required<std::int64_t>>);
  static_assert(!std::is_convertible_v<bool, Optional<std::int64_t>>);

  static_assert(std::is_convertible_v<bool, Required<bool>>);
  static_assert(!std::is_convertible_v<const char*, Optional<bool>>);
  static_assert(!std::is_convertible_v<int, Required<bool>>);

  static_assert(std::is_convertible_v<const char*, Required<std::string>>);
  static_assert(!std::is_convertible_v<int, Required<std::string>>);
  static_assert(!std::is_convertible_v<char, Required<std::string>>);

  static_assert(std::is_convertible_v<Colour, Required<Colour>>);
  static_assert(!std::is_convertible_v<int, Required<Colour>>);
}

TEST(TypedTest, AnOptionalMemberThatIsNotGivenIsNotWritten) {
  nlohmann::json json = nlohmann::json::object();
  Optional<std::string>().put(json, "absent");
  Optional<OneOf<std::string, std::nullptr_t>>(nullptr).put(json, "null");
  Optional<OneOf<std::string, std::int64_t>>(5).put(json, "either");
  Required<std::vector<OneOf<bool, std::string>>>({"a", "b"}).put(json, "list");
  EXPECT_EQ(json, nlohmann::json::parse(R"({"null": null, "either": 5, "list": ["a", "b"]})"));
}

}  // namespace
}  // namespace intilery
