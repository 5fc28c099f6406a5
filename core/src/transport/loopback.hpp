/// \file
/// Which hosts are this machine.
#pragma once

#include <string_view>

namespace intilery::transport {

/// \param host as in a URL. A name that only looks like an address (`127.example.com`) is not one.
inline bool is_loopback(std::string_view host) {
  const bool address = host.find_first_not_of("0123456789.") == std::string_view::npos;
  return host == "localhost" || host == "[::1]" || (address && host.starts_with("127."));
}

}  // namespace intilery::transport
