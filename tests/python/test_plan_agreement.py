"""The plan check against others that know JSON Schema: the official test suite, and another validator."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

import intilery

SHARE = Path(sys.prefix) / "share"
SUITE = SHARE / "jsonschema/json/tests/draft2020-12"

KEYWORDS = {
    "$schema", "const", "description", "enum", "exclusiveMaximum", "exclusiveMinimum", "items", "maxItems", "maxLength",
    "maximum", "minItems", "minLength", "minimum", "multipleOf", "pattern", "properties", "required", "type",
    "uniqueItems",
}  # fmt: skip

FILES = [
    *(f"{keyword}.json" for keyword in sorted(KEYWORDS) if keyword not in ("$schema", "description")),
    "boolean_schema.json",
    "infinite-loop-detection.json",
    "optional/bignum.json",
    "optional/ecmascript-regex.json",
    "optional/float-overflow.json",
    "optional/non-bmp-regex.json",
]

# Refused when the plan is loaded, with the reason: they cannot be run in linear time, or are no ECMA-262 with `u`.
REFUSED_PATTERNS = ("(?!", "(?=", "(?<!", "(?<=", "\\1")


def uses_only_keywords(schema: Any) -> bool:
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or not set(schema) <= KEYWORDS:
        return False
    if any(part in schema.get("pattern", "") for part in REFUSED_PATTERNS):
        return False
    below = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return all(uses_only_keywords(each) for each in below)


def suite() -> Iterator[tuple[str, Any, list[dict[str, Any]]]]:
    for name in FILES:
        path = SUITE / name
        if path.exists():
            for group in json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal):
                if uses_only_keywords(group["schema"]):
                    yield f"{name}: {group['description']}", group["schema"], group["tests"]


def planned(schemas: dict[str, Any]) -> intilery.Client:
    events = {name: {"properties": {"properties": {"v": schema}}} for name, schema in schemas.items()}
    plan = {"version": 1, "events": events}
    return intilery.Client(
        client_id="c", account_id="a", brand_id="B", auth_token="t", dry_run=True, plan=plan, plan_mode="reject"
    )


def errors_of(client: intilery.Client, event: str, value: Any) -> list[intilery.Violation]:
    try:
        client.track("u", event, {"v": value})
    except intilery.ValidationError as error:
        return error.errors
    return []


def test_the_official_suite_agrees_on_every_case_that_uses_only_the_keywords() -> None:
    groups = list(suite())
    wrong = []
    cases = 0
    with planned({name: schema for name, schema, _ in groups}) as client:
        for name, _, tests in groups:
            for test in tests:
                cases += 1
                if (not errors_of(client, name, test["data"])) != test["valid"]:
                    wrong.append(f"{name}: {test['description']} should be {test['valid']}")
    assert not wrong, "\n".join(wrong)
    assert cases > 400, f"only {cases} cases were found"


# A second suite, fastjsonschema's own, written for its validator by others. What it is given to check goes to ours.

ASSERTER = """
import json, sys
sys.path[:0] = {paths!r}
import pytest
from fastjsonschema import JsonSchemaValueException
from test_plan_agreement import errors_of, planned, uses_only_keywords

@pytest.fixture
def asserter():
    def check(definition, value, expected, formats={{}}, use_formats=True):
        if not uses_only_keywords(definition) or any(
            isinstance(definition.get(key), bool) for key in ("exclusiveMinimum", "exclusiveMaximum")
        ):
            pytest.skip("other keywords, or an older draft's")
        with planned({{"E": definition}}) as client:
            assert bool(errors_of(client, "E", value)) == isinstance(expected, JsonSchemaValueException)
    return check
"""


def test_a_second_suite_agrees_on_every_case_that_uses_only_the_keywords(tmp_path: Path) -> None:
    theirs = SHARE / "fastjsonschema"
    (tmp_path / "conftest.py").write_text(ASSERTER.format(paths=[str(theirs), str(Path(__file__).parent)]))
    for name in ("array", "boolean", "boolean_schema", "common", "const", "null", "number", "object", "string"):
        text = (theirs / "tests" / f"test_{name}.py").read_text(encoding="utf-8")
        (tmp_path / f"test_{name}.py").write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not compile and not fast_fail",
         "--deselect", "test_number.py::test_integer_is_not_number[1.0]"],  # it is one since draft 6
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert ended.returncode == 0, ended.stdout
    assert passed is not None and int(passed[1]) > 300, ended.stdout


# Another validator, on schemas and values that nobody thought of. Numbers are ones that a double has exactly, for its
# multipleOf does not reckon exactly.

NUMBERS = st.one_of(st.integers(-12, 12), st.integers(-24, 24).map(lambda n: n / 2), st.integers(-(2**70), 2**70))
NAMES = st.sampled_from(["a", "b", "c", "order_id"])
TEXT = st.text(alphabet='ab1é\U0001f600"\\\n', max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(NAMES, below, max_size=4)),
    max_leaves=12,
)
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
SMALL = st.integers(0, 4)


def schemas(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": st.one_of(
            st.sampled_from(TYPES), st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True)
        ),
        "minimum": NUMBERS,
        "maximum": NUMBERS,
        "exclusiveMinimum": NUMBERS,
        "exclusiveMaximum": NUMBERS,
        "multipleOf": st.sampled_from([1, 2, 3, 7, 0.5]),
        "minLength": SMALL,
        "maxLength": SMALL,
        "pattern": st.sampled_from(["^a", "b+", "é$", "[0-9]", "^.$", '"', "\\\\", "^(a|b)*$", "\U0001f600{2}"]),
        "minItems": SMALL,
        "maxItems": SMALL,
        "uniqueItems": st.booleans(),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "required": st.lists(NAMES, max_size=3, unique=True),
        "properties": st.dictionaries(NAMES, below, max_size=3),
        "items": below,
    }
    return st.one_of(
        st.booleans(),
        # Few at a time, or hardly any value meets them.
        st.lists(st.sampled_from(sorted(keywords)), max_size=3, unique=True).flatmap(
            lambda chosen: st.fixed_dictionaries({name: keywords[name] for name in chosen})
        ),
    )


SCHEMAS = st.recursive(schemas(st.booleans()), schemas, max_leaves=6)


def path_of(parts: list[str | int]) -> str:
    path = "properties.v"
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


def others_errors(schema: Any, value: Any) -> set[tuple[str, str]]:
    """(path, keyword) of each."""
    found = set()
    for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
        path = path_of(list(error.absolute_path))
        if error.validator == "required":
            found.add((f"{path}.{error.message.split(chr(39))[1]}", "required"))
        else:
            found.add((path, str(error.validator)))  # "None": the schema is false
    return found


def own_errors(client: intilery.Client, value: Any) -> set[tuple[str, str]]:
    found = set()
    for error in errors_of(client, "E", value):
        keyword = error.rule.split("/")[-2 if error.code == "required" else -1]
        found.add((error.path, "None" if error.code == "not_allowed" else keyword))
    return found


@settings(max_examples=300, deadline=None, derandomize=True)
@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=6))
def test_another_validator_finds_the_same_mistakes_in_the_same_places(schema: Any, values: list[Any]) -> None:
    with planned({"E": schema}) as client:
        for value in values:
            assert own_errors(client, value) == others_errors(schema, value), f"of {value!r}"
