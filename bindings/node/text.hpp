/// \file
/// Text on its way from JavaScript to the core.
#pragma once

#include <node_api.h>

#include <string_view>
#include <vector>

namespace intilery::node {

/// Whether Node-API's own conversion may have put U+FFFD where half a surrogate pair was.
bool may_hide_surrogate(std::string_view utf8);

/// Reads JavaScript strings into one buffer that is kept from call to call. Not thread-safe: one reader a client, used
/// on its JavaScript thread only.
class TextReader {
 public:
  /// Forgets what was read.
  void clear();

  /// Where a text lies. The buffer may move while a call's texts are read, so `view` comes after the last `read`.
  struct Place {
    std::size_t from = 0;
    std::size_t size = 0;
  };

  /// Half of a surrogate pair becomes three bytes of its own (WTF-8), which the core refuses as `invalid_text`.
  /// \returns false if `value` is not a string; nothing was read.
  bool read(napi_env env, napi_value value, Place& place);

  /// The same for text of which half a surrogate pair is known not to be there, as JSON.stringify never writes one:
  /// Node-API's own conversion may be used, which is faster.
  bool read_json(napi_env env, napi_value value, Place& place);

  /// The UTF-8 of a place; its `data()` is never null. Valid until the next `read` or `clear`.
  std::string_view view(Place place) const { return {utf8_.data() + place.from, place.size}; }

 private:
  std::vector<char16_t> units_;
  std::vector<char> utf8_;
  std::size_t used_ = 0;
};

}  // namespace intilery::node
