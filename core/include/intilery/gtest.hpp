/// \file
/// For tests with GoogleTest: a fixture with a sandbox, and assertions on what arrived. A header alone, for programs
/// that have GoogleTest; link `intilery::testing`.
///
///     class Checkout : public intilery::testing::SandboxTest {};
///
///     TEST_F(Checkout, TellsOfTheOrder) {
///       check_out(client);
///       EXPECT_TRUE(arrived({{"event", "Order Completed"}, {"properties", {{"revenue", 30.5}}}}));
///     }
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "intilery/intilery.hpp"
#include "intilery/testing.hpp"

namespace intilery::testing {

/// An expectation as EXPECT_TRUE and ASSERT_TRUE take it, with its report as the failure's text.
inline ::testing::AssertionResult met(const Arrival& arrival) {
  if (arrival) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << arrival.report;
}

/// Each test has a sandbox of its own, without a rate limit, and a client of it.
class SandboxTest : public ::testing::Test {
 protected:
  explicit SandboxTest(SandboxOptions options = {.rate_limit = 0})
      : sandbox(std::move(options)), client(sandbox.client_options()) {}

  /// As `Sandbox::expect`.
  ::testing::AssertionResult arrived(const nlohmann::json& message,
                                     std::chrono::milliseconds timeout = std::chrono::seconds(5)) const {
    return met(sandbox.expect(message, timeout));
  }
  /// Flushes the client; then as `Sandbox::expect_none`.
  ::testing::AssertionResult none_arrived(const nlohmann::json& message) {
    client.flush(std::chrono::seconds(5));
    return met(sandbox.expect_none(message));
  }

  Sandbox sandbox;
  Client client;
};

}  // namespace intilery::testing
