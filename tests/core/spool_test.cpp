// The spool: real files, real processes, the sandbox over a real socket.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "queue/spool_folder.hpp"
#include "sandbox_test.hpp"

namespace intilery {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

/// A small file system of its own, which only this thread and its children see.
class SmallDisk {
 public:
  SmallDisk(const fs::path& folder, const std::string& options) : folder_(folder) {
    fs::create_directories(folder);
    mounted_ = unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               mount("tmpfs", folder.c_str(), "tmpfs", 0, options.c_str()) == 0;
    if (!mounted_) why_ = std::strerror(errno);
  }
  ~SmallDisk() {
    if (mounted_) umount2(folder_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  const std::string& why() const { return why_; }
  bool make_read_only() const { return mount(nullptr, folder_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0; }

 private:
  const fs::path folder_;
  bool mounted_ = false;
  std::string why_;
};

#define INTILERY_SKIP_WITHOUT(disk) \
  if (!(disk).mounted()) GTEST_SKIP() << "no file system can be mounted here: " << (disk).why()

class SpoolTest : public SandboxTest {
 protected:
  explicit SpoolTest(intilery::testing::SandboxOptions given = {.rate_limit = 0}) : SandboxTest(std::move(given)) {
    std::string name = (fs::temp_directory_path() / "intilery-spool-XXXXXX").string();
    folder = mkdtemp(name.data());
    folder /= "spool";
  }
  ~SpoolTest() override { fs::remove_all(folder.parent_path()); }

  Options options() const {
    Options options = SandboxTest::options();
    options.spool_path = folder.string();
    return options;
  }
  /// A client whose events stay where they are: its token has no rights, so delivery pauses.
  Options waiting_options() const {
    Options options = this->options();
    options.auth_token = "wrong";
    options.exit_timeout = 1ms;
    return options;
  }
  /// Runs a client in a process of its own, which ends by SIGKILL once `calls` have returned.
  template <class Calls>
  void in_killed_process(const Options& options, Calls calls) const {
    const pid_t child = fork();
    if (child == 0) {
      auto* client = new Client(options);
      calls(*client);
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  /// Closes the client. \returns how many events it delivered.
  static std::uint64_t finish(Client& client) {
    EXPECT_EQ(client.close(20s).remaining, 0u);
    return client.stats().delivered;
  }
  std::vector<std::string> files(const std::string& extension) const {
    std::vector<std::string> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == extension) found.push_back(entry.path().string());
    }
    return found;
  }
  static std::vector<std::string> rows(const std::string& path, const char* sql) {
    std::vector<std::string> rows;
    sqlite3* db = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    EXPECT_EQ(sqlite3_open_v2(path.c_str(), &db, flags, nullptr), SQLITE_OK);
    const auto add = [](void* to, int count, char** values, char**) {
      std::string row;
      for (int i = 0; i < count; ++i) row += (i > 0 ? "|" : "") + std::string(values[i] == nullptr ? "" : values[i]);
      static_cast<std::vector<std::string>*>(to)->push_back(row);
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(db, sql, add, &rows, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
    return rows;
  }

  fs::path folder;
};

TEST_F(SpoolTest, WhatAnEarlierClientLeftSortsFirstAlsoIfTheClockWasSetBackSince) {
  in_killed_process(waiting_options(), [](Client& client) { client.track("u", "Earlier"); });
  const fs::path left = files(".spool").at(0);
  const std::string tomorrow = std::to_string(std::stoll(left.filename().string()) + 86'400'000);
  const fs::path later = folder / (std::string(14 - tomorrow.size(), '0') + tomorrow + "-1-00000000.spool");
  fs::rename(left, later);
  fs::rename(left.string() + "-wal", later.string() + "-wal");
  Client client(waiting_options());
  const std::vector<std::string> both = files(".spool");
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(*std::min_element(both.begin(), both.end()), later.string());
}

TEST_F(SpoolTest, WhatWasDeliveredLeavesNoFile) {
  {
    Client client(options());
    ASSERT_EQ(files(".spool").size(), 1u);
    struct stat about{};
    ASSERT_EQ(stat(files(".spool")[0].c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777, 0600u);
    for (int i = 0; i < 100; ++i) client.track("u", "Step", {{"number", i}});
    EXPECT_EQ(finish(client), 100u);
  }
  EXPECT_TRUE(fs::is_empty(folder));
  EXPECT_EQ(sandbox.event_count(), 100u);
}

TEST_F(SpoolTest, WhatAKilledProcessLeftIsDeliveredInOrder) {
  for (const SpoolSync sync : {SpoolSync::process, SpoolSync::power}) {
    sandbox.clear();
    Options doomed = waiting_options();
    doomed.spool_sync = sync;
    in_killed_process(doomed, [](Client& client) {
      client.identify("user-0", {{"city", "Bath"}});
      for (int i = 0; i < 300; ++i) client.track("user-" + std::to_string(i % 3), "Step", {{"number", i}});
      client.send_email("user-1", "a-7", {{"code", "1234"}});
    });
    Client client(options());
    for (int i = 300; i < 330; ++i) client.track("user-" + std::to_string(i % 3), "Step", {{"number", i}});
    EXPECT_EQ(finish(client), 332u);
    std::map<std::string, int> last;
    std::set<std::string> ids;
    for (const json& event : events()) {
      EXPECT_TRUE(ids.insert(event["rawData"]["messageId"]).second);
      if (event["rawData"]["event"] != "Step") continue;
      const int number = event["rawData"]["properties"]["number"];
      int& previous = last.try_emplace(event["userId"], -1).first->second;
      EXPECT_LT(previous, number);
      previous = number;
    }
    EXPECT_EQ(ids.size(), 332u);
    EXPECT_TRUE(files(".spool").empty());
  }
}

TEST_F(SpoolTest, EveryEventWhoseCallReturnedArrivesAfterAKill) {
  constexpr int kills = 3;  // `make campaign` does it 1,000 times
  Options fast = options();
  fast.rate_limit = fast.burst = 1e6;
  std::mt19937 chance(7);
  std::set<int> accepted;
  for (int kill_number = 0; kill_number < kills; ++kill_number) {
    std::array<int, 2> ledger{};
    ASSERT_EQ(pipe(ledger.data()), 0);
    const int first = accepted.empty() ? 0 : *accepted.rbegin() + 10;
    const pid_t child = fork();
    if (child == 0) {
      auto* client = new Client(fast);
      for (int number = first;; ++number) {
        client->track("user-" + std::to_string(number % 7), "Step", {{"number", number}});
        if (write(ledger[1], &number, sizeof number) != sizeof number) _exit(1);
        if (number % 20 == 0) std::this_thread::sleep_for(1ms);
      }
    }
    close(ledger[1]);
    const std::chrono::milliseconds life(chance() % 60);
    std::optional<std::thread> killer;  // once the first call has returned: before, there is nothing to lose
    for (int number = 0; read(ledger[0], &number, sizeof number) == sizeof number;) {
      accepted.insert(number);
      if (killer) continue;
      killer.emplace([=] {
        std::this_thread::sleep_for(life);
        kill(child, SIGKILL);
      });
    }
    ASSERT_TRUE(killer) << "the child ended by itself";
    killer->join();
    close(ledger[0]);
    waitpid(child, nullptr, 0);
  }
  Client client(options());
  finish(client);
  std::map<int, std::string> arrived;
  std::map<std::string, int> last;
  for (const json& event : events()) {
    const int number = event["rawData"]["properties"]["number"];
    const auto [place, is_new] = arrived.try_emplace(number, event["rawData"]["messageId"]);
    EXPECT_EQ(place->second, event["rawData"]["messageId"]) << "a second copy must have the same message id";
    if (!is_new) continue;
    int& previous = last.try_emplace(event["userId"], -1).first->second;
    EXPECT_LT(previous, number) << "out of order";
    previous = number;
  }
  for (const int number : accepted) EXPECT_TRUE(arrived.contains(number)) << number;
  EXPECT_LE(arrived.size(), accepted.size() + static_cast<std::size_t>(kills));
  EXPECT_TRUE(files(".spool").empty());
}

TEST_F(SpoolTest, WhatACloseLeftGoesWithTheNextClient) {
  Client first(waiting_options());
  const Delivery delivery = first.track("u", "Login");
  const Flush flush = first.close(50ms);
  EXPECT_EQ(flush.remaining, 1u);
  try {
    delivery.wait(1s);
    FAIL();
  } catch (const DeliveryError& error) {
    EXPECT_NE(std::string(error.what()).find("spool"), std::string::npos) << error.what();
  }
  Client second(options());
  EXPECT_EQ(finish(second), 1u);
  EXPECT_EQ(events()[0]["rawData"]["messageId"], delivery.message_id());
  EXPECT_TRUE(files(".spool").empty());
}

TEST_F(SpoolTest, ALivingClientKeepsItsEvents) {
  Client first(waiting_options());
  first.track("u", "Login");
  Client second(options());
  EXPECT_EQ(second.stats().accepted, 0u);
  EXPECT_EQ(finish(second), 0u);
  EXPECT_EQ(files(".spool").size(), 1u);
  first.set_auth_token("sandbox-token");
  EXPECT_EQ(finish(first), 1u);
}

TEST_F(SpoolTest, AnotherBrandsEventsAreLeftAlone) {
  Options other = waiting_options();
  other.brand_id = "HEB";
  in_killed_process(other, [](Client& client) { client.track("u", "Login"); });
  Client client(options());
  EXPECT_EQ(finish(client), 0u);
  EXPECT_EQ(files(".spool").size(), 1u);
}

TEST_F(SpoolTest, AFailedEventBecomesADeadLetter) {
  sandbox.set_faults(R"([{"status": 400, "times": 1}])");
  Client client(options());
  const Delivery delivery = client.track("u", "Login", {{"quote", "\"'"}});
  EXPECT_THROW(delivery.wait(5s), DeliveryError);
  client.close(5s);
  EXPECT_TRUE(files(".spool").empty());
  const std::vector<std::string> letters =
      rows((folder / "dead_letters.sqlite").string(),
           "SELECT json_extract(event, '$.messageId'), reason, status, attempts, failed_at > '2020' FROM dead_letters");
  EXPECT_EQ(letters, std::vector<std::string>{delivery.message_id() + "|rejected|400|1|1"});
}

TEST_F(SpoolTest, AFullSpoolRefusesAtTheCallAndKeepsTheRest) {
  Options small = waiting_options();
  small.spool_max_bytes = 100'000;
  int accepted = 0;
  {
    Client client(small);
    EXPECT_THROW(
        {
          for (;; ++accepted) client.track("u", "Step", {{"text", std::string(1'000, 'x')}});
        },
        SpoolError);
    EXPECT_GT(accepted, 20);
    EXPECT_LT(accepted, 100);
    EXPECT_EQ(client.stats().queued, static_cast<std::uint64_t>(accepted));
  }
  Client client(options());
  EXPECT_EQ(finish(client), static_cast<std::uint64_t>(accepted));
}

TEST_F(SpoolTest, AFullDiskLosesNothingThatWasAccepted) {
  // A limit on the size of files is a disk that is full half-way: writes fail.
  const fs::path count = folder.parent_path() / "accepted";
  in_killed_process(waiting_options(), [&](Client& client) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{2'000'000, 2'000'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    int accepted = 0;
    for (int i = 0; i < 1'000; ++i) {
      try {
        client.track("u", "Step", {{"number", i}, {"text", std::string(1'000, 'x')}});
        ++accepted;
      } catch (const SpoolError&) {
      }
    }
    std::ofstream(count) << accepted;
  });
  int accepted = 0;
  std::ifstream(count) >> accepted;
  EXPECT_GT(accepted, 50);
  EXPECT_LT(accepted, 1'000);
  Client client(options());
  EXPECT_EQ(finish(client), static_cast<std::uint64_t>(accepted));
  std::set<int> numbers;
  for (const json& event : events()) numbers.insert(event["rawData"]["properties"]["number"].get<int>());
  EXPECT_EQ(numbers.size(), static_cast<std::size_t>(accepted));
}

TEST_F(SpoolTest, ADamagedFileIsSetAsideAndWhatIsReadableGoesOn) {
  Options doomed = waiting_options();
  in_killed_process(doomed, [](Client& client) {
    for (int i = 0; i < 5'000; ++i) client.track("u", "Step", {{"number", i}});
  });
  const std::string path = files(".spool").at(0);
  rows(path, "PRAGMA wal_checkpoint(TRUNCATE)");
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2));
    file << std::string(20'000, '\xff');
  }
  Client client(options());
  const std::uint64_t delivered = finish(client);
  EXPECT_GT(delivered, 1'000u);
  EXPECT_LT(delivered, 5'000u);
  EXPECT_EQ(files(".damaged").size(), 1u);
  EXPECT_TRUE(files(".spool").empty());
}

TEST_F(SpoolTest, ADamagedFileNeverCrashesAClientAndIsKept) {
  in_killed_process(waiting_options(), [](Client& client) {
    for (int i = 0; i < 300; ++i) client.track("u", "Step", {{"number", i}});
  });
  const std::string path = files(".spool").at(0);
  rows(path, "PRAGMA wal_checkpoint(TRUNCATE)");
  std::string whole;
  {
    std::ifstream file(path, std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(file), {});
  }
  fs::remove_all(folder);
  std::mt19937 chance(7);
  int set_aside = 0;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(round);
    sandbox.clear();
    fs::create_directories(folder);
    std::string damaged = whole;
    if (round % 3 == 0) {
      damaged.resize(chance() % whole.size());
    } else {
      for (unsigned i = 0; i < 1 + chance() % 300; ++i)
        damaged[chance() % whole.size()] ^= static_cast<char>(1 << (chance() % 8));
    }
    std::ofstream(path, std::ios::binary) << damaged;
    Options hasty = options();
    hasty.delivery_timeout = 50ms;  // a damaged brand may be a right name that nobody has
    hasty.retry_max = 10ms;
    Client client(hasty);
    client.track("own", "Login").wait(5s);
    EXPECT_EQ(client.close(5s).remaining, 0u);
    EXPECT_LE(sandbox.event_count(), 301u);
    // Nothing vanishes: each event has arrived or is a dead letter, or the file is there still.
    if (!files(".damaged").empty()) ++set_aside;
    const std::size_t letters =
        fs::exists(folder / "dead_letters.sqlite")
            ? std::stoul(rows((folder / "dead_letters.sqlite").string(), "SELECT count(*) FROM dead_letters").at(0))
            : 0;
    const bool all = sandbox.event_count() + letters == 301;
    EXPECT_TRUE(all || fs::exists(path) || fs::exists(path + ".damaged")) << sandbox.event_count() << " " << letters;
    fs::remove_all(folder);
  }
  EXPECT_GT(set_aside, 20);
}

TEST_F(SpoolTest, AnEventKeepsItsBrandAndItsOrderInIt) {
  testing::Sandbox brands({.brand_ids = {"HEA", "HEB"}, .rate_limit = 0});
  Options doomed = waiting_options();
  doomed.endpoint = brands.url();
  in_killed_process(doomed, [](Client& client) {
    client.brand("HEC");  // numbers are a client's own
    Client heb = client.brand("HEB");
    for (int i = 0; i < 100; ++i) (i % 2 == 0 ? client : heb).track("u", "Step", {{"number", i}});
  });
  Options own = options();
  own.endpoint = brands.url();
  Client client(own);
  Client heb = client.brand("HEB");
  for (int i = 100; i < 200; ++i) (i % 2 == 0 ? client : heb).track("u", "Step", {{"number", i}});
  EXPECT_EQ(finish(client), 200u);
  std::map<std::string, int> last{{"HEA", -2}, {"HEB", -1}};
  for (const json& event : json::parse(brands.events_json())) {
    int& previous = last.at(event["brandId"]);
    EXPECT_EQ(event["rawData"]["properties"]["number"], previous + 2) << event["brandId"];
    previous += 2;
  }
  EXPECT_EQ(last, (std::map<std::string, int>{{"HEA", 198}, {"HEB", 199}}));
  EXPECT_TRUE(files(".spool").empty());
}

TEST_F(SpoolTest, AFileOfVersion1IsRead) {
  fs::create_directories(folder);
  const std::string path = (folder / "01700000000000-1-00000000.spool").string();
  const json identity{"hea", "hea", "HEA", sandbox.url()};
  rows(path, R"(
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    BEGIN EXCLUSIVE;
    CREATE TABLE sender (identity TEXT NOT NULL);
    CREATE TABLE events (
      id INTEGER PRIMARY KEY,
      wire BLOB NOT NULL,            -- the event's JSON object without its closing brace
      lane INTEGER NOT NULL,
      id_size INTEGER NOT NULL,      -- bytes of the message id, which ends `wire` before a quote
      action INTEGER NOT NULL,
      flags INTEGER NOT NULL,
      called_unix_us INTEGER NOT NULL);
    COMMIT;)");
  rows(path, ("INSERT INTO sender (identity) VALUES ('" + identity.dump() + "')").c_str());
  rows(path, R"(
    INSERT INTO events (wire, lane, id_size, action, flags, called_unix_us) VALUES
      (CAST('{"userId":"u","event":"identify","traits":{"city":"Bath"},"timestamp":"2019-11-18T13:30:11.444Z","messageId":"m-1"' AS BLOB), 7, 3, 0, 4, 1574083811444000),
      (CAST('{"userId":"u","event":"Login","timestamp":"2019-11-18T13:30:11.445Z","messageId":"m-2"' AS BLOB), 7, 3, 1, 0, 1574083811445000);
    PRAGMA application_id = 1229870169;
    PRAGMA user_version = 1;)");
  Client client(options());
  EXPECT_EQ(finish(client), 2u);
  ASSERT_EQ(sandbox.event_count(), 2u);
  EXPECT_EQ(events()[0]["eventAction"], "identify");
  EXPECT_EQ(events()[0]["brandId"], "HEA");
  EXPECT_EQ(events()[1]["rawData"]["messageId"], "m-2");
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(SpoolTest, AFileWithAutoVacuumIsRead) {
  // As version 0.1.0 made it.
  fs::create_directories(folder);
  const std::string path = (folder / "01700000000000-1-00000000.spool").string();
  const json identity{"hea", "hea", "HEA", sandbox.url()};
  rows(path, R"(
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    BEGIN EXCLUSIVE;
    CREATE TABLE sender (identity TEXT NOT NULL);
    CREATE TABLE events (
      id INTEGER PRIMARY KEY,
      brand TEXT NOT NULL,
      wire BLOB NOT NULL,            -- the event's JSON object without its closing brace
      lane INTEGER NOT NULL,         -- hash of the user
      id_size INTEGER NOT NULL,      -- bytes of the message id, which ends `wire` before a quote
      action INTEGER NOT NULL,
      flags INTEGER NOT NULL,
      called_unix_us INTEGER NOT NULL);
    PRAGMA application_id = 1229870169;
    PRAGMA user_version = 2;
    COMMIT;)");
  rows(path, ("INSERT INTO sender (identity) VALUES ('" + identity.dump() + "')").c_str());
  rows(path, R"(
    WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < 1000)
    INSERT INTO events (wire, lane, id_size, action, flags, called_unix_us, brand)
      SELECT CAST('{"userId":"u","event":"Step","properties":{"number":' || n ||
                  '},"timestamp":"2019-11-18T13:30:11.445Z","messageId":"m-' || (1000 + n) || '"' AS BLOB),
             7, 6, 1, 0, 1574083811445000, 'HEA' FROM number;)");
  Client client(options());
  EXPECT_EQ(finish(client), 1'000u);
  const std::vector<json> arrived = events();
  ASSERT_EQ(arrived.size(), 1'000u);
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(arrived[i]["rawData"]["properties"]["number"], i + 1);
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(SpoolTest, BigEventsOfManyThreadsSurviveAKill) {
  for (const SpoolSync sync : {SpoolSync::process, SpoolSync::power}) {
    SCOPED_TRACE(sync == SpoolSync::power ? "power" : "process");
    sandbox.clear();
    Options doomed = waiting_options();
    doomed.spool_sync = sync;
    in_killed_process(doomed, [](Client& client) {
      std::vector<std::thread> threads;
      for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&client, t] {
          for (int i = 0; i < 20; ++i) {
            const std::string text(i % 2 == 0 ? 10 : 20'000 * (t + 1), static_cast<char>('a' + t));
            client.track("user-" + std::to_string(t), "Step", {{"number", i}, {"text", text}});
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
    });
    Client client(options());
    EXPECT_EQ(finish(client), 160u);
    std::map<std::string, int> next;
    for (const json& event : events()) {
      const json& properties = event["rawData"]["properties"];
      const int t = event["userId"].get<std::string>().back() - '0';
      const int i = properties["number"];
      EXPECT_EQ(i, next[event["userId"]]++);
      EXPECT_EQ(properties["text"], std::string(i % 2 == 0 ? 10 : 20'000 * (t + 1), static_cast<char>('a' + t)));
    }
  }
}

TEST_F(SpoolTest, AHalfMadeFileIsRemovedOnceItIsOld) {
  fs::create_directories(folder);
  const std::string old = (folder / "a.spool").string();
  const std::string empty = (folder / "b.spool").string();
  const std::string young = (folder / "c.spool").string();
  rows(old, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL");
  for (const std::string& path : {empty, young}) std::ofstream(path) << "";
  for (const std::string& path : {old, empty}) fs::last_write_time(path, fs::file_time_type::clock::now() - 2min);
  Client client(options());
  client.track("u", "Login").wait(5s);
  client.close(5s);
  EXPECT_EQ(files(".spool"), std::vector<std::string>{young});
  EXPECT_TRUE(files(".damaged").empty());
}

TEST_F(SpoolTest, AnotherProgramsDatabaseIsLeftAlone) {
  fs::create_directories(folder);
  const std::string path = (folder / "a.spool").string();
  for (const std::string version : {"0", "1", "2"}) {
    SCOPED_TRACE(version);
    rows(path,
         ("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1); PRAGMA user_version = " + version).c_str());
    fs::last_write_time(path, fs::file_time_type::clock::now() - 2min);
    Client client(options());
    client.track("u", "Login").wait(5s);
    client.close(5s);
    EXPECT_EQ(files(".spool"), std::vector<std::string>{path});
  }
  EXPECT_EQ(rows(path, "SELECT count(*) FROM t"), std::vector<std::string>{"3"});
}

TEST_F(SpoolTest, ARemovedFolderIsMadeAgainWithWhatItHeld) {
  const fs::path count = folder.parent_path() / "accepted";
  in_killed_process(waiting_options(), [&](Client& client) {
    int accepted = 0;
    for (; accepted < 10; ++accepted) client.track("u", "Step", {{"number", accepted}});
    fs::remove_all(folder);
    for (; !fs::exists(folder); ++accepted) client.track("u", "Step", {{"number", accepted}});
    for (int i = 0; i < 10; ++i) client.track("u", "Step", {{"number", accepted++}});
    std::ofstream(count) << accepted;
  });
  int accepted = 0;
  std::ifstream(count) >> accepted;
  EXPECT_GT(accepted, 20);
  Client client(options());
  EXPECT_EQ(finish(client), static_cast<std::uint64_t>(accepted));
}

TEST_F(SpoolTest, WhatACloseLeavesIsThereEvenIfTheFolderWasRemoved) {
  Client first(waiting_options());
  for (int i = 0; i < 10; ++i) first.track("u", "Login");
  fs::remove_all(folder);
  EXPECT_EQ(first.close(1ms).remaining, 10u);
  Client second(options());
  EXPECT_EQ(finish(second), 10u);
}

TEST_F(SpoolTest, AFolderThatCannotBeMadeAgainRefusesAtTheCall) {
  Client client(waiting_options());
  client.track("u", "Login");
  fs::remove_all(folder);
  std::ofstream(folder) << "a file";
  try {
    for (;;) client.track("u", "Login");
  } catch (const SpoolError& error) {
    EXPECT_EQ(error.code(), "spool_unusable");
  }
  const std::uint64_t accepted = client.stats().queued;
  client.set_auth_token("sandbox-token");
  EXPECT_EQ(finish(client), accepted) << "what was accepted is in memory, too";
  fs::remove(folder);
}

TEST_F(SpoolTest, AReadOnlyFolderIsAnErrorAtOnce) {
  const SmallDisk disk(folder, "size=2m");
  INTILERY_SKIP_WITHOUT(disk);
  ASSERT_TRUE(disk.make_read_only());
  try {
    Client client(options());
    FAIL();
  } catch (const SpoolError& error) {
    EXPECT_EQ(error.code(), "spool_unusable");
    EXPECT_NE(std::string(error.what()).find("Read-only"), std::string::npos) << error.what();
  }
}

TEST_F(SpoolTest, AFullFileSystemLosesNothingAndOnceItHasRoomGoesOn) {
  for (const SpoolSync sync : {SpoolSync::process, SpoolSync::power}) {
    sandbox.clear();
    const SmallDisk disk(folder, "size=4m");
    INTILERY_SKIP_WITHOUT(disk);
    const fs::path ledger = folder.parent_path() / "accepted";
    Options doomed = waiting_options();
    doomed.spool_sync = sync;
    in_killed_process(doomed, [&](Client& client) {
      const fs::path ballast = folder / "ballast";
      std::ofstream(ballast) << std::string(2'000'000, 'x');
      std::ofstream accepted(ledger);
      int number = 0;
      const auto fill = [&](int refusals) {
        while (refusals > 0) {
          try {
            client.track("u", "Step", {{"number", number}, {"text", std::string(1'000, 'x')}});
            accepted << number << ' ';
          } catch (const SpoolError& error) {
            if (error.code() != "spool_full") _exit(1);
            --refusals;
          }
          ++number;
        }
      };
      fill(50);
      accepted << "-1 ";  // the disk gets room
      fs::remove(ballast);
      fill(50);
    });
    std::ifstream accepted(ledger);
    std::vector<int> before;
    std::vector<int> after;
    bool has_room = false;
    for (int number = 0; accepted >> number;) {
      if (number == -1) {
        has_room = true;
      } else {
        (has_room ? after : before).push_back(number);
      }
    }
    EXPECT_GT(before.size(), 20u);
    EXPECT_GT(after.size(), 20u);
    before.insert(before.end(), after.begin(), after.end());
    Client client(options());
    finish(client);
    std::vector<int> arrived;
    for (const json& event : events()) arrived.push_back(event["rawData"]["properties"]["number"]);
    EXPECT_EQ(arrived, before);
    EXPECT_TRUE(files(".spool").empty());
  }
}

TEST_F(SpoolTest, AFileSystemThatTheSpoolItselfFilledGetsRoomByDelivery) {
  const SmallDisk disk(folder, "size=2m");
  INTILERY_SKIP_WITHOUT(disk);
  Client client(waiting_options());
  std::uint64_t accepted = 0;
  for (int round = 0; round < 3; ++round) {
    client.set_auth_token("wrong");
    try {
      for (;; ++accepted) client.track("u", "Step", {{"text", std::string(1'000, 'x')}});
    } catch (const SpoolError& error) {
      EXPECT_EQ(error.code(), "spool_full");
    }
    client.set_auth_token("sandbox-token");
    EXPECT_EQ(client.flush(20s).remaining, 0u);
    EXPECT_EQ(client.stats().delivered, accepted);
    EXPECT_GT(accepted, 100u * static_cast<unsigned>(round + 1));
  }
  client.close(5s);
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(SpoolTest, AForeignOrNewerFileIsLeftOrSetAside) {
  fs::create_directories(folder);
  std::ofstream(folder / "a.spool") << std::string(10'000, 'x');
  rows((folder / "b.spool").string(), "PRAGMA user_version = 99; CREATE TABLE t (x)");
  Client client(options());
  client.track("u", "Login").wait(5s);
  client.close(5s);
  EXPECT_EQ(files(".damaged").size(), 1u);
  EXPECT_EQ(files(".spool"), std::vector<std::string>{(folder / "b.spool").string()});
}

TEST_F(SpoolTest, AFolderThatCannotBeIsAnErrorAtOnce) {
  Options wrong = options();
  wrong.spool_path = "/dev/null/spool";
  EXPECT_THROW(Client client(wrong), SpoolError);
}

TEST_F(SpoolTest, TheFileStaysSmallWhileEventsComeAndGo) {
  Options fast = options();
  fast.rate_limit = fast.burst = 1e6;
  Client client(fast);
  const auto size = [&] {
    std::uintmax_t bytes = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) bytes += entry.file_size();
    return bytes;
  };
  std::uintmax_t largest = 0;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 10'000; ++i) client.track("u-" + std::to_string(i % 100), "Step", {{"number", i}});
    largest = std::max(largest, size());
    EXPECT_EQ(client.flush(20s).remaining, 0u);
    EXPECT_LT(size(), 1'000'000u) << "all of it is delivered";
  }
  EXPECT_LT(largest, 10'000'000u) << "of 50,000 events that went through";
}

TEST_F(SpoolTest, ManyThreadsShareAnFsync) {
  Options safe = options();
  safe.spool_sync = SpoolSync::power;
  Client client(safe);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&client, t] {
      for (int i = 0; i < 50; ++i) client.track("user-" + std::to_string(t), "Step", {{"number", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client.close(20s).remaining, 0u);
  EXPECT_EQ(sandbox.event_count(), 400u);
}

/// A client in a process of its own, which lives until this ends.
class Neighbour {
 public:
  template <class Calls>
  Neighbour(const Options& options, Calls calls) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw std::runtime_error("pipe");
    process_ = fork();
    if (process_ == 0) {
      Client client(options);
      calls(client);
      static_cast<void>(write(ends[1], "!", 1));
      for (;;) pause();
    }
    char ready = 0;
    static_cast<void>(read(ends[0], &ready, 1));
    for (const int end : ends) close(end);
  }
  ~Neighbour() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;
  pid_t process() const { return process_; }

 private:
  pid_t process_ = 0;
};

class SpoolFolderTest : public SpoolTest {
 protected:
  SpoolFolderTest() : SpoolTest({.brand_ids = {"HEA", "HEB"}, .rate_limit = 0}) {}

  /// Leaves a dead letter for each user, of the reason `rejected`.
  void bury(const std::vector<std::string>& users, const std::string& brand = "HEA") {
    sandbox.set_faults(json::array({{{"status", 400}}}).dump());
    Client client(options());
    Client view = client.brand(brand);
    for (const std::string& user : users) view.track(user, "Secret", {}, {.message_id = "id-" + user});
    EXPECT_EQ(finish(client), 0u);
    sandbox.set_faults("[]");
    sandbox.clear();
  }
  static std::vector<json> exported(const fs::path& folder, const queue::LetterFilter& filter = {},
                                    bool waiting = false) {
    std::vector<json> lines;
    EXPECT_TRUE(queue::export_spool(folder, filter, waiting, [&](const std::string& line) {
                  lines.push_back(json::parse(line));
                }).empty());
    return lines;
  }
};

TEST_F(SpoolFolderTest, AFolderIsLookedAtBesideALivingClientThatGoesOn) {
  in_killed_process(waiting_options(), [](Client& client) { client.track("u", "Left"); });
  Options others = waiting_options();
  others.account_id = "other";
  {
    const Neighbour neighbour(others, [](Client& client) {
      for (int i = 0; i < 3; ++i) client.track("u", "Secret", {{"card", "4111"}});
    });
    const json status = queue::spool_status(folder);
    ASSERT_EQ(status["files"].size(), 2u);
    const json& gone = status["files"][0];
    EXPECT_EQ(gone["held"], false);
    EXPECT_EQ(gone["pid"], nullptr);
    EXPECT_EQ(gone["events"], 1);
    EXPECT_EQ(gone["account"], json::array({"hea", "hea", "HEA", sandbox.url()}));
    const json& living = status["files"][1];
    EXPECT_EQ(living["held"], true);
    EXPECT_EQ(living["pid"], neighbour.process());
    EXPECT_EQ(living["events"], 3);
    EXPECT_EQ(living["state"], "ok");
    EXPECT_TRUE(living["oldest"].is_string());
    EXPECT_EQ(status.dump().find("4111"), std::string::npos);
    EXPECT_EQ(exported(folder, {}, true).size(), 4u);
    // What looks does not keep a client from taking over what was left.
    Client next(options());
    EXPECT_EQ(finish(next), 1u);
  }
  EXPECT_EQ(queue::spool_status(folder)["files"][0]["held"], false);
}

TEST_F(SpoolFolderTest, ABigSpoolIsReadWholeWhileItsClientWrites) {
  const Neighbour neighbour(waiting_options(), [](Client& client) {
    for (int i = 0; i < 20'000; ++i) client.track("u", "Step", {{"number", i}});
    std::thread([&client] {
      for (;;) {
        client.track("u", "More");
        std::this_thread::sleep_for(200us);
      }
    }).detach();
  });
  for (int i = 0; i < 5; ++i) {
    const json file = queue::spool_status(folder)["files"][0];
    EXPECT_EQ(file["state"], "ok") << file;
    EXPECT_GE(file["events"], 20'000) << file;
  }
}

TEST_F(SpoolFolderTest, WhatIsDeliveredIsTakenOutWhileCallsGoOnAndAfterTheLast) {
  Options fast = options();
  fast.rate_limit = fast.burst = 1e6;
  const auto waiting = [&] { return queue::spool_status(folder).at("files").at(0).at("events").get<std::size_t>(); };
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  {
    const Neighbour busy(fast, [](Client& client) {
      client.track("u", "Step").wait(20s);
      std::thread([&client] {
        // So close together that rows wait to be taken out, and so many that they would pile up.
        for (;;) {
          client.track("u", "Step");
          do {
            std::this_thread::sleep_for(50us);
          } while (client.stats().queued > 1'000);
        }
      }).detach();
    });
    // All that has arrived would be there still.
    for (std::size_t arrived = 0; arrived < 3'000 || 2 * waiting() >= arrived; arrived = sandbox.event_count()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    }
  }
  fs::remove_all(folder);
  const Neighbour done(fast, [](Client& client) {
    for (int i = 0; i < 1'000; ++i) client.track("u", "Step");
    client.flush(20s);
  });
  while (waiting() > 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
}

TEST_F(SpoolFolderTest, FilesThatAreNoneOfOursAreNamedSo) {
  Client(options()).close(1s);
  std::ofstream(folder / "a.spool") << "no database at all";
  std::ofstream(folder / "b.spool.damaged") << "set aside";
  std::ofstream(folder / "c.spool");
  rows((folder / "d.spool").string(), "PRAGMA user_version = 99; PRAGMA application_id = 1229870169");
  rows((folder / "e.spool").string(), "CREATE TABLE x (y); PRAGMA user_version = 1");
  const json status = queue::spool_status(folder);
  std::map<std::string, std::string> states;
  for (const json& file : status["files"]) states[file["file"]] = file["state"];
  EXPECT_EQ(states,
            (std::map<std::string, std::string>{
                {"a.spool", "damaged"}, {"c.spool", "unfinished"}, {"d.spool", "newer"}, {"e.spool", "other"}}));
  EXPECT_EQ(status["damaged"], json::array({{{"file", "b.spool.damaged"}, {"bytes", 9}}}));
  EXPECT_EQ(queue::purge_spool(folder, {}, true)["waiting"], 0);
  EXPECT_TRUE(fs::exists(folder / "e.spool"));
  EXPECT_THROW(queue::spool_status(folder / "nowhere"), SpoolError);
}

TEST_F(SpoolFolderTest, DeadLettersAreCountedByReasonAndExportedWithBrandAndReason) {
  bury({"a"});
  bury({"b"}, "HEB");
  const json letters = queue::spool_status(folder)["dead_letters"];
  EXPECT_EQ(letters["count"], 2);
  EXPECT_EQ(letters["reasons"], json({{"rejected", 2}}));
  const std::vector<json> lines = exported(folder);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["event"]["userId"], "a");
  EXPECT_EQ(lines[1]["brand"], "HEB");
  EXPECT_EQ(lines[1]["reason"], "rejected");
  EXPECT_EQ(lines[1]["status"], 400);
  EXPECT_EQ(exported(folder, {.reason = {}, .user_id = "b", .message_id = {}}).size(), 1u);
  EXPECT_EQ(exported(folder, {.reason = {}, .user_id = {}, .message_id = "id-a"}).size(), 1u);
  EXPECT_EQ(exported(folder, {.reason = "expired", .user_id = {}, .message_id = {}}).size(), 0u);
}

TEST_F(SpoolFolderTest, ARetriedDeadLetterIsSentByTheNextClientUnderItsIdAndBrand) {
  bury({"a", "b"});
  bury({"c"}, "HEB");
  EXPECT_EQ(queue::retry_spool(folder, {.reason = {}, .user_id = "a", .message_id = {}}).moved, 1u);
  EXPECT_EQ(queue::spool_status(folder)["dead_letters"]["count"], 2);
  EXPECT_EQ(queue::retry_spool(folder, {}).moved, 2u);
  EXPECT_EQ(queue::spool_status(folder)["dead_letters"]["count"], 0);
  Client next(options());
  EXPECT_EQ(finish(next), 3u);
  std::map<std::string, std::string> brands;
  for (const json& event : events()) brands[event["rawData"]["messageId"]] = event["brandId"];
  EXPECT_EQ(brands, (std::map<std::string, std::string>{{"id-a", "HEA"}, {"id-b", "HEA"}, {"id-c", "HEB"}}));
  EXPECT_TRUE(files(".spool").empty());
}

TEST_F(SpoolFolderTest, AnotherAccountsClientLeavesARetriedDeadLetterAlone) {
  bury({"a"});
  queue::retry_spool(folder, {});
  Options others = waiting_options();
  others.account_id = "other";
  Client(others).close(1ms);
  EXPECT_EQ(queue::spool_status(folder)["files"][0]["events"], 1);
}

TEST_F(SpoolFolderTest, ADeadLetterOfAnOlderVersionStaysAndIsTold) {
  fs::create_directories(folder);
  const std::string path = (folder / "dead_letters.sqlite").string();
  rows(path,
       "CREATE TABLE dead_letters (id INTEGER PRIMARY KEY, event TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT "
       "NULL, status INTEGER NOT NULL, attempts INTEGER NOT NULL, failed_at TEXT NOT NULL)");
  rows(path, "INSERT INTO dead_letters VALUES (1, '{\"userId\":\"old\"}', 'rejected', 'why', 400, 1, '2026-01-01')");
  bury({"new"});
  const queue::DeadLetters::Retried retried = queue::retry_spool(folder, {});
  EXPECT_EQ(retried.moved, 1u);
  EXPECT_EQ(retried.unknown_sender, 1u);
  EXPECT_EQ(exported(folder).at(0)["event"]["userId"], "old");
}

TEST_F(SpoolFolderTest, PurgeDeletesDeadLettersAndWhatWaitsOnlyIfToldAndIfNobodyHasIt) {
  bury({"a", "b"});
  in_killed_process(waiting_options(), [](Client& client) { client.track("u", "Left"); });
  Options others = waiting_options();
  others.account_id = "other";
  const Neighbour neighbour(others, [](Client& client) { client.track("u", "Kept"); });
  EXPECT_EQ(queue::purge_spool(folder, {.reason = {}, .user_id = "a", .message_id = {}}, false)["dead_letters"], 1);
  const json first = queue::purge_spool(folder, {}, false);
  EXPECT_EQ(first["dead_letters"], 1);
  EXPECT_EQ(first["waiting"], 0);
  const json second = queue::purge_spool(folder, {}, true);
  EXPECT_EQ(second["waiting"], 1);
  ASSERT_EQ(second["held"].size(), 1u);
  EXPECT_EQ(second["held"][0]["pid"], neighbour.process());
  EXPECT_EQ(files(".spool").size(), 1u);
  EXPECT_EQ(queue::spool_status(folder)["files"][0]["events"], 1);
}

}  // namespace
}  // namespace intilery
