"""For the Python API reference: the compiled module's types are in its stub, its docstrings in the module itself."""

from __future__ import annotations

import inspect
from typing import Any

import griffe

import intilery._native


class CompiledDocstrings(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        if pkg.path == "intilery":
            self._fill(pkg["_native"], intilery._native)

    def _fill(self, documented: griffe.Object, real: Any) -> None:
        for name, member in documented.members.items():
            found = getattr(real, name, None)
            if member.is_alias or found is None:
                continue
            text = inspect.getdoc(found)
            if member.docstring is None and text and text != inspect.getdoc(type(found)):
                member.docstring = griffe.Docstring(text, parent=member)  # type: ignore[arg-type]
            if member.is_class:
                self._fill(member, found)  # type: ignore[arg-type]
