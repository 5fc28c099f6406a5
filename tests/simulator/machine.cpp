#include "machine.hpp"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace intilery::simulator {

namespace {

Machine* machine = nullptr;

/// 2026-01-01, by the true clock, when the machine starts.
constexpr std::int64_t epoch_us = 1'767'225'600'000'000;

}  // namespace

Machine::Machine(std::uint64_t seed) : random_(random_of(seed, 0, 0)) { machine = this; }
Machine::~Machine() { machine = nullptr; }
Machine* Machine::current() { return machine; }

std::int64_t Machine::true_unix_us() const {
  return epoch_us + std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch()).count();
}

bool Machine::run_one(TimePoint limit) {
  const TimePoint never = TimePoint::max();
  const TimePoint next_entry = agenda_.empty() ? never : agenda_.top().moment;
  const TimePoint next_turn = io_thread_ == nullptr ? never : std::max(io_thread_->due(), stopped_until_);
  const TimePoint next = std::min(next_entry, next_turn);
  if (next > limit) {
    now_ = std::max(now_, limit);
    return false;
  }
  now_ = std::max(now_, next);
  if (next_entry <= next_turn) {
    const std::function<void()> act = std::move(const_cast<Entry&>(agenda_.top()).act);
    agenda_.pop();
    act();
  } else {
    io_thread_->run();
  }
  return true;
}

void Machine::run_until(TimePoint moment) {
  while (run_one(moment)) {
  }
}

}  // namespace intilery::simulator

// What the linker sends here (CMakeLists.txt).

using intilery::simulator::Machine;
using SteadyTime = std::chrono::steady_clock::time_point;
using SystemTime = std::chrono::system_clock::time_point;

SteadyTime real_steady_now() asm("__real__ZNSt6chrono3_V212steady_clock3nowEv");
SteadyTime steady_now() asm("__wrap__ZNSt6chrono3_V212steady_clock3nowEv");
SteadyTime steady_now() {
  Machine* const machine = Machine::current();
  return machine == nullptr ? real_steady_now() : machine->read_clock();
}

SystemTime real_system_now() asm("__real__ZNSt6chrono3_V212system_clock3nowEv");
SystemTime system_now() asm("__wrap__ZNSt6chrono3_V212system_clock3nowEv");
SystemTime system_now() {
  Machine* const machine = Machine::current();
  return machine == nullptr ? real_system_now() : SystemTime(std::chrono::microseconds(machine->unix_us()));
}

unsigned real_random(void* device) asm("__real__ZNSt13random_device9_M_getvalEv");
unsigned random_value(void* device) asm("__wrap__ZNSt13random_device9_M_getvalEv");
unsigned random_value(void* device) {
  Machine* const machine = Machine::current();
  return machine == nullptr ? real_random(device) : machine->random();
}

/// A caller waits: the world goes on meanwhile, one thing after the other, and the caller looks after each.
int real_wait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
              const timespec* until) asm("__real_pthread_cond_clockwait");
int waits(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
          const timespec* until) asm("__wrap_pthread_cond_clockwait");
int waits(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  Machine* const machine = Machine::current();
  if (machine == nullptr) return real_wait(condition, mutex, clock, until);
  const SteadyTime limit{std::chrono::seconds(until->tv_sec) + std::chrono::nanoseconds(until->tv_nsec)};
  pthread_mutex_unlock(mutex);
  const bool something = machine->run_one(limit);
  pthread_mutex_lock(mutex);
  return something ? 0 : ETIMEDOUT;
}

namespace intilery::transport {

std::unique_ptr<Transport> real_transport(const Options& options, const std::string& user_agent) asm(
    "__real__ZN8intilery9transport19make_curl_transportERKNS_7OptionsERKNSt7__"
    "cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
std::unique_ptr<Transport> wrapped_transport(const Options& options, const std::string& user_agent) asm(
    "__wrap__ZN8intilery9transport19make_curl_transportERKNS_7OptionsERKNSt7__"
    "cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
std::unique_ptr<Transport> wrapped_transport(const Options& options, const std::string& user_agent) {
  Machine* const machine = Machine::current();
  return machine == nullptr ? real_transport(options, user_agent) : machine->make_transport(options);
}

}  // namespace intilery::transport
