#include "plan/checker.hpp"

#include <algorithm>
#include <bitset>
#include <functional>
#include <numeric>
#include <optional>

#include "event/bad_value.hpp"
#include "event/json_check.hpp"
#include "plan/json_text.hpp"
#include "printable.hpp"

namespace intilery::plan {

namespace {

/// Where a value stands; the frames above are on the stack.
struct Frame {
  const Frame* parent;
  std::string_view key;   ///< Its name …
  std::size_t index = 0;  ///< … or, if that has no data, its place.
};

/// Memory that a thread keeps from event to event.
struct Scratch {
  std::string text;
  std::string canonical;
  std::vector<std::size_t> ends;  ///< Of each item in `canonical`.
};

Scratch& scratch() {
  thread_local Scratch kept;
  return kept;
}

std::string count_of(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

class Checker {
 public:
  Checker(const char* end, std::string_view root) : end_(end), root_(root) {}

  /// \returns past the value.
  const char* value(const char* at, const Rules& rules, const Frame* frame) {
    const char* after = nullptr;
    if (rules.never) {
      report(rules, "", "not_allowed", "is not allowed by the plan", frame);
      return skip_value(at, end_);
    }
    switch (*at) {
      case '"':
        after = string(at, rules, frame);
        break;
      case '{':
        after = object(at, rules, frame);
        break;
      case '[':
        after = array(at, rules, frame);
        break;
      case 't':
      case 'f':
        type(boolean_type, at, rules, frame);
        after = at + (*at == 't' ? 4 : 5);
        break;
      case 'n':
        type(null_type, at, rules, frame);
        after = at + 4;
        break;
      default:
        after = number(at, rules, frame);
    }
    if (rules.checks_values) values(at, rules, frame);
    for (const Rules* reference : rules.references) value(at, *reference, frame);
    return after;
  }

  std::vector<Violation> violations;

 private:
  void report(const Rules& rules, std::string_view keyword, std::string code, const std::string& message,
              const Frame* frame) {
    if (violations.size() == max_violations) return;
    event::BadValue bad{"", "", ""};
    for (; frame != nullptr; frame = frame->parent) {
      if (frame->key.data() != nullptr) {
        bad.under(frame->key);
      } else {
        bad.at(frame->index);
      }
    }
    bad.under(root_);
    violations.push_back({.code = std::move(code),
                          .path = bad.path,
                          .rule = keyword.empty() ? rules.pointer : rules.pointer + "/" + std::string(keyword),
                          .message = printable(bad.path + " " + message)});
  }

  bool type(std::uint8_t met, const char* at, const Rules& rules, const Frame* frame) {
    if ((rules.types & met) != 0) return true;
    std::string_view kind = event::kind_of({at, 1});
    if (met == fraction_type && (rules.types & integer_type) != 0) kind = "a number with a fraction";
    report(rules, "type", "wrong_type", "must be " + rules.type_text + ", not " + std::string(kind), frame);
    return false;
  }

  const char* string(const char* at, const Rules& rules, const Frame* frame) {
    const Quoted quoted = read_string(at, end_);
    if (!type(string_type, at, rules, frame) || !rules.checks_strings) return quoted.end;
    const std::string_view text = quoted.escaped ? text_of(quoted, scratch().text) : quoted.raw;
    // A code point has one byte to four, so the bytes often say enough.
    if (text.size() / 4 < rules.min_length.value_or(0) || text.size() > rules.max_length.value_or(text.size())) {
      const std::size_t length = count_code_points(text);
      if (length < rules.min_length.value_or(0)) {
        report(rules, "minLength", "min_length",
               "must have at least " + count_of(*rules.min_length, "character") + ", not " + std::to_string(length),
               frame);
      }
      if (rules.max_length && length > *rules.max_length) {
        report(rules, "maxLength", "max_length",
               "must have at most " + count_of(*rules.max_length, "character") + ", not " + std::to_string(length),
               frame);
      }
    }
    if (rules.pattern && !rules.pattern->found_in(text)) {
      report(rules, "pattern", "pattern", "does not match the plan's pattern", frame);
    }
    return quoted.end;
  }

  const char* number(const char* at, const Rules& rules, const Frame* frame) {
    if ((rules.types & number_type) == number_type && !rules.checks_numbers) return skip_number(at, end_);
    const char* after = at;
    Small small;
    if (Small::read(after, end_, small)) {
      numeric(small, at, rules, frame, [](const Bound& bound) { return bound.small ? &*bound.small : nullptr; });
    } else {
      after = skip_number(at, end_);
      numeric(Decimal({at, static_cast<std::size_t>(after - at)}), at, rules, frame,
              [](const Bound& bound) { return &bound.value; });
    }
    return after;
  }

  /// \param of gives a bound in the number's own form, if it has that.
  template <class Number, class Of>
  void numeric(const Number& number, const char* at, const Rules& rules, const Frame* frame, Of of) {
    if ((rules.types & number_type) != number_type &&
        !type(number.is_integer() ? integer_type : fraction_type, at, rules, frame)) {
      return;
    }
    if (!rules.checks_numbers) return;
    const auto compare = [&](const Bound& bound) {
      if (const auto* same = of(bound)) return number.compare(*same);
      return Decimal({at, static_cast<std::size_t>(skip_number(at, end_) - at)}).compare(bound.value);
    };
    if (rules.minimum && compare(*rules.minimum) < 0) {
      report(rules, "minimum", "minimum", "must be at least " + rules.minimum->text, frame);
    }
    if (rules.exclusive_minimum && compare(*rules.exclusive_minimum) <= 0) {
      report(rules, "exclusiveMinimum", "exclusive_minimum", "must be above " + rules.exclusive_minimum->text, frame);
    }
    if (rules.maximum && compare(*rules.maximum) > 0) {
      report(rules, "maximum", "maximum", "must be at most " + rules.maximum->text, frame);
    }
    if (rules.exclusive_maximum && compare(*rules.exclusive_maximum) >= 0) {
      report(rules, "exclusiveMaximum", "exclusive_maximum", "must be below " + rules.exclusive_maximum->text, frame);
    }
    if (rules.multiple_of && !rules.multiple_of->divides(number)) {
      report(rules, "multipleOf", "multiple_of", "must be a multiple of " + rules.multiple_of_text, frame);
    }
  }

  const char* array(const char* at, const Rules& rules, const Frame* frame) {
    if (!type(array_type, at, rules, frame) || !rules.checks_items) return skip_value(at, end_);
    const char* const begin = at;
    std::size_t count = 0;
    for (at = skip_space(at + 1); *at != ']'; at = skip_space(at), ++count) {
      at = skip_space(*at == ',' ? at + 1 : at);
      const Frame item{frame, {}, count};
      at = rules.items != nullptr ? value(at, *rules.items, &item) : skip_value(at, end_);
    }
    if (count < rules.min_items.value_or(0)) {
      report(rules, "minItems", "min_items",
             "must have at least " + count_of(*rules.min_items, "item") + ", not " + std::to_string(count), frame);
    }
    if (rules.max_items && count > *rules.max_items) {
      report(rules, "maxItems", "max_items",
             "must have at most " + count_of(*rules.max_items, "item") + ", not " + std::to_string(count), frame);
    }
    if (rules.unique_items && count > 1) unique(begin, rules, frame);
    return at + 1;
  }

  void unique(const char* at, const Rules& rules, const Frame* frame) {
    Scratch& kept = scratch();
    kept.canonical.clear();
    kept.ends.clear();
    for (at = skip_space(at + 1); *at != ']'; at = skip_space(at)) {
      at = append_canonical(skip_space(*at == ',' ? at + 1 : at), end_, kept.canonical);
      kept.ends.push_back(kept.canonical.size());
    }
    const auto item = [&](std::size_t i) {
      const std::size_t from = i == 0 ? 0 : kept.ends[i - 1];
      return std::string_view(kept.canonical).substr(from, kept.ends[i] - from);
    };
    std::vector<std::size_t> order(kept.ends.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const int compared = item(a).compare(item(b));
      return compared != 0 ? compared < 0 : a < b;
    });
    const auto same = std::adjacent_find(order.begin(), order.end(),
                                         [&](std::size_t a, std::size_t b) { return item(a) == item(b); });
    if (same == order.end()) return;
    report(rules, "uniqueItems", "unique_items",
           "must have no two equal items; [" + std::to_string(same[0]) + "] and [" + std::to_string(same[1]) + "] are",
           frame);
  }

  const char* object(const char* at, const Rules& rules, const Frame* frame) {
    if (!type(object_type, at, rules, frame) || rules.properties.all().empty()) return skip_value(at, end_);
    std::bitset<Rules::max_required> seen;
    std::size_t missing = rules.required_count;
    const Property* previous = nullptr;
    for (at = skip_space(at + 1); *at != '}'; at = skip_space(at)) {
      if (*at == ',') at = skip_space(at + 1);
      const Property* property = rules.properties.guess(previous, at, end_);
      if (property != nullptr) {
        at += property->name.size() + 2;
      } else {
        const Quoted key = read_string(at, end_);
        at = key.end;
        std::string unescaped;
        property = rules.properties.find(text_of(key, unescaped));
        if (property != nullptr) rules.properties.learn(previous, property);
      }
      at = skip_space(skip_space(at) + 1);
      if (property == nullptr) {
        at = skip_value(at, end_);
        continue;
      }
      previous = property;
      if (property->required && !seen.test(*property->required)) {
        seen.set(*property->required);
        --missing;
      }
      const Frame member{frame, property->name, 0};
      at = property->rules != nullptr ? value(at, *property->rules, &member) : skip_value(at, end_);
    }
    if (missing > 0) {
      for (const Property& property : rules.properties.all()) {
        if (!property.required || seen.test(*property.required)) continue;
        const Frame member{frame, property.name, 0};
        report(rules, "required/" + std::to_string(*property.required), "required", "is required", &member);
      }
    }
    return at + 1;
  }

  void values(const char* at, const Rules& rules, const Frame* frame) {
    if (rules.has_enum && *at == '"') {
      const Quoted quoted = read_string(at, end_);
      const std::string_view text = quoted.escaped ? text_of(quoted, scratch().text) : quoted.raw;
      if (!std::binary_search(rules.texts.begin(), rules.texts.end(), text, std::less<>())) not_listed(rules, frame);
      if (!rules.constant) return;
    }
    std::string& canonical = scratch().canonical;
    canonical.clear();
    append_canonical(at, end_, canonical);
    if (rules.has_enum && *at != '"' &&
        !std::binary_search(rules.enumeration.begin(), rules.enumeration.end(), canonical)) {
      not_listed(rules, frame);
    }
    if (rules.constant && *rules.constant != canonical) {
      report(rules, "const", "const", "is not the value that the plan fixes", frame);
    }
  }

  void not_listed(const Rules& rules, const Frame* frame) {
    report(
        rules, "enum", "enum",
        "is none of the " + count_of(rules.texts.size() + rules.enumeration.size(), "value") + " that the plan allows",
        frame);
  }

  const char* end_;
  std::string_view root_;
};

}  // namespace

std::vector<Violation> check(std::string_view json, const Rules& rules, std::string_view root) {
  Checker checker(json.data() + json.size(), root);
  checker.value(json.data(), rules, nullptr);
  return std::move(checker.violations);
}

}  // namespace intilery::plan
