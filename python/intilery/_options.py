"""The options, as type checkers see them. Names, defaults and bounds come from the core's list; a test compares."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Callable, Literal, TypedDict

from ._errors import IntileryError


class Options(TypedDict, total=False):
    """Keyword arguments of Client and AsyncClient. Times are seconds, sizes bytes; docs/options.md has the defaults."""

    client_id: str
    account_id: str
    brand_id: str
    auth_token: str
    endpoint: str
    allow_insecure_http: bool
    delivery: Literal["auto", "event", "batch"]
    rate_limit: float
    burst: float
    rate_limit_store: str
    max_request_bytes: int
    max_event_bytes: int | None
    max_batch_bytes: int | None
    flush_at: int
    flush_interval: float
    max_queue_bytes: int
    on_full: Literal["fail", "raise", "block", "drop_oldest"]
    block_timeout: float
    on_invalid: Literal["raise", "report"]
    spool_path: str
    spool_max_bytes: int
    spool_sync: Literal["process", "power"]
    max_retries: int | None
    retry_initial: float
    retry_max: float
    delivery_timeout: float | None
    on_unknown: Literal["resend", "check"]
    check_delay: float
    request_timeout: float
    connect_timeout: float
    max_connections: int
    http2: bool
    proxy: str
    ca_file: str
    user_agent: str
    exit_timeout: float
    context: Mapping[str, Any] | None
    allow_anonymous: bool
    plan: str | os.PathLike[str] | Mapping[str, Any] | None
    plan_mode: Literal["warn", "reject"]
    dry_run: bool
    debug: bool
    default: Callable[[Any], Any] | None
    """Python only: converts what has no JSON form, as in `json.dumps`."""
    before_send: Callable[[dict[str, Any]], Mapping[str, Any] | None] | None
    """Sees each message before it is checked, in the form that `send` takes, with the members that the call gave, and
    returns the message to send, or None to drop it. Runs in the call, on its thread; may call the client. The dict is
    its own, but nested values are the caller's: change copies of them. If it raises, the call raises a ValidationError,
    and nothing is sent."""
    on_error: Callable[[IntileryError], object] | None
    """Called with each failure that nobody observes (`message_id` says of which event), on the client's callback
    thread; an AsyncClient's in its loop. Default: a log line for each kind of failure and second."""
