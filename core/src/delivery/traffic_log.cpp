#include "delivery/traffic_log.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "printable.hpp"

namespace intilery::delivery {

namespace {

constexpr std::size_t shown_bytes = 2'000;
constexpr std::size_t longest_escape = 6;  // \u002f

/// How many bytes of the text's beginning are this character: as it stands, escaped in JSON, and escaped in an address.
/// 0: it is not there so.
std::array<std::size_t, 3> spellings(std::string_view text, char character) {
  const auto coded = [&](std::string_view prefix, std::size_t digits) -> std::size_t {
    if (!text.starts_with(prefix) || text.size() < prefix.size() + digits) return 0;
    unsigned code = 0;
    const char* const from = text.data() + prefix.size();
    const bool whole = std::from_chars(from, from + digits, code, 16).ptr == from + digits;
    return whole && code == static_cast<unsigned char>(character) ? prefix.size() + digits : 0;
  };
  if (text.empty()) return {};
  const bool escaped = text[0] == '\\' && text.size() > 1 && text[1] == character;
  return {text[0] == character ? 1u : 0u, escaped ? 2 : coded("\\u", 4), coded("%", 2)};
}

/// How many bytes of the text's beginning are the token, however its characters are written.
std::size_t token_size(std::string_view text, std::string_view token) {
  if (token.empty()) return 0;
  for (const std::size_t size : spellings(text, token.front())) {
    if (size == 0) continue;
    if (token.size() == 1) return size;
    if (const std::size_t rest = token_size(text.substr(size), token.substr(1)); rest > 0) return size + rest;
  }
  return 0;
}

std::string count_text(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

TrafficLog::TrafficLog(const Options& options, Log log)
    : endpoint_(options.endpoint), log_(std::move(log)), tokens_{options.auth_token} {}

void TrafficLog::leaves(const transport::Request& request, std::size_t events, int attempt, TimePoint now) {
  left_[request.id] = now;
  std::string line =
      "request " + std::to_string(request.id) + ", attempt " + std::to_string(attempt) + ": " + shown(request, events);
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
    longest = std::max(longest, token_size(text, token));
  }
  return longest;
}

}  // namespace intilery::delivery
