// Tables through Arrow's C stream interface, from any producer that keeps to its specification: all types that are
// read, nested, sliced, with nulls; and formats that are none.
#include <deque>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "event/bad_value.hpp"
#include "rows/arrow_stream.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using nlohmann::json;

namespace {

/// One value as it must be written: its JSON text, or nothing where it must be refused.
using Value = std::optional<std::string>;

std::string decimal_text(__int128 value, int scale) {
  const bool negative = value < 0;
  auto rest = negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
    rest /= 10;
  } while (rest != 0);
  if (scale < 0 && digits != "0") digits.append(static_cast<std::size_t>(-scale), '0');
  if (scale > 0) {
    while (digits.size() <= static_cast<std::size_t>(scale)) digits.insert(digits.begin(), '0');
    digits.insert(digits.size() - static_cast<std::size_t>(scale), ".");
  }
  return (negative ? "-" : "") + digits;
}

/// A column with everything that it owns, and what its rows are.
struct Column {
  ArrowSchema schema{};
  ArrowArray array{};
  std::string format, name;
  std::vector<std::unique_ptr<Column>> children;
  std::vector<ArrowSchema*> child_schemas;
  std::vector<ArrowArray*> child_arrays;
  std::deque<std::vector<std::uint8_t>> storage;
  std::vector<const void*> buffers;
  std::vector<Value> values;  ///< From the array's own offset on.
  bool usable = true;         ///< The format is one that is read.
  bool odd = false;           ///< It is any text, and may be one.

  /// Exactly as large as it must be, so that what reads too far is seen.
  template <class T>
  void add_buffer(const std::vector<T>& elements) {
    std::vector<std::uint8_t> bytes(elements.size() * sizeof(T));
    if (!bytes.empty()) std::memcpy(bytes.data(), elements.data(), bytes.size());
    bytes.shrink_to_fit();
    storage.push_back(std::move(bytes));
    buffers.push_back(storage.back().data());
  }

  Column(Input& in, std::int64_t length, int depth) {
    const std::int64_t offset = static_cast<std::int64_t>(in.below(3));
    const std::int64_t all = offset + length;
    const std::uint8_t nulls = in.byte();
    const bool named = in.below(8) != 7;
    if (named) name = std::string(in.take(in.below(4)));
    std::replace(name.begin(), name.end(), '\0', '0');
    values.assign(static_cast<std::size_t>(all), "null");
    std::vector<bool> valid(static_cast<std::size_t>(all), true);
    for (std::size_t i = 0; i < valid.size(); ++i) valid[i] = nulls % 4 == 0 || ((nulls >> (i % 8)) & 1) != 0;
    build(in, all, depth, valid);
    schema.format = format.c_str();
    schema.name = named ? name.c_str() : nullptr;
    for (const auto& child : children) {
      child_schemas.push_back(&child->schema);
      child_arrays.push_back(&child->array);
      usable = usable && child->usable;
      odd = odd || child->odd;
    }
    schema.n_children = array.n_children = static_cast<std::int64_t>(children.size());
    schema.children = child_schemas.data();
    array.children = child_arrays.data();
    array.length = length;
    array.offset = offset;
    array.null_count = std::count(valid.begin(), valid.end(), false) == 0 && (nulls & 1) == 0 ? 0 : -1;
    array.n_buffers = static_cast<std::int64_t>(buffers.size());
    array.buffers = buffers.data();
    for (std::size_t i = 0; i < valid.size(); ++i) {
      if (!valid[i]) values[i] = "null";
    }
    values.erase(values.begin(), values.begin() + offset);
  }

  void add_validity(const std::vector<bool>& valid) {
    std::vector<std::uint8_t> bits((valid.size() + 7) / 8);
    bool any = false;
    for (std::size_t i = 0; i < valid.size(); ++i) {
      if (valid[i]) bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | 1U << (i % 8));
      any = any || !valid[i];
    }
    if (any) return add_buffer(bits);
    buffers.push_back(nullptr);
  }

  template <class T, class Text>
  void numbers(Input& in, std::int64_t all, const std::vector<bool>& valid, Text text) {
    add_validity(valid);
    std::vector<T> elements;
    for (std::int64_t i = 0; i < all; ++i) {
      elements.push_back(in.number<T>());
      values[static_cast<std::size_t>(i)] = text(elements.back());
    }
    add_buffer(elements);
  }

  static Value text_value(std::string_view text) {
    try {
      return json(text).dump();
    } catch (const json::type_error&) {
      return std::nullopt;
    }
  }

  template <class Offset>
  void texts(Input& in, std::int64_t all, const std::vector<bool>& valid) {
    add_validity(valid);
    std::vector<Offset> offsets{0};
    std::vector<char> bytes;
    for (std::int64_t i = 0; i < all; ++i) {
      const std::string_view text = in.take(in.below(20));
      bytes.insert(bytes.end(), text.begin(), text.end());
      offsets.push_back(static_cast<Offset>(bytes.size()));
      values[static_cast<std::size_t>(i)] = text_value(text);
    }
    add_buffer(offsets);
    if (bytes.empty()) return buffers.push_back(nullptr);
    add_buffer(bytes);
  }

  void views(Input& in, std::int64_t all, const std::vector<bool>& valid) {
    add_validity(valid);
    std::vector<std::uint8_t> elements(static_cast<std::size_t>(all) * 16);
    std::vector<char> bytes;
    for (std::int64_t i = 0; i < all; ++i) {
      const std::string_view text = in.take(in.below(30));
      const auto size = static_cast<std::int32_t>(text.size());
      std::uint8_t* const view = elements.data() + 16 * i;
      std::memcpy(view, &size, 4);
      if (size <= 12) {
        if (size > 0) std::memcpy(view + 4, text.data(), text.size());
      } else {
        const auto place = static_cast<std::int32_t>(bytes.size());
        std::memcpy(view + 4, text.data(), 4);
        std::memcpy(view + 12, &place, 4);
        bytes.insert(bytes.end(), text.begin(), text.end());
      }
      values[static_cast<std::size_t>(i)] = text_value(text);
    }
    add_buffer(elements);
    add_buffer(bytes);
  }

  template <class Offset>
  void lists(Input& in, std::int64_t all, int depth, const std::vector<bool>& valid) {
    add_validity(valid);
    std::vector<Offset> offsets{static_cast<Offset>(in.below(2))};
    for (std::int64_t i = 0; i < all; ++i) offsets.push_back(offsets.back() + static_cast<Offset>(in.below(3)));
    children.push_back(std::make_unique<Column>(in, offsets.back(), depth + 1));
    for (std::size_t i = 0; i < static_cast<std::size_t>(all); ++i) {
      values[i] = list_of(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(offsets[i + 1]));
    }
    add_buffer(offsets);
  }
  Value list_of(std::size_t from, std::size_t to) const {
    std::string text = "[";
    for (std::size_t i = from; i < to; ++i) {
      const Value& item = children.front()->values[i];
      if (!item) return std::nullopt;
      text += (i > from ? "," : "") + *item;
    }
    return text + "]";
  }

  void decimals(Input& in, std::int64_t all, const std::vector<bool>& valid) {
    const int scale = static_cast<int>(in.number<std::int8_t>());
    const std::size_t width = in.below(4);
    format = "d:9," + std::to_string(scale) + (width == 1 ? ",32" : width == 2 ? ",64" : width == 3 ? ",128" : "");
    usable = scale >= -76 && scale <= 76;
    if (width == 1)
      numbers<std::int32_t>(in, all, valid, [&](std::int32_t v) { return decimal_text(v, scale); });
    else if (width == 2)
      numbers<std::int64_t>(in, all, valid, [&](std::int64_t v) { return decimal_text(v, scale); });
    else
      numbers<__int128>(in, all, valid, [&](__int128 v) { return decimal_text(v, scale); });
  }

  void build(Input& in, std::int64_t all, int depth, std::vector<bool>& valid) {
    const auto whole = [](auto v) { return std::to_string(v); };
    switch (depth > 3 ? in.below(17) : in.below(22)) {
      case 0:
        format = "n";
        return;
      case 1: {
        format = "b";
        add_validity(valid);
        std::vector<std::uint8_t> bits(static_cast<std::size_t>(all + 7) / 8);
        for (std::uint8_t& bit : bits) bit = in.byte();
        for (std::size_t i = 0; i < static_cast<std::size_t>(all); ++i) {
          values[i] = ((bits[i / 8] >> (i % 8)) & 1) != 0 ? "true" : "false";
        }
        return add_buffer(bits);
      }
      case 2:
        format = "c";
        return numbers<std::int8_t>(in, all, valid, whole);
      case 3:
        format = "C";
        return numbers<std::uint8_t>(in, all, valid, whole);
      case 4:
        format = "s";
        return numbers<std::int16_t>(in, all, valid, whole);
      case 5:
        format = "S";
        return numbers<std::uint16_t>(in, all, valid, whole);
      case 6:
        format = "i";
        return numbers<std::int32_t>(in, all, valid, whole);
      case 7:
        format = "I";
        return numbers<std::uint32_t>(in, all, valid, whole);
      case 8:
        format = "l";
        return numbers<std::int64_t>(in, all, valid, whole);
      case 9:
        format = "L";
        return numbers<std::uint64_t>(in, all, valid, whole);
      case 10:
        format = "g";
        return numbers<double>(in, all, valid, [](double v) -> Value {
          if (!std::isfinite(v)) return std::nullopt;
          std::array<char, 40> text;
          return std::string(text.data(), std::to_chars(text.data(), text.data() + text.size(), v).ptr);
        });
      case 11:
      case 12:
        return decimals(in, all, valid);
      case 13:
        format = "u";
        return texts<std::int32_t>(in, all, valid);
      case 14:
        format = "U";
        return texts<std::int64_t>(in, all, valid);
      case 15:
        format = "vu";
        return views(in, all, valid);
      case 16: {  // whatever; behind it there are no values
        format = std::string(in.take(in.below(12)));
        std::replace(format.begin(), format.end(), '\0', ':');
        odd = true;
        return;
      }
      case 17:
      case 18: {
        format = "+s";
        add_validity(valid);
        const std::size_t count = in.below(4);
        for (std::size_t i = 0; i < count; ++i) children.push_back(std::make_unique<Column>(in, all, depth + 1));
        for (std::size_t row = 0; row < static_cast<std::size_t>(all); ++row) {
          Value text = "{";
          for (std::size_t i = 0; i < count && text; ++i) {
            const Value& item = children[i]->values[row];
            text = item ? std::optional(*text + (i > 0 ? "," : "") + text_value(children[i]->name).value_or("\"\"") +
                                        ":" + *item)
                        : std::nullopt;
          }
          values[row] = text ? std::optional(*text + "}") : std::nullopt;
        }
        for (const auto& child : children) usable = usable && text_value(child->name).has_value();
        return;
      }
      case 19:
        format = "+l";
        return lists<std::int32_t>(in, all, depth, valid);
      case 20:
        format = "+L";
        return lists<std::int64_t>(in, all, depth, valid);
      default: {
        const std::size_t size = in.below(4);
        format = "+w:" + std::to_string(size);
        add_validity(valid);
        children.push_back(std::make_unique<Column>(in, all * static_cast<std::int64_t>(size), depth + 1));
        for (std::size_t row = 0; row < static_cast<std::size_t>(all); ++row) {
          values[row] = list_of(row * size, (row + 1) * size);
        }
      }
    }
  }
};

/// A stream of one batch, with one column.
struct Stream : ArrowArrayStream {
  Column& column;
  bool given = false;
  ArrowSchema* schemas[1];
  ArrowArray* arrays[1];

  explicit Stream(Column& given_column) : ArrowArrayStream{}, column(given_column) {
    schemas[0] = &column.schema;
    arrays[0] = &column.array;
    get_schema = [](ArrowArrayStream* self, ArrowSchema* out) {
      *out = {};
      out->format = "+s";
      out->n_children = 1;
      out->children = static_cast<Stream*>(self)->schemas;
      out->release = [](ArrowSchema* schema) { schema->release = nullptr; };
      return 0;
    };
    get_next = [](ArrowArrayStream* self, ArrowArray* out) {
      auto* stream = static_cast<Stream*>(self);
      *out = {};
      if (std::exchange(stream->given, true)) return 0;
      out->length = stream->column.array.length;
      out->n_children = 1;
      out->children = stream->arrays;
      out->release = [](ArrowArray* array) { array->release = nullptr; };
      return 0;
    };
    get_last_error = [](ArrowArrayStream*) -> const char* { return nullptr; };
  }
};

}  // namespace

FUZZ_TARGET(arrow) {
  Input in(bytes);
  const std::int64_t length = static_cast<std::int64_t>(in.below(6));
  Column column(in, length, 0);
  Stream source(column);
  try {
    rows::ArrowStream stream(&source, {{.name = "v"}}, false);
    if (column.odd) return;
    must(column.usable, "a format that is none is refused: " + column.format);
    while (stream.next()) {
      must(stream.size() == length, "a batch has its rows");
      for (std::int64_t row = 0; row < length; ++row) {
        const Value& expected = column.values[static_cast<std::size_t>(row)];
        event::JsonWriter out(16);
        try {
          stream.write_body(out, row);
          must(expected.has_value(), "what JSON cannot hold is refused");
        } catch (const event::BadValue& bad) {
          must(!expected, "what JSON can hold is written: " + bad.code);
          continue;
        }
        const std::string whole = R"({"v":)" + *expected + "}";
        const json ours = json::parse(out.view(), nullptr, false);
        const json theirs = json::parse(whole, nullptr, false);
        must(ours.is_discarded() == theirs.is_discarded() && (ours.is_discarded() || ours == theirs),
             "a value is written as it is: " + std::string(out.view()) + " for " + whole);
        if (column.format.starts_with("d:")) must(out.view() == whole, "a decimal exactly");
      }
    }
  } catch (const std::runtime_error& error) {
    must(!column.usable || column.odd, std::string("a table is read: ") + error.what());
  }
}

}  // namespace intilery::fuzz
