"""Clients made from a plan: docs/typed-events.md, whose programs run here, and are refused as it says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api
from test_docs import run, run_python, snippet, snippets

ROOT = Path(__file__).parents[2]
PAGE = "docs/typed-events.md"
SHOP = ROOT / "examples" / "plans" / "shop.yaml"
BIN = ROOT / "node_modules" / ".bin"
FILES = {"python": "shop.py", "typescript": "shop.ts", "cpp": "shop.hpp"}
ORDER = {
    "order_id": "o-1",
    "total": 30.5,
    "currency": "GBP",
    "lines": [{"product": {"sku": "s-1", "name": "Kettle", "price": 30.5}, "quantity": 1}],
}

if sys.version_info < (3, 10):
    pytest.skip("datamodel-code-generator needs Python 3.10", allow_module_level=True)


def codegen(plan: Path, language: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "intilery", "plan", "codegen", str(plan), "--lang", language]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def make(plan: Path, language: str, output: Path) -> str:
    ended = codegen(plan, language, "--output", output)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    return output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop's plan and its three clients."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.yaml").symlink_to(SHOP)
    for language, name in FILES.items():
        make(SHOP, language, folder / name)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def said(number: int) -> list[tuple[str, str]]:
    """What the page says of its wrong calls: lines, with what the compiler says of each."""
    blocks = re.findall(r"^```\n((?:\d+: .*\n)+)```$", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
    return re.findall(r"^(\d+): (.*)$", blocks[number], re.MULTILINE)


def assert_refused(output: str, place: str, number: int) -> None:
    """Each wrong line is refused as the page says, and no other line is."""
    wanted = said(number)
    assert len(wanted) >= 5
    found = re.findall(place, output, re.MULTILINE)
    assert sorted({int(line) for line, _ in found}) == [int(line) for line, _ in wanted], output
    for line, message in wanted:
        assert any(each == line and message in text for each, text in found), (line, message, output)


def mypy(*files: Path) -> str:
    out, err, _ = api.run(
        [
            "--strict",
            "--config-file=",
            "--no-error-summary",
            f"--cache-dir={files[0].parents[1] / 'mypy'}",
            *map(str, files),
        ]
    )
    assert err == ""
    return out


def tsc(folder: Path, *arguments: str) -> str:
    (folder / "node_modules").mkdir(exist_ok=True)
    for name, target in (("intilery", ROOT), ("@types", ROOT / "node_modules" / "@types")):
        if not (folder / "node_modules" / name).exists():
            (folder / "node_modules" / name).symlink_to(target)
    command = [str(BIN / "tsc"), "--strict", "--noUnusedLocals", "--target", "es2022", "--module", "nodenext"]
    ended = subprocess.run(
        [*command, "--types", "node", "--lib", "es2022,esnext.disposable", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return ended.stdout + ended.stderr


def gcc(program: Path) -> str:
    include = ROOT / "build" / "install" / "include"
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", f"-I{include}"]
    ended = subprocess.run(
        ["g++", *flags, "-fsyntax-only", program], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.stderr


def test_python_sends_what_the_plan_allows(shop: Path) -> None:
    program = snippets("python", PAGE)[0]
    out, errors = run_python(program, shop)
    assert errors == ""
    status, order = out.splitlines()
    assert (status, ast.literal_eval(order)) == ("200 5", ORDER)
    assert mypy(shop / "shop.py", shop / "example.py") == ""


def test_mypy_refuses_wrong_calls(shop: Path) -> None:
    (shop / "wrong.py").write_text(snippets("python", PAGE)[1])
    assert_refused(mypy(shop / "wrong.py"), r"wrong\.py:(\d+): error: (.*)$", 0)


def test_the_python_client_needs_no_newer_python_than_the_library(shop: Path) -> None:
    ast.parse((shop / "shop.py").read_text(), feature_version=(3, 9))


def test_typescript_sends_what_the_plan_allows(shop: Path) -> None:
    (shop / "example.ts").write_text(snippets("ts", PAGE)[0])
    assert tsc(shop, "example.ts") == ""
    status, order = run("node", "example.js", cwd=shop).splitlines()
    assert (status, json.loads(order)) == ("200 5", ORDER)


def test_tsc_refuses_wrong_calls(shop: Path) -> None:
    (shop / "wrong.ts").write_text(snippets("ts", PAGE)[1])
    output = tsc(shop, "--noEmit", "wrong.ts").replace("\n  ", " ")
    assert_refused(output, r"wrong\.ts\((\d+),\d+\): error (.*)$", 1)


def test_cpp_sends_what_the_plan_allows(shop: Path) -> None:
    (shop / "main.cpp").write_text(snippets("cpp", PAGE)[0])
    (shop / "CMakeLists.txt").write_text(snippet("cmake"))
    install = ROOT / "build" / "install"
    run(
        "cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={install}", "-DCMAKE_CXX_FLAGS=-Wall -Werror", cwd=shop
    )
    run("cmake", "--build", "build", cwd=shop)
    status, order = run(shop / "build" / "example", cwd=shop).splitlines()
    assert (status, json.loads(order)) == ("200 5", ORDER)


def test_gcc_refuses_wrong_calls(shop: Path) -> None:
    (shop / "wrong.cpp").write_text(snippets("cpp", PAGE)[1])
    assert_refused(gcc(shop / "wrong.cpp"), r"wrong\.cpp:(\d+):\d+: error: (.*)$", 2)


def test_every_event_has_its_function(shop: Path) -> None:
    names = re.findall(r"^  (\w[\w ]*):$", SHOP.read_text().split("\nevents:")[1].split("\ntraits:")[0], re.MULTILINE)
    assert len(names) == 30
    for name in names:
        snake = name.lower().replace(" ", "_")
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), snake)
        assert f"\ndef {snake}(" in (shop / "shop.py").read_text()
        assert f"\nexport function {camel}(" in (shop / "shop.ts").read_text()
        assert f"\ninline ::intilery::Delivery {snake}(" in (shop / "shop.hpp").read_text()


def test_descriptions_become_doc_comments(shop: Path) -> None:
    python, typescript, cpp = ((shop / name).read_text() for name in FILES.values())
    assert '-> intilery.Delivery:\n    """The customer has paid."""\n' in python
    assert '    first_order: NotRequired[bool]\n    """Whether it is the customer\'s first."""\n' in python
    assert "/** The customer has paid. */\nexport function orderCompleted(" in typescript
    assert "  /**\n   * Whether it is the customer's first.\n   */\n  first_order?: boolean;\n" in typescript
    assert "/// The customer has paid.\ninline ::intilery::Delivery order_completed(" in cpp
    assert "  /// Whether it is the customer's first.\n  ::intilery::Optional<bool> first_order = {};\n" in cpp


def test_what_is_made_is_formatted(shop: Path) -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", "--isolated", "--line-length=100", "shop.py", cwd=shop)
    run(BIN / "prettier", "--print-width=120", "--check", "shop.ts", cwd=shop)


@pytest.mark.parametrize("language", FILES)
def test_check_tells_whether_a_file_is_what_the_plan_makes(shop: Path, tmp_path: Path, language: str) -> None:
    plan = tmp_path / "shop.yaml"
    plan.write_text(SHOP.read_text())
    output = tmp_path / "out"
    assert codegen(plan, language, "--output", output, "--check").returncode == 1
    assert not output.exists()
    assert make(plan, language, output) == (shop / FILES[language]).read_text()
    assert codegen(plan, language, "--output", output, "--check").returncode == 0
    plan.write_text(SHOP.read_text().replace("first_order", "is_first_order"))
    ended = codegen(plan, language, "--output", output, "--check")
    assert (ended.returncode, ended.stderr.startswith(f"{output} is not what")) == (1, True)
    assert codegen(plan, language, "--check").returncode == 2


ODD = r"""
version: 1
$defs:
  Odd: {type: object, properties: {x: {type: integer}}}
  Other: {$ref: "#/$defs/Odd"}
  日: {x-name: Day, enum: [mon, tue]}
events:
  Über Café:
    description: "Ends */ \"\"\" here\\n \\ \"q\"\nnext line\\"
    properties:
      required: [a b, class, nowhere]
      properties:
        a b: {type: [string, "null"], description: "odd */ \"\"\" \\d+ \\"}
        class: {type: integer}
        a-b: {type: number}
        a.b: {const: x}
        mixed: {enum: [a, 1, null, "it's \"q\""]}
        enum: {enum: ["", a b, a-b, "NULL", default, ä, 1x, 日本]}
        list: {type: array}
        free: {type: object}
        either: {type: [string, integer, "null"]}
        日本: {type: string}
        n:
          type: array
          items:
            type: [object, "null"]
            properties: {deep: {type: array, items: {type: array, items: {$ref: "#/$defs/Other"}}}}
        d: {$ref: "#/$defs/日", description: its own}
        Day: {$ref: "#/$defs/日"}
        nullable: {type: [string, "null"], enum: [a, b, null]}
        any: {type: any}
        whatever: true
        nested: {type: [array, string], items: {type: boolean}}
        __x: {type: boolean}
        linux: {type: string}
        elsewhere: {$ref: "#/events/Import/properties/properties/k"}
        "quote\"'`\\": {type: string}
  Import: {properties: {required: [k], properties: {k: {type: string, description: "\\d and \"q\""}}}}
  3d model viewed: {properties: {properties: {k: {type: "null"}}}}
  日本: {x-name: japan, properties: {properties: {k: {type: integer}}}}
  del: {}
  "Quote\" \u0001 \\ `${x}` */": {properties: {properties: {k: {type: integer}}}}
  userSignedUP2HTTPServer:
    properties:
      properties: {k2: {properties: {z: {type: integer}}}, K2: {properties: {y: {type: integer}}}}
  start_journey: {properties: {required: [z], properties: {z: {type: string}}}}
  Client: {properties: {properties: {Client: {type: integer}, client: {type: integer}}}}
  Date: {properties: {properties: {intilery: {type: integer}}}}
  Any: {properties: {properties: {x: {}}}}
  Literal: {properties: {properties: {x: {enum: [a]}}}}
  List: {properties: {properties: {x: {type: array}}}}
  identify: {x-name: identified}
  Send_SMS: {properties: {properties: {x: {type: string}}}}
traits: {required: [q], properties: {q: {type: string}}}
"""


def test_odd_names_and_hostile_descriptions_compile(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(ODD, encoding="utf-8")
    for language, name in (("python", "odd.py"), ("typescript", "odd.ts"), ("cpp", "odd.hpp")):
        make(tmp_path / "odd.yaml", language, tmp_path / name)
    assert mypy(tmp_path / "odd.py") == ""
    assert run_python("import odd\nprint(odd.UberCafe.__required_keys__ >= {'a b', 'class'})", tmp_path) == (
        "True\n",
        "",
    )
    assert tsc(tmp_path, "--noEmit", "odd.ts") == ""
    (tmp_path / "main.cpp").write_text('#include "odd.hpp"\n')
    assert gcc(tmp_path / "main.cpp") == ""


def test_names_that_cannot_be_told_apart_or_spelt_are_refused(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"

    def refusal(events: dict[str, object], **more: object) -> str:
        plan.write_text(json.dumps({"version": 1, "events": events, **more}))
        ended = codegen(plan, "cpp")
        assert (ended.returncode, ended.stdout) == (2, "")
        return ended.stderr

    assert refusal({"Order Paid": {}, "order_paid": {}}) == (
        f"{plan}: /events/order_paid and /events/Order Paid would both be called order_paid: "
        'name one of them with "x-name"\n'
    )
    assert "has no name in ASCII letters" in refusal({"日本": {}})
    schema = {"properties": {"properties": {"a": {"$ref": "#/$defs/Paid"}}}}
    assert "would both be called Paid" in refusal({"Paid": schema}, **{"$defs": {"Paid": {"enum": ["a"]}}})
    plan.write_text('{"version": 1, "events": []}')
    assert "/events must be an object" in codegen(plan, "cpp").stderr


def test_a_missing_generator_is_named_and_nothing_is_fetched(tmp_path: Path) -> None:
    code = "import sys; sys.modules['datamodel_code_generator'] = None\n"
    code += "from intilery.__main__ import main; sys.exit(main())"
    for language, cure in (
        ("python", "pip install 'intilery[codegen]'"),
        ("typescript", "npm install --save-dev json-schema-to-typescript"),
    ):
        ended = subprocess.run(
            [sys.executable, "-c", code, "plan", "codegen", str(SHOP), "--lang", language],
            cwd=tmp_path, env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stdout) == (2, "")
        assert cure in ended.stderr
