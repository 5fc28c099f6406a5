#include "plan/document.hpp"

#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "event/json_check.hpp"
#include "plan/yaml.hpp"

namespace intilery::plan {

namespace {

/// A strict reader of RFC 8259 that knows its line.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  Node run() {
    Node root = value(1);
    space();
    if (at_ != end_) fail("something follows the value");
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const { throw Problem{true, "invalid_json", line_, "", why}; }

  void space() {
    for (; at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t'); ++at_) {
      if (*at_ == '\n') ++line_;
    }
  }
  char peek() const { return at_ == end_ ? '\0' : *at_; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  Node value(int depth) {
    if (depth > max_document_depth) throw Problem{true, "too_deep", line_, "", "the file is nested too deeply"};
    if (++nodes_ > max_document_nodes) throw Problem{true, "too_large", line_, "", "the file holds too many values"};
    space();
    Node node;
    node.line = line_;
    switch (peek()) {
      case '{':
        node.kind = Node::Kind::object;
        ++at_;
        list('}', [&] {
          space();
          if (peek() != '"') fail("a member's name, in quotes, must stand here");
          std::string key = string();
          space();
          if (!take(':')) fail("a colon must stand after a member's name");
          node.members.push_back({std::move(key), value(depth + 1)});
        });
        return node;
      case '[':
        node.kind = Node::Kind::array;
        ++at_;
        list(']', [&] { node.items.push_back(value(depth + 1)); });
        return node;
      case '"':
        node.kind = Node::Kind::string;
        node.text = string();
        return node;
      default:
        word(node);
        return node;
    }
  }

  template <class Item>
  void list(char close, Item item) {
    space();
    if (take(close)) return;
    do {
      item();
      space();
    } while (take(','));
    if (!take(close)) fail(std::string("a comma or ") + close + " must stand here");
  }

  std::string string() {
    const char* const from = at_++;
    while (at_ != end_ && *at_ != '"' && static_cast<unsigned char>(*at_) >= 0x20) {
      if (*at_ == '\\' && ++at_ == end_) break;
      ++at_;
    }
    if (peek() != '"') fail("a text does not end");
    ++at_;
    const nlohmann::json text = nlohmann::json::parse(from, at_, nullptr, /*allow_exceptions=*/false);
    if (!text.is_string()) fail("a text with a wrong escape");
    return text.get<std::string>();
  }

  void word(Node& node) {
    const char* const from = at_;
    while (at_ != end_ && std::string_view(",]} \n\r\t").find(*at_) == std::string_view::npos) ++at_;
    const std::string_view text(from, static_cast<std::size_t>(at_ - from));
    if (text == "null") return;
    node.text = text;
    if (text == "true" || text == "false") {
      node.kind = Node::Kind::boolean;
    } else if (event::is_number(text)) {
      node.kind = Node::Kind::number;
    } else {
      fail("no JSON value");
    }
  }

  const char* at_;
  const char* end_;
  int line_ = 1;
  std::size_t nodes_ = 0;
};

void append_string(std::string_view text, std::string& out) { out += nlohmann::json(text).dump(); }

}  // namespace

const Node* Node::find(std::string_view key) const {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const auto& member) { return member.first == key; });
  return found == members.end() ? nullptr : &found->second;
}

std::string_view kind_of(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "null";
    case Node::Kind::boolean:
      return "a boolean";
    case Node::Kind::number:
      return "a number";
    case Node::Kind::string:
      return "text";
    case Node::Kind::array:
      return "an array";
    case Node::Kind::object:
      return "an object";
  }
  return "";
}

void append_json(const Node& node, std::string& out) {
  switch (node.kind) {
    case Node::Kind::null:
      out += "null";
      return;
    case Node::Kind::boolean:
    case Node::Kind::number:
      out += node.text;
      return;
    case Node::Kind::string:
      append_string(node.text, out);
      return;
    case Node::Kind::array: {
      char before = '[';
      for (const Node& item : node.items) {
        out += before;
        append_json(item, out);
        before = ',';
      }
      out += node.items.empty() ? "[]" : "]";
      return;
    }
    case Node::Kind::object: {
      char before = '{';
      for (const auto& [key, value] : node.members) {
        out += before;
        append_string(key, out);
        out += ':';
        append_json(value, out);
        before = ',';
      }
      out += node.members.empty() ? "{}" : "}";
      return;
    }
  }
}

Node read_document(std::string_view text, bool json) {
  if (text.size() > max_document_bytes) throw Problem{true, "too_large", 0, "", "the file has more than 10 MB"};
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    throw Problem{true, "invalid_text", 0, "", "the file is not UTF-8"};
  }
  return json ? JsonReader(text).run() : read_yaml(text);
}

std::string step(const std::string& pointer, std::string_view key) {
  std::string out = pointer + '/';
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

std::string step(const std::string& pointer, std::size_t index) { return pointer + '/' + std::to_string(index); }

}  // namespace intilery::plan
