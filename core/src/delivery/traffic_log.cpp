#include "delivery/traffic_log.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "printable.hpp"

namespace intilery::delivery {

namespace {

constexpr std::size_t shown_bytes = 2'000;
constexpr std::size_t longest_escape = 6;  // \u002f

/// How the first character of a text may be written: as it stands, escaped in JSON, or in an address.
/// \returns the character's code and how many bytes it takes; none at the end of the text.
std::pair<unsigned, std::size_t> unescaped(std::string_view text) {
  const auto coded = [&](std::size_t from, std::size_t digits) -> std::pair<unsigned, std::size_t> {
    unsigned code = 0;
    if (text.size() < from + digits) return {0, 0};
    const char* const end = text.data() + from + digits;
    if (std::from_chars(text.data() + from, end, code, 16).ptr != end) return {0, 0};
    return {code, from + digits};
  };
  if (text.empty()) return {0, 0};
  if (text[0] == '%') return coded(1, 2);
  if (text[0] == '\\' && text.size() > 1) {
    if (text[1] == 'u') return coded(2, 4);
    return {static_cast<unsigned char>(text[1]), 2};
  }
  return {static_cast<unsigned char>(text[0]), 1};
}

/// How many bytes of the text's beginning are the token, written with escapes.
std::size_t escaped_token_at(std::string_view text, std::string_view token) {
  std::size_t at = 0;
  for (const char c : token) {
    const auto [code, size] = unescaped(text.substr(at));
    if (size == 0 || code != static_cast<unsigned char>(c)) return 0;
    at += size;
  }
  return at;
}

std::string count_text(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

TrafficLog::TrafficLog(const Options& options, Log log)
    : endpoint_(options.endpoint), log_(std::move(log)), tokens_{options.auth_token} {}

void TrafficLog::leaves(const transport::Request& request, std::size_t events, int attempt, TimePoint now) {
  left_[request.id] = now;
  std::string line = "request " + std::to_string(request.id) + ", attempt " + std::to_string(attempt) + ": " +
                     shown(request, events);
  log_(LogLevel::debug, line);
}

void TrafficLog::comes_back(const transport::Response& response, TimePoint now) {
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(now - left_[response.id]);
  left_.erase(response.id);
  std::string line = "request " + std::to_string(response.id) + ": ";
  line += response.status != 0 ? "status " + std::to_string(response.status) + " after "
                               : "no answer (" + shown(response.detail, shown_bytes) + ") after ";
  line += std::to_string(took.count()) + " ms";
  if (!response.body.empty()) line += ": " + shown(response.body, shown_bytes);
  log_(LogLevel::debug, line);
}

void TrafficLog::stays(const transport::Request& request) { log_(LogLevel::debug, "not sent: " + shown(request, 1)); }

std::string TrafficLog::shown(const transport::Request& request, std::size_t events) const {
  std::string line = request.post ? "POST " : "GET ";
  line += shown(endpoint_ + request.path, std::string::npos) + ", auth-token: [redacted]";
  if (!request.post) return line;
  // A token that begins before the cut must be seen whole, however it is escaped.
  std::size_t enough = shown_bytes;
  for (const std::string& token : tokens_) enough = std::max(enough, shown_bytes + longest_escape * token.size());
  std::string body;
  for (const std::string_view part : request.body) {
    body += part.substr(0, enough - body.size());
    if (body.size() == enough) break;
  }
  return line + ", " + count_text(events, "event") + ", " + count_text(request.body_size, "byte") + ": " +
         shown(body, shown_bytes);
}

std::string TrafficLog::shown(std::string_view text, std::size_t limit) const {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (at >= limit) return out + "…";
    if (const std::size_t secret = token_at(text.substr(at)); secret > 0) {
      out += "[redacted]";
      at += secret;
    } else {
      at += append_printable(out, text.substr(at));
    }
  }
  return out;
}

std::size_t TrafficLog::token_at(std::string_view text) const {
  std::size_t longest = 0;
  for (const std::string& token : tokens_) {
    longest = std::max({longest, text.starts_with(token) ? token.size() : 0, escaped_token_at(text, token)});
  }
  return longest;
}

}  // namespace intilery::delivery
