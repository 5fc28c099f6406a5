// libFuzzer's way in: the one target of this program.
#include <cstddef>
#include <cstdint>

#include "target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of its own, so that reading a byte too many is seen; empty is not null.
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  intilery::fuzz::targets().begin()->second(bytes);
  return 0;
}
