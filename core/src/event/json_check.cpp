#include "event/json_check.hpp"

#include <simdjson.h>

#include <array>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

namespace intilery::event {

namespace {

namespace ondemand = simdjson::ondemand;

[[noreturn]] void refuse_json(const char* why) {
  throw BadValue{"invalid_json", std::string("is not valid JSON (") + why + ")", ""};
}

void require(simdjson::error_code error) {
  switch (error) {
    case simdjson::SUCCESS:
      return;
    case simdjson::UTF8_ERROR:
    case simdjson::STRING_ERROR:
      refuse_text();
    case simdjson::DEPTH_ERROR:
      refuse_depth();
    default:
      refuse_json(simdjson::error_message(error));
  }
}

/// Walks a text once. simdjson's on-demand reader checks what it is asked for, so everything is asked for.
class Walk {
 public:
  Walk(std::string_view text, int levels)
      : text_(text), levels_(levels), padded_(text.size() + simdjson::SIMDJSON_PADDING, ' ') {
    text.copy(padded_.data(), text.size());
  }

  void run(std::vector<JsonMember>* members) {
    thread_local ondemand::parser parser;
    require(parser.iterate(padded_.data(), text_.size(), padded_.size()).get(document_));
    ondemand::json_type type = ondemand::json_type::null;
    require(document_.type().get(type));
    if (type == ondemand::json_type::object) {
      ondemand::object object;
      require(document_.get_object().get(object));
      walk_object(object, 1, members);
    } else if (type == ondemand::json_type::array) {
      ondemand::array array;
      require(document_.get_array().get(array));
      walk_array(array, 1);
    } else {
      // A bare value. Too rare to have a path of its own.
      const bool has_nul = text_.find('\0') != std::string_view::npos;  // where nlohmann thinks that the text ends
      if (has_nul || !nlohmann::json::accept(text_)) refuse_json("not one value");
      return;
    }
    const char* rest = nullptr;
    if (document_.current_location().get(rest) == simdjson::SUCCESS) refuse_json("something follows the value");
  }

 private:
  void walk_object(ondemand::object& object, int depth, std::vector<JsonMember>* members) {
    if (depth > levels_) refuse_depth();
    for (auto result : object) {
      ondemand::field field;
      require(std::move(result).get(field));
      std::string_view key;
      require(field.unescaped_key().get(key));
      std::string name;
      if (members != nullptr) name = key;
      ondemand::value value = field.value();
      std::string_view raw = value.raw_json_token();
      try {
        walk_value(value, depth);
      } catch (BadValue& bad) {
        // The key's text may be gone from the parser's buffer; only members of the root are named.
        if (members != nullptr) bad.under(name);
        throw;
      }
      if (members != nullptr) {
        if (raw.front() == '{' || raw.front() == '[') {  // The token is the brace alone; the value ends here.
          const char* end = nullptr;
          require(document_.current_location().get(end));
          raw = {raw.data(), static_cast<std::size_t>(end - raw.data())};
        }
        const auto start = static_cast<std::size_t>(raw.data() - padded_.data());
        members->push_back({std::move(name), trim(text_.substr(start, raw.size()))});
      }
    }
  }

  void walk_array(ondemand::array& array, int depth) {
    if (depth > levels_) refuse_depth();
    std::size_t index = 0;
    for (auto result : array) {
      ondemand::value value;
      require(std::move(result).get(value));
      under(index++, [&] { walk_value(value, depth); });
    }
  }

  void walk_value(ondemand::value& value, int depth) {
    ondemand::json_type type = ondemand::json_type::null;
    require(value.type().get(type));
    switch (type) {
      case ondemand::json_type::object: {
        ondemand::object object;
        require(value.get_object().get(object));
        walk_object(object, depth + 1, nullptr);
        return;
      }
      case ondemand::json_type::array: {
        ondemand::array array;
        require(value.get_array().get(array));
        walk_array(array, depth + 1);
        return;
      }
      case ondemand::json_type::string: {
        std::string_view text;
        require(value.get_string().get(text));
        return;
      }
      case ondemand::json_type::number: {
        // Not converted: a number of any size travels as it stands.
        if (!is_number(trim(value.raw_json_token()))) refuse_json("a malformed number");
        return;
      }
      case ondemand::json_type::boolean: {
        bool ignored = false;
        require(value.get_bool().get(ignored));
        return;
      }
      case ondemand::json_type::null: {
        bool is_null = false;  // older versions have a plain bool here
        if (simdjson::simdjson_result<bool>(value.is_null()).get(is_null) != simdjson::SUCCESS || !is_null) {
          refuse_json("a malformed null");
        }
        return;
      }
    }
    refuse_json("an unknown kind of value");
  }

  std::string_view text_;
  int levels_;
  std::string padded_;
  ondemand::document document_;
};

/// Whether a text is certainly right, which simdjson's other reader says in half the time. False: it takes a walk to
/// say what is wrong, if anything; a number that no double can hold is not.
bool is_plainly_valid(std::string_view text) {
  constexpr std::size_t most = 16'384;  // what a thread keeps for this is some twenty times that
  if (text.size() > most) return false;
  struct Reader {
    std::array<char, most + simdjson::SIMDJSON_PADDING> padded;
    simdjson::dom::parser parser{most};
    bool ready = parser.allocate(most, JsonWriter::max_depth) == simdjson::SUCCESS;
  };
  thread_local const auto reader = std::make_unique<Reader>();
  if (!reader->ready) return false;
  text.copy(reader->padded.data(), text.size());
  std::memset(reader->padded.data() + text.size(), ' ', simdjson::SIMDJSON_PADDING);
  return reader->parser.parse(reader->padded.data(), text.size(), false).error() == simdjson::SUCCESS;
}

}  // namespace

bool is_number(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t from = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at - from;
  };
  const auto next_is = [&](char c) { return at < text.size() && text[at] == c; };
  if (next_is('-')) ++at;
  if (next_is('0')) {
    ++at;
  } else if (digits() == 0) {
    return false;
  }
  if (next_is('.')) {
    ++at;
    if (digits() == 0) return false;
  }
  if (next_is('e') || next_is('E')) {
    ++at;
    if (next_is('+') || next_is('-')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

std::string_view trim(std::string_view json) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t from = json.find_first_not_of(space);
  if (from == std::string_view::npos) return {};
  return json.substr(from, json.find_last_not_of(space) - from + 1);
}

void check_json(std::string_view text, std::vector<JsonMember>* members, int levels) {
  if (members == nullptr && levels >= JsonWriter::max_depth && is_plainly_valid(text)) return;
  Walk(text, levels).run(members);
}

std::vector<JsonMember> members_of(std::string_view object) {
  std::vector<JsonMember> members;
  check_json(object, &members);
  return members;
}

void write_checked_json(JsonWriter& out, std::string_view text) {
  const std::string_view json = trim(text);
  check_json(json);
  out.literal(json);
}

std::string_view kind_of(std::string_view json) {
  switch (json.empty() ? '\0' : json.front()) {
    case '{':
      return "an object";
    case '[':
      return "an array";
    case '"':
      return "text";
    case 't':
    case 'f':
      return "a boolean";
    case 'n':
      return "null";
    case '\0':
      return "nothing";
    default:
      return "a number";
  }
}

std::string unescape(std::string_view json_string) {
  if (json_string.find('\\') == std::string_view::npos)
    return std::string(json_string.substr(1, json_string.size() - 2));
  return nlohmann::json::parse(json_string).get<std::string>();
}

}  // namespace intilery::event
