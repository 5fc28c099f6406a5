#include "intilery/diagnose.hpp"

#include <curl/curl.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#if !defined(_WIN32)
#include <sys/resource.h>
#include <unistd.h>
#endif

#include "case_hint.hpp"
#include "delivery/rate_store.hpp"
#include "diagnosis.hpp"
#include "event/timestamp.hpp"
#include "intilery/errors.hpp"
#include "intilery/version.hpp"
#include "option_name.hpp"
#include "printable.hpp"
#include "queue/spool_database.hpp"
#include "secrets.hpp"
#include "sigpipe.hpp"
#include "transport/probe.hpp"
#include "wait_slices.hpp"

namespace intilery {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using transport::Probed;
using transport::Step;
namespace fs = std::filesystem;

/// A person waits: nothing may take longer, whatever the options allow.
constexpr milliseconds patience(10'000);
/// Beyond it, the times of events and the waits until a date are wrong enough to be seen.
constexpr std::int64_t tolerated_skew_s = 30;
constexpr std::int64_t expires_soon_s = 14 * 24 * 3600;

std::string joined(const std::vector<std::string>& words, const char* last = " and ") {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i + 1 == words.size() ? last : ", ") + words[i];
  return text;
}

std::string milliseconds_text(milliseconds time) { return std::to_string(time.count()) + " ms"; }

/// `2026-11-24` for a moment in Unix seconds.
std::string day_text(std::int64_t unix_s) {
  const event::TimestampText text = event::format_timestamp(unix_s * 1000);
  return {text.data(), 10};
}

bool is_refused(int status) { return status == 401 || status == 403; }
bool is_unknown(int status) { return status == 404 || status == 405 || status == 501; }
bool is_success(int status) { return status >= 200 && status < 300; }

class Diagnosis {
 public:
  Diagnosis(const Options& options, const OptionStyle& style, std::string user_agent, const std::atomic<bool>& given_up)
      : options_(options), style_(style), user_agent_(std::move(user_agent)), given_up_(given_up) {}

  std::vector<Check> run() {
    const bool usable = check_the_options();
    add("library", CheckResult::ok,
        "intilery " INTILERY_VERSION ", " + transport::curl_versions() + ", SQLite " + sqlite3_libversion());
    check_open_files();
    check_spool();
    if (usable) check_rate_store();
    check_proxy();
    if (usable) {
      ask();
    } else {
      skip({"rate_limit_store", "address", "connection", "tls", "token", "batch", "clock"},
           "the options are not usable");
    }
    constexpr std::array order{"options", "library", "open_files", "spool", "rate_limit_store",
                               "proxy",   "address", "connection", "tls",   "token",
                               "batch",   "clock"};
    const auto place = [&](const Check& check) { return std::find(order.begin(), order.end(), check.name); };
    std::sort(checks_.begin(), checks_.end(), [&](const Check& a, const Check& b) { return place(a) < place(b); });
    return std::move(checks_);
  }

 private:
  void add(std::string name, CheckResult result, std::string message, std::string advice = {}) {
    checks_.push_back({std::move(name), result, std::move(message), std::move(advice)});
  }
  void skip(std::initializer_list<const char*> names, const std::string& why) {
    for (const char* const name : names) add(name, CheckResult::skipped, why);
  }
  std::string named(std::string_view option) const { return styled(option, style_); }

  /// \returns whether a client could be made with them.
  bool check_the_options() {
    std::vector<std::string> missing;
    std::vector<std::string> variables;
    for (const auto& [name, value] : {std::pair{"client_id", &options_.client_id},
                                      {"account_id", &options_.account_id},
                                      {"brand_id", &options_.brand_id},
                                      {"auth_token", &options_.auth_token}}) {
      if (!value->empty()) continue;
      missing.push_back(named(name));
      std::string variable = "INTILERY_" + std::string(name);
      std::transform(variable.begin(), variable.end(), variable.begin(),
                     [](unsigned char c) { return std::toupper(c); });
      variables.push_back(variable);
    }
    if (!missing.empty()) {
      add("options", CheckResult::failed, joined(missing) + (missing.size() == 1 ? " is" : " are") + " not given",
          "set " + joined(variables));
      return false;
    }
    try {
      check_options(options_, style_);
    } catch (const ConfigurationError& error) {
      add("options", CheckResult::failed, error.what(), "docs/options.md has what each option may be");
      return false;
    }
    const std::string who = "client " + options_.client_id + ", account " + options_.account_id + ", brand " +
                            options_.brand_id + ", at " + options_.endpoint;
    if (const std::string hint = case_advice(); !hint.empty()) {
      add("options", CheckResult::warning, who, hint);
    } else if (options_.auth_token.find_first_of("\"'") != std::string::npos) {
      add("options", CheckResult::warning, who,
          named("auth_token") + " holds a quote; if that is not its own, take it away");
    } else {
      add("options", CheckResult::ok, who);
    }
    return true;
  }

  std::string case_advice() const {
    std::vector<std::string> names;
    for (const std::string_view name : unusual_cases(options_)) names.push_back(named(name));
    if (names.empty()) return "";
    return named("client_id") + " and " + named("account_id") + " are usually lower case, and " + named("brand_id") +
           " upper case: look at " + joined(names);
  }

  void check_open_files() {
#if !defined(_WIN32)
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const std::size_t wanted = options_.max_connections + 64;  // connections, the spool, and the program's own
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
      return add("open_files", CheckResult::warning,
                 "a process here may have " + std::to_string(limit.rlim_cur) + " files open",
                 "allow at least " + std::to_string(wanted) + " (ulimit -n)");
    }
    add("open_files", CheckResult::ok,
        limit.rlim_cur == RLIM_INFINITY ? "a process may have any number of files open"
                                        : "a process may have " + std::to_string(limit.rlim_cur) + " files open");
#else
    skip({"open_files"}, "there is no such limit here");
#endif
  }

  void check_spool() {
    if (options_.spool_path.empty()) return skip({"spool"}, named("spool_path") + " is not set");
    const fs::path folder(options_.spool_path);
    std::error_code failed;
    if (fs::exists(folder, failed) && !fs::is_directory(folder, failed)) {
      return add("spool", CheckResult::failed, options_.spool_path + " is a file, and no folder",
                 "set " + named("spool_path") + " to a folder");
    }
    fs::path place = folder.empty() ? fs::path(".") : fs::absolute(folder, failed);
    while (!fs::exists(place, failed) && place.has_relative_path()) place = place.parent_path();
    const bool is_new = !fs::exists(folder, failed);
    if (const std::string why = why_not_writable(place); !why.empty()) {
      return add("spool", CheckResult::failed, place.string() + " cannot be written: " + why,
                 "let this user write there, or set " + named("spool_path") + " elsewhere");
    }
    const fs::space_info space = fs::space(place, failed);
    const std::string left = failed ? "" : ", " + std::to_string(space.available / 1'000'000) + " MB are free";
    if (!failed && space.available < options_.spool_max_bytes) {
      return add("spool", CheckResult::warning, options_.spool_path + " can be written" + left,
                 "the disk is full before " + named("spool_max_bytes") + " (" +
                     std::to_string(options_.spool_max_bytes / 1'000'000) + " MB) is: give it room, or lower that");
    }
    if (!is_new && queue::is_open_to_all(folder)) {
      return add("spool", CheckResult::warning, options_.spool_path + " can be written by everybody" + left,
                 "give it the mode 0700: others could put files in the place of the client's");
    }
    add("spool", CheckResult::ok, options_.spool_path + (is_new ? " can be made" : " can be written") + left);
  }

  /// Writes a small file, which is gone again.
  static std::string why_not_writable([[maybe_unused]] const fs::path& folder) {
#if !defined(_WIN32)
    std::string name = (folder / ".intilery-doctor-XXXXXX").string();
    const int file = ::mkstemp(name.data());
    if (file < 0) return std::strerror(errno);
    const bool written = ::write(file, "?", 1) == 1;
    const std::string why = written ? "" : std::strerror(errno);
    ::close(file);
    ::unlink(name.c_str());
    return why;
#else
    return "";
#endif
  }

  void check_rate_store() {
    const std::string option = named("rate_limit_store");
    if (options_.rate_limit_store.empty())
      return skip({"rate_limit_store"}, option + " is not set: each client keeps to its own share of the rate");
    std::mutex mutex;
    std::condition_variable changed;
    bool answered = false;
    delivery::RedisRateStore store(options_, [&] {
      const std::lock_guard lock(mutex);
      answered = true;
      changed.notify_all();
    });
    store.ask(0);
    std::unique_lock lock(mutex);
    changed.wait_for(lock, 5s, [&] { return answered; });
    const std::optional<delivery::Grant> grant = store.answer();
    if (!grant || !grant->reachable) {
      return add("rate_limit_store", CheckResult::failed, "no answer: " + (grant ? grant->why : "it takes too long"),
                 "check " + option + ", and that Redis runs; until then clients keep to a share of the rate");
    }
    add("rate_limit_store", CheckResult::ok,
        "it answers; " + std::to_string(static_cast<long long>(grant->level)) + " requests may go at once");
  }

  void check_proxy() {
    if (!options_.proxy.empty()) return add("proxy", CheckResult::ok, named("proxy") + " is set, and used");
    if (transport::leads_to_loopback(options_.endpoint))
      return skip({"proxy"}, "none is used for this machine's own addresses");
    const bool https = options_.endpoint.starts_with("https");
    std::vector<std::string> found;
    const std::vector<const char*> variables =
        https ? std::vector<const char*>{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
              : std::vector<const char*>{"http_proxy", "all_proxy", "ALL_PROXY"};
    for (const char* const name : variables) {
      if (const char* const value = std::getenv(name); value != nullptr && *value != '\0') found.emplace_back(name);
    }
    if (found.empty()) return add("proxy", CheckResult::ok, "none");
    for (const char* const name : {"no_proxy", "NO_PROXY"}) {
      if (const char* const value = std::getenv(name); value != nullptr && *value != '\0') found.emplace_back(name);
    }
    through_proxy_ = true;
    add("proxy", CheckResult::ok, "as the environment says: " + joined(found));
  }

  std::string status_text(const Probed& answer) const {
    const nlohmann::json body = nlohmann::json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
    std::string text = "status " + std::to_string(answer.status);
    if (!body.is_object()) return text;
    const auto message = body.find("message");
    if (message != body.end() && message->is_string())
      text += ": " + secrets_.shown(message->get_ref<const std::string&>(), 200);
    return text;
  }

  std::string path(const char* rest) const {
    return "/track/" + options_.client_id + "/" + options_.account_id + "/" + options_.brand_id + "/v1/" + rest;
  }

  void ask() {
    Options hurried = options_;
    hurried.connect_timeout = std::min(options_.connect_timeout, patience);
    hurried.request_timeout = std::min(options_.request_timeout, patience);
    transport::Probe probe(hurried, user_agent_, given_up_);
    const Probed read = probe.ask(path("events?size=1"), nullptr);
    if (!judge_way(read)) return;
    const std::string nothing = R"({"batch":[]})";
    const Probed batch = probe.ask(path("batch"), &nothing);
    judge_token(read, batch);
    judge_batch(batch);
    judge_clock(read.date.empty() ? batch.date : read.date);
  }

  /// \returns whether there was an answer.
  bool judge_way(const Probed& probed) {
    const std::string proxy_advice = through_proxy_ ? "; a proxy from the environment is on the way" : "";
    const char* const untried = "not tried, for the step before failed";
    if (probed.reached == Step::name) {
      add("address", CheckResult::failed, probed.detail,
          "check the name in " + named("endpoint") + ", and this machine's name server" + proxy_advice);
      skip({"connection", "tls", "token", "batch", "clock"}, untried);
      return false;
    }
    add("address", CheckResult::ok,
        probed.peer.empty() ? "found in " + milliseconds_text(probed.name_time)
                            : probed.peer + ", found in " + milliseconds_text(probed.name_time));
    if (probed.reached == Step::connection) {
      add("connection", CheckResult::failed, probed.detail,
          "check the port in " + named("endpoint") + ", and the firewall" + proxy_advice);
      skip({"tls", "token", "batch", "clock"}, untried);
      return false;
    }
    add("connection", CheckResult::ok, "made in " + milliseconds_text(probed.connect_time));
    if (!judge_tls(probed)) {
      skip({"token", "batch", "clock"}, untried);
      return false;
    }
    if (probed.reached == Step::answer) {
      add("token", CheckResult::failed, "the server does not answer: " + probed.detail,
          "try again later; if that is the rule, check " + named("endpoint") + proxy_advice);
      skip({"batch", "clock"}, untried);
      return false;
    }
    return true;
  }

  bool judge_tls(const Probed& probed) {
    if (!options_.endpoint.starts_with("https")) {
      skip({"tls"}, "the endpoint is plain http");
      return true;
    }
    const std::string source = transport::find_trust(options_).source;
    if (probed.reached == Step::tls) {
      const auto says = [&](const char* words) { return probed.detail.find(words) != std::string::npos; };
      std::string advice = "check that " + named("endpoint") + " speaks TLS 1.2 or newer";
      if (!probed.trusts_any) {
        advice = "install the package ca-certificates, or set " + named("ca_file");
      } else if (probed.bad_ca_file) {
        advice = options_.ca_file.empty() ? "check SSL_CERT_FILE and SSL_CERT_DIR"
                                          : "check " + named("ca_file") + ": it must be a file of certificates in PEM";
      } else if (says("expired")) {
        advice = "the server's certificate must be renewed, or this machine's clock is wrong";
      } else if (says("subject name")) {
        advice = "the certificate is another server's: check the name in " + named("endpoint");
      } else if (says("issuer") || says("self-signed") || says("self signed") || says("verification")) {
        advice = "no certificate in " + source + " vouches for this one; behind a proxy of your company, set " +
                 named("ca_file") + " to a file with its certificate";
      }
      add("tls", CheckResult::failed, probed.detail, advice);
      return false;
    }
    std::string message = "trusted by " + source;
    if (!probed.issuer.empty()) message += ", issued by " + printable(probed.issuer, 100);
    if (!probed.expires) {
      add("tls", CheckResult::ok, message);
      return true;
    }
    message += ", valid until " + day_text(*probed.expires);
    const bool soon = *probed.expires - event::unix_now_ms() / 1000 < expires_soon_s;
    add("tls", soon ? CheckResult::warning : CheckResult::ok, message,
        soon ? "the server's certificate ends soon: tell who runs the endpoint" : "");
    return true;
  }

  void judge_token(const Probed& read, const Probed& batch) {
    const bool may_send = batch.reached == Step::done && (is_success(batch.status) || batch.status == 400);
    const std::string whose = named("auth_token") + ", " + named("client_id") + " (" + options_.client_id + "), " +
                              named("account_id") + " (" + options_.account_id + ") and " + named("brand_id") + " (" +
                              options_.brand_id + ") must fit each other";
    const auto token = [&](CheckResult result, std::string message, std::string advice = {}) {
      add("token", result, std::move(message), std::move(advice));
    };
    if (is_success(read.status)) {
      const nlohmann::json body = nlohmann::json::parse(read.body, nullptr, /*allow_exceptions=*/false);
      if (!body.is_structured()) {
        return token(CheckResult::failed, "something else than Intilery answers",
                     "check " + named("endpoint") + (through_proxy_ ? ", and the proxy" : ""));
      }
      return token(CheckResult::ok, "it may read the events of this account and brand");
    }
    if (is_refused(read.status) && may_send) {
      return token(CheckResult::warning, "it may send, but not read back (" + status_text(read) + ")",
                   "reading back and verify need a token with that right");
    }
    if (is_refused(read.status) || is_refused(batch.status)) {
      const std::string hint = case_advice();
      return token(CheckResult::failed, "refused (" + status_text(is_refused(read.status) ? read : batch) + ")",
                   whose + (hint.empty() ? "" : "; " + hint));
    }
    if (is_unknown(read.status)) {
      if (may_send) return token(CheckResult::ok, "it may send; this service has no reading back");
      return token(CheckResult::warning, "cannot be seen: the service knows neither reading back nor batches",
                   "check " + named("endpoint") + "; if it is right, only an event shows whether the token is, too");
    }
    if (read.status == 429) {
      return token(CheckResult::warning, "cannot be seen: the account's rate is used up just now (429)",
                   "try again in some seconds");
    }
    if (read.status >= 300 && read.status < 400) {
      return token(CheckResult::failed, "the server answers with a redirect, which is never followed",
                   "check " + named("endpoint"));
    }
    token(CheckResult::failed, "the service is in trouble (" + status_text(read) + ")",
          read.status >= 500 ? "try again later; clients wait, and send then" : "check " + named("endpoint"));
  }

  void judge_batch(const Probed& batch) {
    if (batch.reached != Step::done) return add("batch", CheckResult::skipped, "no answer: " + batch.detail);
    if (is_success(batch.status) || batch.status == 400)
      return add("batch", CheckResult::ok, "the service takes batches");
    if (is_unknown(batch.status)) {
      const std::string rate = std::to_string(static_cast<long long>(options_.rate_limit));
      switch (options_.delivery) {
        case DeliveryMode::batch:
          return add("batch", CheckResult::failed, "the service has no batches (" + status_text(batch) + ")",
                     "set " + named("delivery") + " to auto or event");
        case DeliveryMode::automatic:
          return add(
              "batch", CheckResult::warning, "the service has no batches (" + status_text(batch) + ")",
              "each event is a request: no more than " + rate + " events a second (" + named("rate_limit") + ")");
        case DeliveryMode::event:
          return add("batch", CheckResult::ok, "the service has none, and none are sent");
      }
    }
    skip({"batch"}, "cannot be seen (" + status_text(batch) + ")");
  }

  void judge_clock(const std::string& date) {
    const time_t server = date.empty() ? -1 : curl_getdate(date.c_str(), nullptr);
    if (server < 0) return skip({"clock"}, "the server does not say what time it is");
    const std::int64_t ahead = event::unix_now_ms() / 1000 - static_cast<std::int64_t>(server);
    if (std::abs(ahead) <= tolerated_skew_s) return add("clock", CheckResult::ok, "agrees with the server's");
    add("clock", CheckResult::warning,
        "this machine's is " + std::to_string(std::abs(ahead)) + " s " + (ahead > 0 ? "ahead of" : "behind") +
            " the server's",
        "events get this machine's time as their timestamp: set the clock (NTP)");
  }

  const Options& options_;
  const OptionStyle style_;
  const std::string user_agent_;
  const std::atomic<bool>& given_up_;
  const Secrets secrets_{options_.auth_token};
  bool through_proxy_ = false;
  std::vector<Check> checks_;
};

}  // namespace

std::string_view to_string(CheckResult result) {
  constexpr std::array<std::string_view, 4> names{"ok", "warning", "failed", "skipped"};
  return names[static_cast<std::size_t>(result)];
}

std::vector<Check> diagnose(const Options& options, const OptionStyle& style, const std::string& user_agent,
                            Waiting& waiting) {
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<bool> given_up = false;
  bool done = false;
  std::exception_ptr failed;
  std::vector<Check> checks;
  // On a thread of its own, so that the language can end the wait.
  std::thread worker([&] {
    block_sigpipe();
    try {
      checks = Diagnosis(options, style, user_agent, given_up).run();
    } catch (...) {
      failed = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    done = true;
    changed.notify_all();
  });
  try {
    std::unique_lock lock(mutex);
    wait_in_slices(lock, changed, std::nullopt, waiting, [&] { return done; });
  } catch (...) {
    given_up = true;
    worker.join();
    throw;
  }
  worker.join();
  if (failed) std::rethrow_exception(failed);
  return checks;
}

std::vector<Check> diagnose(const Options& options, const OptionStyle& style) {
  Waiting waiting;
  return diagnose(options, style, "intilery-cpp/" INTILERY_VERSION, waiting);
}

}  // namespace intilery
