// Requests a second with one event each, against a bare libcurl multi loop with as many connections, to the same null
// server, in alternating rounds.
//
//     build/cmake/bench/cpp/bench_event_mode [--json] [events] [rounds] [connections]
#include <curl/curl.h>

#include "measured.hpp"
#include "null_server.hpp"
#include "payload.hpp"

using namespace intilery;
using namespace intilery::bench;

namespace {

struct Cost {
  double per_second, cpu_ns;
};

std::size_t swallow(char*, std::size_t size, std::size_t count, void*) { return size * count; }

/// What libcurl does with the same requests, whose bodies are there already.
Cost with_libcurl(const std::string& url, const std::string& body, std::size_t requests, std::size_t connections) {
  CURLM* const multi = curl_multi_init();
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(connections));
  curl_slist* headers = curl_slist_append(nullptr, "content-type: application/json");
  headers = curl_slist_append(headers, "auth-token: bench");
  headers = curl_slist_append(headers, "Expect:");
  std::vector<CURL*> handles;
  const double wall = wall_ns();
  const double cpu = process_ns();
  std::size_t started = 0;
  std::size_t done = 0;
  for (; started < std::min(connections, requests); ++started) {
    CURL* const easy = handles.emplace_back(curl_easy_init());
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
    curl_multi_add_handle(multi, easy);
  }
  while (done < requests) {
    int running = 0;
    curl_multi_perform(multi, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* const easy = message->easy_handle;
      if (message->data.result != CURLE_OK) throw std::runtime_error(curl_easy_strerror(message->data.result));
      curl_multi_remove_handle(multi, easy);
      ++done;
      if (started < requests) {
        ++started;
        curl_multi_add_handle(multi, easy);
      }
    }
    if (done < requests) curl_multi_poll(multi, nullptr, 0, 1'000, nullptr);
  }
  const double n = static_cast<double>(requests);
  const Cost cost{n * 1e9 / (wall_ns() - wall), (process_ns() - cpu) / n};
  for (CURL* easy : handles) curl_easy_cleanup(easy);
  curl_slist_free_all(headers);
  curl_multi_cleanup(multi);
  return cost;
}

Cost with_client(const Options& options, std::size_t events) {
  Client client(options);
  std::vector<std::string> users;
  for (int i = 0; i < 1'000; ++i) users.push_back("user-" + std::to_string(i));
  const double wall = wall_ns();
  const double cpu = process_ns();
  for (std::size_t i = 0; i < events; ++i) client.track(users[i % 1'000], "Order Completed", RawJson(order_text()));
  deliver_all(client);
  const double n = static_cast<double>(events);
  return {n * 1e9 / (wall_ns() - wall), (process_ns() - cpu) / n};
}

}  // namespace

int main(int count, char** arguments) {
  Report report(count, arguments);
  const std::size_t events = report.argument(0, 50'000);
  const std::size_t rounds = report.argument(1, 7);
  const std::size_t connections = report.argument(2, 32);
  const NullServer server;
  Options options = options_for(server.url());
  options.delivery = DeliveryMode::event;
  options.max_connections = connections;
  // As many bytes as the client sends.
  std::string body(order_text());
  body.resize(800, ' ');
  {
    Client client(options);
    client.track("user-100", "Order Completed", RawJson(order_text())).wait();
    body.resize(client.stats().bytes_sent, ' ');
  }
  const std::string url = server.url() + "/track/hea/hea/HEA/v1/track";
  std::vector<double> client, client_cpu, libcurl, libcurl_cpu, ratio;
  for (std::size_t round = 0; round < rounds; ++round) {
    const Cost theirs = with_libcurl(url, body, events, connections);
    const Cost ours = with_client(options, events);
    libcurl.push_back(theirs.per_second);
    libcurl_cpu.push_back(theirs.cpu_ns);
    client.push_back(ours.per_second);
    client_cpu.push_back(ours.cpu_ns);
    ratio.push_back(ours.per_second / theirs.per_second);
  }
  report.add("libcurl_per_second", most(libcurl));
  report.add("client_per_second", most(client));
  report.add("client_to_libcurl_ratio", median(ratio));
  report.add("client_to_libcurl_best_ratio", most(client) / most(libcurl));
  report.add("libcurl_cpu_per_request_ns", least(libcurl_cpu));
  report.add("client_cpu_per_request_ns", least(client_cpu));
}
