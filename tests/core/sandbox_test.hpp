// What every test against the sandbox begins with.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "intilery/intilery.hpp"
#include "intilery/testing.hpp"

namespace intilery {

class SandboxTest : public ::testing::Test {
 protected:
  explicit SandboxTest(intilery::testing::SandboxOptions given = {.rate_limit = 0}) : sandbox(std::move(given)) {}

  Options options() const {
    return {.client_id = "hea",
            .account_id = "hea",
            .brand_id = "HEA",
            .auth_token = "sandbox-token",
            .endpoint = sandbox.url(),
            .retry_initial = std::chrono::milliseconds(10)};
  }
  nlohmann::json events() const { return nlohmann::json::parse(sandbox.events_json()); }

  intilery::testing::Sandbox sandbox;
};

}  // namespace intilery
