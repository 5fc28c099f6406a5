"""The CDNOW purchases (data/cdnow/README.md) as Python objects."""

from __future__ import annotations

import datetime
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parent / "data" / "cdnow" / "CDNOW_master.txt"


class Purchase(NamedTuple):
    date: datetime.datetime
    cds: int
    cents: int
    """Whole cents, so that sums are exact."""


def load() -> dict[str, list[Purchase]]:
    """Each customer's purchases in the order of the file, which is by date."""
    customers: defaultdict[str, list[Purchase]] = defaultdict(list)
    with FILE.open(encoding="ascii") as lines:
        next(lines)  # the header
        for line in lines:
            customer, date, cds, dollars = line.split()
            day = datetime.datetime.strptime(date, "%Y%m%d").replace(tzinfo=datetime.timezone.utc)
            customers[customer].append(Purchase(day, int(cds), round(float(dollars) * 100)))
    return dict(customers)
