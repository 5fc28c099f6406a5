"""Puts a table in the place of a page's: python tests/simulator/fill_table.py TABLE PAGE."""

import re
import sys
from pathlib import Path

table, page = (Path(word) for word in sys.argv[1:])
text, count = re.subn(
    r"(<!-- table -->\n).*?(<!-- end -->)",
    lambda match: f"{match[1]}\n{table.read_text()}\n{match[2]}",
    page.read_text(),
    flags=re.DOTALL,
)
if count != 1:
    sys.exit(f"{page} has no place for a table")
page.write_text(text)
