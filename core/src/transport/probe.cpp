#include "transport/probe.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

namespace intilery::transport {

namespace {

constexpr std::size_t longest_answer = 1'000'000;

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* to) {
  std::string& body = *static_cast<std::string*>(to);
  if (body.size() + size * count <= longest_answer) body.append(data, size * count);
  return size * count;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* to) {
  constexpr std::string_view name = "date:";
  std::string_view line(data, size * count);
  const bool is_date =
      line.size() > name.size() && std::equal(name.begin(), name.end(), line.begin(), [](char a, char b) {
        return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
      });
  if (is_date) static_cast<std::string*>(to)->assign(line.substr(name.size()));
  return size * count;
}

int on_progress(void* given_up, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return *static_cast<const std::atomic<bool>*>(given_up) ? 1 : 0;
}

/// Which step failed.
Step step_of(CURL* easy, CURLcode result) {
  const auto passed = [&](CURLINFO moment) {
    curl_off_t us = 0;
    curl_easy_getinfo(easy, moment, &us);
    return us > 0;
  };
  char* scheme = nullptr;
  switch (result) {
    case CURLE_OK:
      return Step::done;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Step::name;
    case CURLE_COULDNT_CONNECT:
      return Step::connection;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return Step::tls;
    default:
      if (!passed(CURLINFO_NAMELOOKUP_TIME_T)) return Step::name;
      if (!passed(CURLINFO_CONNECT_TIME_T)) return Step::connection;
      curl_easy_getinfo(easy, CURLINFO_SCHEME, &scheme);
      const bool is_tls =
          scheme != nullptr && (*scheme == 'h' || *scheme == 'H') && std::string_view(scheme).size() == 5;
      return is_tls && !passed(CURLINFO_APPCONNECT_TIME_T) ? Step::tls : Step::answer;
  }
}

void read_certificate(CURL* easy, Probed& probed) {
  curl_certinfo* chain = nullptr;
  if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain) != CURLE_OK || chain == nullptr || chain->num_of_certs < 1)
    return;
  for (const curl_slist* line = chain->certinfo[0]; line != nullptr; line = line->next) {
    const std::string_view text(line->data);
    if (text.starts_with("Issuer:")) probed.issuer = text.substr(7);
    if (text.starts_with("Expire date:")) {
      const time_t expires = curl_getdate(text.substr(12).data(), nullptr);
      if (expires >= 0) probed.expires = expires;
    }
  }
}

}  // namespace

Probe::Probe(const Options& options, const std::string& user_agent, const std::atomic<bool>& given_up)
    : base_(base_of(options.endpoint)), trust_(find_trust(options)), headers_(make_headers(options.auth_token)) {
  initialise_curl();
  easy_ = make_easy(options, trust_, user_agent);
  curl_easy_setopt(easy_.get(), CURLOPT_CERTINFO, 1L);
  curl_easy_setopt(easy_.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy_.get(), CURLOPT_XFERINFOFUNCTION, &on_progress);
  curl_easy_setopt(easy_.get(), CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(&given_up));
}

Probed Probe::ask(const std::string& path, const std::string* body) {
  CURL* easy = easy_.get();
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };
  Probed probed;
  std::array<char, CURL_ERROR_SIZE> error{};
  const std::string url = base_ + path;
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_HTTPHEADER, headers_.get());
  set(CURLOPT_ERRORBUFFER, error.data());
  set(CURLOPT_WRITEFUNCTION, &on_body);
  set(CURLOPT_WRITEDATA, &probed.body);
  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, &probed.date);
  if (body != nullptr) {
    set(CURLOPT_POSTFIELDS, body->c_str());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
  } else {
    set(CURLOPT_HTTPGET, 1L);
  }
  const CURLcode result = curl_easy_perform(easy);
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(nullptr));
  probed.reached = step_of(easy, result);
  probed.bad_ca_file = result == CURLE_SSL_CACERT_BADFILE;
  probed.trusts_any = trust_.problem.empty();
  if (result != CURLE_OK)
    probed.detail = detail_of(result, error[0] != '\0' ? error.data() : curl_easy_strerror(result), trust_);
  const auto read = [&](CURLINFO info, auto value) {
    curl_easy_getinfo(easy, info, &value);
    return value;
  };
  probed.status = static_cast<int>(read(CURLINFO_RESPONSE_CODE, 0L));
  if (const char* ip = read(CURLINFO_PRIMARY_IP, static_cast<char*>(nullptr)); ip != nullptr && *ip != '\0') {
    const std::string text(ip);
    probed.peer = (text.find(':') == std::string::npos ? text : "[" + text + "]") + ":" +
                  std::to_string(read(CURLINFO_PRIMARY_PORT, 0L));
  }
  const curl_off_t name_us = read(CURLINFO_NAMELOOKUP_TIME_T, curl_off_t{0});
  const curl_off_t connect_us = read(CURLINFO_CONNECT_TIME_T, curl_off_t{0});
  probed.name_time = std::chrono::milliseconds(name_us / 1000);
  probed.connect_time = std::chrono::milliseconds(std::max<curl_off_t>(0, connect_us - name_us) / 1000);
  read_certificate(easy, probed);
  return probed;
}

std::string curl_versions() {
  const curl_version_info_data* info = curl_version_info(CURLVERSION_NOW);
  return "libcurl " + std::string(info->version) +
         (info->ssl_version != nullptr ? ", " + std::string(info->ssl_version) : "");
}

}  // namespace intilery::transport
