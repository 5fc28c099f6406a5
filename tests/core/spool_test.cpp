// The spool: real files, real processes, the sandbox over a real socket.
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "sandbox_test.hpp"

namespace intilery {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

class SpoolTest : public SandboxTest {
 protected:
  SpoolTest() {
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
  // `make faults` kills 200 times.
  const char* const chosen = std::getenv("INTILERY_KILLS");
  const int kills = chosen == nullptr ? 3 : std::stoi(chosen);
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
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 1'000; ++i) client.track("u", "Step", {{"text", std::string(1'000, 'x')}});
    EXPECT_EQ(client.flush(20s).remaining, 0u);
  }
  std::uintmax_t size = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) size += entry.file_size();
  EXPECT_LT(size, 6'000'000u) << "of 10 MB that went through";
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

}  // namespace
}  // namespace intilery
