#include "transport/trust.hpp"

#include <curl/curl.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string_view>
#include <utility>

namespace intilery::transport {

namespace {

namespace fs = std::filesystem;

struct Language {
  std::mutex mutex;
  std::string certificates;
};
Language& language() {
  static Language one;
  return one;
}

bool is_usable(const std::string& path, bool folder) {
  std::error_code failed;
  const bool there = folder ? fs::is_directory(path, failed) : fs::is_regular_file(path, failed);
  return there && !fs::is_empty(path, failed) && !failed;
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The TLS library of Windows and that of macOS have no files.
bool library_has_its_own() {
  const char* const library = curl_version_info(CURLVERSION_NOW)->ssl_version;
  const std::string_view name = library == nullptr ? "" : library;
  return name.find("Schannel") != std::string_view::npos || name.find("SecureTransport") != std::string_view::npos;
}

}  // namespace

TrustPlaces trust_places() {
  const curl_version_info_data* const info = curl_version_info(CURLVERSION_NOW);
  const auto text = [](const char* path) { return path == nullptr ? std::string() : std::string(path); };
  const bool tells = info->age >= CURLVERSION_SEVENTH;
  return {.builders_file = tells ? text(info->cainfo) : "",
          .builders_folder = tells ? text(info->capath) : "",
          .files =
              {
                  "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo
                  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora, RHEL, Amazon Linux
                  "/etc/pki/tls/certs/ca-bundle.crt",                   // older ones of these
                  "/etc/ssl/ca-bundle.pem",                             // SUSE
                  "/etc/ssl/cert.pem",                                  // Alpine, OpenBSD, macOS
                  "/usr/local/share/certs/ca-root-nss.crt",             // FreeBSD
              },
          .folders = {"/etc/ssl/certs", "/etc/pki/tls/certs"}};
}

Trust find_trust(const Options& options, const TrustPlaces& places) {
  Trust trust;
  const auto use = [&](std::string& place, const std::string& path, const char* named_by = "") {
    place = path;
    trust.source += (trust.source.empty() ? "" : " and ") + path + named_by;
  };
  if (!options.ca_file.empty()) {
    use(trust.file, options.ca_file);
    return trust;
  }
  if (const std::string file = variable("SSL_CERT_FILE"); !file.empty()) use(trust.file, file, " (SSL_CERT_FILE)");
  if (const std::string folder = variable("SSL_CERT_DIR"); !folder.empty())
    use(trust.folder, folder, " (SSL_CERT_DIR)");
  if (!trust.source.empty()) return trust;
  if (library_has_its_own()) {
    trust.of_library = true;
    trust.source = "the system's certificates";
    return trust;
  }
  if (is_usable(places.builders_file, false)) use(trust.file, places.builders_file);
  if (is_usable(places.builders_folder, true)) use(trust.folder, places.builders_folder);
  if (!trust.source.empty()) return trust;
  std::string tried = places.builders_file;
  for (const auto& [paths, folder] : {std::pair(&places.files, false), std::pair(&places.folders, true)}) {
    for (const std::string& path : *paths) {
      if (is_usable(path, folder)) {
        use(folder ? trust.folder : trust.file, path);
        return trust;
      }
      tried += (tried.empty() ? "" : ", ") + path;
    }
  }
  const std::lock_guard lock(language().mutex);
  trust.text = language().certificates;
  if (!trust.text.empty()) {
    trust.source = "the language's own certificates";
    return trust;
  }
  trust.problem =
      "no certificates to trust were found: SSL_CERT_FILE and SSL_CERT_DIR are not set, and there is "
      "nothing in " +
      tried + "; install the package ca-certificates, or set ca_file";
  return trust;
}

void set_language_certificates(std::string text) {
  const std::lock_guard lock(language().mutex);
  language().certificates = std::move(text);
}

}  // namespace intilery::transport
