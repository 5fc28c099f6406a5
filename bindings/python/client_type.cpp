#include "client_type.hpp"

#include <pthread.h>

#include <atomic>
#include <new>
#include <utility>

#include "calls.hpp"
#include "intilery/errors.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

struct ClientObject {
  PyObject_HEAD std::shared_ptr<OpenClient> client;
  std::uint16_t brand;
};

std::atomic<unsigned> generation{0};

ClientObject* object_of(PyObject* self) { return reinterpret_cast<ClientObject*>(self); }

PyObject* make(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self != nullptr) new (&object_of(self)->client) std::shared_ptr<OpenClient>();
  return self;
}

void dealloc(PyObject* self) {
  std::shared_ptr<OpenClient>& client = object_of(self)->client;
  // The parent's client stays as it is: its threads are not here to be joined.
  if (client != nullptr && is_foreign(self)) new std::shared_ptr<OpenClient>(std::move(client));
  client.~shared_ptr();
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

}  // namespace

unsigned fork_generation() { return generation.load(std::memory_order_relaxed); }

PyObject* make_client_type() {
  pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                {Py_tp_new, reinterpret_cast<void*>(make)},
                                {Py_tp_methods, event_methods()},
                                {0, nullptr}};
  static PyType_Spec spec{"intilery._native.ClientBase", sizeof(ClientObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  return PyType_FromSpec(&spec);
}

OpenClient::~OpenClient() {
  // Joins the I/O thread, which may need the GIL to let go of a callback.
  const py::gil_scoped_release unlocked;
  core.reset();
  if (observer) observer->stop();
}

std::uint16_t brand_of(PyObject* self) { return object_of(self)->brand; }

bool is_foreign(PyObject* self) {
  const std::shared_ptr<OpenClient>& client = object_of(self)->client;
  return client == nullptr || client->generation != fork_generation();
}

OpenClient& opened(PyObject* self) {
  if (is_foreign(self)) {
    throw_error({.kind = ErrorKind::closed,
                 .code = "closed",
                 .message = object_of(self)->client == nullptr
                                ? "the client was never opened: Client.__init__ did not run"
                                : "the client belongs to the process that forked this one; make a new one here"});
  }
  return *object_of(self)->client;
}

void put(PyObject* self, std::unique_ptr<OpenClient> client) {
  if (object_of(self)->client != nullptr) throw std::logic_error("the client is open already");
  client->generation = fork_generation();
  object_of(self)->client = std::move(client);
}

void put_view(PyObject* self, PyObject* client, std::uint16_t brand) {
  if (object_of(self)->client != nullptr) throw std::logic_error("the client is open already");
  object_of(self)->client = object_of(client)->client;
  object_of(self)->brand = brand;
}

}  // namespace intilery::python
