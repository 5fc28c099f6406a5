// A client in a forked child: it neither hangs nor sends what is the parent's.
#include <gtest/gtest.h>

#if !defined(_WIN32)

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sandbox_test.hpp"

namespace intilery {
namespace {

using namespace std::chrono_literals;

class ForkTest : public SandboxTest {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "in a forked child, ThreadSanitizer takes the threads of the parent for its own";
#endif
  }

  /// Runs `work` in a forked child. \returns whether it ended by itself, with true.
  template <class Work>
  static bool in_child(Work work) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // a child that hangs dies of it
      bool good = false;
      try {
        good = work();
      } catch (...) {
      }
      _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  template <class Call>
  static bool throws_closed(Call call) {
    try {
      call();
    } catch (const ClosedError&) {
      return true;
    }
    return false;
  }
};

TEST_F(ForkTest, AChildLeavesItsParentsClientAloneAndMakesItsOwn) {
  sandbox.set_faults(R"([{"delay_ms": 300, "times": 1}])");
  auto client = std::make_unique<Client>(options());
  std::vector<Delivery> deliveries;
  for (int i = 0; i < 50; ++i) deliveries.push_back(client->track("parent", "E"));
  EXPECT_TRUE(in_child([&] {
    const bool refused =
        throws_closed([&] { client->track("child", "E"); }) &&
        throws_closed([&] { client->track("child", "E", {}, {.on_delivery = [](const Receipt&) {}}); }) &&
        throws_closed([&] { deliveries.back().wait(); }) &&
        throws_closed([&] { deliveries.back().on_done([](const Receipt&) {}); });
    const bool empty =
        client->flush().remaining == 0 && client->close().remaining == 0 && client->stats().state == State::closed;
    Client other(std::move(*client));
    client.reset();
    Client own(options());
    other = std::move(own);  // lets go of the parent's
    other.track("child", "E").wait(10s);
    return refused && empty;
  }));
  EXPECT_EQ(client->close(10s).remaining, 0u);
  std::set<std::string> ids;
  int of_child = 0;
  for (const nlohmann::json& event : events()) {
    ids.insert(event["rawData"]["messageId"]);
    of_child += event["userId"] == "child" ? 1 : 0;
  }
  EXPECT_EQ(events().size(), 51u);
  EXPECT_EQ(ids.size(), 51u);
  EXPECT_EQ(of_child, 1);
}

TEST_F(ForkTest, ForksAmidBusyThreadsDoNotHang) {
  Client client(options());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        client.track("parent", "E").wait(10s);
        client.stats();
      }
    });
  }
  for (int i = 0; i < 25; ++i) {
    EXPECT_TRUE(in_child([&] {
      Client copy(std::move(client));
      return throws_closed([&] { copy.track("child", "E"); }) && copy.stats().state == State::closed;
    }));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client.close(10s).remaining, 0u);
}

}  // namespace
}  // namespace intilery

#endif
