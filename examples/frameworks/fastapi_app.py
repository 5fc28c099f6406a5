"""uvicorn fastapi_app:app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel

from intilery import AsyncClient


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    events = AsyncClient.from_env()
    yield {"events": events}
    await events.close(timeout=10)  # sends what is queued


app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    user_id: str
    total: float


@app.post("/orders")
async def complete_order(order: Order, request: Request) -> dict[str, bool]:
    # Not awaited: the answer does not wait for Intilery. `await` gives the receipt.
    request.state.events.track(order.user_id, "Order Completed", {"total": order.total})
    return {"accepted": True}
