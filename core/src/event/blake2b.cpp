#include "event/blake2b.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <utility>

namespace intilery::event {

namespace {

constexpr std::array<std::uint64_t, 8> initial{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                               0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                               0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
constexpr unsigned char sigma[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}};

std::uint64_t little_endian(const unsigned char* bytes) {
  std::uint64_t value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, bytes, sizeof value);
  } else {
    for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  }
  return value;
}

constexpr std::size_t block_size = 128;
constexpr std::uint64_t first_word = initial[0] ^ 0x01010000 ^ 16;

#if defined(__GNUC__)
#define INTILERY_INLINE inline __attribute__((always_inline))  // so that it gets its caller's instruction set
#else
#define INTILERY_INLINE inline
#endif

template <class Word>
INTILERY_INLINE void rotate(Word& word, int count) {
  word = (word >> count) | (word << (64 - count));
}

template <class Word>
INTILERY_INLINE void mix(Word& a, Word& b, Word& c, Word& d, const Word& x, const Word& y) {
  a += b + x;
  d ^= a;
  rotate(d, 32);
  c += d;
  b ^= c;
  rotate(b, 24);
  a += b + y;
  d ^= a;
  rotate(d, 16);
  c += d;
  b ^= c;
  rotate(b, 63);
}

template <std::size_t Round, class Word>
INTILERY_INLINE void mix_round(Word* v, const Word* m) {
  constexpr const auto& s = sigma[Round];
  mix(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
  mix(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
  mix(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
  mix(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
  mix(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
  mix(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
  mix(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
  mix(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
}

template <class Word, std::size_t... Round>
INTILERY_INLINE void mix_all(Word* v, const Word* m, std::index_sequence<Round...>) {
  (mix_round<Round>(v, m), ...);
}

/// \param m the block's 16 words. \param size of all up to its end. \param last all bits set for the last block.
/// A word may be a vector of words, of as many texts.
template <class Word>
INTILERY_INLINE void compress_words(Word* state, const Word* m, const Word& size, const Word& last) {
  Word v[16];
  for (std::size_t i = 0; i < 8; ++i) {
    v[i] = state[i];
    v[i + 8] = Word{} + initial[i];
  }
  v[12] ^= size;
  v[14] ^= last;
  mix_all(v, m, std::make_index_sequence<std::size(sigma)>());
  for (std::size_t i = 0; i < 8; ++i) state[i] ^= v[i] ^ v[i + 8];
}

Blake2bDigest digest_of(std::uint64_t first, std::uint64_t second) {
  Blake2bDigest digest;
  for (std::size_t i = 0; i < 8; ++i) {
    digest[i] = static_cast<std::uint8_t>(first >> (8 * i));
    digest[8 + i] = static_cast<std::uint8_t>(second >> (8 * i));
  }
  return digest;
}

#if defined(__GNUC__) && defined(__x86_64__)
using Four = std::uint64_t __attribute__((vector_size(32)));

/// Four words of each block, so that a vector has the blocks' words of one place.
INTILERY_INLINE void load_words(Four* m, const unsigned char* const* blocks, std::size_t at) {
  Four rows[4];
  for (std::size_t i = 0; i < 4; ++i) std::memcpy(&rows[i], blocks[i] + at, sizeof rows[i]);
  const Four even01 = __builtin_shufflevector(rows[0], rows[1], 0, 4, 2, 6);
  const Four odd01 = __builtin_shufflevector(rows[0], rows[1], 1, 5, 3, 7);
  const Four even23 = __builtin_shufflevector(rows[2], rows[3], 0, 4, 2, 6);
  const Four odd23 = __builtin_shufflevector(rows[2], rows[3], 1, 5, 3, 7);
  m[0] = __builtin_shufflevector(even01, even23, 0, 1, 4, 5);
  m[1] = __builtin_shufflevector(odd01, odd23, 0, 1, 4, 5);
  m[2] = __builtin_shufflevector(even01, even23, 2, 3, 6, 7);
  m[3] = __builtin_shufflevector(odd01, odd23, 2, 3, 6, 7);
}

INTILERY_INLINE void digest_four(const std::array<std::string_view, 4>& texts, std::array<Blake2bDigest, 4>& digests) {
  Four state[8];
  for (std::size_t i = 0; i < 8; ++i) state[i] = Four{} + (i == 0 ? first_word : initial[i]);
  const std::size_t longest =
      std::max(std::max(texts[0].size(), texts[1].size()), std::max(texts[2].size(), texts[3].size()));
  for (std::size_t at = 0; at == 0 || at < longest; at += block_size) {
    unsigned char ends[4][block_size];
    const unsigned char* blocks[4];
    Four size{};
    Four last{};
    Four running{};  // a text that has ended keeps its state
    for (std::size_t lane = 0; lane < 4; ++lane) {
      const std::string_view text = texts[lane];
      const bool ended = at != 0 && at >= text.size();
      const std::size_t left = ended ? 0 : std::min(block_size, text.size() - at);
      blocks[lane] = reinterpret_cast<const unsigned char*>(text.data()) + at;
      if (left < block_size) {
        std::memset(ends[lane], 0, block_size);
        if (left > 0) std::memcpy(ends[lane], text.data() + at, left);
        blocks[lane] = ends[lane];
      }
      size[lane] = at + left;
      last[lane] = at + block_size >= text.size() ? ~std::uint64_t{0} : 0;
      running[lane] = ended ? 0 : ~std::uint64_t{0};
    }
    Four m[16];
    for (std::size_t i = 0; i < 16; i += 4) load_words(m + i, blocks, 8 * i);
    Four next[8];
    std::copy(std::begin(state), std::end(state), next);
    compress_words(next, m, size, last);
    for (std::size_t i = 0; i < 8; ++i) state[i] = (next[i] & running) | (state[i] & ~running);
  }
  for (std::size_t lane = 0; lane < 4; ++lane) digests[lane] = digest_of(state[0][lane], state[1][lane]);
}

__attribute__((target("avx2"))) void digest_four_avx2(const std::array<std::string_view, 4>& texts,
                                                      std::array<Blake2bDigest, 4>& digests) {
  digest_four(texts, digests);
}
__attribute__((target("avx2,avx512f,avx512vl"))) void digest_four_avx512(const std::array<std::string_view, 4>& texts,
                                                                         std::array<Blake2bDigest, 4>& digests) {
  digest_four(texts, digests);  // it can rotate, and has room for all words
}
#endif

}  // namespace

std::array<Blake2bDigest, 4> blake2b_of_four(const std::array<std::string_view, 4>& texts) {
  std::array<Blake2bDigest, 4> digests;
#if defined(__GNUC__) && defined(__x86_64__)
  static const auto best = __builtin_cpu_supports("avx512vl") ? digest_four_avx512
                           : __builtin_cpu_supports("avx2")   ? digest_four_avx2
                                                              : nullptr;
  if (best != nullptr) {
    best(texts, digests);
    return digests;
  }
#endif
  for (std::size_t i = 0; i < 4; ++i) {
    Blake2b hash;
    hash.add(texts[i]);
    digests[i] = hash.finish();
  }
  return digests;
}

Blake2b::Blake2b() : state_(initial) { state_[0] = first_word; }

void Blake2b::compress(const unsigned char* block, bool last) {
  std::array<std::uint64_t, 16> m;
  for (std::size_t i = 0; i < 16; ++i) m[i] = little_endian(block + 8 * i);
  compress_words(state_.data(), m.data(), size_, last ? ~std::uint64_t{0} : 0);
}

void Blake2b::add(std::string_view bytes) {
  while (!bytes.empty()) {
    if (held_ == rest_.size()) {
      size_ += held_;
      compress(rest_.data(), false);
      held_ = 0;
    }
    const std::size_t taken = std::min(bytes.size(), rest_.size() - held_);
    std::memcpy(rest_.data() + held_, bytes.data(), taken);
    held_ += taken;
    bytes.remove_prefix(taken);
  }
}

Blake2bDigest Blake2b::finish() {
  std::fill(rest_.begin() + held_, rest_.end(), static_cast<unsigned char>(0));
  size_ += held_;
  compress(rest_.data(), true);
  return digest_of(state_[0], state_[1]);
}

}  // namespace intilery::event
