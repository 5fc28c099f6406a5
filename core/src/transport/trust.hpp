/// \file
/// Which certificates are trusted. A libcurl that was built elsewhere looks in a place of its builder's distribution.
#pragma once

#include <string>
#include <vector>

#include "intilery/options.hpp"

namespace intilery::transport {

/// Where the certificates of the authorities are: a file, a folder (OpenSSL's, with hashed names), both, or a text.
struct Trust {
  std::string file;
  std::string folder;
  std::string text;          ///< PEM
  bool of_library = false;   ///< The TLS library asks the operating system; nothing is to be set.
  std::string source = {};   ///< For a person: where they are.
  std::string problem = {};  ///< For a person: why none are trusted.
};

/// Where a system may have them.
struct TrustPlaces {
  std::string builders_file;  ///< Of libcurl, as it was built.
  std::string builders_folder;
  std::vector<std::string> files;
  std::vector<std::string> folders;
};
TrustPlaces trust_places();

/// `ca_file`, and nothing else with it; or what SSL_CERT_FILE and SSL_CERT_DIR name; or libcurl's own place, if it is
/// there; or the first of the well-known places that is; or those of the language.
Trust find_trust(const Options& options, const TrustPlaces& places = trust_places());

/// The language's own certificates (PEM), for a system that has none. From any thread; for clients made later.
void set_language_certificates(std::string text);

}  // namespace intilery::transport
