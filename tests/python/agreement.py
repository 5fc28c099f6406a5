"""The three languages write the same bytes, and refuse the same with the same words.

A seed gives a file of calls in the form of tests/vectors (see its README), each with a message id and a timestamp of
its own. Python, Node (tests/node/agreement.mjs) and C++ (tests/core/agreement.cpp) make them; the sandbox keeps what
arrives of each. Twice: as they stand, and with a `before_send` that changes nothing.

    python tests/python/agreement.py --seed 7 --cases 5000 [--only 42]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, TypeVar

from vector_calls import call, value_of

import intilery
from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]
LANGUAGES = ["python", "node", "cpp"]

T = TypeVar("T")
Case = dict[str, Any]
Result = dict[str, Any]

# Where a vector register ends, and by one more or less.
BORDERS: list[int] = [size + more for size in (16, 32, 64, 128) for more in (-2, -1, 0, 1)]
CHARACTERS: list[str] = [
    *'"\\/\b\f\n\r\t\0\x1f\x7f',
    *"\x80\x85\xe9\u07ff\u0800\u2028\u2029\ufeff\ufffd\uffff\ud7ff\ue000",
    *"\U00010000\U0001f600\U0010ffff\U000e0001",
]
KEYS = [
    "a",
    "b-c",
    "",
    " ",
    "$",
    "length",
    "__proto__",
    "constructor",
    "toJSON",
    "0",
    "10",
    "-1",
    "1.5",
    "é",
    "library",
]
SMALL_OPTIONS: list[dict[str, Any]] = [
    {},
    {},
    {"allow_anonymous": True},
    {"max_event_bytes": 600, "context": {"library": {"name": "of one length"}}},
    {"context": {"app": {"name": "x"}, "library": None, "é\n": [1.5]}},
]


def is_peculiar(key: str) -> bool:
    """Whether a JavaScript object, or a case, cannot have it as a key like any other."""
    return (key.isascii() and key.isdigit()) or key in ("__proto__", "$")


class Calls:
    """Calls by chance. A case says nothing of what must come of it, but that it is the same in all languages."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def _one(self, *makers: Callable[[], T]) -> T:
        return self._chance.choice(makers)()

    def _often(self, probability: float) -> bool:
        return self._chance.random() < probability

    def text(self) -> str:
        chance = self._chance
        if self._often(0.1):  # one character that is not plain, somewhere in a text of a register's size
            size = chance.choice(BORDERS)
            at = chance.randrange(size)
            return "".join(["x" * at, chance.choice(CHARACTERS), "y" * (size - at - 1)])
        size = chance.choice([0, 1, 1, 2, 3, 5, 8, 13, 21])
        plain = "abcXYZ 0129_-"
        return "".join(chance.choice(CHARACTERS if self._often(0.3) else plain) for _ in range(size))

    def number(self) -> Any:
        chance = self._chance
        kind = chance.randrange(6)
        if kind == 0:
            return chance.choice([0, 1, -1, 255, 2**31, -(2**31), 2**53 - 1, -(2**53) + 1, 0.0, -0.0])
        if kind == 1:
            return round(chance.uniform(-1e6, 1e6), chance.randrange(8))
        if kind == 2:
            return chance.uniform(-1, 1) * 10.0 ** chance.randrange(-320, 308)
        if kind == 3:
            return chance.choice([5e-324, 1.7976931348623157e308, 1e21, 1e-7, 123456789012345680000.0, 0.1, 1e-6, 1e20])
        if kind == 4:
            return chance.randrange(-(2**53), 2**53)
        digits = chance.choice([16, 17, 18, 19, 20, 21, 40, 300])
        return {"$": "integer", "text": str(chance.randrange(10 ** (digits - 1), 10**digits) * chance.choice([1, -1]))}

    def key(self) -> str:
        return self._chance.choice(KEYS) if self._often(0.3) else self.text()

    def object(self, depth: int) -> Any:
        members = {self.key(): self.value(depth - 1) for _ in range(self._chance.choice([0, 1, 1, 2, 3, 5]))}
        if self._often(0.05):
            entries = [[key, value] for key, value in members.items()]
            return {"$": "map", "entries": entries}
        # nlohmann::json sorts members, and JavaScript puts what looks like an index first.
        if any(is_peculiar(key) for key in members):
            return {"$": "map", "entries": [[key, members[key]] for key in sorted(members)]}
        return {key: members[key] for key in sorted(members)}

    def value(self, depth: int) -> Any:
        chance = self._chance
        kind = chance.randrange(12)
        if depth > 0 and kind < 2:
            return self.object(depth)
        if depth > 0 and kind < 4:
            return [self.value(depth - 1) for _ in range(chance.choice([0, 1, 2, 3, 9]))]
        if kind < 7:
            return self.number()
        if kind < 10:
            return self.text()
        if kind == 10 and self._often(0.03):
            return {"$": "nested", "levels": chance.choice([59, 60, 61, 62, 63, 64, 65, 66])}
        return chance.choice([None, True, False])

    def mistake(self) -> Any:
        """A value that cannot travel."""
        return {"$": self._chance.choice(["nan", "infinity", "-infinity", "surrogate", "set", "bytes", "cycle"])}

    def spoiled(self, value: Any) -> Any:
        """With a mistake somewhere in it."""
        if isinstance(value, dict) and "$" not in value and value and self._often(0.8):
            key = self._chance.choice(list(value))
            return {**value, key: self.spoiled(value[key])}
        if isinstance(value, list) and value and self._often(0.8):
            at = self._chance.randrange(len(value))
            return [*value[:at], self.spoiled(value[at]), *value[at + 1 :]]
        return self.mistake()

    def moment(self) -> int:
        first, last = -62_167_219_200_000, 253_402_300_799_999  # the years 0000 to 9999; Python has 0001 on
        year = 31_622_400_000
        return self._one(
            lambda: self._chance.randrange(first + year, last),
            lambda: self._chance.randrange(0, 2_000_000_000_000),
            lambda: self._chance.choice(
                [0, -1, 1, 999, 1000, -999, -1000, -86_400_000, -86_400_001, last, first + year]
            ),
        )

    def identity(self, number: int) -> str:
        """An id that no other case has, so that no user's event waits for another's."""
        return f"{number}{self.text()}"

    def moment_text(self) -> str:
        chance = self._chance
        text = f"{chance.randrange(1, 9999):04}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        text += f"T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}"
        text += chance.choice(["", ".1", ".12", ".123", ".1239", ".123456", ".123456789"])
        text += chance.choice(["Z", "z", "+00:00", "-00:00", "+05:30", "-09:30", "+14:00", "-23:59"])
        if self._often(0.1):
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(["", "x", "9", "-", " ", "é"]) + text[at + 1 :]
        return text

    def case(self, number: int) -> Case:
        chance = self._chance
        name = chance.choice(
            ["identify", "track", "track", "page", "screen", "send", "send", "command", "start_journey"]
        )
        if name == "command":
            name = chance.choice(["send_email", "send_sms", "send_print", "send_push"])
        args: dict[str, Any] = {}
        if not self._often(0.05):
            args["userId"] = self.identity(number)
        if self._often(0.15):
            args["anonymousId"] = self.identity(number)
        if name in ("track", "send") and not self._often(0.02):
            events = ["Login", "identify", "page", "send_email", "START_JOURNEY", self.text() or "x"]
            args["event"] = chance.choice(events) if self._often(0.4) else "Order Completed"
        if name == "screen" and self._often(0.7):
            args["name"] = self.text() or "x"
        if name.startswith("send_") and not self._often(0.05):
            args["assetId"] = self.identity(number)
        if name == "start_journey" and not self._often(0.05):
            args["journeyId"] = self.identity(number)
            if self._often(0.5):
                args["stepId"] = self.identity(number)
        body = {"identify": "traits", "track": "properties", "page": "properties", "screen": "properties"}
        field = body.get(name, "properties" if name == "send" else "data")
        if name == "identify" or self._often(0.8):
            args[field] = self.object(4)
        if name == "identify" and "$" not in args[field] and self._often(0.1):
            args[field]["marketingPreferences"] = self._one(
                lambda: {"channels": [{"channel": "email", "subscribed": True}, self.object(1)]},
                lambda: {
                    "channels": [{"channel": chance.choice(["sms", "fax"]), "subscribed": chance.choice([True, 1])}]
                },
                lambda: self.value(2),
            )
            args[field] = dict(sorted(args[field].items()))
        if self._often(0.4):
            args["context"] = self.object(2)
        args["messageId"] = f"{number}-{self.text()}" if self._often(0.3) else f"{number}-m"
        args["timestamp"] = {"$": "instant", "ms": self.moment()}
        needed = ["userId", {"track": "event", "start_journey": "journeyId"}.get(name, "userId")]
        if name.startswith("send_"):
            needed.append("assetId")
        if self._often(0.15):
            self.spoil(args, field, needed)
        if name == "send":
            args["timestamp"] = self.moment_text()
            args["action"] = chance.choice(["identify", "track", "track", "page", "screen", "Track"])
            if args["action"] == "identify" and "properties" in args:
                args["traits"] = args.pop("properties")
            if args["action"] != "track" and self._often(0.9):
                args.pop("event", None)
            if self._often(0.1):
                args["sentAt"] = self.moment_text()
            if self._often(0.1):
                key = self.key()
                args["other" if is_peculiar(key) else key] = self.value(1)
            args = {"message": {key: args[key] for key in sorted(args)} if "$" not in args else args}
        options = chance.choice(SMALL_OPTIONS)
        return {"number": number, "call": name, "args": args, "options": options, "languages": LANGUAGES}

    def spoil(self, args: dict[str, Any], field: str, needed: list[str]) -> None:
        def ids() -> None:
            name = self._chance.choice([name for name in args if name.endswith("Id")])
            args[name] = self._one(lambda: "", lambda: {"$": "surrogate"}, lambda: "ü" * 200)
            # The only mistake: of several, Python meets that in an id first.
            args.pop("context", None)
            args[field] = {"a": 1}
            for missing in needed:
                args.setdefault(missing, "there")
            if "event" in needed:
                args["event"] = "no command"

        def context() -> None:
            args["context"] = self._one(lambda: [1], lambda: "x", lambda: self.spoiled(self.object(2)))

        def body() -> None:
            args[field] = self._one(lambda: [1], lambda: "x", lambda: 5, lambda: True)

        def inside() -> None:
            args[field] = self.spoiled(args.get(field, {}))

        def reserved() -> None:
            args[field] = {"a": 1, self._chance.choice(["userId", "event", "assetId", "sentAt", "properties"]): 1}

        def far() -> None:
            args["timestamp"] = {
                "$": "instant",
                "ms": self._chance.choice([253_402_300_800_000, 8_640_000_000_000_000]),
            }

        self._one(ids, context, body, inside, inside, reserved, far)


def cases(seed: int, count: int) -> list[Case]:
    calls = Calls(seed)
    return [calls.case(number) for number in range(count)]


def in_python(given: list[Case], before_send: bool) -> list[Result]:
    results: list[Result] = []
    clients: dict[str, intilery.Client] = {}
    with Sandbox(rate_limit=0, max_request_bytes=100_000_000) as sandbox:
        for case in given:
            key = json.dumps(case["options"])
            if key not in clients:
                options = value_of(case["options"])
                if before_send:
                    options["before_send"] = lambda message: message
                clients[key] = sandbox.client(delivery="event", **options)
            if "python" not in case["languages"]:
                results.append({})
                continue
            try:
                results.append({"id": call(clients[key], case).message_id})
            except intilery.ValidationError as error:
                results.append({"refused": [error.code, error.path, str(error)]})
            except OverflowError:  # a moment that a datetime does not hold
                results.append({})
        for client in clients.values():
            client.close()
        bodies = {json.loads(request.body)["messageId"]: request.body.decode() for request in sandbox.requests()}
    return [{"wire": bodies[result["id"]]} if "id" in result else result for result in results]


def in_a_program(command: list[str], file: Path, before_send: bool) -> list[Result]:
    ended = subprocess.run(
        [*command, str(file), *(["before_send"] if before_send else [])], capture_output=True, timeout=300, check=False
    )
    if ended.returncode != 0:
        raise RuntimeError(f"{command[-1]} ended with {ended.returncode}: {ended.stderr.decode(errors='replace')}")
    return [json.loads(line) for line in ended.stdout.splitlines()]


def plain(result: Result, language: str) -> Result:
    """Without what may differ: when it was sent, by which library, and what a language calls a kind of value."""
    if "wire" not in result:
        code, path, message = result["refused"]
        kind = r"(is a|must be .*, not|a key that is an?) [^,;]+"
        return {"refused": [code, path, re.sub(kind, r"\1 …", message)]}
    wire = re.sub(r',"sentAt":"[^"]{24}"}$', "}", result["wire"])
    return {"wire": wire.replace(f'"intilery-{language}"', '"{library}"')}


def differences(given: list[Case]) -> list[str]:
    """What the languages do not agree on."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cases.jsonl"
        file.write_text("".join(json.dumps(case) + "\n" for case in given))
        ways = [
            (f"{language}{' with before_send' if before_send else ''}", results)
            for before_send in (False, True)
            for language, results in (
                ("python", in_python(given, before_send)),
                ("node", in_a_program(["node", str(ROOT / "tests/node/agreement.mjs")], file, before_send)),
                ("cpp", in_a_program([str(ROOT / "build/cmake/tests/core/intilery_agreement")], file, before_send)),
            )
        ]
    for at, case in enumerate(given):
        told = {way: plain(results[at], way.split()[0]) for way, results in ways if results[at]}
        seen = [way for way in told if " " in way]
        for way in seen:
            if any(kind in json.dumps(case) for kind in ('"$": "map"', '"$": "integer"')):
                del told[way]  # a JavaScript object has an order of its own, nlohmann::json no such integers
            elif "refused" in told[way] and "refused" in told.get(way.split()[0], {}):
                del told[way]  # of several mistakes it meets another one first
        if len({json.dumps(result) for result in told.values()}) > 1:
            texts = {way: json.dumps(result) for way, result in told.items()}
            same = next((i for i, letters in enumerate(zip(*texts.values())) if len(set(letters)) > 1), 0)
            lines = [f"{way:24} {text[:12]} … {text[max(same - 60, 12) : same + 200]}" for way, text in texts.items()]
            found.append("\n".join([json.dumps(case), *lines]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--only", type=int, help="the number of one case")
    given = parser.parse_args()
    chosen = [case for case in cases(given.seed, given.cases) if given.only in (None, case["number"])]
    found = differences(chosen)
    print("\n\n".join(found))
    print(f"\nseed {given.seed}: {len(chosen)} cases, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
