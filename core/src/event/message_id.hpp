/// \file
/// The name of one event, on every attempt the same.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace intilery::event {

/// A UUIDv7 (kept as 16 bytes), or whatever the caller chose.
class MessageId {
 public:
  MessageId() = default;

  /// A new UUIDv7 (RFC 9562, 5.7 with the monotonic counter of 6.2 method 1): ids made by one thread sort in the order
  /// of their making. Safe in any thread and after fork().
  static MessageId generate(std::int64_t unix_ms) {
    MessageId id;
    id.renew(unix_ms);
    return id;
  }
  /// The same in place: what was just written byte by byte is dear to copy.
  void renew(std::int64_t unix_ms);
  static MessageId from_caller(std::string text);
  /// A UUIDv8 (RFC 9562, 5.8): BLAKE2b of 16 bytes over the parts, a zero byte after each, but for the bits of version
  /// and variant. The same parts give the same id.
  static MessageId derive(std::span<const std::string_view> parts);
  /// The same four times, in half the time.
  static void derive(const std::array<std::span<const std::string_view>, 4>& parts, std::span<MessageId, 4> ids);

  /// Empty before it is made.
  std::string text() const;
  /// Writes the 36 characters of a UUID. Must not be called on a caller's id.
  void write_uuid(char* out) const;
  bool is_uuid() const { return custom_.empty(); }
  /// The UUID; zeros before it is made, and for a caller's id.
  const std::array<std::uint8_t, 16>& uuid() const { return uuid_; }
  const std::string& custom() const { return custom_; }

 private:
  static MessageId of_version_8(const std::array<std::uint8_t, 16>& digest);

  std::array<std::uint8_t, 16> uuid_{};
  std::string custom_;
};

}  // namespace intilery::event
