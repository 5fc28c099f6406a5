/// \file
/// Requests travel by libcurl.
#pragma once

#include <memory>

#include "intilery/options.hpp"
#include "transport/transport.hpp"

namespace intilery::transport {

/// libcurl's multi interface: connections are kept, TLS is verified, no redirect is followed, and the token goes to the
/// endpoint only.
/// \param user_agent of the client; `options.user_agent` is put before it.
std::unique_ptr<Transport> make_curl_transport(const Options& options, const std::string& user_agent);

}  // namespace intilery::transport
