#include "plan/json_text.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "plan/decimal.hpp"

namespace intilery::plan {

namespace {

std::uint32_t hex4(const char* at) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = at[i];
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value = value * 16 + static_cast<std::uint32_t>(digit);
  }
  return value;
}

void append_utf8(std::uint32_t code, std::string& out) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

void append_text(const Quoted& string, std::string& out) {
  std::string scratch;
  const std::string_view text = text_of(string, scratch);
  out += 's' + std::to_string(text.size()) + ':';
  out += text;
}

}  // namespace

std::string_view text_of(const Quoted& string, std::string& scratch) {
  if (!string.escaped) return string.raw;
  scratch.clear();
  const char* at = string.raw.data();
  const char* const end = at + string.raw.size();
  while (at != end) {
    if (*at != '\\') {
      scratch += *at++;
      continue;
    }
    const char c = at[1];
    at += 2;
    switch (c) {
      case 'b':
        scratch += '\b';
        break;
      case 'f':
        scratch += '\f';
        break;
      case 'n':
        scratch += '\n';
        break;
      case 'r':
        scratch += '\r';
        break;
      case 't':
        scratch += '\t';
        break;
      case 'u': {
        std::uint32_t code = hex4(at);
        at += 4;
        if (code >= 0xd800 && code < 0xdc00) {
          code = 0x10000 + ((code - 0xd800) << 10) + (hex4(at + 2) - 0xdc00);
          at += 6;
        }
        append_utf8(code, scratch);
        break;
      }
      default:
        scratch += c;
    }
  }
  return scratch;
}

const char* skip_value(const char* at, const char* end) {
  std::size_t depth = 0;
  do {
    switch (*at) {
      case '"':
        at = read_string(at, end).end;
        break;
      case '{':
      case '[':
        ++depth;
        ++at;
        continue;
      case '}':
      case ']':
        --depth;
        ++at;
        break;
      case ',':
      case ':':
      case ' ':
      case '\n':
      case '\r':
      case '\t':
        ++at;
        continue;
      default:
        at = skip_number(at, end);
    }
  } while (depth > 0);
  return at;
}

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

const char* append_canonical(const char* at, const char* end, std::string& out) {
  switch (*at) {
    case '"': {
      const Quoted string = read_string(at, end);
      append_text(string, out);
      return string.end;
    }
    case '[':
      out += '[';
      for (at = skip_space(at + 1); *at != ']'; at = skip_space(at)) {
        at = append_canonical(skip_space(*at == ',' ? at + 1 : at), end, out);
      }
      out += ']';
      return at + 1;
    case '{': {
      std::vector<std::pair<std::string, std::string>> members;
      for (at = skip_space(at + 1); *at != '}'; at = skip_space(at)) {
        const Quoted key = read_string(skip_space(*at == ',' ? at + 1 : at), end);
        auto& [name, value] = members.emplace_back();
        append_text(key, name);
        at = append_canonical(skip_space(skip_space(key.end) + 1), end, value);
      }
      std::stable_sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      out += '{';
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (i + 1 < members.size() && members[i].first == members[i + 1].first) continue;  // the last one holds
        out += members[i].first + members[i].second;
      }
      out += '}';
      return at + 1;
    }
    case 't':
    case 'f':
    case 'n':
      out += *at;
      return at + (*at == 'f' ? 5 : 4);
    default: {
      const char* const to = skip_number(at, end);
      out += 'd';
      Decimal({at, static_cast<std::size_t>(to - at)}).append_canonical(out);
      return to;
    }
  }
}

}  // namespace intilery::plan
