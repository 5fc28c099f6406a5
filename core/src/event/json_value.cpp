#include "event/json_value.hpp"

namespace intilery::event {

void write_json(JsonWriter& out, const nlohmann::json& value) {
  using Kind = nlohmann::json::value_t;
  switch (value.type()) {
    case Kind::object:
      out.begin_object();
      for (const auto& [key, member] : value.get_ref<const nlohmann::json::object_t&>()) {
        under(key, [&] {
          out.key(key);
          write_json(out, member);
        });
      }
      out.end_object();
      return;
    case Kind::array: {
      out.begin_array();
      std::size_t index = 0;
      for (const nlohmann::json& element : value) {
        under(index++, [&] {
          out.element();
          write_json(out, element);
        });
      }
      out.end_array();
      return;
    }
    case Kind::string:
      out.string(value.get_ref<const std::string&>());
      return;
    case Kind::boolean:
      out.boolean(value.get<bool>());
      return;
    case Kind::number_integer:
      out.integer(value.get<std::int64_t>());
      return;
    case Kind::number_unsigned:
      out.unsigned_integer(value.get<std::uint64_t>());
      return;
    case Kind::number_float:
      out.number(value.get<double>());
      return;
    case Kind::null:
      out.null();
      return;
    case Kind::binary:
      refuse_unsupported("binary value");
    case Kind::discarded:
      refuse_unsupported("discarded value");
  }
}

ValueSource source_of(const nlohmann::json& value) {
  if (value.is_null()) return {};
  return {&value,
          [](JsonWriter& out, const void* json) { write_json(out, *static_cast<const nlohmann::json*>(json)); }};
}

}  // namespace intilery::event
