/// \file
/// Messages that are looked for among events read back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace intilery::readback {

/// Knows each by 16 bytes, so that millions fit into memory: 32 bytes each.
class Sought {
 public:
  struct Message {
    std::uint64_t number;
    std::string id;  ///< Empty if it is no UUID.
  };

  /// \param number the caller's own, such as a row's; below 2^61.
  void add(std::string_view message_id, std::uint64_t number);
  /// After the last `add`, before anything else. Of messages with one id the first stays.
  void seal();

  /// An event that was read back. The same one may be met more than once.
  void see(const nlohmann::json& event);

  std::size_t expected() const { return messages_.size(); }
  std::size_t found() const { return found_; }
  bool complete() const { return found_ == messages_.size(); }
  /// How many messages had the id of another.
  std::size_t repeated() const { return repeated_; }
  /// By number.
  std::vector<Message> missing() const;
  /// Those of which there are two events or more, by number.
  std::vector<Message> duplicate() const;

 private:
  struct Entry {
    std::array<std::uint8_t, 16> key;  ///< The UUID, or a hash of the id.
    std::uint64_t event = 0;           ///< Hash of the event that was met.
    std::uint64_t number : 61;
    std::uint64_t is_uuid : 1;
    std::uint64_t seen : 1;
    std::uint64_t twice : 1;
  };
  template <class Wanted>
  std::vector<Message> select(Wanted wanted) const;

  std::deque<Entry>
      messages_;  ///< Once sealed, sorted by their keys. No vector, which would need twice the memory to grow.
  std::size_t found_ = 0;
  std::size_t repeated_ = 0;
};

}  // namespace intilery::readback
