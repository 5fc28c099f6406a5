/// \file
/// The event of all measurements, as bench/payload.json has it.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace intilery::bench {

inline const nlohmann::json& order() {
  static const nlohmann::json value = nlohmann::json::parse(std::ifstream(INTILERY_BENCH_PAYLOAD));
  return value;
}

/// 470 bytes, without white space.
inline const std::string& order_text() {
  static const std::string text = order().dump();
  return text;
}

}  // namespace intilery::bench
