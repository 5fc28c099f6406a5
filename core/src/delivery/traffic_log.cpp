#include "delivery/traffic_log.hpp"

#include <utility>

namespace intilery::delivery {

namespace {

constexpr std::size_t shown_bytes = 2'000;

std::string count_text(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

TrafficLog::TrafficLog(const Options& options, const Secrets& secrets, Log log)
    : endpoint_(options.endpoint), secrets_(secrets), log_(std::move(log)) {}

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
                               : "no answer (" + secrets_.shown(response.detail, shown_bytes) + ") after ";
  line += std::to_string(took.count()) + " ms";
  if (!response.body.empty()) line += ": " + secrets_.shown(response.body, shown_bytes);
  log_(LogLevel::debug, line);
}

void TrafficLog::stays(const transport::Request& request) { log_(LogLevel::debug, "not sent: " + shown(request, 1)); }

std::string TrafficLog::shown(const transport::Request& request, std::size_t events) const {
  std::string line = request.post ? "POST " : "GET ";
  line += secrets_.shown(endpoint_ + request.path, std::string::npos) + ", auth-token: [redacted]";
  if (!request.post) return line;
  const std::size_t enough = secrets_.enough_for(shown_bytes);
  std::string body;
  for (const std::string_view part : request.body) {
    body += part.substr(0, enough - body.size());
    if (body.size() == enough) break;
  }
  return line + ", " + count_text(events, "event") + ", " + count_text(request.body_size, "byte") + ": " +
         secrets_.shown(body, shown_bytes);
}

}  // namespace intilery::delivery
