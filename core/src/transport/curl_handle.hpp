/// \file
/// libcurl's handles, set up as every request of this library has them.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "intilery/options.hpp"
#include "transport/trust.hpp"

namespace intilery::transport {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;
using Headers = std::unique_ptr<curl_slist, ListDeleter>;

void initialise_curl();

/// TLS is verified, no redirect is followed, and time-outs and proxy are as the options say.
/// \param user_agent of the client; `options.user_agent` is put before it.
Easy make_easy(const Options& options, const Trust& trust, const std::string& user_agent);

/// What libcurl says of a failure, for a person: without a proxy's password, and with what is trusted if that is why.
std::string detail_of(CURLcode result, std::string said, const Trust& trust);

/// What every request says, the token included.
Headers make_headers(const std::string& token);

/// Without slashes at its end.
std::string base_of(const std::string& endpoint);

bool leads_to_loopback(const std::string& endpoint);

}  // namespace intilery::transport
