#include "target.hpp"

namespace intilery::fuzz {

std::map<std::string, Run>& targets() {
  static std::map<std::string, Run> all;
  return all;
}

}  // namespace intilery::fuzz
