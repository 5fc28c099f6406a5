// Spool files, whole or damaged: what can be read goes on, nothing that is no event does, and no file is lost.
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "intilery/errors.hpp"
#include "queue/spool.hpp"
#include "queue/spool_database.hpp"
#include "queue/spool_folder.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// A folder of this program's own; tests/fuzz/run.py sees to it that it is in memory, and goes.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "intilery-fuzz-XXXXXX").string();
    must(::mkdtemp(name.data()) != nullptr, "a folder can be made");
    path = name;
    ::setenv("TMPDIR", name.c_str(), 1);
  }
  ~Folder() { fs::remove_all(path); }
};

Options options_in(const fs::path& folder) {
  Options options;
  options.client_id = options.account_id = "hea";
  options.brand_id = "HEA";
  options.auth_token = "token";
  options.spool_path = folder.string();
  return options;
}

/// A line for each row: `ID_SIZE ACTION FLAGS CALLED LANE BRAND WIRE`; `-` is what a client would have written.
std::size_t write_rows(Input& in, const Options& options) {
  const std::int64_t version = Input::decimal(in.line());
  queue::NewSpoolFile made =
      queue::make_spool_file(options.spool_path, queue::spool_identity(options), options.spool_sync, 1'000'000);
  std::size_t count = 0;
  queue::Statement insert(*made.db, queue::insert_spool_row);
  for (std::string_view line = in.line(); !line.empty() && line != "%%"; line = in.line()) {
    Input row(line);
    const std::string_view id_size = row.until(" ");
    const std::int64_t action = Input::decimal(row.until(" "));
    const std::int64_t flags = Input::decimal(row.until(" "));
    const std::int64_t called = Input::decimal(row.until(" "));
    const std::int64_t lane = Input::decimal(row.until(" "));
    const std::string_view brand = row.until(" ");
    const std::string_view wire = row.rest();
    const std::size_t id = wire.rfind("\"messageId\":\"");
    const std::size_t honest = id == std::string_view::npos ? 0 : wire.size() - std::min(wire.size(), id + 14);
    insert.bind_blob(1, wire).bind(2, lane);
    insert.bind(3, id_size == "-" ? static_cast<std::int64_t>(honest) : Input::decimal(id_size));
    insert.bind(4, action).bind(5, flags).bind(6, called);
    insert.bind(7, brand == "-" ? options.brand_id : brand);
    if (insert.run() == SQLITE_DONE) ++count;
  }
  if (version != 0) made.db->run("PRAGMA user_version = " + std::to_string(version));
  return count;
}

/// Places and bytes that are overwritten.
bool damage(Input& in, const fs::path& folder) {
  bool any = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const auto size = static_cast<std::size_t>(entry.file_size());
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    while (!in.empty() && size > 0) {
      const std::size_t place = in.number<std::uint16_t>() % size;
      file.seekp(static_cast<std::streamoff>(place));
      file.put(in.letter());
      any = true;
    }
  }
  return any;
}

std::vector<std::string> adopt(const Options& options) {
  Brands brands(options);
  std::vector<std::string> wires;
  queue::Spool spool(options, brands, [](LogLevel, const std::string&) {});
  const queue::EventList events = spool.adopt();
  for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
    const std::string whole = std::string(event->bytes()) + "}";
    must(json::accept(whole) || whole.find_first_of("eE") != std::string::npos, "what is taken over is an event");
    const json value = json::parse(whole, nullptr, false);
    const std::string id = event->message_id();
    must(value.is_discarded() || value.value("messageId", json()) == id, "with the id that it says");
    must(event->action <= 3, "and an action");
    must(!brands.name_of(event->brand).empty(), "of a brand");
    wires.push_back(whole);
  }
  spool.close();
  return wires;
}

std::size_t files_in(const fs::path& folder) {
  std::size_t count = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".spool") || name.ends_with(".damaged")) ++count;
  }
  return count;
}

void look_at(const fs::path& folder) {
  try {
    must(!queue::spool_status(folder).dump().empty(), "a folder can be looked at");
    queue::export_spool(folder, {}, true, [](const std::string& line) {
      must(line.find('\n') == std::string::npos, "an exported event is one line");
      must(json::accept(line) || line.find_first_of("eE") != std::string::npos, "of JSON: " + line);
    });
  } catch (const SpoolError& error) {
    must(!error.code().empty(), "an error has a code");
  }
}

}  // namespace

// `f` and a whole file; or the schema's version, rows, a line `%%`, and what is overwritten in the file.
FUZZ_TARGET(spool) {
  static const Folder temporary;
  const fs::path folder = temporary.path / "spool";
  fs::remove_all(folder);
  fs::create_directory(folder);
  const Options options = options_in(folder);
  Input in(bytes);
  const bool whole_file = bytes.starts_with('f');
  std::size_t rows = 0;
  bool damaged = false;
  if (whole_file) {
    in.letter();
    std::ofstream(folder / "00000000000001-1-00000000.spool", std::ios::binary) << in.rest();
    damaged = true;
  } else {
    rows = write_rows(in, options);
    damaged = damage(in, folder);
  }
  look_at(folder);
  const std::size_t before = files_in(folder);
  const std::vector<std::string> first = adopt(options);
  if (!damaged) must(first.size() <= rows, "no event comes from nowhere");
  if (!damaged && rows > 0) must(files_in(folder) >= before, "a file with events is not lost");
  const std::vector<std::string> second = adopt(options);
  must(first == second, "what was not delivered is there the next time");
  look_at(folder);
}

}  // namespace intilery::fuzz
