/// \file
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace intilery::event {

/// SHA-256 (FIPS 180-4) of bytes that come in pieces.
class Sha256 {
 public:
  void add(std::string_view bytes);
  /// The digest. Nothing may be added after.
  std::array<std::uint8_t, 32> finish();

 private:
  void block(const unsigned char* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> rest_{};  ///< What does not fill a block yet.
  std::uint64_t size_ = 0;                ///< Of all bytes so far.
};

}  // namespace intilery::event
