// What the spool adds to a call, and how many calls a second share the disk with `power`; beside SQLite alone.
//
//   build/bench/bench/cpp/bench_spool [--json] [--quick] [--folder DIR]
//
// The folder should be on the disk in question; default: the system's for temporary files.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <intilery/intilery.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "payload.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

/// A server in a process of its own that accepts everything and looks at nothing.
class NullServer {
 public:
  NullServer() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no loopback port");
    }
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) {
        const int connection = accept(listener, nullptr, nullptr);
        if (connection >= 0) std::thread(answer, connection).detach();
      }
    }
    close(listener);
  }
  ~NullServer() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  NullServer(const NullServer&) = delete;
  NullServer& operator=(const NullServer&) = delete;
  const std::string& url() const { return url_; }

 private:
  static void answer(int connection) {
    constexpr std::string_view body = R"({"success":true,"eventId":"00000000-0000-4000-8000-000000000000"})";
    const std::string reply =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " + std::to_string(body.size()) +
        "\r\n\r\n" + std::string(body);
    const int on = 1;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::string head;
    std::vector<char> buffer(1 << 20);
    std::size_t to_skip = 0;
    bool in_body = false;
    for (;;) {
      const ssize_t got = read(connection, buffer.data(), buffer.size());
      if (got <= 0) break;
      std::string_view rest(buffer.data(), static_cast<std::size_t>(got));
      while (!rest.empty()) {
        if (!in_body) {
          const std::size_t before = head.size();
          head += rest;
          const std::size_t end = head.find("\r\n\r\n");
          if (end == std::string::npos) break;
          rest.remove_prefix(end + 4 - before);
          for (char& c : head) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
          const std::size_t length = head.find("content-length:");
          to_skip = length > end ? 0 : std::stoul(head.substr(length + 15));
          head.clear();
          in_body = true;
        }
        const std::size_t skipped = std::min(to_skip, rest.size());
        rest.remove_prefix(skipped);
        to_skip -= skipped;
        if (to_skip > 0) continue;
        in_body = false;
        if (write(connection, reply.data(), reply.size()) < 0) break;
      }
    }
    close(connection);
  }

  std::string url_;
  pid_t process_ = 0;
};

class Folder {
 public:
  explicit Folder(const fs::path& parent) {
    std::string name = (parent / "intilery-bench-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder can be made in " + parent.string());
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path path;
};

/// What calls cost, in microseconds.
struct Cost {
  double mean = 0;
  double cpu = 0;  ///< Of the caller's thread.
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
};

double us(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

double thread_cpu_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

template <class Call>
Cost measure(int calls, Call call) {
  std::vector<double> each;
  each.reserve(static_cast<std::size_t>(calls));
  const double cpu = thread_cpu_us();
  const Clock::time_point start = Clock::now();
  Clock::time_point last = start;
  for (int i = 0; i < calls; ++i) {
    call(i);
    const Clock::time_point now = Clock::now();
    each.push_back(us(now - last));
    last = now;
  }
  const double cpu_end = thread_cpu_us();
  std::sort(each.begin(), each.end());
  const auto at = [&](double part) { return each[static_cast<std::size_t>(part * (calls - 1))]; };
  return {us(last - start) / calls, (cpu_end - cpu) / calls, at(0.5), at(0.99), at(0.999)};
}

/// Others' work on the machine only ever adds.
void keep_best(Cost& best, const Cost& cost) {
  for (double Cost::* const figure : {&Cost::mean, &Cost::cpu, &Cost::p50, &Cost::p99, &Cost::p999}) {
    if (best.*figure == 0 || cost.*figure < best.*figure) best.*figure = cost.*figure;
  }
}

/// One INSERT a transaction, as plain as can be.
Cost sqlite_alone(const fs::path& parent, const std::string& synchronous, int calls) {
  const Folder folder(parent);
  sqlite3* db = nullptr;
  sqlite3_open((folder.path / "db").c_str(), &db);
  sqlite3_exec(db,
               ("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = " + synchronous +
                "; CREATE TABLE events (id INTEGER PRIMARY KEY, wire BLOB)")
                   .c_str(),
               nullptr, nullptr, nullptr);
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v3(db, "INSERT INTO events (wire) VALUES (?)", -1, SQLITE_PREPARE_PERSISTENT, &insert, nullptr);
  const std::string wire(600, 'x');  // an event with its envelope
  const Cost cost = measure(calls, [&](int) {
    sqlite3_bind_blob64(insert, 1, wire.data(), wire.size(), SQLITE_STATIC);
    if (sqlite3_step(insert) != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(db));
    sqlite3_reset(insert);
  });
  sqlite3_finalize(insert);
  sqlite3_close(db);
  return cost;
}

intilery::Options options(const NullServer& server) {
  return {.client_id = "hea",
          .account_id = "hea",
          .brand_id = "HEA",
          .auth_token = "t",
          .endpoint = server.url(),
          .rate_limit = 1e6,
          .burst = 1e6};
}

void call(intilery::Client& client, int i) {
  static const std::vector<std::string> users = [] {
    std::vector<std::string> all;
    for (int user = 0; user < 1'000; ++user) all.push_back("user-" + std::to_string(user));
    return all;
  }();
  client.track(users[static_cast<std::size_t>(i) % users.size()], "Order Completed",
               intilery::RawJson(intilery::bench::order_text()));
}

/// Calls from many threads, each waiting for the disk. \returns how many a second.
double power_rate(const intilery::Options& spooled, int threads, Clock::duration time) {
  intilery::Client client(spooled);
  std::vector<std::thread> callers;
  std::vector<int> made(static_cast<std::size_t>(threads));
  const Clock::time_point start = Clock::now();
  for (int t = 0; t < threads; ++t) {
    callers.emplace_back([&, t] {
      int count = 0;
      while (Clock::now() < start + time) call(client, threads * count++ + t);
      made[static_cast<std::size_t>(t)] = count;
    });
  }
  for (std::thread& caller : callers) caller.join();
  const double took = us(Clock::now() - start) / 1e6;
  client.close(60s);
  double all = 0;
  for (const int count : made) all += count;
  return all / took;
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  bool quick = false;
  fs::path parent = fs::temp_directory_path();
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--json") {
      json = true;
    } else if (arg == "--quick") {
      quick = true;
    } else if (arg == "--folder" && i + 1 < argc) {
      parent = argv[++i];
    } else {
      std::fprintf(stderr, "usage: bench_spool [--json] [--quick] [--folder DIR]\n");
      return 2;
    }
  }
  const int rounds = quick ? 5 : 20;
  constexpr int calls = 20'000;
  const NullServer server;  // forks, so before any thread

  const Folder folder(parent);
  Cost without;
  Cost process;
  Cost off;
  Cost normal;
  {
    intilery::Client plain(options(server));
    intilery::Options spooled_options = options(server);
    spooled_options.spool_path = (folder.path / "process").string();
    intilery::Client spooled(spooled_options);
    for (int round = 0; round < rounds; ++round) {
      keep_best(without, measure(calls, [&](int i) { call(plain, i); }));
      plain.flush(60s);
      keep_best(process, measure(calls, [&](int i) { call(spooled, i); }));
      spooled.flush(60s);
      keep_best(off, sqlite_alone(parent, "OFF", calls));
      keep_best(normal, sqlite_alone(parent, "NORMAL", calls));
    }
  }
  const Cost full = sqlite_alone(parent, "FULL", quick ? 200 : 1'000);

  intilery::Options safe = options(server);
  safe.spool_path = (folder.path / "power").string();
  safe.spool_sync = intilery::SpoolSync::power;
  const auto slice = quick ? 500ms : 2'000ms;
  double one = 0;
  double eight = 0;
  double many = 0;
  for (int round = 0; round < 3; ++round) {
    one = std::max(one, power_rate(safe, 1, slice));
    eight = std::max(eight, power_rate(safe, 8, slice));
    many = std::max(many, power_rate(safe, 32, slice));
  }

  const double adds = process.mean - without.mean;
  if (json) {
    std::printf(
        "{\"without_us\":%.2f,\"process_us\":%.2f,\"process_adds_us\":%.2f,\"process_adds_cpu_us\":%.2f,\"process_p50_"
        "us\":%.2f,"
        "\"process_p99_us\":%.2f,\"process_p999_us\":%.1f,\"sqlite_off_us\":%.2f,\"sqlite_normal_us\":%.2f,"
        "\"sqlite_full_us\":%.1f,\"power_1_per_second\":%.0f,\"power_8_per_second\":%.0f,\"power_32_per_second\":%.0f,"
        "\"power_32_to_1_ratio\":%.2f}\n",
        without.mean, process.mean, adds, process.cpu - without.cpu, process.p50, process.p99, process.p999, off.mean,
        normal.mean, full.mean, one, eight, many, many / one);
    return 0;
  }
  std::printf("%-34s %8s %8s %8s %8s %8s   us, best of %d rounds of %d\n", "a call", "mean", "CPU", "p50", "p99",
              "p99.9", rounds, calls);
  const auto row = [](const char* name, const Cost& cost) {
    std::printf("%-34s %8.2f %8.2f %8.2f %8.2f %8.1f\n", name, cost.mean, cost.cpu, cost.p50, cost.p99, cost.p999);
  };
  row("track(), no spool", without);
  row("track(), spool_sync=process", process);
  row("SQLite alone, synchronous=OFF", off);
  row("SQLite alone, synchronous=NORMAL", normal);
  row("SQLite alone, synchronous=FULL", full);
  std::printf("process adds %.2f us to a call, %.2f us of it the caller's CPU\n", adds, process.cpu - without.cpu);
  std::printf("power: %.0f calls a second from 1 thread, %.0f from 8, %.0f from 32 (%.1fx)\n", one, eight, many,
              many / one);
  return 0;
}
