#include "spool.hpp"

#include <pybind11/stl.h>

#include <nlohmann/json.hpp>
#include <string>

#include "queue/spool_folder.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

using Free = py::call_guard<py::gil_scoped_release>;

std::vector<std::string> export_spool(const std::string& folder, const queue::LetterFilter& filter, bool waiting,
                                      const py::function& write) {
  return queue::export_spool(folder, filter, waiting, [&](const std::string& line) { write(py::bytes(line)); });
}

}  // namespace

void define_spool(py::module_& module) {
  py::class_<queue::LetterFilter>(module, "LetterFilter")
      .def(py::init<std::string, std::string, std::string>(), py::arg("reason"), py::arg("user_id"),
           py::arg("message_id"));
  module.def("spool_status", [](const std::string& folder) { return queue::spool_status(folder).dump(); }, Free());
  module.def("spool_export", &export_spool);
  module.def(
      "spool_retry",
      [](const std::string& folder, const queue::LetterFilter& filter) {
        const queue::DeadLetters::Retried retried = queue::retry_spool(folder, filter);
        return std::pair{retried.moved, retried.unknown_sender};
      },
      Free());
  module.def(
      "spool_purge",
      [](const std::string& folder, const queue::LetterFilter& filter, bool waiting) {
        return queue::purge_spool(folder, filter, waiting).dump();
      },
      Free());
}

}  // namespace intilery::python
