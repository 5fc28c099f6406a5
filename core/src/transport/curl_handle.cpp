#include "transport/curl_handle.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <new>
#include <stdexcept>

#include "transport/loopback.hpp"

namespace intilery::transport {

void initialise_curl() {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (once != CURLE_OK) throw std::runtime_error("libcurl cannot be initialised");
}

bool leads_to_loopback(const std::string& endpoint) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  char* host = nullptr;
  curl_url_set(url.get(), CURLUPART_URL, endpoint.c_str(), 0);
  curl_url_get(url.get(), CURLUPART_HOST, &host, 0);
  const std::unique_ptr<char, decltype(&curl_free)> owned(host, &curl_free);
  return host != nullptr && is_loopback(host);
}

std::string base_of(const std::string& endpoint) { return endpoint.substr(0, endpoint.find_last_not_of('/') + 1); }

namespace {

/// Both the file and the folder are set, if only to nothing: else libcurl trusts its own beside them.
void trust_only(CURL* easy, const Trust& trust) {
  if (trust.of_library) return;
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };
  const char* const file = trust.file.empty() ? nullptr : trust.file.c_str();
  const char* const folder = trust.folder.empty() ? nullptr : trust.folder.c_str();
  set(CURLOPT_CAINFO, file);
  set(CURLOPT_CAPATH, folder);
  set(CURLOPT_PROXY_CAINFO, file);
  set(CURLOPT_PROXY_CAPATH, folder);
#if LIBCURL_VERSION_NUM >= 0x074d00
  if (trust.text.empty()) return;
  curl_blob text{const_cast<char*>(trust.text.data()), trust.text.size(), CURL_BLOB_COPY};
  set(CURLOPT_CAINFO_BLOB, &text);
  set(CURLOPT_PROXY_CAINFO_BLOB, &text);
#endif
}

}  // namespace

Easy make_easy(const Options& options, const Trust& trust, const std::string& user_agent) {
  Easy easy(curl_easy_init());
  if (!easy) throw std::bad_alloc();
  const std::string agent = options.user_agent.empty() ? user_agent : options.user_agent + " " + user_agent;
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(easy.get(), option, value); };
  const auto ms = [](std::chrono::milliseconds duration) {
    return static_cast<long>(std::max<std::int64_t>(1, duration.count()));
  };
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
  set(CURLOPT_PROTOCOLS_STR, "http,https");
#else
  set(CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_HTTP_VERSION, static_cast<long>(options.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  set(CURLOPT_CONNECTTIMEOUT_MS, ms(options.connect_timeout));
  set(CURLOPT_TIMEOUT_MS, ms(options.request_timeout));
#if LIBCURL_VERSION_NUM >= 0x075700
  set(CURLOPT_QUICK_EXIT, 1L);  // Else a name server that is silent holds up this thread, and so `close`.
#endif
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
  set(CURLOPT_USERAGENT, agent.c_str());
  set(CURLOPT_PROXY_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  trust_only(easy.get(), trust);
  if (!options.proxy.empty()) {
    set(CURLOPT_PROXY, options.proxy.c_str());
  } else if (leads_to_loopback(options.endpoint)) {
    set(CURLOPT_PROXY, "");  // A proxy named in the environment could not reach this machine's own addresses.
  }
  return easy;
}

std::string detail_of(CURLcode result, std::string said, const Trust& trust) {
  // libcurl repeats a proxy's address that it cannot read, with the user and the password in it.
  if (const std::size_t end = said.rfind('@'); end != std::string::npos) {
    std::size_t from = said.find("//");
    from = from < end ? from + 2 : said.find('\'') < end ? said.find('\'') + 1 : 0;
    said.replace(from, end - from, "[redacted]");
  }
  if (result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE)
    said += "; " + (trust.problem.empty() ? "trusted is what " + trust.source + " vouches for" : trust.problem);
  return said;
}

Headers make_headers(const std::string& token) {
  Headers headers;
  for (const std::string& line :
       {std::string("content-type: application/json"), "auth-token: " + token, std::string("Expect:")}) {
    curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    static_cast<void>(headers.release());
    headers.reset(longer);
  }
  return headers;
}

}  // namespace intilery::transport
