#include "event/message_id.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "event/blake2b.hpp"
#include "fork.hpp"

namespace intilery::event {

namespace {

struct Generator {
  unsigned generation = 0;      ///< A forked child must not go on with its parent's random numbers.
  std::uint64_t state[4] = {};  // xoshiro256**
  std::int64_t last_ms = 0;
  std::uint32_t counter = 0;  // 12 bits, in rand_a

  void seed() {
    std::random_device device;
    for (std::uint64_t& word : state) word = (static_cast<std::uint64_t>(device()) << 32) | device();
    state[0] |= 1;  // never all zero
    last_ms = 0;
  }

  std::uint64_t next() {
    const auto rotate = [](std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
    const std::uint64_t result = rotate(state[1] * 5, 7) * 9;
    const std::uint64_t t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotate(state[3], 45);
    return result;
  }
};

void put_big_endian(std::uint8_t* out, std::uint64_t value) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
  std::memcpy(out, &value, sizeof value);
#else
  for (int i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(value >> (56 - 8 * i));
#endif
}

}  // namespace

void MessageId::renew(std::int64_t unix_ms) {
  thread_local Generator generator;
  const unsigned generation = fork_generation();
  if (generator.generation != generation) {
    generator.seed();
    generator.generation = generation;
  }
  if (unix_ms > generator.last_ms) {
    const std::uint64_t random = generator.next();
    generator.last_ms = unix_ms;
    generator.counter = static_cast<std::uint32_t>(random >> 62 << 9 | (random & 0x1ff));  // leaves room to count up
  } else if (++generator.counter > 0xfff) {
    // More than the counter holds in one millisecond (or the clock went back): run ahead of the clock (RFC 9562, 6.2).
    ++generator.last_ms;
    generator.counter = 0;
  }
  const std::uint64_t high = static_cast<std::uint64_t>(generator.last_ms) << 16 | 0x7000 | generator.counter;
  const std::uint64_t low = (generator.next() >> 2) | (std::uint64_t{1} << 63);
  put_big_endian(uuid_.data(), high);
  put_big_endian(uuid_.data() + 8, low);
  custom_.clear();
}

MessageId MessageId::of_version_8(const std::array<std::uint8_t, 16>& digest) {
  MessageId id;
  id.uuid_ = digest;
  id.uuid_[6] = static_cast<std::uint8_t>(0x80 | (id.uuid_[6] & 0x0f));
  id.uuid_[8] = static_cast<std::uint8_t>(0x80 | (id.uuid_[8] & 0x3f));
  return id;
}

MessageId MessageId::derive(std::span<const std::string_view> parts) {
  Blake2b hash;
  for (const std::string_view part : parts) {
    hash.add(part);
    hash.add({"\0", 1});
  }
  return of_version_8(hash.finish());
}

void MessageId::derive(const std::array<std::span<const std::string_view>, 4>& parts, std::span<MessageId, 4> ids) {
  std::size_t size = 0;
  for (const auto& row : parts) {
    for (const std::string_view part : row) size += part.size() + 1;
  }
  thread_local std::string text;
  if (text.size() < size) text.resize(size);
  char* to = text.data();
  std::array<std::size_t, 5> ends{};
  for (std::size_t i = 0; i < 4; ++i) {
    for (const std::string_view part : parts[i]) {
      to = std::copy(part.begin(), part.end(), to);
      *to++ = '\0';
    }
    ends[i + 1] = static_cast<std::size_t>(to - text.data());
  }
  std::array<std::string_view, 4> texts;
  for (std::size_t i = 0; i < 4; ++i) texts[i] = std::string_view(text).substr(ends[i], ends[i + 1] - ends[i]);
  const std::array<Blake2bDigest, 4> digests = blake2b_of_four(texts);
  for (std::size_t i = 0; i < 4; ++i) ids[i] = of_version_8(digests[i]);
}

MessageId MessageId::from_caller(std::string text) {
  MessageId id;
  id.custom_ = std::move(text);
  return id;
}

void MessageId::write_uuid(char* out) const {
  // Two digits for each byte; the places of the bytes leave room for the dashes.
  static constexpr auto pairs = [] {
    std::array<std::array<char, 2>, 256> table{};
    constexpr char hex[] = "0123456789abcdef";
    for (unsigned byte = 0; byte < 256; ++byte) table[byte] = {hex[byte >> 4], hex[byte & 0xf]};
    return table;
  }();
  constexpr std::array<unsigned, 16> places{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
  out[8] = out[13] = out[18] = out[23] = '-';
  for (unsigned i = 0; i < 16; ++i) std::memcpy(out + places[i], pairs[uuid_[i]].data(), 2);
}

std::string MessageId::text() const {
  if (!is_uuid() || uuid_ == decltype(uuid_){}) return custom_;
  std::string text(36, '\0');
  write_uuid(text.data());
  return text;
}

}  // namespace intilery::event
