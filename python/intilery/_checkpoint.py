"""Where a run of `send_many` has got to, in a SQLite file, so that a killed one goes on."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._errors import ConfigurationError


class Checkpoint:
    """One run's. `settled` says which rows have their fates (see core/src/rows/row_ranges.hpp), `tally` counts them.

    Raises:
        ConfigurationError: The file is none of ours, or of another run.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self.path = path
        self.settled = ""
        self.tally: list[int] = [0] * 5
        self.head: dict[str, Any] | None = None
        self._plan = json.loads(json.dumps(plan))
        self._saved = ""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # never open to others, not even for a moment
            self._file = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            # One process at a time: a second run of the same source would count the same rows.
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            # Kept over kill -9; a power cut may cost the last saves, and so some rows are sent again.
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)"
            )
            self._file.execute("BEGIN EXCLUSIVE")
            found = self._file.execute("SELECT state FROM run").fetchone()
            self._file.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        if found is None:
            return
        state = json.loads(found[0])
        if state["plan"] != self._plan:
            changed = sorted(key for key in self._plan if state["plan"].get(key) != self._plan[key])
            self._file.close()
            raise self._other(f"{', '.join(changed)} had another value")
        self.settled, self.tally, self.head = state["settled"], state["tally"], state["head"]

    def _unusable(self, error: Exception) -> ConfigurationError:
        message = (
            f"the checkpoint {str(self.path)!r} cannot be used: {error}; what it holds stays valid: run it again once "
            "that is mended"
        )
        return ConfigurationError(message, code="checkpoint_unusable", option="checkpoint")

    def _other(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the checkpoint {str(self.path)!r} is of another run: {why}; go on as before, or remove it to begin anew",
            code="checkpoint_differs",
            option="checkpoint",
        )

    def refuse_source(self) -> ConfigurationError:
        self._file.close()
        return self._other("the source has changed at its beginning, or is shorter")

    def save(self, settled: str, tally: list[int], head: Mapping[str, Any] | None) -> None:
        state = json.dumps({"plan": self._plan, "settled": settled, "tally": tally, "head": head})
        if state == self._saved:
            return
        try:
            self._file.execute("INSERT OR REPLACE INTO run VALUES (1, ?)", (state,))
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self._saved = state

    def close(self) -> None:
        self._file.close()
