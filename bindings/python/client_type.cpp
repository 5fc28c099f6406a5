#include "client_type.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "calls.hpp"
#include "intilery/errors.hpp"
#include "intilery/version.hpp"
#include "registry.hpp"
#include "rows/row_ledger.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

struct ClientObject {
  PyObject_HEAD OpenClient* client;
  PyObject* whole;    ///< Of a view: the client, which alone has an OpenClient.
  std::size_t brand;  ///< Of a view: the place of its brand in the OpenClient.
};

ClientObject* object_of(PyObject* self) { return reinterpret_cast<ClientObject*>(self); }
PyObject* whole_of(PyObject* self) { return object_of(self)->whole != nullptr ? object_of(self)->whole : self; }

// The program's functions often hold what holds the client.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(object_of(self)->whole);
  const OpenClient* client = object_of(self)->client;
  if (client == nullptr) return 0;
  Py_VISIT(client->default_function.ptr());
  Py_VISIT(client->before_send.ptr());
  Py_VISIT(client->on_error.ptr());
  return 0;
}

int clear(PyObject* self) {
  OpenClient* client = object_of(self)->client;
  if (client == nullptr) return 0;
  client->observer->on_error = nullptr;
  // Moved first: letting go may run any code.
  const std::array released{std::move(client->default_function), std::move(client->before_send),
                            std::move(client->on_error)};
  return 0;
}

void dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  OpenClient* client = object_of(self)->client;
  // The parent's client stays as it is: its threads are not here to be joined.
  if (client != nullptr && !is_foreign(self)) {
    {
      // Joins the I/O thread, which may need the GIL to let go of a callback.
      py::gil_scoped_release unlocked;
      client->core.reset();
      client->observer->stop();
    }
    client->observer->on_error = nullptr;
    delete client;
  }
  Py_XDECREF(object_of(self)->whole);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

}  // namespace

void PyObserver::finished(std::span<const Finished> group) {
  in_runs(group, rows::RowLedger::owns, [&](std::span<const Finished> run) {
    if (rows::RowLedger::owns(run.front().tag)) {
      rows::RowLedger::settle(run);
    } else {
      StateObserver::finished(run);
    }
  });
}

void OpenClient::start() {
  observer = std::make_shared<PyObserver>();  // the parent's is held by its core, which is never freed here
  observer->on_error = on_error.ptr();
  core = std::make_unique<ClientCore>(options, Library{.name = "intilery-python", .version = INTILERY_VERSION},
                                      observer, OptionStyle{}, outbox);
  options.plan = core->options().plan;  // a path is absolute now: a forked child may be elsewhere
  for (Brand& brand : brands) brand.number = core->brand(brand.name);
}

PyObject* make_client_type() {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                                {Py_tp_clear, reinterpret_cast<void*>(clear)},
                                {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
                                {Py_tp_methods, event_methods()},
                                {0, nullptr}};
  static PyType_Spec spec{"intilery._native.ClientBase", sizeof(ClientObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  return PyType_FromSpec(&spec);
}

OpenClient* find(PyObject* self) { return object_of(whole_of(self))->client; }

std::uint16_t brand_of(PyObject* self) {
  if (object_of(self)->whole == nullptr) return Brands::own;
  return find(self)->brands[object_of(self)->brand].number;
}

bool is_foreign(PyObject* self) {
  const OpenClient* client = find(self);
  return client == nullptr || client->core->is_foreign();
}

OpenClient& opened(PyObject* self) {
  OpenClient* client = find(self);
  if (client == nullptr) {
    throw_error({.kind = ErrorKind::closed,
                 .code = "closed",
                 .message = "the client was never opened: Client.__init__ did not run"});
  }
  if (client->core->is_foreign()) {
    if (client->closed) {
      throw_error({.kind = ErrorKind::closed, .code = "closed", .message = "the client is closed; make a new one"});
    }
    client->start();  // with the GIL, so that no other thread does the same
    py::handle(registry().reopened)(py::handle(whole_of(self)));
  }
  return *client;
}

void put(PyObject* self, std::unique_ptr<OpenClient> client) {
  if (object_of(self)->client != nullptr) throw std::logic_error("the client is open already");
  object_of(self)->client = client.release();
}

void put_view(PyObject* self, PyObject* client, const std::string& brand_id) {
  if (find(self) != nullptr) throw std::logic_error("the client is open already");
  OpenClient& opened_client = opened(client);
  std::vector<OpenClient::Brand>& brands = opened_client.brands;
  const std::uint16_t number = opened_client.core->brand(brand_id);
  const auto place = std::find_if(brands.begin(), brands.end(),
                                  [&](const OpenClient::Brand& known) { return known.number == number; });
  object_of(self)->brand = static_cast<std::size_t>(place - brands.begin());
  if (place == brands.end()) brands.push_back({brand_id, number});
  object_of(self)->whole = whole_of(client);
  Py_INCREF(object_of(self)->whole);
}

}  // namespace intilery::python
