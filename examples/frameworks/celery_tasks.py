"""celery --app celery_tasks worker"""

from celery import Celery

from intilery import Client

app = Celery("shop")
app.config_from_object("celeryconfig")  # your broker
events = Client.from_env()  # each worker process has its own after the fork, and sends what is queued when it ends


@app.task(acks_late=True)
def complete_order(order_id: int, user_id: str, total: float) -> None:
    # A task may run twice. With an id that follows from the order, it is the same event both times.
    events.track(user_id, "Order Completed", {"total": total}, message_id=f"order-{order_id}")
