// `intilery._sandbox`: the stand-in for the service, for `intilery.testing` and `python -m intilery sandbox`.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "command.hpp"
#include "intilery/testing.hpp"

namespace py = pybind11;
using intilery::testing::Arrival;
using intilery::testing::Profile;
using intilery::testing::ReceivedRequest;
using intilery::testing::Sandbox;
using intilery::testing::SandboxOptions;

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

std::unique_ptr<Sandbox> start(std::string host, int port, std::string token, std::string client_id,
                               std::string account_id, std::vector<std::string> brand_ids, double rate_limit,
                               double burst, const std::string& profile, std::size_t max_request_bytes,
                               std::size_t max_stored_bytes, std::string store, std::string plan, double visible_after,
                               std::string faults) {
  if (profile != "guide" && profile != "vendor") throw std::invalid_argument("profile must be guide or vendor");
  SandboxOptions options{.host = std::move(host),
                         .port = port,
                         .token = std::move(token),
                         .client_id = std::move(client_id),
                         .account_id = std::move(account_id),
                         .brand_ids = std::move(brand_ids),
                         .rate_limit = rate_limit,
                         .burst = burst,
                         .profile = profile == "guide" ? Profile::guide : Profile::vendor,
                         .max_request_bytes = max_request_bytes,
                         .max_stored_bytes = max_stored_bytes,
                         .store = std::move(store),
                         .visible_after = std::chrono::milliseconds(std::llround(visible_after * 1000)),
                         .plan = std::move(plan),
                         .faults = std::move(faults)};
  return std::make_unique<Sandbox>(std::move(options));
}

py::list requests(const Sandbox& sandbox) {
  std::vector<ReceivedRequest> received;
  {
    py::gil_scoped_release unlocked;
    received = sandbox.requests();
  }
  py::list list;
  for (const ReceivedRequest& request : received) {
    py::dict headers;
    for (const auto& [name, value] : request.headers) headers[py::str(name)] = py::str(value);
    list.append(py::make_tuple(request.received_ms, request.method, request.path, request.action, headers,
                               py::bytes(request.body), request.status, py::bytes(request.answer), request.events));
  }
  return list;
}

/// \returns `(event, report)`; one of them is empty.
py::tuple tuple_of(const Arrival& arrival) {
  return py::make_tuple(py::str(arrival.event_json), py::str(arrival.report));
}

py::tuple expect(const Sandbox& sandbox, const std::string& message, double seconds) {
  const json expected = json::parse(message);
  const auto deadline = Clock::now() + std::chrono::duration<double>(std::min(seconds, 1e9));
  for (;;) {  // in slices, so that Ctrl-C ends it
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const auto slice = std::clamp(left, std::chrono::milliseconds(0), std::chrono::milliseconds(50));
    Arrival arrival;
    {
      py::gil_scoped_release unlocked;
      arrival = sandbox.expect(expected, slice);
    }
    if (arrival || left <= slice) return tuple_of(arrival);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

}  // namespace

PYBIND11_MODULE(_sandbox, module) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<Sandbox>(module, "Sandbox")
      .def(py::init(&start), Release(), py::kw_only(), py::arg("host"), py::arg("port"), py::arg("token"),
           py::arg("client_id"), py::arg("account_id"), py::arg("brand_ids"), py::arg("rate_limit"), py::arg("burst"),
           py::arg("profile"), py::arg("max_request_bytes"), py::arg("max_stored_bytes"), py::arg("store"),
           py::arg("plan"), py::arg("visible_after"), py::arg("faults"))
      .def("url", &Sandbox::url)
      .def("port", &Sandbox::port)
      .def("stop", &Sandbox::stop, Release())
      .def("requests", &requests)
      .def("events_json", &Sandbox::events_json, Release())
      .def("expect", &expect)
      .def("expect_none",
           [](const Sandbox& s, const std::string& message) { return tuple_of(s.expect_none(json::parse(message))); })
      .def("matching_json",
           [](const Sandbox& s, const std::string& message) { return s.matching_json(json::parse(message)); })
      .def("event_count", &Sandbox::event_count, Release())
      .def("stats_json", &Sandbox::stats_json, Release())
      .def("clear", &Sandbox::clear, Release())
      .def("set_faults", &Sandbox::set_faults, Release())
      .def("set_token", &Sandbox::set_token, Release());
  module.def("run_command", [](const std::string& name, const std::vector<std::string>& args) {
    py::gil_scoped_release unlocked;
    return intilery::testing::run_sandbox_command(name, args);
  });
}
