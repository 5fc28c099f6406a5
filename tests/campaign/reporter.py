"""Sends events until its standard input ends, and reports each call and fate at once: reporter.py LIFE NOTE RATE

LIFE is this process's number among those that send with one folder, NOTE the bytes of each event's note, RATE the
calls a second (0: none is made, but what lies in the spool is sent). One line for each thing that happens, written
before the next does, so that a reader has it all whatever becomes of this process:

    accepted ID     the call returned
    raised ERROR    the call raised: the event was not taken
    delivered ID
    failed ID REASON ARRIVED
    ended           all that was accepted has its fate, and the client is closed

reporter.mjs and reporter.cpp send the same. Every fiftieth event is an identify, the next one a command to its user.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time

from intilery import Client, DeliveryError, IntileryError, Receipt

LIFE, NOTE, RATE = (int(argument) for argument in sys.argv[1:4])
USERS = 40


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # in one piece: it is short


def told(receipt: Receipt) -> None:
    if receipt.delivered:
        say(f"delivered {receipt.message_id}")
    else:
        error = receipt.error
        reason, arrived = (error.reason, error.arrived) if isinstance(error, DeliveryError) else (str(error), "unknown")
        say(f"failed {receipt.message_id} {reason} {arrived}")


def send(client: Client, number: int) -> None:
    # In one order over all lives: an event's number is above those of the lives before.
    block, place = divmod(number, 50)
    # Each life identifies another user first: a command takes half a second, longer than many a life.
    user = f"user-{(LIFE + (block if place < 2 else number)) % USERS}"
    n = LIFE * 1_000_000 + number
    message_id = f"{user}:{n}"
    values = {"n": n, "mark": f"{user}/{n}/é😀", "note": "x" * NOTE}
    if place == 0:
        client.identify(user, values, message_id=message_id, on_delivery=told)
    elif place == 1:
        client.send_email(user, "asset-7", values, message_id=message_id, on_delivery=told)
    else:
        client.track(user, "Step", values, message_id=message_id, on_delivery=told)
    say(f"accepted {message_id}")


def main() -> None:
    client = Client.from_env()
    number = 0
    start = time.monotonic()
    while True:
        early = start + number / RATE - time.monotonic() if RATE else None
        if select.select([0], [], [], early and max(early, 0))[0]:
            break
        try:
            send(client, number)
        except (IntileryError, MemoryError) as error:
            with contextlib.suppress(MemoryError):
                say(f"raised {type(error).__name__}")
        number += 1
    client.flush()
    client.close()
    say("ended")


if __name__ == "__main__":
    main()
