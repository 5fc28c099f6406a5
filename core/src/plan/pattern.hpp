/// \file
/// `pattern`: regular expressions with ECMA-262's meaning, in linear time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace re2 {
class RE2;
}

namespace intilery::plan {

/// A compiled pattern. May be used from many threads at once.
class Pattern {
 public:
  /// Compiles a pattern, which is UTF-8.
  /// Throws std::invalid_argument, saying why: a mistake in it, or what only runs in exponential time (lookaround,
  /// backreferences), or a pattern that is too large.
  explicit Pattern(std::string_view source);
  Pattern(Pattern&&) noexcept;
  ~Pattern();

  /// Whether it matches anywhere in the text.
  bool found_in(std::string_view text) const;

 private:
  std::unique_ptr<re2::RE2> compiled_;
};

/// The same pattern in RE2's syntax. Throws as Pattern.
std::string to_re2(std::string_view source);

}  // namespace intilery::plan
