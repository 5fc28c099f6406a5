#include "readback/sweep.hpp"

#include <algorithm>

namespace intilery::readback {

namespace {

using std::chrono::milliseconds;

}  // namespace

std::optional<PageQuery> Sweep::next() const {
  if (open_.empty()) return std::nullopt;
  return open_.back();
}

void Sweep::take(std::size_t events) {
  PageQuery& part = open_.back();
  const bool full = events >= part.size;
  switch (step_) {
    case Step::first:
      if (!full) break;
      // Before all of its pages are read, see whether they are all that there is.
      step_ = Step::last_in_reach;
      part.from = reach - part.size;
      return;
    case Step::last_in_reach:
      if (full) return halve();
      step_ = Step::rest;
      part.from = part.size;
      return;
    case Step::rest:
      part.from += part.size;
      if (full && part.from < reach) return;
      break;
  }
  open_.pop_back();
  step_ = Step::first;
}

void Sweep::halve() {
  PageQuery newer = open_.back();
  newer.from = 0;
  const bool one_moment = newer.start && newer.end && *newer.end - *newer.start < milliseconds(1);
  if (!newer.start || one_moment) {
    crowded_.push_back(newer);
    step_ = Step::rest;
    open_.back().from = newer.size;
    return;
  }
  open_.pop_back();
  step_ = Step::first;
  PageQuery older = newer;
  // A span without an end is parted at now: events of the future are few.
  older.end = newer.end             ? *newer.start + std::chrono::floor<milliseconds>((*newer.end - *newer.start) / 2)
              : now_ > *newer.start ? now_
                                    : *newer.start + std::chrono::hours(24);
  newer.start = *older.end + milliseconds(1);
  open_.push_back(older);
  open_.push_back(newer);
}

}  // namespace intilery::readback
