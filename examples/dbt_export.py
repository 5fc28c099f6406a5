"""Builds a dbt project, and sends one of its models: a row an event, with the message id that the model gives it.

python examples/dbt_export.py     # the account comes from INTILERY_CLIENT_ID and so on
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb
from dbt.cli.main import dbtRunner

from intilery import Client

PROJECT = str(Path(__file__).parent / "dbt")
WAREHOUSE = os.environ.setdefault("WAREHOUSE", "warehouse.duckdb")


def main() -> None:
    if not dbtRunner().invoke(["build", "--project-dir", PROJECT, "--profiles-dir", PROJECT]).success:
        sys.exit("dbt failed: nothing was sent")
    with duckdb.connect(WAREHOUSE) as warehouse, Client.from_env() as client:
        rows = warehouse.sql("SELECT * FROM completed_orders ORDER BY message_id")
        sent = client.send_many(rows, event="Order Completed")
    print(f"{sent.delivered} of {sent.rows} delivered")


if __name__ == "__main__":
    main()
