#include <utility>

#include "intilery/testing.hpp"
#include "memory/outbox.hpp"

namespace intilery::testing {

Options MemoryClient::default_options() { return memory::default_options(); }

MemoryClient::MemoryClient(Options options, Hooks hooks)
    : MemoryClient(std::move(options), std::move(hooks), std::make_shared<memory::Outbox>()) {}
MemoryClient::MemoryClient(Options options, Hooks hooks, std::shared_ptr<memory::Outbox> outbox)
    : Client(std::move(options), std::move(hooks), outbox), outbox_(std::move(outbox)) {}

std::string MemoryClient::sent_json() const { return outbox_->sent_json(); }
void MemoryClient::answer(int status, std::optional<std::size_t> times, std::string body) {
  outbox_->answer(status, times, std::move(body));
}
void MemoryClient::clear() { outbox_->clear(); }

Arrival MemoryClient::expect(const nlohmann::json& message, std::chrono::milliseconds timeout) {
  flush(timeout);
  return outbox_->expect(message);
}
Arrival MemoryClient::expect_none(const nlohmann::json& message, std::chrono::milliseconds timeout) {
  flush(timeout);
  return outbox_->expect_none(message);
}
std::string MemoryClient::matching_json(const nlohmann::json& message) const { return outbox_->matching_json(message); }

}  // namespace intilery::testing
