/// \file
/// How deeply JSON from outside is nested, before it is made a tree: trees are copied, written and converted by
/// recursion, which a few megabytes of brackets would drive out of its stack.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace intilery {

/// Deeper than anything that somebody means.
constexpr int deepest_json = 1'000;

/// Whether the text goes deeper than that. Of a text that is no JSON, it may say either.
bool nests_too_deeply(std::string_view json);

/// A discarded value for a text that is no JSON (nlohmann's own parser takes a NUL for the end), or nests too deeply.
nlohmann::json parse_foreign(std::string_view json);

}  // namespace intilery
