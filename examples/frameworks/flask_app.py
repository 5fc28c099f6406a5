"""gunicorn --preload --workers 2 flask_app:app"""

from flask import Flask, request

from intilery import Client

app = Flask(__name__)
events = Client.from_env()  # each worker has its own after the fork, and sends what is queued when it ends


@app.post("/orders")
def complete_order() -> dict[str, bool]:
    order = request.get_json()
    events.track(order["user_id"], "Order Completed", {"total": order["total"]})
    return {"accepted": True}
