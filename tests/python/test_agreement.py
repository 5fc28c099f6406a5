"""The three languages agree: tests/python/agreement.py in short (`make properties` is the long form)."""

from __future__ import annotations

from agreement import cases, differences


def test_the_three_languages_write_the_same_bytes_and_refuse_the_same_calls() -> None:
    found = differences(cases(seed=1, count=400))
    assert not found, "python tests/python/agreement.py --seed 1 --cases 400\n\n" + "\n\n".join(found)


def test_the_same_seed_gives_the_same_calls() -> None:
    assert cases(seed=5, count=50) == cases(seed=5, count=50) != cases(seed=6, count=50)
