/// \file
/// Tokens, and texts from outside that may hold one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace intilery {

/// Keeps tokens out of texts. For one thread.
class Secrets {
 public:
  Secrets() = default;
  explicit Secrets(std::string token) { add(std::move(token)); }

  /// Older ones stay: an answer to an older request may hold one.
  void add(std::string token);

  /// The text's first `limit` bytes, with `[redacted]` for each token, however its characters are written: as they
  /// stand, escaped in JSON, or escaped in an address.
  std::string hidden_in(std::string_view text, std::size_t limit) const;

  /// The same, safe for a terminal (printable.hpp), with an ellipsis for what is cut.
  std::string shown(std::string_view text, std::size_t limit) const;

  /// How much of a text must be there for its first `limit` bytes to show nothing: a token that begins in them must be
  /// seen whole.
  std::size_t enough_for(std::size_t limit) const;

 private:
  /// How many bytes of the text's beginning are a token.
  std::size_t size_at(std::string_view text) const;

  std::vector<std::string> tokens_;
};

}  // namespace intilery
