// The small texts that come from outside: moments, options from the environment, fault scripts, queries, ranges.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "event/bad_value.hpp"
#include "event/timestamp.hpp"
#include "fault_script.hpp"
#include "intilery/errors.hpp"
#include "intilery/options.hpp"
#include "percent.hpp"
#include "rows/row_ranges.hpp"
#include "target.hpp"
#include "wire_time.hpp"

namespace intilery::fuzz {

using nlohmann::json;

namespace {

void check_moment(std::string_view text) {
  std::optional<std::int64_t> ms;
  try {
    ms = event::parse_timestamp(text);
  } catch (const event::BadValue& bad) {
    must(bad.code == "invalid_timestamp" || bad.code == "naive_timestamp", "a code of the list");
  }
  if (const auto wire = testing::parse_wire_time(text)) must(ms == wire, "client and sandbox read the same moment");
  if (!ms) return;
  must(event::is_timestamp(*ms), "a moment is in its years");
  const event::TimestampText again = event::format_timestamp(*ms);
  const std::string_view written(again.data(), again.size());
  must(event::parse_timestamp(written) == *ms, "a moment is written as it was read");
  must(testing::parse_wire_time(written) == *ms, "as the wire has it");
  must(testing::format_wire_time(*ms) == written, "and as the sandbox writes it");
}

void check_environment(std::string_view bytes) {
  constexpr std::string_view mark = "-zebra-quagga";  // of the token, which no message says by itself
  Input in(bytes);
  std::set<std::string> names;
  while (!in.empty()) {
    Input line(in.line());
    const std::string name = "INTILERY_" + std::string(line.until("="));
    std::string value(line.rest());
    if (name == "INTILERY_AUTH_TOKEN") value += mark;
    if (name.find('\0') != std::string::npos) continue;
    ::setenv(name.c_str(), value.c_str(), 1);
    names.insert(name);
  }
  try {
    const Options options = Options::from_env();
    check_options(options);
  } catch (const ConfigurationError& error) {
    must(!error.option().empty(), "the option is named");
    must(std::string_view(error.what()).find(mark) == std::string_view::npos, "the token is in no message");
  }
  for (const std::string& name : names) ::unsetenv(name.c_str());
}

void check_faults(std::string_view bytes) {
  Input in(bytes);
  const std::string script(in.line());
  try {
    testing::FaultScript faults(script);
    if (!script.empty()) must(faults.source() == json::parse(script), "the script is shown as it was given");
    for (int i = 0; i < 8; ++i) {
      const std::string action(in.until(" "));
      const json body = json::parse(in.line(), nullptr, false);
      if (const auto fault = faults.next_before_body(action)) {
        must(fault->ending == testing::Fault::Ending::reset_before ||
                 fault->ending == testing::Fault::Ending::reset_during,
             "before the body comes a reset only");
      }
      for (const bool reads : {false, true}) {
        const auto fault = faults.next(action, body, reads);
        if (!fault) continue;
        must(!fault->status || (*fault->status >= 200 && *fault->status < 600), "a status is one");
        must(fault->delay.count() >= 0 && fault->drip.count() >= 0, "no time runs backwards");
      }
    }
  } catch (const std::invalid_argument& error) {
    must(std::string_view(error.what()).starts_with("faults: "), "a mistake is told");
  }
}

void check_ranges(std::string_view text) {
  try {
    const rows::RowRanges ranges = rows::RowRanges::parse(text);
    must(rows::RowRanges::parse(ranges.text()).text() == ranges.text(), "ranges are written as they are read");
    must(!ranges.contains(0), "rows begin at 1");
  } catch (const std::invalid_argument&) {
  }
}

}  // namespace

// A letter says which text the rest is.
FUZZ_TARGET(texts) {
  Input in(bytes);
  switch (in.letter()) {
    case 't':
      return check_moment(in.rest());
    case 'n': {
      const auto ms = in.number<std::int64_t>();
      if (!event::is_timestamp(ms)) return;
      const event::TimestampText text = event::format_timestamp(ms);
      must(event::parse_timestamp({text.data(), text.size()}) == ms, "a moment reads back as it was");
      return;
    }
    case 'o':
      return check_environment(in.rest());
    case 'f':
      return check_faults(in.rest());
    case 'r':
      return check_ranges(in.rest());
    case 'p': {
      const std::string text(in.rest());
      must(percent_decoded(percent_encoded(text)) == text, "percent-encoding loses nothing");
      must(percent_encoded(text).find_first_of("/?#& \r\n") == std::string::npos, "and leaves nothing that says more");
      percent_decoded(text);
      return;
    }
    default:
      return;
  }
}

}  // namespace intilery::fuzz
