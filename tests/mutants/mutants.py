"""Breaks the delivery rules, one small change at a time, and sees whether the core's tests notice: `make mutants`.

universalmutator makes the changes. Of each line of the rules at most one is taken, by chance (`--seed`). One that does
not compile, or that the compiler makes the same code of, says nothing and is replaced by another. A mutant's file is
compiled by itself and linked before the library, whose own is then not taken; the tests are those that need no network
and no time. `equivalent.json` names the changes that no test can see, and why. Prints a table, and what survived.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import random
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "cmake"
WORK = ROOT / "build" / "mutants"
RULES = [
    "core/src/delivery/engine.cpp",
    "core/src/delivery/verdict.cpp",
    "core/src/delivery/own_pace.cpp",
    "core/src/delivery/shared_pace.cpp",
    "core/src/delivery/shipment.cpp",
    "core/src/delivery/retry_after.cpp",
    "core/src/queue/lanes.cpp",
]
# Lines that say nothing, or nothing that one thread could see.
UNSEEN = re.compile(r"\s*(#|//|namespace|using|const std::lock_guard|.*prefetch\()")
TESTS = ["engine_test", "lanes_test", "pace_test", "delivery_parts_test"]
FILTER = "-RateStoreTest.*:DiagnoseTest.*"  # they have a Redis and a clock of their own
SURVIVED = WORK / "survived.json"
EQUIVALENT = Path(__file__).with_name("equivalent.json")


class Mutant(NamedTuple):
    file: str
    line: int
    before: str
    after: str
    text: str


def mutants_of(file: str) -> list[Mutant]:
    """One for each change that universalmutator knows for the file."""
    folder = WORK / Path(file).stem
    if not any(folder.glob("*.cpp")):
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mutate", file, "cpp", "--noCheck", "--mutantDir", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    original = (ROOT / file).read_text()
    lines = original.splitlines()
    mutants = []
    for path in sorted(folder.glob("*.cpp")):
        text = path.read_text()
        changed = [i for i, pair in enumerate(zip(lines, text.splitlines())) if pair[0] != pair[1]]
        if len(changed) != 1 or UNSEEN.match(lines[changed[0]]):
            continue
        at = changed[0]
        mutants.append(Mutant(file, at + 1, lines[at].strip(), text.splitlines()[at].strip(), text))
    return mutants


def compile_command(file: str) -> tuple[list[str], Path]:
    """The build's own command for a file, but for what it reads and writes; and the object that it wrote."""
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        if entry["file"] == str(ROOT / file):
            command = shlex.split(entry["command"])
            output = Path(entry["directory"]) / command[command.index("-o") + 1]
            return [part for part in command[: command.index("-o")] if part != "-Werror"], output
    raise SystemExit(f"{file} is not in {BUILD}")


def code_of(object_file: Path) -> str:
    """What the compiler made of a file."""
    command = ["objdump", "--full-contents", "--reloc", str(object_file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace(str(object_file), "")


def symbols_of(object_file: Path) -> str:
    command = ["nm", "--extern-only", "--just-symbols", "--defined-only", str(object_file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))  # even if this program is stopped


def fate(mutant: Mutant, linking: list[str], originals: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """invalid, same, killed or survived; and by which test."""
    tried = WORK / f"tried-{os.getpid()}"
    source = tried / mutant.file
    source.parent.mkdir(parents=True, exist_ok=True)
    command, _ = compile_command(mutant.file)

    def compiled(text: str) -> Path | None:
        source.write_text(text)
        output = source.with_suffix(".o")
        built = subprocess.run([*command, "-w", "-o", str(output), "-c", str(source)], capture_output=True)
        return output if built.returncode == 0 else None

    if mutant.file not in originals:
        own = compiled((ROOT / mutant.file).read_text())
        assert own is not None, f"{mutant.file} does not compile unchanged"
        originals[mutant.file] = code_of(own), symbols_of(own)
    output = compiled(mutant.text)
    code, symbols = originals[mutant.file]
    if output is None or symbols_of(output) != symbols:  # another signature, say: the library's own would be taken
        return "invalid", ""
    if code_of(output) == code:
        return "same", ""
    program = tried / "tests"
    subprocess.run(["c++", "-o", str(program), str(output), *linking], check=True)
    run = [str(program), "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={FILTER}"]
    try:
        ended = subprocess.run(run, capture_output=True, text=True, errors="replace", timeout=20, preexec_fn=bounded)
    except subprocess.TimeoutExpired:
        return "killed", "it does not end"
    if ended.returncode == 0:
        return "survived", ""
    failed = [line.split()[3] for line in ended.stdout.splitlines() if line.startswith("[  FAILED  ]")]
    return "killed", failed[0].rstrip(",") if failed else f"it ended with {ended.returncode}"


def linking() -> list[str]:
    """What the tests' program is linked from, but for the mutant."""
    _, example = compile_command("tests/core/engine_test.cpp")
    objects = [str(example.with_name(f"{name}.cpp.o")) for name in TESTS]
    rule = subprocess.run(
        ["ninja", "-C", str(BUILD), "-t", "commands", "-s", "tests/core/intilery_tests"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    link = next(line for line in rule.splitlines() if " -o tests/core/intilery_tests " in line)
    words = shlex.split(link.split("&&")[1])
    rest = words[words.index("tests/core/intilery_tests") + 1 :]
    return objects + [str(BUILD / word) if (BUILD / word).exists() else word for word in rest]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=80, help="mutants that say something (default: 80)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--file", help="only rules in files whose name has this")
    parser.add_argument("--lines", help="all mutants of these lines (FROM-TO) of --file, for a closer look")
    parser.add_argument("--again", action="store_true", help="only those that survived the last time")
    given = parser.parse_args()

    chance = random.Random(given.seed)
    rules = [file for file in RULES if not given.file or given.file in file]
    by_line = collections.defaultdict(list)
    for mutant in itertools.chain.from_iterable(mutants_of(file) for file in rules):
        by_line[mutant.file, mutant.line].append(mutant)
    places = sorted(by_line)
    chance.shuffle(places)
    groups = [chance.sample(by_line[place], min(4, len(by_line[place]))) for place in places]
    if given.lines:
        first, last = map(int, given.lines.split("-"))
        groups = [[mutant] for place in sorted(by_line) if first <= place[1] <= last for mutant in by_line[place]]
    if given.again:
        names = {tuple(entry) for entry in json.loads(SURVIVED.read_text())}
        groups = [[mutant] for place in sorted(by_line) for mutant in by_line[place] if mutant[:4] in names]
    known = [tuple(entry[name] for name in ("file", "before", "after")) for entry in json.loads(EQUIVALENT.read_text())]
    linked = linking()
    originals: dict[str, tuple[str, str]] = {}
    told = collections.Counter[tuple[str, str]]()
    survivors = []
    tried = 0
    for group in groups:
        if tried >= given.count and not (given.lines or given.again):
            break
        for mutant in group:
            kind, by = fate(mutant, linked, originals)
            if kind == "survived" and (mutant.file, mutant.before, mutant.after) in known:
                kind = "equivalent"
            told[mutant.file, kind] += 1
            if kind in ("invalid", "same"):
                continue
            tried += 1
            print(f"{tried:4} {kind:10} {mutant.file}:{mutant.line} {by}", flush=True)
            if kind == "survived":
                print(f"       - {mutant.before}\n       + {mutant.after}", flush=True)
                survivors.append(mutant)
            break

    SURVIVED.write_text(json.dumps([mutant[:4] for mutant in survivors]))
    kinds = ["killed", "equivalent", "survived", "same", "invalid"]
    print(f"\nSeed {given.seed}\n\n| file | killed | equivalent | survived | same code | does not compile |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for file in rules:
        print(f"| {Path(file).name} | " + " | ".join(str(told[file, kind]) for kind in kinds) + " |")
    print("| all | " + " | ".join(str(sum(told[file, kind] for file in rules)) for kind in kinds) + " |")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
