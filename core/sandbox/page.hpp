/// \file
/// The sandbox's page, and what it asks for: `/` and `/sandbox/…`.
#pragma once

#include <string_view>

#include "http_server.hpp"
#include "state.hpp"

namespace intilery::testing {

/// Shows what arrived, and switches faults on and off. Thread-safe.
class Page {
 public:
  explicit Page(State& state) : state_(state) {}

  /// Whether the page, and not the service, is asked for.
  static bool is_at(std::string_view path) { return path == "/" || path.starts_with("/sandbox/"); }

  /// \param port the server's own.
  HttpAnswer serve(const HttpRequest& request, int port);

 private:
  bool is_allowed(const HttpRequest& request) const;
  HttpAnswer live(const HttpRequest& request);
  HttpAnswer request_of(const HttpRequest& request, std::string_view number);
  HttpAnswer profiles(const HttpRequest& request);
  HttpAnswer profile(const std::string& user_id);
  HttpAnswer set_faults(const HttpRequest& request);
  HttpAnswer clear();

  State& state_;
};

/// Compares without telling by its time where the texts differ.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace intilery::testing
