from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypedDict

from typing_extensions import TypeAlias, Unpack

from ._errors import IntileryError
from ._results import Receipt

OnDelivery: TypeAlias = Callable[[Receipt], object]

class DataclassInstance(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]

class PydanticModel(Protocol):
    def model_dump(self) -> dict[str, Any]: ...

Object: TypeAlias = DataclassInstance | PydanticModel

version: str

class Delivery:
    @property
    def message_id(self) -> str: ...
    def done(self) -> bool: ...
    def result(self, timeout: float | None = None) -> Receipt: ...
    def exception(self, timeout: float | None = None) -> IntileryError | None: ...
    def add_done_callback(self, function: Callable[[Delivery], object], /) -> None: ...
    def __await__(self) -> Generator[Any, None, Receipt]: ...

class Common(TypedDict, total=False):
    """What every event call takes besides its own arguments."""

    context: Mapping[str, Any] | None
    timestamp: datetime | str | None
    anonymous_id: str | None
    message_id: str | None
    on_delivery: OnDelivery | None

class ClientBase:
    def identify(
        self,
        user_id: str | None,
        traits: Mapping[str, Any] | Object,
        **common: Unpack[Common],
    ) -> Delivery: ...
    def track(
        self,
        user_id: str | None,
        event: str,
        properties: Mapping[str, Any] | Object | None = None,
        **common: Unpack[Common],
    ) -> Delivery: ...
    def page(
        self,
        user_id: str | None = None,
        properties: Mapping[str, Any] | Object | None = None,
        **common: Unpack[Common],
    ) -> Delivery: ...
    def screen(
        self,
        user_id: str | None = None,
        name: str | None = None,
        properties: Mapping[str, Any] | Object | None = None,
        **common: Unpack[Common],
    ) -> Delivery: ...
    def send_email(
        self,
        user_id: str,
        asset_id: str,
        data: Mapping[str, Any] | Object | None = None,
        **common: Unpack[Common],
    ) -> Delivery: ...
    send_sms = send_email
    send_print = send_email
    send_push = send_email
    def start_journey(
        self,
        user_id: str,
        journey_id: str,
        step_id: str | None = None,
        data: Mapping[str, Any] | Object | None = None,
        **common: Unpack[Common],
    ) -> Delivery: ...
    def send(self, message: Mapping[str, Any], *, on_delivery: OnDelivery | None = None) -> Delivery: ...

class CallbackQueue:
    def pop(self) -> list[tuple[Any, Any]] | None: ...

class ArrowStreamProducer(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

_Tally: TypeAlias = tuple[int, int, int, int, int]

class RowSender:
    def __init__(
        self,
        client: ClientBase,
        action: str,
        event: str,
        source: str,
        through: int,
        stop: bool,
        broken: list[int],
        columns: dict[str, Any],
        /,
    ) -> None: ...
    @property
    def next_row(self) -> int: ...
    def open(self, producer: ArrowStreamProducer, /) -> None: ...
    def step(self, seconds: float, given_up: Callable[[], bool] | None, /) -> bool: ...
    def send(
        self,
        user: object,
        anonymous: object,
        event: object,
        message_id: object,
        timestamp: object,
        body: object,
        seconds: float,
        given_up: Callable[[], bool] | None,
        /,
    ) -> bool: ...
    def reject(self) -> None: ...
    def take(
        self,
    ) -> tuple[int, _Tally, _Tally, list[tuple[int, str, str, str, str]], list[tuple[int, IntileryError, str]]]: ...

def register(**functions: Any) -> None: ...

class Outbox:
    def answer(self, status: int, times: int | None, body: str) -> None: ...
    def clear(self) -> None: ...
    def sent_json(self) -> str: ...
    def matching_json(self, message: str) -> str: ...
    def expect(self, message: str) -> tuple[str, str]: ...
    def expect_none(self, message: str) -> tuple[str, str]: ...

def json_text(value: Any) -> str: ...
def open(
    client: ClientBase, options: dict[str, Any], functions: dict[str, Any], from_env: bool, outbox: Outbox | None
) -> None: ...
def open_view(view: ClientBase, client: ClientBase, brand_id: str) -> None: ...
def callback_queue(client: ClientBase) -> CallbackQueue: ...
def is_foreign(client: ClientBase) -> bool: ...
def is_dry_run(client: ClientBase) -> bool: ...
def is_idle(client: ClientBase) -> bool: ...
def when_idle(client: ClientBase, function: Callable[[None], object]) -> None: ...
def exit_timeout(client: ClientBase) -> float: ...
def flush(client: ClientBase, timeout: float | None, given_up: Callable[[], bool] | None) -> tuple[int, int, int]: ...
def close(client: ClientBase, timeout: float | None, given_up: Callable[[], bool] | None) -> tuple[int, int, int]: ...
def stats(client: ClientBase) -> dict[str, Any]: ...
def verify(
    client: ClientBase,
    message_ids: list[str],
    user_id: str,
    timeout: float | None,
    given_up: Callable[[], bool] | None,
) -> tuple[int, int, list[str], list[str]]: ...
def set_auth_token(client: ClientBase, token: str) -> None: ...
def did_you_mean(name: str, known: list[str]) -> str: ...
def option_list() -> list[dict[str, Any]]: ...
