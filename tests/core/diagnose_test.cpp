// diagnose(): what each kind of trouble looks like, on real sockets.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <vector>

#include "sandbox_test.hpp"
#include "tls_server.hpp"

namespace intilery {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

class DiagnoseTest : public SandboxTest {
 protected:
  static Check find(const std::vector<Check>& checks, const std::string& name) {
    const auto found =
        std::find_if(checks.begin(), checks.end(), [&](const Check& check) { return check.name == name; });
    return found == checks.end() ? Check{.name = "missing: " + name, .message = {}, .advice = {}} : *found;
  }
  static Check look(const Options& options, const std::string& name) { return find(diagnose(options), name); }
  static std::string all_text(const std::vector<Check>& checks) {
    std::string text;
    for (const Check& check : checks) text += check.message + "\n" + check.advice + "\n";
    return text;
  }
  static bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
};

#define EXPECT_RESULT(check, expected) \
  EXPECT_EQ(to_string((check).result), to_string(CheckResult::expected)) << (check).message
#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(DiagnoseTest, WhereAllIsWellNothingFailsAndNoEventIsSent) {
  const std::vector<Check> checks = diagnose(options());
  std::vector<std::string> names;
  for (const Check& check : checks) {
    names.push_back(check.name);
    EXPECT_NE(check.result, CheckResult::failed) << check.name << ": " << check.message;
    EXPECT_NE(check.result, CheckResult::warning) << check.name << ": " << check.message;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"options", "library", "open_files", "spool", "rate_limit_store", "proxy",
                                             "address", "connection", "tls", "token", "batch", "clock"}));
  EXPECT_RESULT(find(checks, "token"), ok);
  EXPECT_RESULT(find(checks, "batch"), ok);
  EXPECT_RESULT(find(checks, "connection"), ok);
  EXPECT_RESULT(find(checks, "tls"), skipped);
  EXPECT_EQ(sandbox.event_count(), 0u);
  EXPECT_FALSE(has(all_text(checks), "sandbox-token"));
}

TEST_F(DiagnoseTest, ARefusedTokenNamesAllThatMustFitAndNeverTheToken) {
  Options wrong = options();
  wrong.auth_token = "s3cret";
  wrong.brand_id = "heb";
  const std::vector<Check> checks = diagnose(wrong);
  const Check token = find(checks, "token");
  EXPECT_RESULT(token, failed);
  EXPECT_SAYS(token.message, "403");
  EXPECT_SAYS(token.advice, "brand_id (heb)");
  EXPECT_SAYS(token.advice, "look at brand_id");
  EXPECT_RESULT(find(checks, "options"), warning);
  EXPECT_RESULT(find(checks, "batch"), skipped);
  EXPECT_FALSE(has(all_text(checks), "s3cret"));
}

TEST_F(DiagnoseTest, MissingOptionsAreNamedInTheLanguagesStyleAndNothingIsAsked) {
  const std::vector<Check> checks =
      diagnose({.client_id = "hea", .brand_id = "HEA", .endpoint = sandbox.url()}, {.camel_case = true});
  const Check given = find(checks, "options");
  EXPECT_RESULT(given, failed);
  EXPECT_EQ(given.message, "accountId and authToken are not given");
  EXPECT_EQ(given.advice, "set INTILERY_ACCOUNT_ID and INTILERY_AUTH_TOKEN");
  EXPECT_EQ(checks.size(), 12u);
  EXPECT_RESULT(find(checks, "token"), skipped);
  EXPECT_TRUE(sandbox.requests().empty());
}

TEST_F(DiagnoseTest, AnUnusableEndpointIsOnlyTheOptionsFault) {
  Options wrong = options();
  wrong.endpoint = "http://tracking.example.com";
  EXPECT_RESULT(look(wrong, "options"), failed);
  EXPECT_RESULT(look(wrong, "address"), skipped);
}

TEST_F(DiagnoseTest, TheFirstStepThatFailsIsToldAndTheRestIsNotTried) {
  Options nowhere = options();
  nowhere.endpoint = "https://intilery.invalid";
  std::vector<Check> checks = diagnose(nowhere);
  EXPECT_RESULT(find(checks, "address"), failed);
  EXPECT_RESULT(find(checks, "connection"), skipped);
  nowhere.endpoint = "http://127.0.0.1:1";
  checks = diagnose(nowhere);
  EXPECT_RESULT(find(checks, "address"), ok);
  EXPECT_RESULT(find(checks, "connection"), failed);
  EXPECT_RESULT(find(checks, "token"), skipped);
}

TEST_F(DiagnoseTest, ACertificateIsToldWithWhoVouchesForIt) {
  const TlsServer server("tls", sandbox.port());
  Options secure = options();
  secure.endpoint = server.url();
  secure.ca_file = server.ca_file();
  const std::vector<Check> checks = diagnose(secure);
  const Check tls = find(checks, "tls");
  EXPECT_RESULT(tls, warning);  // it is valid for a day
  EXPECT_SAYS(tls.message, server.ca_file());
  EXPECT_SAYS(tls.message, "valid until 20");
  EXPECT_RESULT(find(checks, "token"), ok);
}

TEST_F(DiagnoseTest, ACertificateThatIsNotTrustedIsToldWithWhatToDo) {
  for (const auto& [kind, advice] : {std::pair{"tls_expired", "must be renewed"},
                                     {"tls_name", "is another server's"},
                                     {"tls_unknown_ca", "set ca_file"}}) {
    const TlsServer server(kind, sandbox.port());
    Options secure = options();
    secure.endpoint = server.url();
    secure.ca_file = server.ca_file();
    const Check tls = look(secure, "tls");
    EXPECT_RESULT(tls, failed);
    EXPECT_SAYS(tls.advice, advice);
  }
  Options plain = options();
  plain.endpoint.replace(0, 4, "https");
  EXPECT_RESULT(look(plain, "tls"), failed);
  plain.ca_file = "/nowhere.pem";
  const Check tls = look(plain, "tls");
  EXPECT_RESULT(tls, failed);
  EXPECT_SAYS(tls.advice, "check ca_file");
}

TEST_F(DiagnoseTest, AClockThatIsWrongIsToldByTheServersDate) {
  const std::time_t earlier = std::time(nullptr) - 600;
  std::array<char, 64> date{};
  std::strftime(date.data(), date.size(), "%a, %d %b %Y %H:%M:%S GMT", std::gmtime(&earlier));
  sandbox.set_faults(
      json::array({{{"action", "batch"}, {"status", 400}, {"headers", {{"Date", date.data()}}}}}).dump());
  const Check clock = look(options(), "clock");
  EXPECT_RESULT(clock, warning);
  EXPECT_SAYS(clock.message, " s ahead of the server's");
}

TEST_F(DiagnoseTest, AServiceWithoutBatchesMattersWhereTheyAreAskedFor) {
  sandbox.set_faults(json::array({{{"action", "batch"}, {"status", 404}}}).dump());
  Options asked = options();
  EXPECT_RESULT(look(asked, "batch"), warning);
  asked.delivery = DeliveryMode::batch;
  EXPECT_RESULT(look(asked, "batch"), failed);
  asked.delivery = DeliveryMode::event;
  EXPECT_RESULT(look(asked, "batch"), ok);
}

TEST_F(DiagnoseTest, AServerThatDoesNotAnswerHoldsNobodyUpForLong) {
  sandbox.set_faults(json::array({{{"action", "batch"}, {"hang", true}}}).dump());
  Options hurried = options();
  hurried.request_timeout = 200ms;
  const auto started = std::chrono::steady_clock::now();
  EXPECT_RESULT(look(hurried, "batch"), skipped);
  EXPECT_LT(std::chrono::steady_clock::now() - started, 5s);
}

TEST_F(DiagnoseTest, ARateStoreThatIsNotThereFailsAndItsPasswordIsNotShown) {
  Options shared = options();
  shared.rate_limit_store = "redis://user:pa55word@127.0.0.1:1";
  const std::vector<Check> checks = diagnose(shared);
  EXPECT_RESULT(find(checks, "rate_limit_store"), failed);
  EXPECT_FALSE(has(all_text(checks), "pa55word"));
}

TEST_F(DiagnoseTest, AProxyThatIsNotThereFailsAndItsPasswordIsNotShown) {
  Options behind = options();
  behind.proxy = "http://user:pa55word@127.0.0.1:1";
  const std::vector<Check> checks = diagnose(behind);
  EXPECT_RESULT(find(checks, "connection"), failed);
  EXPECT_FALSE(has(all_text(checks), "pa55word"));
}

TEST_F(DiagnoseTest, ASpoolIsLookedAtAndNotMade) {
  std::string name = (fs::temp_directory_path() / "intilery-diagnose-XXXXXX").string();
  const fs::path folder = mkdtemp(name.data());
  Options spooled = options();
  spooled.spool_path = (folder / "a" / "b").string();
  EXPECT_RESULT(look(spooled, "spool"), ok);
  spooled.spool_max_bytes = 1'000'000'000'000'000;
  EXPECT_RESULT(look(spooled, "spool"), warning);
  EXPECT_TRUE(fs::is_empty(folder));
  std::ofstream(folder / "a") << "a file";
  spooled.spool_path = (folder / "a").string();
  EXPECT_RESULT(look(spooled, "spool"), failed);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace intilery
