#include "delivery/rate_store.hpp"

#include <curl/curl.h>
#include <hiredis/hiredis.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "printable.hpp"
#include "sigpipe.hpp"

namespace intilery::delivery {

namespace {

/// How long connecting, and one answer, may take.
constexpr timeval patience{1, 0};

/// Takes tokens out of the account's bucket, all in one step. Redis' clock is the only one that counts.
/// KEYS: the bucket, the clients. ARGV: rate, capacity, tokens wanted, pause in seconds (-1: no 429), client.
/// Returns integers: tokens, level in thousandths, milliseconds until there is one, clients.
constexpr std::string_view script = R"(
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local rate, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted, pause = tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(kept[1]) or capacity, tonumber(kept[2]) or now
if now > at then
  level = math.min(capacity, level + (now - at) * rate)
  at = now
end
if pause >= 0 then
  level, at = math.min(level, 0), math.max(at, now + pause)
end
local tokens = 0
if at <= now then
  tokens = math.max(0, math.min(wanted, math.floor(level)))
  level = level - tokens
end
local wait = math.max(0, at - now) + math.max(0, 1 - level) / rate
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level), 'at', string.format('%.17g', at))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * (wait + capacity / rate)) + 60000)
redis.call('ZADD', KEYS[2], string.format('%.17g', now), ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.17g', now - 10))
redis.call('PEXPIRE', KEYS[2], 60000)
return {tokens, math.floor(1000 * level), math.ceil(1000 * wait), redis.call('ZCARD', KEYS[2])}
)";

struct ContextDeleter {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct ReplyDeleter {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Context = std::unique_ptr<redisContext, ContextDeleter>;
using Reply = std::unique_ptr<redisReply, ReplyDeleter>;

struct Failed {
  std::string why;
  bool hung_up = false;  ///< Redis ended the connection.
};

/// As Redis reads it, whatever the program's locale is.
std::string number_text(double number) {
  std::array<char, 32> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), number).ptr};
}

/// As the transport understands it: with a slash at its end an address is the same.
std::string_view without_slashes(std::string_view endpoint) {
  while (endpoint.ends_with('/')) endpoint.remove_suffix(1);
  return endpoint;
}

/// Where the store is.
struct Address {
  std::string host, user, password;
  int port = 6379;
  std::string database;

  explicit Address(const std::string& text) {
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
    curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME);
    const auto part = [&](CURLUPart which) {
      char* found = nullptr;
      curl_url_get(url.get(), which, &found, CURLU_URLDECODE);
      const std::unique_ptr<char, decltype(&curl_free)> owned(found, &curl_free);
      return found == nullptr ? std::string() : std::string(found);
    };
    host = part(CURLUPART_HOST);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    user = part(CURLUPART_USER);
    password = part(CURLUPART_PASSWORD);
    if (const std::string given = part(CURLUPART_PORT); !given.empty()) port = std::stoi(given);
    if (const std::string path = part(CURLUPART_PATH); path.size() > 1) database = path.substr(1);
  }
};

std::string client_name() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random());
}

}  // namespace

/// The thread's own side. Connects when it is needed.
class RedisRateStore::Connection {
 public:
  explicit Connection(const Options& options)
      : address_(options.rate_limit_store),
        rate_(number_text(options.rate_limit)),
        // As in TokenBucket: a little below the server's, for what catches up on the way.
        capacity_(number_text(std::max(1.0, options.burst * 0.98))),
        bucket_("intilery:{" + std::string(without_slashes(options.endpoint)) + "/" + options.client_id + "/" +
                options.account_id + "}:rate"),
        clients_(bucket_ + ":clients"),
        client_(client_name()) {}

  Grant ask(std::size_t tokens, std::optional<std::chrono::milliseconds> pause) {
    for (;;) {
      const bool kept = context_ != nullptr;
      try {
        if (!kept) connect();
        return evaluate(tokens, pause);
      } catch (const Failed& failed) {
        context_.reset();
        if (kept && failed.hung_up) continue;  // Redis, or something on the way, ends connections that idle
        Grant grant;
        grant.why = printable(failed.why, 200);
        return grant;
      }
    }
  }

 private:
  void connect() {
    context_.reset(redisConnectWithTimeout(address_.host.c_str(), address_.port, patience));
    if (!context_) throw Failed{"no memory"};
    if (context_->err != 0) throw Failed{context_->errstr};
    redisSetTimeout(context_.get(), patience);
    redisEnableKeepAlive(context_.get());
    if (!address_.password.empty()) {
      std::vector<std::string_view> login{"AUTH"};
      if (!address_.user.empty()) login.push_back(address_.user);
      login.push_back(address_.password);
      command(login);
    }
    if (!address_.database.empty()) command({"SELECT", address_.database});
  }

  Reply command(const std::vector<std::string_view>& words) {
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    for (const std::string_view word : words) {
      texts.push_back(word.data());
      sizes.push_back(word.size());
    }
    Reply reply(static_cast<redisReply*>(
        redisCommandArgv(context_.get(), static_cast<int>(words.size()), texts.data(), sizes.data())));
    if (!reply) {
      const bool hung_up = context_->err == REDIS_ERR_EOF || errno == ECONNRESET || errno == EPIPE;
      throw Failed{errno == EAGAIN ? "no answer within 1 s" : context_->errstr, hung_up};
    }
    if (reply->type == REDIS_REPLY_ERROR) {
      std::string why(reply->str, reply->len);
      // Redis repeats the arguments of a command that it does not have.
      const bool tells = !address_.password.empty() && why.find(address_.password) != std::string::npos;
      if (why.empty()) why = "an error without words";
      throw Failed{tells ? "it refuses the login" : std::move(why)};
    }
    return reply;
  }

  Grant evaluate(std::size_t tokens, std::optional<std::chrono::milliseconds> pause) {
    const std::string wanted = std::to_string(tokens);
    const std::string seconds = pause ? number_text(static_cast<double>(pause->count()) / 1000) : "-1";
    const Reply reply = command({"EVAL", script, "2", bucket_, clients_, rate_, capacity_, wanted, seconds, client_});
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4) throw Failed{"it answers in another form"};
    const auto number = [&](std::size_t i, long long least, long long most) {
      const redisReply& given = *reply->element[i];
      if (given.type != REDIS_REPLY_INTEGER || given.integer < least || given.integer > most)
        throw Failed{"it answers in another form"};
      return given.integer;
    };
    constexpr long long any = 1'000'000'000'000;  // more than any bucket holds, or waits in milliseconds
    Grant grant;
    grant.reachable = true;
    grant.tokens = static_cast<std::size_t>(number(0, 0, static_cast<long long>(tokens)));
    grant.level = static_cast<double>(number(1, -any, any)) / 1000;
    grant.wait = std::chrono::milliseconds(number(2, 0, any));
    grant.clients = static_cast<std::size_t>(number(3, 1, any));
    return grant;
  }

  const Address address_;
  const std::string rate_, capacity_, bucket_, clients_, client_;
  Context context_;
};

RedisRateStore::RedisRateStore(const Options& options, std::function<void()> wake)
    : options_(options), wake_(std::move(wake)), thread_([this] { run(); }) {}

RedisRateStore::~RedisRateStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void RedisRateStore::ask(std::size_t tokens) {
  const std::lock_guard lock(mutex_);
  question_ = tokens;
  changed_.notify_all();
}

std::optional<Grant> RedisRateStore::answer() {
  const std::lock_guard lock(mutex_);
  return std::exchange(answer_, std::nullopt);
}

void RedisRateStore::drain(std::chrono::milliseconds pause) {
  const std::lock_guard lock(mutex_);
  drain_ = pause;
  changed_.notify_all();
}

void RedisRateStore::run() {
  block_sigpipe();
  Connection connection(options_);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || question_ || drain_; });
    if (stopping_) return;
    const auto question = std::exchange(question_, std::nullopt);
    const auto drain = std::exchange(drain_, std::nullopt);
    lock.unlock();
    Grant grant = connection.ask(question.value_or(0), drain);
    lock.lock();
    if (!question) continue;
    answer_ = std::move(grant);
    lock.unlock();
    wake_();
    lock.lock();
  }
}

}  // namespace intilery::delivery
