/// \file
/// Where each user's lane is found.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "queue/event_list.hpp"

namespace intilery::queue {

/// Lanes by their key, in a hash table that holds them itself (open addressing): each event looks its lane up three
/// times, and where there are many users each of these is a cache miss, but not two.
/// A reference to a lane is good until the next `of` or `erase`.
template <class Lane>
class LaneTable {
 public:
  struct Entry {
    Lane lane;
    std::uint64_t key = 0;
    bool used = false;
  };

  /// The lane, which must be there.
  Lane& at(std::uint64_t key) { return entries_[place_of(key)].lane; }
  const Lane& at(std::uint64_t key) const { return entries_[place_of(key)].lane; }

  /// The lane, a new one if it is not there.
  Lane& of(std::uint64_t key) {
    Entry* entry = &entries_[place_of(key)];
    if (!entry->used) {
      if (4 * (count_ + 1) > 3 * entries_.size()) {
        resize(2 * entries_.size());
        entry = &entries_[place_of(key)];
      }
      entry->key = key;
      entry->used = true;
      most_ = std::max(most_, ++count_);
    }
    return entry->lane;
  }

  /// Takes the lane out, which must be there.
  void erase(std::uint64_t key) {
    std::size_t hole = place_of(key);
    entries_[hole] = {};
    --count_;
    // Nobody may find the hole before what lies behind it.
    for (std::size_t place = next(hole); entries_[place].used; place = next(place)) {
      const std::size_t wished = wish_of(entries_[place].key);
      if (((place - wished) & mask()) < ((place - hole) & mask())) continue;
      entries_[hole] = std::exchange(entries_[place], {});
      hole = place;
    }
    if (count_ > 0) return;
    // What a burst took is given back, a bit each time, but not what is needed again and again.
    if (entries_.size() > smallest && 8 * most_ < entries_.size()) resize(entries_.size() / 4);
    most_ = 0;
  }

  /// Has the caches fetch what the next look for this key needs.
  void prefetch(std::uint64_t key) const {
#if defined(__GNUC__)
    __builtin_prefetch(&entries_[wish_of(key)], 1);
#else
    static_cast<void>(key);
#endif
  }

  /// Everything, used or not.
  std::vector<Entry>& entries() { return entries_; }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  static constexpr std::size_t smallest = 64;

  std::size_t mask() const { return entries_.size() - 1; }
  std::size_t next(std::size_t place) const { return (place + 1) & mask(); }
  std::size_t wish_of(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15U) >> (64 - std::countr_zero(entries_.size())));
  }
  /// Where the key is, or would be.
  std::size_t place_of(std::uint64_t key) const {
    std::size_t place = wish_of(key);
    while (entries_[place].used && entries_[place].key != key) place = next(place);
    return place;
  }
  void resize(std::size_t size) {
    std::vector<Entry> old(size);
    old.swap(entries_);
    for (Entry& entry : old) {
      if (entry.used) entries_[place_of(entry.key)] = std::move(entry);
    }
  }

  std::vector<Entry> entries_ = std::vector<Entry>(smallest);  ///< A power of two.
  std::size_t count_ = 0;
  std::size_t most_ = 0;  ///< Of `count_`, since it was last 0.
};

}  // namespace intilery::queue
