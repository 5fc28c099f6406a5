"""Sends what a Kafka topic brings, at least once: an offset is committed when its event has its fate, and not before.

python examples/kafka_loop.py BROKERS TOPIC     # the account comes from INTILERY_CLIENT_ID and so on

What was under way when the program ended is read again, and sent with the same message id: topic, partition, offset.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

from confluent_kafka import Consumer, KafkaException, Message

from intilery import Client, Delivery, DeliveryError, ValidationError


def track(client: Client, message: Message) -> Delivery | None:
    place = f"{message.topic()}-{message.partition()}-{message.offset()}"
    try:
        event = json.loads(message.value())
        return client.track(event["user_id"], event["event"], event.get("properties"), message_id=place)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        print(f"{place} is no event: {type(error).__name__}", file=sys.stderr)
        return None


def settle(delivery: Delivery) -> None:
    try:
        delivery.result()
    except DeliveryError as error:
        if error.reason != "rejected":
            raise  # it ends the program, and nothing of this round is committed
        print(f"{error.message_id} was refused", file=sys.stderr)


def main(brokers: str, topic: str) -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "intilery",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6_000,  # so soon another one takes over from a loop that was killed
        }
    )
    consumer.subscribe([topic])
    with Client.from_env() as client:
        while not stopped.is_set():
            messages = consumer.consume(500, timeout=0.5)
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
            deliveries = [track(client, message) for message in messages]
            client.flush()
            for delivery in deliveries:
                if delivery is not None:
                    settle(delivery)
            if messages:
                consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
