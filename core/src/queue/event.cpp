#include "queue/event.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <utility>

namespace intilery::queue {

namespace {

/// Memory for events. They are made on the callers' threads and freed on the I/O thread, which is the hard case for any
/// malloc: so freed blocks go back to the callers through a stack for each size, from which a caller takes all at once
/// (so there is no ABA problem). Keeps a bounded number of bytes.
namespace pool {

struct Block {
  Block* next;
};

/// Written by who frees, but for once each time that a caller takes it all.
struct alignas(64) Stack {
  std::atomic<Block*> top{nullptr};
  std::atomic<std::size_t> count{0};  ///< Nearly: what comes while the stack is taken may be left out.
};

constexpr std::size_t step = 64;
constexpr std::size_t sizes = 64;
constexpr std::size_t most_kept = 4'500'000;  ///< Bytes in one stack.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool enabled = false;  // AddressSanitizer sees what is freed, but not what is kept
#else
constexpr bool enabled = true;
#endif

std::array<Stack, sizes> returned{};

std::size_t index_of(std::size_t size) { return (size + step - 1) / step - 1; }

/// Has the caches fetch memory that will be written, so that nobody waits for another core to give it up.
inline void prefetch_to_write(const void* memory, std::size_t size) {
#if defined(__GNUC__)
  constexpr std::size_t line = 64;
  for (std::size_t i = 0; i < size; i += line) {
    const char* const at = static_cast<const char*>(memory) + i;
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(*at));  // __builtin_prefetch asks for reading only, unless told the processor
#else
    __builtin_prefetch(at, 1);
#endif
  }
#else
  static_cast<void>(memory);
  static_cast<void>(size);
#endif
}

/// What this thread took from the stacks.
struct Cache {
  std::array<Block*, sizes> free{};

  ~Cache() {
    for (Block* block : free) {
      while (block != nullptr) ::operator delete(std::exchange(block, block->next));
    }
  }
};

void* allocate(std::size_t size) {
  const std::size_t index = index_of(size);
  if (!enabled || index >= sizes) return ::operator new(size);
  thread_local Cache cache;
  Block*& free = cache.free[index];
  if (free == nullptr) {
    free = returned[index].top.exchange(nullptr, std::memory_order_acquire);
    returned[index].count.store(0, std::memory_order_relaxed);
  }
  if (free == nullptr) return ::operator new((index + 1) * step);
  Block* const taken = std::exchange(free, free->next);
  if (free != nullptr) prefetch_to_write(free, (index + 1) * step);  // for the next event: the I/O thread had it last
  return taken;
}

void release(void* memory, std::size_t size) {
  const std::size_t index = index_of(size);
  if (!enabled || index >= sizes) return ::operator delete(memory);
  Stack& stack = returned[index];
  if (stack.count.fetch_add(1, std::memory_order_relaxed) >= most_kept / ((index + 1) * step)) {
    stack.count.fetch_sub(1, std::memory_order_relaxed);
    return ::operator delete(memory);
  }
  auto* const block = new (memory) Block{stack.top.load(std::memory_order_relaxed)};
  while (!stack.top.compare_exchange_weak(block->next, block, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

}  // namespace pool

}  // namespace

EventPtr Event::make(std::string_view bytes) {
  void* memory = pool::allocate(sizeof(Event) + bytes.size());
  EventPtr event(new (memory) Event);
  std::memcpy(event.get() + 1, bytes.data(), bytes.size());
  event->size = static_cast<std::uint32_t>(bytes.size());
  return event;
}

std::string Event::message_id() const {
  const std::string_view text = bytes().substr(size - 1 - id_size, id_size);  // before the closing quote
  if (text.find('\\') == std::string_view::npos) return std::string(text);
  return nlohmann::json::parse('"' + std::string(text) + '"').get<std::string>();
}

void EventDeleter::operator()(Event* event) const noexcept {
  const std::size_t size = event->footprint();
  event->~Event();
  pool::release(event, size);
}

}  // namespace intilery::queue
