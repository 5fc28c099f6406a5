#include "transport/curl_transport.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <span>
#include <stdexcept>
#include <unordered_map>

#include "transport/curl_handle.hpp"

namespace intilery::transport {

namespace {

struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

/// An answer to an event is short; more of it than this is neither kept nor waited for. A page of events read back may
/// be long.
constexpr std::size_t longest_answer = 64'000;
constexpr std::size_t longest_page = 256'000'000;

/// One request under way, with the handle that carries it. Handles are used again.
class Exchange {
 public:
  explicit Exchange(Easy easy) : easy_(std::move(easy)) {}

  CURL* easy() const { return easy_.get(); }
  Easy take_easy() { return std::move(easy_); }

  void begin(Request request, const std::string& endpoint, curl_slist* headers) {
    request_ = std::move(request);
    response_.id = request_.id;
    url_ = endpoint + request_.path;
    CURL* easy = easy_.get();
    set(CURLOPT_URL, url_.c_str());
    set(CURLOPT_HTTPHEADER, headers);
    set(CURLOPT_PRIVATE, this);
    set(CURLOPT_ERRORBUFFER, error_.data());
    set(CURLOPT_WRITEFUNCTION, static_cast<curl_write_callback>(&Exchange::on_body));
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, static_cast<curl_write_callback>(&Exchange::on_header));
    set(CURLOPT_HEADERDATA, this);
    if (request_.post) {
      set(CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body_size));
      set(CURLOPT_READFUNCTION, static_cast<curl_read_callback>(&Exchange::on_read));
      set(CURLOPT_READDATA, this);
      set(CURLOPT_SEEKFUNCTION, static_cast<curl_seek_callback>(&Exchange::on_seek));
      set(CURLOPT_SEEKDATA, this);
    } else {
      set(CURLOPT_HTTPGET, 1L);
    }
  }

  template <class Value>
  void set(CURLoption option, Value value) {
    if (curl_easy_setopt(easy_.get(), option, value) == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  }

  Response end(CURLcode result) {
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    long request_size = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_REQUEST_SIZE, &request_size);
    response_.sent = request_size > 0;
    if (result == CURLE_OK || response_.body_cut) {
      response_.status = static_cast<int>(status);
    } else {
      response_.failure = failure_of(result);
      response_.detail = result == CURLE_SEND_FAIL_REWIND ? "the connection ended without an answer"
                         : error_[0] != '\0'              ? error_.data()
                                                          : curl_easy_strerror(result);
      response_.body.clear();
      response_.retry_after.clear();
    }
    return std::move(response_);
  }

 private:
  static Failure failure_of(CURLcode result) {
    switch (result) {
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_RESOLVE_PROXY:
      case CURLE_COULDNT_CONNECT:
        return Failure::unreachable;
      case CURLE_OPERATION_TIMEDOUT:
        return Failure::timed_out;
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CONNECT_ERROR:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_CERTPROBLEM:
        return Failure::tls;
      default:
        return Failure::broken;
    }
  }

  static std::size_t on_read(char* out, std::size_t size, std::size_t count, void* self) {
    return static_cast<Exchange*>(self)->read({out, size * count});
  }
  std::size_t read(std::span<char> out) {
    std::size_t written = 0;
    while (written < out.size() && part_ < request_.body.size()) {
      const std::string_view rest = request_.body[part_].substr(offset_);
      const std::size_t taken = std::min(rest.size(), out.size() - written);
      std::memcpy(out.data() + written, rest.data(), taken);
      written += taken;
      offset_ += taken;
      if (taken == rest.size()) {
        ++part_;
        offset_ = 0;
      }
    }
    return written;
  }

  /// libcurl would send again by itself, up to five times, when a kept connection ends without an answer. But the
  /// request may have arrived; whether, when and at which pace it goes again is for delivery to say.
  static int on_seek(void* self, curl_off_t, int) {
    auto* exchange = static_cast<Exchange*>(self);
    const bool untouched = exchange->part_ == 0 && exchange->offset_ == 0;
    return untouched ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
    auto* exchange = static_cast<Exchange*>(self);
    std::string& body = exchange->response_.body;
    const std::size_t longest = exchange->request_.post ? longest_answer : longest_page;
    const std::size_t kept = std::min(size * count, longest - body.size());
    body.append(data, kept);
    exchange->response_.body_cut = kept < size * count;
    return kept;  // Less than it got: libcurl ends the transfer.
  }

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
    auto* exchange = static_cast<Exchange*>(self);
    const std::string_view line(data, size * count);
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      std::string name(line.substr(0, colon));
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (name == "retry-after") exchange->response_.retry_after = value_of(line.substr(colon + 1));
    }
    return size * count;
  }
  static std::string value_of(std::string_view text) {
    constexpr std::string_view space = " \t\r\n";
    const std::size_t from = text.find_first_not_of(space);
    if (from == std::string_view::npos) return "";
    return std::string(text.substr(from, text.find_last_not_of(space) - from + 1));
  }

  Easy easy_;
  Request request_;
  Response response_;
  std::string url_;
  std::array<char, CURL_ERROR_SIZE> error_{};
  std::size_t part_ = 0;    ///< Which part of the body is next,
  std::size_t offset_ = 0;  ///< and from which byte of it.
};

class CurlTransport : public Transport {
 public:
  CurlTransport(const Options& options, const std::string& user_agent)
      : options_(options), endpoint_(base_of(options.endpoint)), user_agent_(user_agent) {
    initialise_curl();
    multi_.reset(curl_multi_init());
    if (!multi_) throw std::runtime_error("libcurl has no memory for its connections");
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(options.max_connections));
    set_token(options.auth_token);
  }
  ~CurlTransport() override { abandon(); }

  void set_token(const std::string& token) override {
    // Requests under way keep using the old list.
    old_headers_.push_back(std::move(headers_));
    if (exchanges_.empty()) old_headers_.clear();
    headers_ = make_headers(token);
  }

  void start(Request request) override {
    const std::uint64_t id = request.id;
    auto exchange = std::make_unique<Exchange>(take_handle());
    exchange->begin(std::move(request), endpoint_, headers_.get());
    curl_multi_add_handle(multi_.get(), exchange->easy());
    exchanges_.emplace(id, std::move(exchange));
  }

  std::vector<Response> poll(std::chrono::milliseconds timeout) override {
    // What was started leaves before the wait. It may be complete at once, and then nothing would end the wait.
    std::vector<Response> done = perform();
    if (!done.empty()) return done;
    const auto bounded = std::clamp<std::int64_t>(timeout.count(), 0, std::numeric_limits<int>::max());
    curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(bounded), nullptr);
    return perform();
  }

  void wake() override {
    const std::lock_guard lock(wake_mutex_);
    if (multi_) curl_multi_wakeup(multi_.get());
  }

  void abandon() override {
    for (auto& [id, exchange] : exchanges_) curl_multi_remove_handle(multi_.get(), exchange->easy());
    exchanges_.clear();
    idle_.clear();
    const std::lock_guard lock(wake_mutex_);
    multi_.reset();
  }

 private:
  /// Moves everything on without waiting. \returns what is complete.
  std::vector<Response> perform() {
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    std::vector<Response> done;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode result = message->data.result;
      Exchange* exchange = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
      curl_multi_remove_handle(multi_.get(), exchange->easy());
      done.push_back(exchange->end(result));
      idle_.push_back(exchange->take_easy());
      exchanges_.erase(done.back().id);
    }
    return done;
  }

  Easy take_handle() {
    if (!idle_.empty()) {
      Easy easy = std::move(idle_.back());
      idle_.pop_back();
      return easy;
    }
    return make_easy(options_, user_agent_);
  }

  const Options options_;
  const std::string endpoint_;
  const std::string user_agent_;
  Headers headers_;
  std::vector<Headers> old_headers_;
  std::mutex wake_mutex_;  ///< Keeps `multi_` while it is woken.
  std::unique_ptr<CURLM, MultiDeleter> multi_;
  std::vector<Easy> idle_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Exchange>> exchanges_;
};

}  // namespace

std::unique_ptr<Transport> make_curl_transport(const Options& options, const std::string& user_agent) {
  return std::make_unique<CurlTransport>(options, user_agent);
}

}  // namespace intilery::transport
