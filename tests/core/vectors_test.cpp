// Runs tests/vectors (see its README) through the public client into the sandbox.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "intilery/testing.hpp"
#include "vector_calls.hpp"

namespace intilery {
namespace {

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

/// nlohmann::json sorts keys, so members may stand in another order; every byte must be there all the same.
bool same_but_for_order(std::string a, std::string b) {
  if (json::parse(a) != json::parse(b)) return false;
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

/// A file, and whether a `before_send` looks on that changes nothing.
class Vectors : public ::testing::TestWithParam<std::tuple<std::string, bool>> {
 protected:
  Vectors() : sandbox_({.rate_limit = 0, .max_request_bytes = 100'000'000}) {}

  void expect_wire(const ordered_json& vector, const Delivery& delivery) {
    delivery.wait(std::chrono::seconds(10));
    const std::string body = sandbox_.requests().back().body;
    sandbox_.clear();
    const std::string marker = ",\"sentAt\":";
    const std::size_t sent_at = body.rfind(marker);
    ASSERT_NE(sent_at, std::string::npos) << body;
    // A caller's own sentAt stays where it is.
    const std::string actual =
        vector.at("wire").get<std::string>().find(marker) == std::string::npos ? body.substr(0, sent_at) + "}" : body;
    const std::string expected =
        replaced(replaced(vector.at("wire"), "{library}", "intilery-cpp"), "{version}", INTILERY_VERSION);
    const bool same = actual == expected || same_but_for_order(actual, expected);
    EXPECT_TRUE(same) << "  actual: " << actual << "\nexpected: " << expected;
  }

  testing::Sandbox sandbox_;
  VectorClients clients_{sandbox_.url(), std::get<1>(GetParam())};
};

TEST_P(Vectors, HoldInCpp) {
  std::ifstream file(std::get<0>(GetParam()));
  const ordered_json vectors = ordered_json::parse(file);
  std::size_t run = 0;
  for (const ordered_json& vector : vectors) {
    const std::string name = vector.at("name");
    SCOPED_TRACE(name);
    if (vector.contains("languages") && std::count(vector["languages"].begin(), vector["languages"].end(), "cpp") == 0)
      continue;
    try {
      Delivery delivery;
      try {
        delivery =
            call(clients_.with(vector.value("options", ordered_json::object())), vector.at("call"), vector.at("args"));
      } catch (const ValidationError& error) {
        ++run;
        EXPECT_TRUE(vector.contains("error")) << error.what();
        if (!vector.contains("error")) continue;
        EXPECT_EQ(error.code(), vector["error"].at("code")) << error.what();
        EXPECT_EQ(error.path(), vector["error"].at("path")) << error.what();
        continue;
      }
      ++run;
      EXPECT_TRUE(vector.contains("wire")) << "was accepted: " << sandbox_.requests().back().body;
      if (vector.contains("wire")) expect_wire(vector, delivery);
    } catch (const NotForCpp&) {
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
  RecordProperty("cases", static_cast<int>(run));
  std::cout << run << " of " << vectors.size() << " cases\n";
}

std::vector<std::string> vector_files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(INTILERY_VECTORS)) {
    const bool other = entry.path().stem() == "faults" || entry.path().stem() == "reading";  // tests of their own
    if (entry.path().extension() == ".json" && !other) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(, Vectors, ::testing::Combine(::testing::ValuesIn(vector_files()), ::testing::Bool()),
                         [](const auto& instance) {
                           return std::filesystem::path(std::get<0>(instance.param)).stem().string() +
                                  (std::get<1>(instance.param) ? "_before_send" : "");
                         });

}  // namespace
}  // namespace intilery
