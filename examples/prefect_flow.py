"""A Prefect flow that sends a file's rows. A task that is retried, or a flow that is run again, goes on where it was.

python examples/prefect_flow.py orders.csv     # the account comes from INTILERY_CLIENT_ID and so on
"""

from __future__ import annotations

import sys

from prefect import flow, get_run_logger, task

from intilery import Client


@task(retries=5, retry_delay_seconds=60)
def send_orders(path: str) -> int:
    # A minute without the service ends the attempt, with no row lost: the next one takes those without a fate.
    with Client.from_env(delivery_timeout=60, exit_timeout=0) as client:
        sent = client.send_many(path, event="Order Completed", checkpoint=True)
    if sent.rejected or sent.failed:
        get_run_logger().warning("%d rows were not delivered: see %s", sent.rejected + sent.failed, sent.rejects)
    return sent.delivered


@flow
def orders(path: str) -> int:
    return send_orders(path)


if __name__ == "__main__":
    print(orders(sys.argv[1]), "delivered")
