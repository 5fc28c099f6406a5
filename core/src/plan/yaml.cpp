#include "plan/yaml.hpp"

#include <yaml.h>

#include <algorithm>
#include <map>
#include <new>
#include <string>
#include <utility>

#include "event/json_check.hpp"

namespace intilery::plan {

namespace {

constexpr std::string_view text_tag = "tag:yaml.org,2002:str";

[[noreturn]] void fail(const char* code, int line, std::string why) {
  throw Problem{true, code, line, "", std::move(why)};
}

/// libyaml's events, one at a time. Its parser keeps a stack of its own: nesting costs it no recursion.
class Events {
 public:
  explicit Events(std::string_view text) {
    if (yaml_parser_initialize(&parser_) == 0) throw std::bad_alloc();
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~Events() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  /// Valid until the next call.
  const yaml_event_t& next() {
    yaml_event_delete(&event_);
    if (yaml_parser_parse(&parser_, &event_) == 0) {
      if (parser_.error == YAML_MEMORY_ERROR) throw std::bad_alloc();
      fail("invalid_yaml", static_cast<int>(parser_.problem_mark.line) + 1,
           parser_.problem == nullptr ? "the file is no YAML" : parser_.problem);
    }
    return event_;
  }

 private:
  yaml_parser_t parser_{};
  yaml_event_t event_{};
};

std::string_view view(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char*>(text));
}

class YamlReader {
 public:
  explicit YamlReader(std::string_view text) : events_(text) {}

  Node run() {
    events_.next();  // the stream's start
    if (events_.next().type != YAML_DOCUMENT_START_EVENT) return {};
    Node root;
    value(events_.next(), root, 1);
    events_.next();  // the document's end
    const yaml_event_t& after = events_.next();
    if (after.type != YAML_STREAM_END_EVENT) {
      fail("invalid_yaml", line_of(after), "a second document begins here; a plan is one");
    }
    return root;
  }

 private:
  static int line_of(const yaml_event_t& event) { return static_cast<int>(event.start_mark.line) + 1; }

  void count(std::size_t nodes, int line) {
    nodes_ += nodes;
    if (nodes_ > max_document_nodes)
      fail("too_large", line, "the file holds too many values (aliases count each time)");
  }

  void value(const yaml_event_t& event, Node& node, int depth) {
    node.line = line_of(event);
    if (depth > max_document_depth) fail("too_deep", node.line, "the file is nested too deeply");
    count(1, node.line);
    std::string anchor;
    switch (event.type) {
      case YAML_ALIAS_EVENT: {
        const auto found = anchors_.find(view(event.data.alias.anchor));
        if (found == anchors_.end())
          fail("invalid_yaml", node.line, "an alias of something that is not there, or holds it");
        const auto& [target, size, height] = found->second;
        count(size, node.line);
        if (depth + height > max_document_depth) fail("too_deep", node.line, "the file is nested too deeply");
        node = target;
        return;
      }
      case YAML_SCALAR_EVENT:
        anchor = view(event.data.scalar.anchor);
        scalar(event, node);
        break;
      case YAML_SEQUENCE_START_EVENT:
        anchor = view(event.data.sequence_start.anchor);
        refuse_tag(event.data.sequence_start.tag, node.line);
        node.kind = Node::Kind::array;
        for (const yaml_event_t* e = &events_.next(); e->type != YAML_SEQUENCE_END_EVENT; e = &events_.next()) {
          value(*e, node.items.emplace_back(), depth + 1);
        }
        break;
      case YAML_MAPPING_START_EVENT:
        anchor = view(event.data.mapping_start.anchor);
        refuse_tag(event.data.mapping_start.tag, node.line);
        node.kind = Node::Kind::object;
        for (const yaml_event_t* e = &events_.next(); e->type != YAML_MAPPING_END_EVENT; e = &events_.next()) {
          if (e->type != YAML_SCALAR_EVENT) fail("invalid_yaml", line_of(*e), "a key must be plain text");
          if (view(e->data.scalar.value) == "<<" && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
            fail("invalid_yaml", line_of(*e), "merge keys (<<) are not supported; use $ref");
          }
          node.members.push_back({text_of(*e), {}});
          value(events_.next(), node.members.back().second, depth + 1);
        }
        break;
      default:
        fail("invalid_yaml", node.line, "the file is no YAML");
    }
    if (!anchor.empty()) remember(std::move(anchor), node);
  }

  /// A copy for each alias; what they may add up to is bounded.
  struct Anchor {
    Node node;
    std::size_t size;
    int height;
  };
  void remember(std::string name, const Node& node) {
    Anchor anchor{node, 0, 0};
    measure(node, 0, anchor);
    count(anchor.size, node.line);
    anchors_.insert_or_assign(std::move(name), std::move(anchor));
  }
  static void measure(const Node& node, int height, Anchor& anchor) {
    ++anchor.size;
    anchor.height = std::max(anchor.height, height);
    for (const Node& item : node.items) measure(item, height + 1, anchor);
    for (const auto& [key, member] : node.members) measure(member, height + 1, anchor);
  }

  static void refuse_tag(const yaml_char_t* tag, int line) {
    if (tag != nullptr) fail("invalid_yaml", line, "tags are not supported");
  }

  static std::string text_of(const yaml_event_t& event) {
    return {reinterpret_cast<const char*>(event.data.scalar.value), event.data.scalar.length};
  }

  static void scalar(const yaml_event_t& event, Node& node) {
    node.text = text_of(event);
    const std::string_view tag = view(event.data.scalar.tag);
    node.kind = Node::Kind::string;
    if (tag == text_tag) return;
    refuse_tag(event.data.scalar.tag, node.line);
    if (event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return;
    if (node.text.empty() || node.text == "null" || node.text == "~") {
      node.kind = Node::Kind::null;
    } else if (node.text == "true" || node.text == "false") {
      node.kind = Node::Kind::boolean;
    } else if (event::is_number(node.text)) {
      node.kind = Node::Kind::number;
    }
  }

  Events events_;
  std::map<std::string, Anchor, std::less<>> anchors_;
  std::size_t nodes_ = 0;
};

}  // namespace

Node read_yaml(std::string_view text) { return YamlReader(text).run(); }

}  // namespace intilery::plan
