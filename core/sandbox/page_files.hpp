/// \file
/// The page's files, put into the program when it is built (CMakeLists.txt, page_files.cpp.in).
#pragma once

#include <string_view>

namespace intilery::testing {

extern const std::string_view page_html;
extern const std::string_view page_css;
extern const std::string_view page_js;

}  // namespace intilery::testing
