from __future__ import annotations

import typing

from intilery import Options, _native


def test_the_typed_options_are_the_cores() -> None:
    declared = [option["name"] for option in _native.option_list()]
    assert [*declared, "default", "before_send", "on_error"] == list(Options.__annotations__)


def test_choices_are_the_cores() -> None:
    for option in _native.option_list():
        if option["type"] == "choice":
            annotation = Options.__annotations__[option["name"]]
            text = getattr(annotation, "__forward_arg__", str(annotation))
            literal = eval(text, {"Literal": typing.Literal})
            assert list(typing.get_args(literal)) == option["choices"]
