#include "plan/pattern.hpp"

#include <re2/re2.h>

#include <cstdint>
#include <cstdio>
#include <stdexcept>

namespace intilery::plan {

namespace {

/// RE2's program and caches; what does not fit is refused, or runs slower but still in linear time.
constexpr std::int64_t max_memory = 4 << 20;

// What JavaScript's classes hold, which RE2's (ASCII only) do not.
constexpr std::string_view space_ranges =
    R"(\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff})";
constexpr std::string_view other_than_space_ranges =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff})";
constexpr std::string_view any_but_line_end = R"([^\n\r\x{2028}\x{2029}])";
constexpr std::string_view any = R"([\x{0}-\x{10ffff}])";
constexpr std::string_view none = R"([^\x{0}-\x{10ffff}])";

[[noreturn]] void fail(const std::string& why) { throw std::invalid_argument(why); }

/// Rewrites what the two dialects write differently, and refuses what only one has.
class Translator {
 public:
  explicit Translator(std::string_view source) : rest_(source) {}

  std::string run() {
    while (!rest_.empty()) {
      const char c = take();
      switch (c) {
        case '\\':
          escape(false);
          break;
        case '[':
          char_class();
          break;
        case '(':
          group();
          break;
        case '.':
          out_ += any_but_line_end;
          break;
        case '*':
        case '+':
        case '?':
          quantifier(std::string(1, c));
          break;
        case '{':
          braces();
          break;
        case '^':
          out_ += "\\A";
          break;
        case '$':
          out_ += "\\z";
          break;
        case '}':
        case ']':
          out_ += '\\';
          out_ += c;
          break;
        default:
          out_ += c;
      }
    }
    return std::move(out_);
  }

 private:
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  void group() {
    if (take("?=") || take("?!") || take("?<=") || take("?<!")) {
      fail("lookahead and lookbehind are not supported: they may take exponential time");
    }
    if (take("?:")) {
      out_ += "(?:";
    } else if (take("?<")) {
      const std::size_t end = rest_.find('>');
      if (end == std::string_view::npos || end == 0) fail("a group's name does not end");
      rest_.remove_prefix(end + 1);
      out_ += '(';
    } else if (rest_.starts_with('?')) {
      fail("(? must be followed by : or <name>");
    } else {
      out_ += '(';
    }
  }

  void quantifier(std::string text) {
    if (take("?")) text += '?';
    // RE2 reads a** as a*; ECMA-262 does not know it.
    if (!rest_.empty() && (rest_.front() == '*' || rest_.front() == '+' || rest_.front() == '?')) {
      fail("nothing to repeat");
    }
    out_ += text;
  }

  /// A repetition, or else a brace that stands for itself.
  void braces() {
    std::size_t at = 0;
    const auto digits = [&] {
      const std::size_t from = at;
      while (at < rest_.size() && rest_[at] >= '0' && rest_[at] <= '9') ++at;
      return at - from;
    };
    bool repeats = digits() > 0;
    if (repeats && at < rest_.size() && rest_[at] == ',') {
      ++at;
      digits();
    }
    repeats = repeats && at < rest_.size() && rest_[at] == '}';
    if (!repeats) {
      out_ += "\\{";
      return;
    }
    std::string text = "{" + std::string(rest_.substr(0, at + 1));
    rest_.remove_prefix(at + 1);
    quantifier(std::move(text));
  }

  void code_point(std::uint32_t code) {
    char text[16];
    std::snprintf(text, sizeof text, "\\x{%x}", code);
    out_ += text;
  }

  std::uint32_t hex(std::size_t count) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const char c = rest_.empty() ? '\0' : take();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("an escape with too few hexadecimal digits");
      value = value * 16 + static_cast<std::uint32_t>(digit);
    }
    return value;
  }

  void unicode() {
    if (take("{")) {
      const std::size_t end = rest_.find('}');
      if (end == std::string_view::npos || end == 0 || end > 6) fail("\\u{…} must hold a code point");
      const std::uint32_t code = hex(end);
      rest_.remove_prefix(1);
      if (code > 0x10ffff) fail("\\u{…} must hold a code point");
      return code_point(code);
    }
    std::uint32_t code = hex(4);
    if (code >= 0xd800 && code < 0xdc00 && take("\\u")) {
      const std::uint32_t low = hex(4);
      if (low < 0xdc00 || low > 0xdfff) fail("half of a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xd800 && code < 0xe000) {
      fail("half of a surrogate pair");
    }
    code_point(code);
  }

  void property(char c) {
    if (!take("{")) fail("\\p must be followed by {…}");
    const std::size_t end = rest_.find('}');
    if (end == std::string_view::npos) fail("\\p{…} does not end");
    std::string_view name = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    for (const std::string_view kind : {"General_Category=", "gc=", "Script=", "sc=", "Script_Extensions=", "scx="}) {
      if (name.starts_with(kind)) name.remove_prefix(kind.size());
    }
    constexpr std::pair<std::string_view, std::string_view> long_names[] = {{"Letter", "L"},
                                                                            {"Uppercase_Letter", "Lu"},
                                                                            {"Lowercase_Letter", "Ll"},
                                                                            {"Titlecase_Letter", "Lt"},
                                                                            {"Modifier_Letter", "Lm"},
                                                                            {"Other_Letter", "Lo"},
                                                                            {"Mark", "M"},
                                                                            {"Number", "N"},
                                                                            {"Decimal_Number", "Nd"},
                                                                            {"digit", "Nd"},
                                                                            {"Letter_Number", "Nl"},
                                                                            {"Other_Number", "No"},
                                                                            {"Punctuation", "P"},
                                                                            {"punct", "P"},
                                                                            {"Symbol", "S"},
                                                                            {"Currency_Symbol", "Sc"},
                                                                            {"Math_Symbol", "Sm"},
                                                                            {"Separator", "Z"},
                                                                            {"Space_Separator", "Zs"},
                                                                            {"Control", "Cc"}};
    for (const auto& [given, known] : long_names) {
      if (name == given) name = known;
    }
    out_ += std::string("\\") + c + "{" + std::string(name) + "}";
  }

  void escape(bool in_class) {
    if (rest_.empty()) fail("a backslash stands at the end");
    const char c = take();
    switch (c) {
      case 'd':
      case 'D':
      case 'w':
      case 'W':
      case 't':
      case 'n':
      case 'v':
      case 'f':
      case 'r':
        out_ += '\\';
        out_ += c;
        return;
      case 's':
      case 'S': {
        const std::string_view ranges = c == 's' ? space_ranges : other_than_space_ranges;
        if (in_class) {
          out_ += ranges;
        } else {
          out_ += "[" + std::string(ranges) + "]";
        }
        return;
      }
      case 'b':
        out_ += in_class ? "\\x{8}" : "\\b";
        return;
      case 'B':
        if (in_class) fail("\\B cannot stand in a class");
        out_ += "\\B";
        return;
      case 'c': {
        const char letter = rest_.empty() ? '\0' : take();
        if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))) fail("\\c must precede a letter");
        return code_point(static_cast<std::uint32_t>(letter) % 32);
      }
      case 'x':
        return code_point(hex(2));
      case 'u':
        return unicode();
      case 'p':
      case 'P':
        return property(c);
      case '0':
        if (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') fail("octal escapes are not supported");
        return code_point(0);
      case 'k':
        fail("backreferences are not supported: they may take exponential time");
      default:
        break;
    }
    if (c >= '1' && c <= '9') {
      if (in_class) fail("octal escapes are not supported");
      fail("backreferences are not supported: they may take exponential time");
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) fail(std::string("there is no escape \\") + c);
    if (static_cast<unsigned char>(c) < 0x80) out_ += '\\';
    out_ += c;
  }

  void char_class() {
    const bool negated = take("^");
    if (take("]")) {
      out_ += negated ? any : none;
      return;
    }
    out_ += negated ? "[^" : "[";
    for (;;) {
      if (rest_.empty()) fail("a class does not end: ] is missing");
      const char c = take();
      if (c == ']') break;
      if (c == '\\') {
        escape(true);
      } else if (c == '[') {
        out_ += "\\[";  // RE2 would read [: as the start of a POSIX class
      } else if (c == '^') {
        out_ += "\\^";
      } else {
        out_ += c;
      }
    }
    out_ += ']';
  }

  std::string_view rest_;
  std::string out_;
};

}  // namespace

std::string to_re2(std::string_view source) { return Translator(source).run(); }

Pattern::Pattern(std::string_view source) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(max_memory);
  compiled_ = std::make_unique<re2::RE2>(to_re2(source), options);
  if (!compiled_->ok()) {
    if (compiled_->error_code() == re2::RE2::ErrorPatternTooLarge) fail("the pattern is too large");
    if (compiled_->error_code() == re2::RE2::ErrorRepeatSize)
      fail("repetitions, multiplied where they are nested, may be at most 1000");
    fail(compiled_->error());
  }
}

Pattern::Pattern(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

bool Pattern::found_in(std::string_view text) const {
  const re2::StringPiece piece(text.data(), text.size());
  return compiled_->Match(piece, 0, piece.size(), re2::RE2::UNANCHORED, nullptr, 0);
}

}  // namespace intilery::plan
