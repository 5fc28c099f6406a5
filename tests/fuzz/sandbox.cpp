// Requests to the sandbox, over a real socket: it answers each, keeps what it accepted as it was, and its page shows
// it.
#include <nlohmann/json.hpp>
#include <set>

#include "intilery/testing.hpp"
#include "peer.hpp"
#include "readback/reader.hpp"

namespace intilery::fuzz {

using nlohmann::json;
using testing::Sandbox;

namespace {

struct Answer {
  int status = 0;
  std::string body;
};

class Caller {
 public:
  explicit Caller(int port) : port_(port) {}

  /// Sends these bytes, says that there will be no more, and takes what comes.
  std::string talk(std::string_view bytes) const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(port_);
    must(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "the sandbox is there");
    send_all(fd, bytes);
    ::shutdown(fd, SHUT_WR);
    std::string answer = receive_all(fd, 20'000);
    ::close(fd);
    return answer;
  }
  Answer ask(const std::string& method, const std::string& target, std::string_view body = {},
             const std::string& more = "auth-token: sandbox-token\r\n") const {
    const std::string answer = talk(method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port_) +
                                    "\r\nContent-Type: application/json\r\n" + more +
                                    "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
    must(answer.starts_with("HTTP/1.1 "), "a request is answered: " + method + " " + target);
    const std::size_t end = answer.find("\r\n\r\n");
    must(end != std::string::npos, "with a whole head");
    return {Input::decimal<int>(std::string_view(answer).substr(9)), answer.substr(end + 4)};
  }

 private:
  int port_;
};

const std::string base = "/track/hea/hea/HEA/v1/";

std::string safe_target(std::string_view text) {
  std::string target;
  for (const char c : text.substr(0, 2'000)) {
    if (static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f) target += c;
  }
  return target;
}

/// What was accepted can be read back, as it was sent, by our own reader too.
void check_kept(const Sandbox& sandbox, const Caller& caller, const std::string& action, const json& sent) {
  const json events = json::parse(sandbox.events_json());
  must(events.size() == sandbox.event_count(), "all events are kept");
  const json items = action == "batch" ? sent.at("batch") : json::array({sent});
  must(events.size() == items.size(), "one for each call");
  for (std::size_t i = 0; i < items.size(); ++i) {
    json raw = events[i].at("rawData");
    json item = items[i];
    if (!item.contains("action")) {
      item["action"] = raw.at("action");
    }
    if (action == "batch" && sent.contains("context")) {
      json context = sent.at("context");
      if (item.contains("context")) context.update(item.at("context"));
      item["context"] = context;
    }
    must(raw == item, "an event is kept as it was sent");
  }
  std::size_t read = 0;
  readback::JsonReader reader("events", json::object());
  for (;;) {
    const json page = json::parse(reader.next(
        [&](const std::string& path, readback::TimePoint) {
          Answer answer = caller.ask("GET", base + path);
          must(answer.status == 200, "a page can be read");
          return delivery::ReadResult{.status = answer.status, .body = std::move(answer.body), .error = {}};
        },
        readback::TimePoint::max()));
    if (page.empty()) break;
    read += page.size();
  }
  must(read == items.size(), "and all can be read back");
}

void check_call(Sandbox& sandbox, const Caller& caller, const std::string& action, std::string_view body) {
  const Answer answer = caller.ask("POST", base + action, body);
  static const std::set<int> known{200, 400, 404, 405, 413};
  must(known.contains(answer.status), "an answer is of the contract: " + std::to_string(answer.status));
  const json said = json::parse(answer.body, nullptr, false);
  must(said.is_object(), "and an object");
  const json sent = json::parse(body, nullptr, false);
  if (answer.status == 200) {
    must(said.at("success") == true, "accepted is accepted");
    check_kept(sandbox, caller, action, sent);
    for (const char* path : {"profiles", "profiles/email:a%40b.c/traits", "profiles/userId:u/events"}) {
      const Answer shown = caller.ask("GET", base + path);
      must(shown.status == 200 || shown.status == 404, "profiles can be read");
      must(json::accept(shown.body), "as JSON");
    }
  } else {
    must(sandbox.event_count() == 0, "what is refused is not kept");
  }
  const Answer live = caller.ask("GET", "/sandbox/live");
  must(live.status == 200 && json::accept(live.body), "the page shows it");
}

}  // namespace

// `c`, a line with the action, and a call's body; `g` and what to read; `p` or `P`, a path of the page and a body; else
// all that a connection says.
FUZZ_TARGET(sandbox) {
  static Sandbox sandbox({.rate_limit = 0, .plan = INTILERY_FUZZ_PLAN});
  static const Caller caller(sandbox.port());
  sandbox.clear();
  sandbox.set_faults("[]");
  Input in(bytes);
  const char kind = in.letter();
  if (kind == 'c') {
    const std::string action = safe_target(in.line());
    if (action.find_first_of("/?%") == std::string::npos) check_call(sandbox, caller, action, in.rest());
  } else if (kind == 'g') {
    const Answer answer = caller.ask("GET", base + safe_target(in.rest()));
    must(answer.status >= 200 && answer.status < 500, "a read is answered");
    // By httplib, which knows what is no address, and takes the headers behind it for requests.
    const bool by_httplib = answer.status >= 400 && (answer.body.empty() || answer.body.starts_with("HTTP/1.1 4"));
    must(by_httplib || json::accept(answer.body), "as JSON");
  } else if (kind == 'p' || kind == 'P') {
    const std::string path = safe_target(in.line());
    std::string_view body = in.rest();
    const Answer answer = caller.ask(kind == 'p' ? "GET" : "POST", "/sandbox/" + path, body);
    must(answer.status >= 200 && answer.status < 500, "the page answers");
    sandbox.set_faults("[]");
  } else {
    caller.talk(in.rest());
    sandbox.set_faults("[]");
  }
  must(caller.ask("GET", base + "events").status == 200, "it goes on");
  must(json::accept(sandbox.events_json()), "what it keeps is JSON");
  must(json::accept(sandbox.stats_json()), "and what it counts");
}

}  // namespace intilery::fuzz
