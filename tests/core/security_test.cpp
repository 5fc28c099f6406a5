// What docs/security.md claims of the core, where Python cannot look.
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "intilery/diagnose.hpp"
#include "queue/dead_letters.hpp"
#include "queue/spool_folder.hpp"
#include "sandbox_test.hpp"
#include "secrets.hpp"
#include "transport/trust.hpp"

namespace intilery {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using transport::find_trust;
using transport::Trust;
using transport::TrustPlaces;

class FolderTest : public ::testing::Test {
 protected:
  FolderTest() {
    std::string name = (fs::temp_directory_path() / "intilery-security-XXXXXX").string();
    folder = ::mkdtemp(name.data());
  }
  ~FolderTest() override { fs::remove_all(folder); }

  std::string made(const std::string& name, const std::string& content = "x") const {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << content;
    return (folder / name).string();
  }

  fs::path folder;
};

class TrustTest : public FolderTest {
 protected:
  TrustTest() {
    ::unsetenv("SSL_CERT_FILE");
    ::unsetenv("SSL_CERT_DIR");
  }
  ~TrustTest() override {
    ::unsetenv("SSL_CERT_FILE");
    ::unsetenv("SSL_CERT_DIR");
    transport::set_language_certificates("");
  }
};

TEST_F(TrustTest, TheFirstPlaceThatADistributionHasIsTaken) {
  const std::string builders = (folder / "builder.pem").string();
  const std::string fedora = made("pki/bundle.crt");
  const std::string empty = made("empty.pem", "");
  fs::create_directory(folder / "no-hashes");
  const std::string hashes = fs::path(made("hashes/0123abcd.0")).parent_path().string();
  TrustPlaces places{.builders_file = builders,
                     .builders_folder = (folder / "no-hashes").string(),
                     .files = {(folder / "debian.crt").string(), empty, fedora},
                     .folders = {(folder / "no-hashes").string(), hashes}};
  EXPECT_EQ(find_trust({}, places).file, fedora);
  EXPECT_EQ(find_trust({}, places).folder, "");
  places.files.pop_back();
  EXPECT_EQ(find_trust({}, places).folder, hashes);
  made("builder.pem");
  EXPECT_EQ(find_trust({}, places).file, builders);
}

TEST_F(TrustTest, WhoNamesAPlaceIsObeyedEvenIfItIsNotThere) {
  const std::string file = made("debian.crt");
  const TrustPlaces places{.builders_file = file, .builders_folder = {}, .files = {file}, .folders = {}};
  ::setenv("SSL_CERT_DIR", "/missing/folder", 1);
  EXPECT_EQ(find_trust({}, places).folder, "/missing/folder");
  EXPECT_EQ(find_trust({}, places).file, "");
  ::setenv("SSL_CERT_FILE", "/missing/file", 1);
  EXPECT_EQ(find_trust({}, places).source, "/missing/file (SSL_CERT_FILE) and /missing/folder (SSL_CERT_DIR)");
  EXPECT_EQ(find_trust({.ca_file = "mine.pem"}, places).source, "mine.pem");
}

TEST_F(TrustTest, WhereNothingIsTheLanguagesAreTakenOrAllThatWasTriedIsTold) {
  const TrustPlaces places{
      .builders_file = "/builder", .builders_folder = {}, .files = {"/debian", "/fedora"}, .folders = {"/hashes"}};
  const Trust none = find_trust({}, places);
  for (const char* const tried :
       {"SSL_CERT_FILE", "SSL_CERT_DIR", "/builder", "/debian", "/fedora", "/hashes", "ca-certificates", "ca_file"}) {
    EXPECT_NE(none.problem.find(tried), std::string::npos) << tried << ": " << none.problem;
  }
  transport::set_language_certificates("PEM");
  EXPECT_EQ(find_trust({}, places).text, "PEM");
  EXPECT_EQ(find_trust({}, places).problem, "");
}

TEST(SecretsTest, ATokenThatTheCutPartsIsHiddenAsAWhole) {
  const Secrets secrets("t0p/secret");
  for (std::size_t limit = 0; limit < 30; ++limit) {
    const std::string hidden = secrets.hidden_in("12345 t0p\\/secret t0p%2Fsecret end", limit);
    EXPECT_EQ(hidden.find("t0p"), std::string::npos) << hidden;
  }
  EXPECT_EQ(secrets.hidden_in("a\x1bt0p/secret\xff", 100), "a\x1b[redacted]\xff") << "the rest stays as it is";
}

class EchoTest : public SandboxTest {};

TEST_F(EchoTest, ADiagnosisHidesATokenThatTheServerRepeats) {
  sandbox.set_faults(R"([{"status":403,"body":{"message":"no rights: sandbox-token \u0073andbox-token"}}])");
  std::string all;
  for (const Check& check : diagnose(options())) all += check.message + check.advice;
  EXPECT_EQ(all.find("sandbox-token"), std::string::npos) << all;
  EXPECT_NE(all.find("no rights: [redacted] [redacted]"), std::string::npos) << all;
}

/// A spool in a folder that others may write to.
class PlantedTest : public FolderTest {
 protected:
  PlantedTest() { ::chmod(folder.c_str(), 0777); }

  static std::string why_not(const fs::path& in) {
    try {
      queue::DeadLetters(in, 1'000'000);
    } catch (const SpoolError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(PlantedTest, DeadLettersAreNotWrittenThroughALink) {
  const std::string elsewhere = made("elsewhere", "");
  for (const std::string part : {"", "-wal", "-journal"}) {
    const std::string name = queue::DeadLetters::path_in(folder).string() + part;
    fs::create_symlink(elsewhere, name);
    EXPECT_NE(why_not(folder).find(name + " is a link"), std::string::npos) << part;
    fs::remove(name);
    fs::create_hard_link(elsewhere, name);
    EXPECT_NE(why_not(folder).find("is a link"), std::string::npos) << part;
    fs::remove(name);
  }
  EXPECT_EQ(fs::file_size(elsewhere), 0u);
  EXPECT_EQ(why_not(folder), "") << "and once they are gone, all is well";
}

TEST_F(PlantedTest, AnotherUsersFileIsLeftAlone) {
  if (::geteuid() != 0) GTEST_SKIP() << "only the superuser can make one";
  const std::string name = made("dead_letters.sqlite", "");
  ASSERT_EQ(::chown(name.c_str(), 12345, 12345), 0);
  EXPECT_NE(why_not(folder).find("another user's"), std::string::npos);
}

TEST_F(PlantedTest, InAPrivateFolderALinkIsTheOwnersOwnAffair) {
  ::chmod(folder.c_str(), 0700);
  fs::create_symlink(made("elsewhere", ""), queue::DeadLetters::path_in(folder));
  EXPECT_EQ(why_not(folder), "");
}

TEST_F(PlantedTest, APlantedSpoolFileIsNeitherSentNorReadNorDeleted) {
  intilery::testing::Sandbox sandbox({.rate_limit = 0});
  const fs::path victims = folder / "victims";
  Options options = sandbox.client_options();
  options.spool_path = victims.string();
  options.auth_token = "wrong";
  options.exit_timeout = std::chrono::milliseconds(0);
  const Hooks quiet{.on_failure = {}, .on_log = [](LogLevel, std::string_view) {}};
  Client(options, quiet).track("u", "E");
  ASSERT_FALSE(fs::is_empty(victims));
  const fs::path attackers = folder / "attackers";
  fs::create_directory(attackers);
  ::chmod(attackers.c_str(), 0777);
  fs::create_symlink(fs::directory_iterator(victims)->path(), attackers / "0.spool");

  options.spool_path = attackers.string();
  options.auth_token = "sandbox-token";
  std::string log;
  {
    Client client(options, {.on_failure = {}, .on_log = [&](LogLevel, std::string_view line) { log += line; }});
    client.close(std::chrono::seconds(5));
  }
  EXPECT_NE(log.find("everybody may write to the spool"), std::string::npos) << log;
  EXPECT_NE(log.find("0.spool is a link"), std::string::npos) << log;
  EXPECT_EQ(sandbox.event_count(), 0u);
  const json status = queue::spool_status(attackers);
  EXPECT_EQ(status.at("files").at(0).at("state"), "unreadable");
  EXPECT_THROW(queue::purge_spool(attackers, {}, true), SpoolError);
  EXPECT_FALSE(fs::is_empty(victims));
}

}  // namespace
}  // namespace intilery
