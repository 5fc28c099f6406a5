/// \file
/// A rate store that says what the test wants.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "delivery/rate_store.hpp"

namespace intilery::delivery {

class FakeStore : public RateStore {
 public:
  ~FakeStore() override {
    if (ended != nullptr) *ended = true;
  }
  void ask(std::size_t tokens) override { asked.push_back(tokens); }
  std::optional<Grant> answer() override { return std::exchange(next, std::nullopt); }
  void drain(std::chrono::milliseconds pause) override { drained.push_back(pause); }

  static Grant granted(std::size_t tokens, std::chrono::milliseconds wait = {}, std::size_t clients = 1) {
    Grant grant;
    grant.reachable = true;
    grant.tokens = tokens;
    grant.wait = wait;
    grant.clients = clients;
    return grant;
  }
  static Grant gone() {
    Grant grant;
    grant.why = "Connection refused";
    return grant;
  }

  std::vector<std::size_t> asked;
  std::vector<std::chrono::milliseconds> drained;
  std::optional<Grant> next;  ///< The answer that waits.
  bool* ended = nullptr;      ///< Told of the end.
};

}  // namespace intilery::delivery
