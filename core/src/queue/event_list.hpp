/// \file
/// Events in a row, without an allocation of the row's own.
#pragma once

#include <cstddef>
#include <utility>

#include "queue/event.hpp"

namespace intilery::queue {

/// A singly linked list that owns its events.
class EventList {
 public:
  EventList() = default;
  ~EventList() {
    while (pop_front()) {
    }
  }
  EventList(EventList&& other) noexcept
      : head_(std::exchange(other.head_, nullptr)),
        tail_(std::exchange(other.tail_, nullptr)),
        count_(std::exchange(other.count_, 0)) {}
  EventList& operator=(EventList&& other) noexcept {
    EventList old(std::move(*this));
    head_ = std::exchange(other.head_, nullptr);
    tail_ = std::exchange(other.tail_, nullptr);
    count_ = std::exchange(other.count_, 0);
    return *this;
  }

  bool empty() const { return head_ == nullptr; }
  std::size_t size() const { return count_; }
  Event* front() const { return head_; }

  void push_back(EventPtr event) {
    Event* added = event.release();
    added->next = nullptr;
    (tail_ == nullptr ? head_ : tail_->next) = added;
    tail_ = added;
    ++count_;
  }
  EventPtr pop_front() {
    EventPtr event(head_);
    if (event) {
      head_ = event->next;
      if (head_ == nullptr) tail_ = nullptr;
      event->next = nullptr;
      --count_;
    }
    return event;
  }
  /// Puts all of `other` before this list's own.
  void prepend(EventList other) {
    if (other.empty()) return;
    other.tail_->next = head_;
    if (tail_ == nullptr) tail_ = other.tail_;
    head_ = std::exchange(other.head_, nullptr);
    other.tail_ = nullptr;
    count_ += std::exchange(other.count_, 0);
  }

 private:
  Event* head_ = nullptr;
  Event* tail_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace intilery::queue
