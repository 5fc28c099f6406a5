// Lines of NDJSON, as send_many reads them.
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "client_core.hpp"
#include "event/bad_value.hpp"
#include "rows/json_row.hpp"
#include "rows/line_sender.hpp"
#include "rows/line_splitter.hpp"
#include "rows/row_ledger.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using nlohmann::json;
using rows::LineSender;

namespace {

struct Line {
  std::string text;
  std::uint64_t number = 0;
  bool too_long = false;
};

std::vector<Line> lines_of(std::string_view text, std::size_t piece, std::size_t longest) {
  rows::LineSplitter splitter(longest);
  std::vector<Line> lines;
  const auto take = [&] {
    while (splitter.next()) lines.push_back({std::string(splitter.line()), splitter.number(), splitter.too_long()});
  };
  for (std::size_t at = 0; at < text.size(); at += piece) {
    splitter.feed(text.substr(at, piece));
    take();
  }
  splitter.end();
  take();
  return lines;
}

void check_pieces(std::string_view text, std::size_t piece, std::size_t longest) {
  const std::vector<Line> whole = lines_of(text, text.size() + 1, longest);
  const std::vector<Line> pieces = lines_of(text, piece, longest);
  must(whole.size() == pieces.size(), "there are as many lines in pieces");
  for (std::size_t i = 0; i < whole.size(); ++i) {
    must(whole[i].number == pieces[i].number, "with the same numbers");
    must(whole[i].too_long == pieces[i].too_long, "too long or not");
    must(whole[i].text == pieces[i].text, "and the same text");
    must(whole[i].text.size() <= longest && !whole[i].text.empty(), "a line has a size");
  }
}

std::string body_of(const event::Draft& draft) {
  event::JsonWriter out;
  draft.body.write(out, draft.body.value);
  return std::string(out.view());
}

void check_row(std::string_view line, const rows::Columns& columns) {
  rows::JsonRow row;
  event::Draft draft;
  try {
    row.read(line, columns, draft);
  } catch (const event::BadValue& bad) {
    must(!bad.code.empty() && !bad.message.empty(), "a mistake is told");
    return;
  }
  const std::string body = body_of(draft);
  json given = json::parse(line, nullptr, false);
  if (given.is_discarded()) return;  // a number that no double holds
  must(given.is_object(), "a row is an object");
  const json left = json::parse(body);
  for (const auto& [name, to] : {std::pair(&columns.user_id, &draft.user_id), std::pair(&columns.event, &draft.event),
                                 std::pair(&columns.timestamp, &draft.timestamp)}) {
    const auto found = given.find(*name);
    if (name->empty() || found == given.end()) continue;
    if (found->is_string()) must(*to == found->get<std::string>(), "a column says what its member says: " + *name);
    given.erase(*name);
  }
  for (const std::string& name : columns.listed) given.erase(name);
  must(left == given, "all other members are the body");
}

/// A client that sends nothing, and counts.
struct DryClient {
  struct Told : Observer {
    void finished(std::span<const Finished> group) override { rows::RowLedger::settle(group); }
    void log(LogLevel, std::string_view) override {}
  };
  static Options options() {
    Options options;
    options.client_id = options.account_id = "hea";
    options.brand_id = "HEA";
    options.auth_token = "token";
    options.dry_run = true;
    options.flush_at = 1;
    options.flush_interval = std::chrono::milliseconds(0);
    return options;
  }
  ClientCore core{options(), Library{"fuzz", "0"}, std::make_shared<Told>()};
};

void check_fates(std::string_view text, std::size_t piece, const rows::Columns& columns) {
  static DryClient client;  // its threads are worth keeping
  LineSender sender(client.core, {.event = "E", .source = "fuzz"});
  const auto run = [&] {
    for (;;) {
      const auto step = sender.step(std::chrono::steady_clock::now() + std::chrono::seconds(1));
      if (step == LineSender::Step::names) {
        must(!sender.names().empty(), "an object with names was met");
        sender.set_columns(columns);
      } else if (step == LineSender::Step::hungry) {
        return;
      }
    }
  };
  std::size_t rejected = 0;
  const auto count = [&] {
    for (const rows::RejectedRow& row : sender.take_rejects()) {
      ++rejected;
      must(row.row > 0 && row.line > 0 && !row.error.code.empty(), "a rejected row is told, with its line");
    }
  };
  for (std::size_t at = 0; at < text.size(); at += piece) {
    sender.feed(text.substr(at, piece));
    run();
    count();
  }
  sender.end();
  run();
  count();
  Waiting waiting;
  client.core.flush({}, waiting);
  const std::size_t lines = lines_of(text, text.size() + 1, 16'000'000).size();
  const rows::Progress progress = sender.take();
  must(progress.total.rows == lines, "each row has its fate");
  must(progress.total.delivered + rejected == lines, "delivered, or rejected");
}

}  // namespace

// Two bytes: how long the pieces are, and the longest line; then the file.
FUZZ_TARGET(rows) {
  Input in(bytes);
  const std::size_t piece = 1 + in.byte() % 64;
  const std::size_t longest = 1 + in.byte();
  const std::string_view text = in.rest();
  check_pieces(text, piece, longest);
  const rows::Columns columns{.user_id = "user_id", .event = "event", .timestamp = "timestamp", .listed = {"secret"}};
  rows::Columns untimed = columns;
  untimed.timestamp.clear();
  for (const Line& line : lines_of(text, text.size() + 1, 16'000'000)) {
    check_row(line.text, columns);
    check_row(line.text, untimed);
  }
  check_fates(text, piece, untimed);
}

}  // namespace intilery::fuzz
