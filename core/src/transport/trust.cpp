#include "transport/trust.hpp"

#include <curl/curl.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string_view>
#include <utility>

namespace intilery::transport {

namespace {

namespace fs = std::filesystem;

constexpr std::array well_known_files{
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora, RHEL, Amazon Linux
    "/etc/pki/tls/certs/ca-bundle.crt",                   // older ones of these
    "/etc/ssl/ca-bundle.pem",                             // SUSE
    "/etc/ssl/cert.pem",                                  // Alpine, OpenBSD, macOS
    "/usr/local/share/certs/ca-root-nss.crt",             // FreeBSD
};
constexpr std::array well_known_folders{"/etc/ssl/certs", "/etc/pki/tls/certs"};

struct Language {
  std::mutex mutex;
  std::string certificates;
};
Language& language() {
  static Language one;
  return one;
}

bool is_usable_file(const char* path) {
  std::error_code failed;
  return path != nullptr && fs::is_regular_file(path, failed) && fs::file_size(path, failed) > 0 && !failed;
}

bool is_usable_folder(const char* path) {
  std::error_code failed;
  return path != nullptr && fs::is_directory(path, failed) && !fs::is_empty(path, failed) && !failed;
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The system's. `problem` says where there are none.
Trust find_systems() {
  Trust trust;
  const std::string file = variable("SSL_CERT_FILE");
  const std::string folder = variable("SSL_CERT_DIR");
  if (!file.empty() || !folder.empty()) {
    trust.file = file;
    trust.folder = folder;
    if (!file.empty()) trust.source = file + " (SSL_CERT_FILE)";
    if (!folder.empty()) trust.source += (file.empty() ? "" : " and ") + folder + " (SSL_CERT_DIR)";
    return trust;
  }
  const curl_version_info_data* const info = curl_version_info(CURLVERSION_NOW);
  const std::string_view library = info->ssl_version == nullptr ? "" : info->ssl_version;
  if (library.find("Schannel") != std::string_view::npos || library.find("SecureTransport") != std::string_view::npos) {
    trust.of_library = true;
    trust.source = "the system's certificates";
    return trust;
  }
  std::string tried = "SSL_CERT_FILE and SSL_CERT_DIR are not set, and there is nothing at";
  const auto take = [&](std::string& place, const char* path, bool usable) {
    if (usable) {
      trust.source += (trust.source.empty() ? "" : " and ") + std::string(path);
      place = path;
    } else if (path != nullptr) {
      tried += " " + std::string(path);
    }
    return usable;
  };
  if (info->age >= CURLVERSION_SEVENTH) {
    const bool has_file = take(trust.file, info->cainfo, is_usable_file(info->cainfo));
    if (take(trust.folder, info->capath, is_usable_folder(info->capath)) || has_file) return trust;
  }
  for (const char* const path : well_known_files) {
    if (take(trust.file, path, is_usable_file(path))) return trust;
  }
  for (const char* const path : well_known_folders) {
    if (take(trust.folder, path, is_usable_folder(path))) return trust;
  }
  trust.problem =
      "no certificates to trust were found: " + tried + "; install the package ca-certificates, or set ca_file";
  return trust;
}

}  // namespace

Trust find_trust(const Options& options) {
  if (!options.ca_file.empty()) return {.file = options.ca_file, .folder = {}, .text = {}, .source = options.ca_file};
  Trust trust = find_systems();
  if (trust.problem.empty()) return trust;
  const std::lock_guard lock(language().mutex);
  if (language().certificates.empty()) return trust;
  trust.text = language().certificates;
  trust.source = "the language's own certificates";
  trust.problem.clear();
  return trust;
}

void set_language_certificates(std::string text) {
  const std::lock_guard lock(language().mutex);
  language().certificates = std::move(text);
}

bool lacks_certificates() { return !find_systems().problem.empty(); }

}  // namespace intilery::transport
