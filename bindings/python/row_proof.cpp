#include "row_proof.hpp"

#include <pybind11/stl.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "client_type.hpp"
#include "gil_waiting.hpp"
#include "rows/row_proof.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

using Clock = std::chrono::steady_clock;
using readback::Sought;

/// How long one page may take, with all its attempts.
constexpr std::chrono::minutes patience(5);

/// With the client that reads.
class ClientProof : public rows::RowProof {
 public:
  explicit ClientProof(py::object client) : client_(std::move(client)) {}

  /// Reads for about so many seconds. False: all that was wanted is read.
  bool read(double seconds, const py::object& given_up) {
    GilWaiting waiting(given_up);
    const Clock::time_point end = Clock::now() + std::chrono::milliseconds(std::llround(seconds * 1'000));
    while (const auto query = next()) {
      waiting.check();
      const OpenClient& client = opened(client_.ptr());
      take(readback::events_of(
          client.core->read(path_of(*query), Clock::now() + patience, waiting, brand_of(client_.ptr()))));
      if (Clock::now() >= end) return true;
    }
    return false;
  }

 private:
  py::object client_;
};

py::list rows_of(const std::vector<Sought::Message>& messages) {
  py::list list;
  for (const Sought::Message& message : messages) list.append(py::make_tuple(message.number, message.id));
  return list;
}

}  // namespace

void define_row_proof(py::module_& module) {
  py::class_<rows::RowProof, std::shared_ptr<rows::RowProof>>(module, "RowProofBase");
  py::class_<ClientProof, rows::RowProof, std::shared_ptr<ClientProof>>(module, "RowProof")
      .def(py::init<py::object>())
      .def("seal", &ClientProof::seal)
      .def("sweep", &ClientProof::sweep)
      .def("read", &ClientProof::read)
      .def("gather", &ClientProof::gather)
      .def_property_readonly("span", &ClientProof::span)
      .def_property_readonly("untimed", &ClientProof::untimed)
      .def_property_readonly("pages", &ClientProof::pages)
      .def_property_readonly("expected", [](const ClientProof& proof) { return proof.sought().expected(); })
      .def_property_readonly("found", [](const ClientProof& proof) { return proof.sought().found(); })
      .def_property_readonly("repeated", [](const ClientProof& proof) { return proof.sought().repeated(); })
      .def("missing", [](const ClientProof& proof) { return rows_of(proof.sought().missing()); })
      .def("duplicate", [](const ClientProof& proof) { return rows_of(proof.sought().duplicate()); });
}

}  // namespace intilery::python
