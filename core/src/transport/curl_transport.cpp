#include "transport/curl_transport.hpp"

#include <poll.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "transport/curl_handle.hpp"
#include "transport/wake_pipe.hpp"

namespace intilery::transport {

namespace {

struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

/// An answer to an event is short; more of it than this is neither kept nor waited for. A page of events read back may
/// be long.
constexpr std::size_t longest_answer = 64'000;
constexpr std::size_t longest_page = 256'000'000;
/// All headers of an answer together, those that come before it (100 to 199) and behind it included.
constexpr std::size_t longest_header = 256'000;

/// A body of up to so many bytes is given to libcurl in one piece: then it leaves together with the headers, in one
/// system call and mostly one packet, which is worth more than the copy costs.
#if LIBCURL_VERSION_NUM >= 0x075000
constexpr std::size_t longest_piece = 16'000;
#else
constexpr std::size_t longest_piece = 0;  // there is no way to keep libcurl from sending it again
#endif

/// Carries one request after the other.
class Exchange {
 public:
  explicit Exchange(Easy easy) : easy_(std::move(easy)) {
    set(CURLOPT_PRIVATE, this);
    set(CURLOPT_ERRORBUFFER, error_.data());
    set(CURLOPT_WRITEFUNCTION, static_cast<curl_write_callback>(&Exchange::on_body));
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, static_cast<curl_write_callback>(&Exchange::on_header));
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_READFUNCTION, static_cast<curl_read_callback>(&Exchange::on_read));
    set(CURLOPT_READDATA, this);
    set(CURLOPT_SEEKFUNCTION, static_cast<curl_seek_callback>(&Exchange::on_seek));
    set(CURLOPT_SEEKDATA, this);
#if LIBCURL_VERSION_NUM >= 0x075000
    set(CURLOPT_PREREQFUNCTION, static_cast<curl_prereq_callback>(&Exchange::on_request));
    set(CURLOPT_PREREQDATA, this);
#endif
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  CURL* easy() const { return easy_.get(); }
  bool under_way() const { return under_way_; }

  void begin(Request request, const std::string& endpoint, curl_slist* headers) {
    under_way_ = true;
    request_ = std::move(request);
    response_ = {};
    response_.id = request_.id;
    error_[0] = '\0';
    header_bytes_ = 0;
    part_ = 0;
    offset_ = 0;
    begun_ = false;
    if (url_.size() != endpoint.size() + request_.path.size() || !url_.ends_with(request_.path)) {
      url_ = endpoint + request_.path;
      set(CURLOPT_URL, url_.c_str());
    }
    set(CURLOPT_HTTPHEADER, headers);
    if (!request_.post) {
      set(CURLOPT_HTTPGET, 1L);
      return;
    }
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body_size));
    if (in_one_piece()) {
      piece_.clear();
      for (const std::string_view part : request_.body) piece_ += part;
    }
    set(CURLOPT_POSTFIELDS, in_one_piece() ? piece_.data() : nullptr);  // null: on_read
  }

  template <class Value>
  void set(CURLoption option, Value value) {
    if (curl_easy_setopt(easy_.get(), option, value) == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  }

  Response end(CURLcode result, const Trust& trust) {
    under_way_ = false;
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    long request_size = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_REQUEST_SIZE, &request_size);
    response_.sent = request_size > 0;
    const bool answered = status != 0;  // libcurl takes some status lines that say none for an answer
    if (answered && (result == CURLE_OK || response_.body_cut)) {
      response_.status = static_cast<int>(status);
    } else {
      response_.failure = failure_of(result);
      const bool ended = result == CURLE_SEND_FAIL_REWIND || result == CURLE_ABORTED_BY_CALLBACK;
      response_.detail = ended                ? "the connection ended without an answer"
                         : result == CURLE_OK ? "the answer says no status"
                         : header_bytes_ > longest_header
                             ? "the answer's header is longer than any that makes sense"
                             : detail_of(result, error_[0] != '\0' ? error_.data() : curl_easy_strerror(result), trust);
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
#if LIBCURL_VERSION_NUM >= 0x075000
  /// The same for a body in one piece, for which nobody seeks: this is called before each sending.
  static int on_request(void* self, char*, char*, int, int) {
    auto* exchange = static_cast<Exchange*>(self);
    const bool again = std::exchange(exchange->begun_, true);
    return again && exchange->in_one_piece() ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
  }
#endif
  bool in_one_piece() const { return request_.post && request_.body_size <= longest_piece; }

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
    exchange->header_bytes_ += size * count;
    if (exchange->header_bytes_ > longest_header) return 0;  // libcurl ends the transfer
    const std::string_view line(data, size * count);
    constexpr std::string_view name = "retry-after:";
    if (line.size() > name.size() && strncasecmp(line.data(), name.data(), name.size()) == 0)
      exchange->response_.retry_after = value_of(line.substr(name.size()));
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
  std::size_t header_bytes_ = 0;
  std::string piece_;       ///< The body in one piece, if it is short.
  std::size_t part_ = 0;    ///< Else which part of the body is next,
  std::size_t offset_ = 0;  ///< and from which byte of it.
  bool begun_ = false;      ///< It was sent, or is being sent.
  bool under_way_ = false;
};

/// libcurl is told which sockets are ready, so that a turn costs no more than what happens in it, however many requests
/// are under way; `curl_multi_perform` would look at each of them.
class CurlTransport : public Transport {
 public:
  CurlTransport(const Options& options, const std::string& user_agent)
      : options_(options), endpoint_(base_of(options.endpoint)), trust_(find_trust(options)), user_agent_(user_agent) {
    initialise_curl();
    multi_.reset(curl_multi_init());
    if (!multi_) throw std::runtime_error("libcurl has no memory for its connections");
    polled_.push_back({.fd = wake_->descriptor(), .events = POLLIN, .revents = 0});
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(options.max_connections));
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, static_cast<curl_socket_callback>(&on_socket));
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, static_cast<curl_multi_timer_callback>(&on_timer));
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
    set_token(options.auth_token);
  }
  ~CurlTransport() override { abandon(); }

  void set_token(const std::string& token) override {
    // Requests under way keep using the old list.
    old_headers_.push_back(std::move(headers_));
    if (idle_.size() == exchanges_.size()) old_headers_.clear();
    headers_ = make_headers(token);
  }

  void start(Request request) override {
    if (idle_.empty()) {
      exchanges_.push_back(std::make_unique<Exchange>(make_easy(options_, trust_, user_agent_)));
      idle_.push_back(exchanges_.back().get());
    }
    Exchange* const exchange = idle_.back();
    idle_.pop_back();
    exchange->begin(std::move(request), endpoint_, headers_.get());
    curl_multi_add_handle(multi_.get(), exchange->easy());
  }

  std::vector<Response> poll(std::chrono::milliseconds timeout) override {
    // What was started leaves before the wait. It may be complete at once, and then nothing would end the wait.
    std::vector<Response> done;
    run_timer();
    collect(done);
    if (!done.empty()) return done;
    if (timer_ == Clock::time_point::min()) {
      timeout = std::chrono::milliseconds(0);
    } else if (timer_) {
      timeout = std::min(timeout, std::chrono::ceil<std::chrono::milliseconds>(*timer_ - Clock::now()));
    }
    const auto bounded = std::clamp<std::int64_t>(timeout.count(), 0, std::numeric_limits<int>::max());
    if (::poll(polled_.data(), static_cast<nfds_t>(polled_.size()), static_cast<int>(bounded)) > 0) {
      if (polled_.front().revents != 0) wake_->drain();
      run_sockets();
    }
    run_timer();
    collect(done);
    return done;
  }

  void wake() override {
    const std::lock_guard lock(wake_mutex_);
    if (wake_) wake_->wake();
  }

  void abandon() override {
    for (const std::unique_ptr<Exchange>& exchange : exchanges_) {
      if (exchange->under_way()) curl_multi_remove_handle(multi_.get(), exchange->easy());
    }
    exchanges_.clear();
    idle_.clear();
    multi_.reset();
    const std::lock_guard lock(wake_mutex_);
    wake_.reset();
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// libcurl waits for other things on a socket than before.
  static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void*) {
    static_cast<CurlTransport*>(self)->watch(socket, what);
    return 0;
  }
  void watch(curl_socket_t socket, int what) {
    const auto number = static_cast<std::size_t>(socket);
    if (number >= places_.size()) places_.resize(number + 1, 0);
    std::size_t& place = places_[number];
    if (what == CURL_POLL_REMOVE) {
      if (place == 0) return;
      polled_[place] = polled_.back();
      places_[static_cast<std::size_t>(polled_[place].fd)] = place;
      polled_.pop_back();
      place = 0;
      return;
    }
    if (place == 0) {
      place = polled_.size();
      polled_.push_back({.fd = socket, .events = 0, .revents = 0});
    }
    polled_[place].events = static_cast<short>(((what & CURL_POLL_IN) != 0 ? POLLIN : 0) |  // and both for INOUT
                                               ((what & CURL_POLL_OUT) != 0 ? POLLOUT : 0));
  }

  /// libcurl wants to be called after so many milliseconds; -1: never.
  static int on_timer(CURLM*, long ms, void* self) {
    std::optional<Clock::time_point>& timer = static_cast<CurlTransport*>(self)->timer_;
    timer.reset();
    if (ms == 0) timer = Clock::time_point::min();  // needs no look at the clock
    if (ms > 0) timer = Clock::now() + std::chrono::milliseconds(ms);
    return 0;
  }

  void run_timer() {
    if (!timer_ || (*timer_ != Clock::time_point::min() && Clock::now() < *timer_)) return;
    timer_.reset();
    act(CURL_SOCKET_TIMEOUT, 0);
  }

  void run_sockets() {
    ready_.clear();  // what is watched changes meanwhile
    for (std::size_t place = 1; place < polled_.size(); ++place) {
      if (polled_[place].revents != 0) ready_.push_back(polled_[place]);
    }
    for (const pollfd& socket : ready_) {
      const bool readable = (socket.revents & (POLLIN | POLLERR | POLLHUP)) != 0;
      const bool writable = (socket.revents & (POLLOUT | POLLERR)) != 0;
      act(socket.fd, (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
    }
  }

  void act(curl_socket_t socket, int events) {
    int running = 0;
    curl_multi_socket_action(multi_.get(), socket, events, &running);
  }

  /// Takes what is complete.
  void collect(std::vector<Response>& done) {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode result = message->data.result;
      Exchange* exchange = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
      curl_multi_remove_handle(multi_.get(), exchange->easy());
      done.push_back(exchange->end(result, trust_));
      idle_.push_back(exchange);
    }
  }

  const Options options_;
  const std::string endpoint_;
  const Trust trust_;
  const std::string user_agent_;
  Headers headers_;
  std::vector<Headers> old_headers_;
  std::mutex wake_mutex_;  ///< Keeps `wake_` while it is used by another thread.
  std::optional<WakePipe> wake_{std::in_place};
  std::vector<pollfd> polled_;              ///< First the wake-ups, then libcurl's sockets.
  std::vector<std::size_t> places_;         ///< Where a socket is in `polled_`; 0: nowhere.
  std::vector<pollfd> ready_;               ///< Kept for its memory.
  std::optional<Clock::time_point> timer_;  ///< When libcurl wants to be called.
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::vector<Exchange*> idle_;                 ///< Those of them that carry nothing now.
  std::unique_ptr<CURLM, MultiDeleter> multi_;  ///< Calls back until it is gone, so it goes first.
};

}  // namespace

std::unique_ptr<Transport> make_curl_transport(const Options& options, const std::string& user_agent) {
  return std::make_unique<CurlTransport>(options, user_agent);
}

}  // namespace intilery::transport
