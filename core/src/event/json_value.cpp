#include "event/json_value.hpp"

namespace intilery::event {

namespace {

/// Writes at `at`, where there is room for what is small.
char* write(JsonWriter& out, char* at, const nlohmann::json& value) {
  using Kind = nlohmann::json::value_t;
  switch (value.type()) {
    case Kind::object:
      at = out.open(at, '{');
      for (const auto& [key, member] : value.get_ref<const nlohmann::json::object_t&>()) {
        under(key, [&] {
          at = out.string(at, key);
          *at++ = ':';
          at = write(out, at, member);
          *at++ = ',';
        });
      }
      return out.close(at, '}');
    case Kind::array: {
      at = out.open(at, '[');
      std::size_t index = 0;
      for (const nlohmann::json& element : value) {
        under(index++, [&] {
          at = write(out, out.room(at, JsonWriter::small), element);
          *at++ = ',';
        });
      }
      return out.close(at, ']');
    }
    case Kind::string:
      return out.string(at, value.get_ref<const std::string&>());
    case Kind::boolean:
      return JsonWriter::boolean(at, value.get<bool>());
    case Kind::number_integer:
      return JsonWriter::integer(at, value.get<std::int64_t>());
    case Kind::number_unsigned:
      return JsonWriter::unsigned_integer(at, value.get<std::uint64_t>());
    case Kind::number_float:
      return JsonWriter::number(at, value.get<double>());
    case Kind::null:
      return JsonWriter::null(at);
    case Kind::binary:
      refuse_unsupported("binary value");
    case Kind::discarded:
      break;
  }
  refuse_unsupported("discarded value");
}

}  // namespace

void write_json(JsonWriter& out, const nlohmann::json& value) {
  out.reserve(JsonWriter::small);
  out.set_end(write(out, out.end(), value));
}

ValueSource source_of(const nlohmann::json& value) {
  if (value.is_null()) return {};
  return {&value,
          [](JsonWriter& out, const void* json) { write_json(out, *static_cast<const nlohmann::json*>(json)); }};
}

}  // namespace intilery::event
