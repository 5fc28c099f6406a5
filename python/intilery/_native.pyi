from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from typing import Any, Optional, Protocol, Union

from typing_extensions import TypeAlias

from ._errors import IntileryError
from ._results import Receipt

OnDelivery: TypeAlias = Callable[[Receipt], object]

class DataclassInstance(Protocol):
    __dataclass_fields__: Any

class PydanticModel(Protocol):
    def model_dump(self) -> dict[str, Any]: ...

Object: TypeAlias = Union[DataclassInstance, PydanticModel]

version: str

class Delivery:
    @property
    def message_id(self) -> str: ...
    def done(self) -> bool: ...
    def result(self, timeout: Optional[float] = None) -> Receipt: ...
    def exception(self, timeout: Optional[float] = None) -> Optional[IntileryError]: ...
    def add_done_callback(self, function: Callable[[Delivery], object], /) -> None: ...
    def __await__(self) -> Generator[Any, None, Receipt]: ...

class ClientBase:
    def identify(
        self,
        user_id: Optional[str],
        traits: Union[Mapping[str, Any], Object],
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def track(
        self,
        user_id: Optional[str],
        event: str,
        properties: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def page(
        self,
        user_id: Optional[str] = None,
        properties: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def screen(
        self,
        user_id: Optional[str] = None,
        name: Optional[str] = None,
        properties: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def send_email(
        self,
        user_id: str,
        asset_id: str,
        data: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def send_sms(
        self,
        user_id: str,
        asset_id: str,
        data: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def send_print(
        self,
        user_id: str,
        asset_id: str,
        data: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def send_push(
        self,
        user_id: str,
        asset_id: str,
        data: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def start_journey(
        self,
        user_id: str,
        journey_id: str,
        step_id: Optional[str] = None,
        data: Optional[Union[Mapping[str, Any], Object]] = None,
        *,
        context: Optional[Mapping[str, Any]] = None,
        timestamp: Optional[Union[datetime, str]] = None,
        anonymous_id: Optional[str] = None,
        message_id: Optional[str] = None,
        on_delivery: Optional[OnDelivery] = None,
    ) -> Delivery: ...
    def send(self, message: Mapping[str, Any], *, on_delivery: Optional[OnDelivery] = None) -> Delivery: ...

class CallbackQueue:
    def pop(self) -> Optional[list[tuple[Any, Any]]]: ...

def register(**functions: Any) -> None: ...
def open(
    client: ClientBase, options: dict[str, Any], default: Optional[Callable[[Any], Any]], from_env: bool
) -> None: ...
def callback_queue(client: ClientBase) -> CallbackQueue: ...
def is_foreign(client: ClientBase) -> bool: ...
def exit_timeout(client: ClientBase) -> float: ...
def flush(client: ClientBase, timeout: Optional[float]) -> tuple[int, int, int]: ...
def close(client: ClientBase, timeout: Optional[float]) -> tuple[int, int, int]: ...
def stats(client: ClientBase) -> dict[str, Any]: ...
def verify(
    client: ClientBase, message_ids: list[str], user_id: str, timeout: Optional[float]
) -> tuple[int, int, list[str], list[str]]: ...
def set_auth_token(client: ClientBase, token: str) -> None: ...
def option_list() -> list[dict[str, Any]]: ...
