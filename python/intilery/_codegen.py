"""Clients made from a tracking plan, in which a type checker refuses the event that the plan would.

A plan becomes a model that all three languages share: named types (objects, and texts of which only some are allowed),
and a call for each event. Generators print the types of Python and TypeScript; the calls, and C++, are printed here.
"""

from __future__ import annotations

import json
import keyword
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, NamedTuple

from . import _native
from . import _plans as plans

_Schema = dict[str, Any]


class CodegenError(Exception):
    """Why there is no code, and what to do."""


class Call(NamedTuple):
    """An event of the plan, or identify."""

    kind: str
    """`track`, `page`, `screen`, a command, or `identify`."""
    words: list[str]
    event: str
    type: str | None
    """None: the plan does not say what it holds."""
    required: bool
    """Whether something must be given."""
    description: str


def _set(words: str) -> set[str]:
    return set(words.split())


# The model.

# What makes a type another one.
_TYPING = _set("type enum const properties required items")


class Model:
    """What a plan becomes: `types`, a type after those it is made of, and `calls`."""

    def __init__(self, plan: _Schema) -> None:
        self.types: dict[str, _Schema] = {}
        self.calls: list[Call] = []
        self._plan = plan
        self._owners: dict[str, str] = {}  # the name of a type -> where it stands in the plan
        self._defs: dict[str, str] = {}  # a name in $defs -> its type
        self._events(plan)

    def _events(self, plan: _Schema) -> None:
        """Names first, so that they do not depend on what the events hold."""
        events = [("track", name, f"/events/{name}", event) for name, event in plan.get("events", {}).items()]
        if "traits" in plan:
            events.append(("identify", "traits", "/traits", {"properties": plan["traits"]}))
        functions: dict[str, str] = {}
        named = []
        for kind, name, place, event in events:
            words = _words(_given_name(event) or name, place)
            type = _pascal(words)
            if kind == "identify":
                words = [kind]
            elif name in ("page", "screen") or name.lower() in plans.COMMANDS:
                kind, words = name.lower(), name.lower().split("_")
            _take(functions, "_".join(words), place)
            _take(self._owners, type, place)
            named.append((kind, words, type, name, event))
        for kind, words, type, name, event in named:
            schema = plans.flat(event.get("properties"), plan)
            description = _line(event.get("description") or schema.get("description") or "")
            if schema.get("properties") or schema.get("required"):
                self._object(schema, type, description)
            # Else it may hold anything.
            known = type if type in self.types else None
            self.calls.append(Call(kind, words, name, known, bool(schema.get("required")), description))

    def _object(self, schema: _Schema, name: str, description: str) -> str:
        required = schema.get("required", [])
        properties = {**dict.fromkeys(required, True), **schema.get("properties", {})}
        shown = {
            each: self._schema(properties[each], name + _pascal(_words(each, "", strict=False))) for each in properties
        }
        self.types[name] = {
            "type": "object",
            **({"description": description} if description else {}),
            "required": required,
            "properties": shown,
        }
        return name

    def _schema(self, schema: Any, name: str) -> _Schema:
        """What is left of a schema for a type. `name` is for the types inside it."""
        if not isinstance(schema, dict):
            return {}
        own = _line(schema.get("description", ""))
        shared = re.fullmatch(r"#/\$defs/([^/%~]+)", schema.get("$ref", ""))
        flat = plans.flat(schema, self._plan)
        description = _line(flat.get("description", ""))
        shown = {"description": own or description} if own or description else {}
        types = flat.get("type", "any")
        types = [types] if isinstance(types, str) else list(types)
        values: list[Any] | None = [flat["const"]] if "const" in flat else flat.get("enum")
        texts = [value for value in values or () if isinstance(value, str)]
        if values and texts and all(value in (None, *texts) for value in values):
            content = {"enum": list(dict.fromkeys(texts))}
        elif values is not None:
            return {**shown, "enum": json.loads(json.dumps(values, default=float))}
        elif flat.get("properties") and types in (["any"], ["object"]):
            content = {}
        else:
            return {**shown, **self._union(flat, types, name)}
        if shared and not _TYPING & schema.keys():
            ref = self._defs.get(shared[1]) or self._definition(shared[1], content)
        else:
            ref = self._named(flat, content, self._free(name), own or description)
        if values is not None and None in values:
            return {**shown, "anyOf": [{"$ref": f"#/$defs/{ref}"}, {"type": "null"}]}
        return {**shown, "$ref": f"#/$defs/{ref}"}

    def _definition(self, definition: str, content: _Schema) -> str:
        place = f"/$defs/{definition}"
        schema = self._plan["$defs"][definition]
        name = _pascal(_words(_given_name(schema) or definition, place))
        _take(self._owners, name, place)
        flat = plans.flat(schema, self._plan)
        self._defs[definition] = self._named(flat, content, name, _line(flat.get("description", "")))
        return self._defs[definition]

    def _named(self, flat: _Schema, content: _Schema, name: str, description: str) -> str:
        if not content:
            return self._object(flat, name, description)
        self.types[name] = {**({"description": description} if description else {}), **content}
        return name

    def _union(self, flat: _Schema, types: list[str], name: str) -> _Schema:
        if "any" in types:
            return {}
        each = [self._single(flat, type, name) for type in dict.fromkeys(types)]
        return each[0] if len(each) == 1 else {"anyOf": each}

    def _single(self, flat: _Schema, type: str, name: str) -> _Schema:
        if type == "array":
            return {"type": type, "items": self._schema(flat.get("items", {}), name + "Item")}
        if type == "object" and flat.get("properties"):
            return {"$ref": f"#/$defs/{self._object(flat, self._free(name), '')}"}
        return {"type": type, **({"additionalProperties": True} if type == "object" else {})}

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self._owners:
            free, number = f"{name}N{number}", number + 1
        self._owners[free] = "a type inside another"
        return free


def _given_name(holder: Any) -> str | None:
    name = holder.get("x-name") if isinstance(holder, dict) else None
    return name if isinstance(name, str) else None


def _take(owners: dict[str, str], name: str, place: str) -> None:
    if name in owners:
        raise CodegenError(f'{place} and {owners[name]} would both be called {name}: name one of them with "x-name"')
    owners[name] = place


def _line(text: str) -> str:
    """A description that ends no comment before its time."""
    line = " ".join(str(text).split()).replace("*/", "* /").replace('"""', "'''").rstrip("\\")
    return line[:-1] + "'" if line.endswith('"') else line


def _words(name: str, place: str, *, strict: bool = True) -> list[str]:
    """The words of a name, in ASCII: what the generators and all compilers can spell."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    words = [word.lower() for word in re.findall(r"[A-Za-z0-9]+", split)]
    if strict and (not words or any(c.isalpha() and not c.isascii() for c in plain)):
        raise CodegenError(f'{place} has no name in ASCII letters: give it one with "x-name"')
    words = words or ["value"]
    return ["event", *words] if words[0][0].isdigit() else words


_PYTHON_TYPES = _set("Any Common Literal NotRequired Optional TypeAlias TypedDict Union Unpack")


def _pascal(words: list[str]) -> str:
    # A letter after a digit is large, as json-schema-to-typescript will have it.
    name = re.sub(r"\d[a-z]", lambda match: match[0].upper(), "".join(word.capitalize() for word in words))
    return name + "Type" if name in _PYTHON_TYPES else name


def _header(path: Path, comment: str) -> str:
    name = re.sub(r"[\x00-\x1f]", "?", path.name)
    return f"{comment} Made from {name} by `intilery plan codegen` {_native.version}. Do not edit."


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# Python.

_PYTHON_NAMES = ("Any", "Literal", "Optional", "TYPE_CHECKING", "Union")
_PYTHON_NEW = ("NotRequired", "TypeAlias", "TypedDict")
_PYTHON_TAKEN = _set("intilery sys bool dict float int list str") | {*keyword.kwlist}


def _python(model: Model, path: Path) -> str:
    if find_spec("datamodel_code_generator") is None:
        raise CodegenError(
            "the types of Python are made by datamodel-code-generator: pip install 'intilery[codegen]' (Python 3.10 "
            "or later; what is made runs on 3.9)"
        )
    import black

    flags = (
        "--input-file-type=jsonschema --output-model-type=typing.TypedDict --target-python-version=3.10 "
        "--use-standard-collections --no-use-union-operator --use-field-description --use-schema-description "
        "--enum-field-as-literal=all --use-type-alias --no-use-closed-typed-dict --keep-model-order "
        "--disable-timestamp --formatters black isort"
    )
    types = _run([sys.executable, "-W", "ignore", "-m", "datamodel_code_generator", *flags.split()], _document(model))
    types = re.sub(r"^(#|from |import ).*\n", "", types, flags=re.MULTILINE)
    types = re.sub(rf"^{_ROOT}: TypeAlias = .*\n(\"\"\"(.|\n)*?\"\"\"\n)?", "", types, flags=re.MULTILINE)
    types = re.sub(r'^( *)"""\n +(.*)\n +"""$', r'\1"""\2"""', types, flags=re.MULTILINE)
    functions = "\n\n".join(_python_function(call) for call in model.calls)
    body = f"{types}\n\n{functions}"
    used = {name for name in (*_PYTHON_NAMES, *_PYTHON_NEW) if re.search(rf"\b{name}\b", body)} | {"TYPE_CHECKING"}
    new = ", ".join(name for name in _PYTHON_NEW if name in used)
    choice = (
        f"if sys.version_info >= (3, 11):\n    from typing import {new}\nelse:\n    from typing_extensions import {new}"
    )
    head = f"""{_header(path, "#")}
# ruff: noqa
from __future__ import annotations

{"import sys" if new else ""}
from typing import {", ".join(name for name in _PYTHON_NAMES if name in used)}

import intilery

{choice if new else ""}

if TYPE_CHECKING:
    from intilery._native import Common
    from typing_extensions import Unpack


"""
    text = black.format_str(head + body, mode=black.Mode(line_length=100))
    _all_there(model, text, r"^class {0}\(|^{0}(: TypeAlias)? = ")
    return text


def _python_function(call: Call) -> str:
    what, user = "properties", "str | None"
    given, passed = [], ["user_id"]
    if call.kind == "identify":
        what = "traits"
    elif call.kind == "track":
        passed += [_quoted(call.event)]
    elif call.kind == "screen":
        given, passed = ["name: str | None"], ["user_id", "name"]
    elif call.kind == "start_journey":
        what, user = "data", "str"
        given, passed = ["journey_id: str", "step_id: str | None"], ["user_id", "journey_id", "step_id"]
    elif call.kind in plans.COMMANDS:
        what, user = "data", "str"
        given, passed = ["asset_id: str"], ["user_id", "asset_id"]
    type = call.type or "dict[str, Any]"
    optional = "" if call.required else " | None = None"
    value = f"{what} or {{}}" if call.kind == "identify" and not call.required else what
    name = "_".join(call.words)
    name += "_" if name in _PYTHON_TAKEN else ""
    docstring = '    """' + call.description.replace("\\", "\\\\") + '"""\n' if call.description else ""
    parameters = [
        "client: intilery.Client | intilery.AsyncClient",
        f"user_id: {user}",
        *given,
        f"{what}: {type}{optional}",
        "**common: Unpack[Common]",
    ]
    return (
        f"def {name}({', '.join(parameters)},) -> intilery.Delivery:\n{docstring}"
        f"    return client.{call.kind}({', '.join(passed)}, {value}, **common)\n"
    )


# TypeScript.


def _typescript(model: Model, path: Path) -> str:
    program = _node_program("json2ts")
    if program is None:
        raise CodegenError(
            "the types of TypeScript are made by json-schema-to-typescript, which is not in node_modules here or "
            "above, nor on the PATH: npm install --save-dev json-schema-to-typescript"
        )
    flags = ["--no-additionalProperties", "--unreachableDefinitions", "--bannerComment="]
    types = _run([program, *flags, "--style.printWidth=120"], _document(model))
    types = re.sub(
        r"( \*\n)? \* This interface was referenced by `.*\n \* via the `definition` \".*\n", "", types
    ).replace("/**\n */\n", "")
    types = re.sub(rf"export interface {_ROOT} {{(.|\n)*?^}}\n", "", types, flags=re.MULTILINE)
    types = re.sub(r"\n+(?=/\*\*|export )", "\n\n", "\n" + types.strip()).replace("*/\n\nexport", "*/\nexport").strip()
    _all_there(model, types, r"^export (interface|type) {0} ")
    functions = "\n\n".join(_typescript_function(call) for call in model.calls)
    return (f'{_header(path, "//")}\nimport type * as intilery from "intilery";\n\n{types}\n\n{functions}\n').replace(
        "\n\n\n", "\n\n"
    )


# What a function must not be called: reserved words, and what the file imports.
_TYPESCRIPT_TAKEN = _set(
    """
    intilery await break case catch class const continue debugger default delete do else enum export extends false
    finally for function if implements import in instanceof interface let new null package private protected
    public return static super switch this throw true try typeof var void while with yield arguments eval async
    undefined
    """
)


def _camel(words: list[str]) -> str:
    return words[0] + "".join(word.capitalize() for word in words[1:])


def _typescript_function(call: Call) -> str:
    types = {"identify": "Identify", "screen": "Screen", "start_journey": "StartJourney"}
    # Page is Track but for the event, which is not the caller's.
    base = types.get(call.kind, "Command" if call.kind in plans.COMMANDS else "Page")
    what = {"Identify": "traits", "Command": "data", "StartJourney": "data"}.get(base, "properties")
    optional = "" if call.required or what == "traits" else "?"
    type = call.type or "{ [name: string]: unknown }"
    name = _camel(call.words)
    name += "_" if name in _TYPESCRIPT_TAKEN else ""
    value = f"{{ ...call, event: {_quoted(call.event)} }}" if call.kind == "track" else "call"
    line = f"  return client.{_camel(call.kind.split('_'))}({value}, callback);"
    if len(line) > 120:
        line = f"  return client.track(\n    {value},\n    callback,\n  );"
    return (
        (f"/** {call.description} */\n" if call.description else "")
        + f"export function {name}(\n  client: intilery.Client,\n"
        + f"  call: intilery.{base} & {{ {what}{optional}: {type} }},\n"
        + f"  callback?: intilery.DeliveryCallback,\n): intilery.Delivery {{\n{line}\n}}"
    )


def _node_program(name: str) -> str | None:
    """From node_modules, here or above, or the PATH. Not by npx, which would ask the network for it."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (found := folder / "node_modules" / ".bin" / name).exists():
            return str(found)
    return shutil.which(name)


# C++.

_CPP_TAKEN = _set(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class
    compl concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype
    default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline
    int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register
    reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template
    this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
    while xor xor_eq linux unix errno assert stdin stdout stderr to_json intilery std nlohmann
    """
)


def _cpp(model: Model, path: Path) -> str:
    scope = _cpp_name("_".join(_words(path.stem, "", strict=False)), set())
    types = "\n".join(_cpp_type(name, schema, model) for name, schema in model.types.items())
    functions = "\n".join(_cpp_function(call) for call in model.calls)
    return f"""{_header(path, "//")}
// clang-format off
#pragma once

#include <intilery/intilery.hpp>
#include <intilery/typed.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {scope} {{

{types}
{functions}
}}  // namespace {scope}
"""


def _cpp_name(text: str, taken: set[str]) -> str:
    """An identifier that nobody else has. Letters of all languages may stand in one."""
    name = re.sub(r"__+", "_", "".join(c if c == "_" or f"a{c}".isidentifier() else "_" for c in text)).strip("_")
    name = name or "value"
    name = f"v{name}" if name[0].isdigit() else name
    while name in taken or name in _CPP_TAKEN:
        name += "_" if not name.endswith("_") else "2_"
    taken.add(name)
    return name


def _cpp_comment(schema: _Schema, indent: str = "") -> str:
    return f"{indent}/// {schema['description']}\n" if "description" in schema else ""


def _cpp_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\{ord(match[0]):03o}", escaped) + '"'


def _cpp_type(name: str, schema: _Schema, model: Model) -> str:
    return _cpp_comment(schema) + (
        _cpp_enum(name, schema) if "enum" in schema else _cpp_struct(name, schema, {*model.types})
    )


def _cpp_enum(name: str, schema: _Schema) -> str:
    taken: set[str] = set()
    values = {_cpp_name(value.lower(), taken): value for value in schema["enum"]}
    cases = "\n".join(f"    case {name}::{each}: json = {_cpp_quoted(value)}; break;" for each, value in values.items())
    return f"""enum class {name} {{ {", ".join(values)} }};
inline void to_json(::nlohmann::json& json, {name} value) {{
  switch (value) {{
{cases}
  }}
}}
"""


def _cpp_struct(name: str, schema: _Schema, taken: set[str]) -> str:
    members, lines = [], []
    for each, member in schema["properties"].items():
        word = _cpp_name(each, taken)
        required = each in schema["required"]
        type = f"::intilery::{'Required' if required else 'Optional'}<{_cpp_value(member)}>"
        members.append(f"{_cpp_comment(member, '  ')}  {type} {word}{'' if required else ' = {}'};\n")
        lines.append(f"  value.{word}.put(json, {_cpp_quoted(each)});\n")
    return f"""struct {name} {{
{"".join(members)}}};
inline void to_json(::nlohmann::json& json, const {name}& value) {{
  json = ::nlohmann::json::object();
{"".join(lines)}}}
"""


def _cpp_value(schema: _Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        each = list(dict.fromkeys(_cpp_value(one) for one in schema["anyOf"]))
        return "::nlohmann::json" if "::nlohmann::json" in each else f"::intilery::OneOf<{', '.join(each)}>"
    if schema.get("type") == "array":
        return f"std::vector<{_cpp_value(schema['items'])}>"
    simple = {
        "boolean": "bool",
        "integer": "std::int64_t",
        "null": "std::nullptr_t",
        "number": "double",
        "string": "std::string",
    }
    return simple.get(schema.get("type", "any"), "::nlohmann::json")


def _cpp_function(call: Call) -> str:
    what = "traits" if call.kind == "identify" else "data" if call.kind in plans.COMMANDS else "properties"
    given, passed = {
        "track": ("", f", {_cpp_quoted(call.event)}"),
        "page": ("", ""),
        "identify": ("", ""),
        "screen": ("std::string_view name, ", ", name"),
        "start_journey": ("std::string_view journey_id, std::string_view step_id, ", ", journey_id, step_id"),
    }.get(call.kind, ("std::string_view asset_id, ", ", asset_id"))
    default = "" if call.required else " = {}" if call.type else " = ::nlohmann::json::object()"
    name = _cpp_name("_".join(call.words), set())
    return (
        (f"/// {call.description}\n" if call.description else "")
        + f"inline ::intilery::Delivery {name}(::intilery::Client& client, std::string_view user_id, {given}"
        + f"const {call.type or '::nlohmann::json'}& {what}{default}, "
        + "const ::intilery::EventOptions& options = {}) {\n"
        + f"  return client.{call.kind}(user_id{passed}, ::nlohmann::json({what}), options);\n}}\n"
    )


# All.

_ROOT = "IntileryTypes"

_LANGUAGES: dict[str, Callable[[Model, Path], str]] = {"python": _python, "typescript": _typescript, "cpp": _cpp}


def generate(plan: _Schema, path: Path, language: str) -> str:
    """A plan's client. The same plan makes the same text.

    Raises:
        CodegenError: A name cannot be spelt, or a generator is missing or failed.
    """
    return _LANGUAGES[language](Model(plan), path)


def _document(model: Model) -> str:
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": _ROOT, "$defs": model.types},
        ensure_ascii=False,
    )


def _run(command: list[str], given: str) -> str:
    """What a generator prints, in a folder where it finds no settings of the user's."""
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(command, input=given, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    if ended.returncode != 0:
        raise CodegenError(f"{Path(command[0]).name} failed:\n{ended.stderr.strip()}")
    return ended.stdout


def _all_there(model: Model, text: str, declaration: str) -> None:
    missing = [name for name in model.types if not re.search(declaration.format(name), text, re.MULTILINE)]
    if missing:
        raise CodegenError(f"the generator spelt {', '.join(missing)} in another way; is its version another one?")
