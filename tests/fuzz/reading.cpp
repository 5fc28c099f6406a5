// The pages of events and profiles that a server answers: a reading ends, and gives what its list promises.
#include <nlohmann/json.hpp>
#include <set>

#include "event/timestamp.hpp"
#include "intilery/errors.hpp"
#include "readback/reader.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using nlohmann::json;

namespace {

/// No answer is left.
struct Silence {};

/// `x COUNT MS STEP`: a page of so many events, so far apart, from that moment on.
std::string made_page(std::string_view line, std::size_t number) {
  Input in(line);
  in.until(" ");
  const auto count = std::min<std::size_t>(Input::decimal<std::size_t>(in.until(" ")), 101);
  std::int64_t ms = Input::decimal(in.until(" "));
  const std::int64_t step = Input::decimal<std::int32_t>(in.until(" "));
  ms = std::clamp<std::int64_t>(ms, 0, 4'000'000'000'000) + static_cast<std::int64_t>(number * count) * step;
  std::string page = "[";
  for (std::size_t i = 0; i < count; ++i, ms += step) {
    const event::TimestampText time =
        event::format_timestamp(std::clamp(ms, event::first_timestamp_ms, event::last_timestamp_ms));
    page += (i > 0 ? "," : "") + std::string(R"({"eventId":")") + std::to_string(number * count + i) +
            R"(","eventTime":")" + std::string(time.data(), time.size()) + "\"}";
  }
  return page + "]";
}

}  // namespace

// Lines: what is read (`events`, `profile`, `profiles`); the query; then an answer each, its status before the body, or
// a page that is made; the last one is given again for up to 12 reads, or 110 (past the reach of paging) of an `X`.
FUZZ_TARGET(reading) {
  Input in(bytes);
  const std::string_view what = in.line();
  const json query = json::parse(in.line(), nullptr, /*allow_exceptions=*/false);
  std::string_view line;
  std::size_t reads = 0;
  std::size_t read_bytes = 0;
  std::set<std::string> windows;
  const readback::ReadPage read = [&](const std::string& path, readback::TimePoint) {
    must(path.find_first_of(" \r\n") == std::string::npos, "a path is one line");
    if (!in.empty()) line = in.line();
    if (line.empty() || ++reads > (line.starts_with('X') ? 110U : 12U) || (read_bytes += line.size()) > 200'000)
      throw Silence{};
    if (line.starts_with("x ") || line.starts_with("X "))
      return delivery::ReadResult{.status = 200, .body = made_page(line, reads), .error = {}};
    const std::size_t space = std::min(line.find(' '), line.size());
    return delivery::ReadResult{
        .status = Input::decimal<int>(line), .body = std::string(line.substr(space)), .error = {}};
  };
  try {
    if (query.is_discarded()) return;
    readback::JsonReader reader(what, query);
    const std::size_t limit = what == "events" && query.contains("limit") && query["limit"].is_number()
                                  ? query["limit"].get<std::size_t>()
                                  : SIZE_MAX;
    std::size_t events = 0;
    for (;;) {
      const json page = json::parse(reader.next(read, readback::TimePoint::max()));
      must(page.is_array(), "a page is a list");
      if (page.empty()) break;
      for (const json& one : page) {
        must(one.is_object(), "of objects");
        if (what != "events") continue;
        ++events;
        must(one.size() == 10, "an event has all its members");
        must(one.at("rawData").is_object(), "what was sent is an object");
        for (const char* time : {"eventTime", "receivedTime"}) {
          must(one[time].is_null() || event::is_timestamp(one[time].get<std::int64_t>()), "a moment is in its years");
        }
      }
    }
    must(events <= limit, "not more events than were asked for");
  } catch (const ValidationError&) {  // the query
  } catch (const DeliveryError& error) {
    must(!error.code().empty(), "an error has a code");
  } catch (const Silence&) {
  }
}

}  // namespace intilery::fuzz
