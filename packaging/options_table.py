"""Prints docs/options.md from the core's list of options: `python packaging/options_table.py > docs/options.md`."""

from __future__ import annotations

from typing import Any

from intilery import _native

HEAD = """\
# Options

Declared once, in `core/src/options.cpp`, from which this page is made. Python has the names as they stand, and times in
seconds; Node has them in camelCase (`flushAt`), and times in milliseconds; C++ has them in `intilery::Options`, with
`std::chrono`. `Client.from_env()` reads `INTILERY_` and the name in upper case (`INTILERY_FLUSH_AT`), times in seconds.
Times below are seconds, sizes bytes.

| option | default | bounds | meaning |
| --- | --- | --- | --- |
"""

TAIL = """\

What no text can hold is not in the list, and is each language's own:

| | | meaning |
| --- | --- | --- |
| all | `before_send` (Node: `beforeSend`) | a function that may change or drop an event: [privacy](privacy.md) |
| Python | `on_error` | a function that gets the failures which nobody observes: [logging](logging.md) |
| Python | `default` | a function that converts what has no JSON form, as in `json.dumps` |
| Node | `logger` | where log lines go: [logging](logging.md) |
| Node | `waitUntil` | the platform's function that keeps a short-lived process alive: [guests](guests.md) |
| C++ | `Hooks::on_failure`, `Hooks::on_log` | the same for C++; the client's second argument |

A wrong option is a ConfigurationError that names it. An option that this version does not have is refused, never
ignored.
"""


def number(value: float) -> str:
    return f"{value:,.12g}"


def row(option: dict[str, Any]) -> str:
    bounds = ""
    if option["type"] in ("integer", "number", "duration"):
        bounds = f"{number(option['minimum'])} to {number(option['maximum'])}"
    elif option["choices"]:
        bounds = ", ".join(f"`{choice}`" for choice in option["choices"])
    elif option["type"] == "flag":
        bounds = "on or off"
    default = option["default"]
    shown = default if default in ("required", "none") else f"`{default}`"
    return f"| `{option['name']}` | {shown} | {bounds} | {option['help']} |\n"


def page() -> str:
    return HEAD + "".join(row(option) for option in _native.option_list()) + TAIL


if __name__ == "__main__":
    print(page(), end="")
