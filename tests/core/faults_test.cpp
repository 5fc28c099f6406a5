// Runs tests/vectors/faults.json (its README says how) through the public client into the sandbox.
#include <array>
#include <ctime>
#include <fstream>
#include <optional>

#include "sandbox_test.hpp"
#include "tls_server.hpp"

namespace intilery {
namespace {

using nlohmann::json;

const json& matrix() {
  static const json read = json::parse(std::ifstream(INTILERY_VECTORS "/faults.json"));
  return read;
}

std::string http_date(std::time_t moment) {
  std::tm utc{};
  ::gmtime_r(&moment, &utc);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc)};
}

struct Case {
  std::string name;
  json row;
  std::string when;  ///< `once` or `always`.
};

std::ostream& operator<<(std::ostream& out, const Case& fault) { return out << fault.row.dump(); }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const json& row : matrix().at("rows")) {
    for (const std::string when : {"once", "always"}) {
      if (row.contains(when)) all.push_back({row.at("name").get<std::string>() + "_" + when, row, when});
    }
  }
  return all;
}

class Fault : public SandboxTest, public ::testing::WithParamInterface<Case> {
 protected:
  Fault() : SandboxTest({.rate_limit = 0, .max_request_bytes = 10'000'000}) {}

  const json& row() const { return GetParam().row; }
  json expected() const {
    json all = matrix().at(GetParam().when);
    all.update(row().at(GetParam().when));
    return all;
  }

  /// The options that lead a client into trouble.
  Options troubled_options() {
    Options all = options();
    for (const json& some : {matrix().at("options"), row().value("options", json::object()),
                             expected().value("options", json::object())}) {
      for (const auto& [name, value] : some.items()) set_option(all, name, value);
    }
    const std::string setup = row().value("setup", "");
    if (setup == "dns") {
      all.endpoint = "https://intilery.invalid";
    } else if (setup == "refused") {
      all.endpoint = "http://127.0.0.1:1";  // nobody's, unlike a free port, which other tests may get
    } else if (setup == "tls_none") {
      all.endpoint.replace(0, 4, "https");
    } else if (setup.starts_with("tls")) {
      tls_.emplace(setup, sandbox.port());
      all.endpoint = tls_->url();
      all.ca_file = tls_->ca_file();
    }
    return all;
  }

  void set_faults() {
    if (!row().contains("fault")) return;
    json rule = row().at("fault");
    if (rule.contains("headers")) {
      for (auto& [name, value] : rule.at("headers").items()) {
        if (value == "{target}") value = elsewhere.url();
        if (value == "{in 2 s}") value = http_date(std::time(nullptr) + 2);
      }
    }
    if (GetParam().when == "once") rule["times"] = 1;
    if (expected().value("for", "") != "everyone") rule["user_id"] = "unlucky";
    sandbox.set_faults(json::array({rule}).dump());
  }

  static void expect_ledger(const Client& client) {
    const Stats stats = client.stats();
    EXPECT_EQ(stats.accepted, 2);
    EXPECT_EQ(stats.accepted, stats.delivered + stats.failed + stats.queued);
  }

  static json fate_of(const Delivery& delivery) {
    try {
      return {{"attempts", delivery.wait(std::chrono::seconds(20)).attempts}};
    } catch (const DeliveryError& error) {
      EXPECT_EQ(error.message_id(), delivery.message_id());
      return {{"error", dynamic_cast<const AuthError*>(&error) != nullptr ? "AuthError" : "DeliveryError"},
              {"reason", error.reason()},
              {"arrived", error.arrived() == Arrived::no ? "no" : "unknown"},
              {"status", error.status()},
              {"attempts", error.attempts()}};
    }
  }

  static void expect_within(const json& bounds, double value) {
    EXPECT_GE(value, bounds.at(0).get<double>());
    EXPECT_LE(value, bounds.at(1).get<double>());
  }

  intilery::testing::Sandbox elsewhere;

 private:
  std::optional<TlsServer> tls_;
};

TEST_P(Fault, EndsAsTheMatrixSays) {
  set_faults();
  Client client(troubled_options());
  const Delivery unlucky =
      client.track("unlucky", "E", {{"filler", std::string(row().value("bytes", std::size_t{0}), 'x')}});
  const Delivery neighbour = client.page("lucky", {{"path", "/"}});
  expect_ledger(client);
  const json wanted = expected();
  if (wanted.contains("close"))
    client.close(std::chrono::milliseconds(static_cast<int>(1000 * wanted.at("close").get<double>())));
  const json fate = fate_of(unlucky);
  const json neighbours_fate = fate_of(neighbour);
  client.close(std::chrono::seconds(10));
  expect_ledger(client);
  EXPECT_EQ(client.stats().queued, 0);

  SCOPED_TRACE(fate.dump());
  for (const char* member : {"error", "reason", "arrived", "status"}) {
    const json nothing;
    EXPECT_EQ(fate.value(member, nothing), wanted.contains("error") ? wanted.at(member) : nothing) << member;
  }
  expect_within(wanted.at("attempts"), fate.at("attempts"));
  expect_within(wanted.at("stored"), static_cast<double>(std::ranges::count_if(events(), [&](const json& event) {
                  return event.at("rawData").at("messageId") == unlucky.message_id();
                })));
  if (wanted.contains("pause")) {
    std::vector<std::int64_t> moments;
    for (const auto& request : sandbox.requests()) {
      if (request.body.find("\"unlucky\"") != std::string::npos) moments.push_back(request.received_ms);
    }
    expect_within(wanted.at("pause"), static_cast<double>(moments.at(1) - moments.at(0)) / 1000);
  }
  const bool shares = wanted.value("neighbour", "") == "shares";
  EXPECT_EQ(neighbours_fate.value("reason", ""), shares ? fate.value("reason", "") : "") << neighbours_fate;
  EXPECT_EQ(elsewhere.requests().size(), 0U) << "the redirect was followed";
  if (!row().contains("fault") && wanted.contains("error")) {
    EXPECT_EQ(sandbox.requests().size(), 0U) << "a request was sent";
  }
}

INSTANTIATE_TEST_SUITE_P(Matrix, Fault, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

std::size_t peak_memory() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmHWM:") {
  }
  std::size_t kilobytes = 0;
  status >> kilobytes;
  return 1000 * kilobytes;
}

using FaultsTest = SandboxTest;

TEST_F(FaultsTest, AnEndlessAnswerTakesNeitherMemoryNorTime) {
  sandbox.set_faults(R"([{"oversized": 10000000000}])");
  Options all = options();
  all.max_retries = 3;
  Client client(all);
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
  const std::size_t before = peak_memory();
  EXPECT_THROW(client.track("u", "E").wait(std::chrono::seconds(10)), DeliveryError);
  EXPECT_LT(peak_memory() - before, 30'000'000);
}

}  // namespace
}  // namespace intilery
