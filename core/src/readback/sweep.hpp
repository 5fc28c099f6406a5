/// \file
/// All events of a span of time, however many.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "readback/page.hpp"

namespace intilery::readback {

/// Goes over a span of time, the newest events first, in parts that the API's paging reaches: a part that holds more is
/// halved. That works whichever time the service means by `start` and `end`. Does no I/O: its owner reads the page that
/// `next` wants, and gives `take` its size. Pages overlap: the same event may be met more than once.
class Sweep {
 public:
  /// \param span without a `start` it is not halved, and only its newest events are read.
  Sweep(PageQuery span, PageQuery::Moment now) : now_(now), open_{std::move(span)} {}

  /// The page to be read; nothing at the end.
  std::optional<PageQuery> next() const;
  void take(std::size_t events);
  /// Parts that hold more than can be read, and cannot be halved: those of a millisecond, or without a `start`.
  const std::vector<PageQuery>& crowded() const { return crowded_; }

 private:
  enum class Step { first, last_in_reach, rest };

  void halve();

  PageQuery::Moment now_;
  std::vector<PageQuery> open_;  ///< The last one is being read.
  Step step_ = Step::first;
  std::vector<PageQuery> crowded_;
};

}  // namespace intilery::readback
