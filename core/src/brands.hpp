/// \file
/// The brands of one client.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "intilery/options.hpp"

namespace intilery {

/// Gives each brand that is named a number, which its events carry. No brand is ever taken out. Any thread may call any
/// member.
class Brands {
 public:
  /// The number of the client's own brand, `Options::brand_id`.
  static constexpr std::uint16_t own = 0;

  /// \param options must be right, and outlive this.
  explicit Brands(const Options& options, const OptionStyle& style = {})
      : options_(options), style_(style), names_{options.brand_id} {}

  /// \throws ConfigurationError naming `brand_id`, in the style given.
  std::uint16_t number_of(std::string_view name);
  std::string name_of(std::uint16_t number) const;

 private:
  const Options& options_;
  const OptionStyle style_;
  mutable std::mutex mutex_;  ///< Guards the names.
  std::vector<std::string> names_;
};

}  // namespace intilery
