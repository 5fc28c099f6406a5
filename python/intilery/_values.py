"""What values become, where the C++ walk does not know them: the table in docs/values.md."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class Number(str):
    """Text that is a JSON number already."""

    __slots__ = ()


def _decimal(value: decimal.Decimal) -> object:
    if not value.is_finite():
        return math.nan if value.is_nan() else math.inf
    # Plain digits where that is short; 1E+400000 is a JSON number as it stands.
    exponent = value.as_tuple().exponent
    return Number(f"{value:f}" if -100 <= int(exponent) <= 100 else str(value))


def convert(value: Any) -> object:
    """A simpler object for `value`, or NotImplemented. Called for what is not str, int, float, bool, None, dict, list
    or tuple."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return None if _is_null(value) else value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if isinstance(path, str) else NotImplemented
    if isinstance(value, type):
        return NotImplemented
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return _foreign(value)


def unix_ms(moment: datetime.datetime) -> int:
    """Milliseconds since the Unix epoch."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no zone; use datetime.now(timezone.utc), or .astimezone()")
    return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)


def _is_null(value: object) -> bool:
    return type(value).__name__ in ("NaTType", "NAType")


def _foreign(value: Any) -> object:
    """Kinds of other packages, known by their shape, so that none of them is imported."""
    package = type(value).__module__.partition(".")[0]
    if package == "pandas":
        if _is_null(value):
            return None
        if hasattr(value, "to_pydatetime"):
            return value.to_pydatetime()
    if package == "numpy":
        return _numpy(value)
    if hasattr(value, "__attrs_attrs__"):
        return {attribute.name: getattr(value, attribute.name) for attribute in value.__attrs_attrs__}
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if hasattr(value, "__pydantic_model__") or hasattr(value, "__fields_set__"):
        return value.dict()
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    return NotImplemented


def _numpy(value: Any) -> object:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M" and value.ndim == 0:
        # As a naive datetime: numpy knows no zone. Finer than a microsecond is an int to `item`.
        plain = value.astype("datetime64[us]").item()
        return None if plain is None else plain
    if kind in "biufUO" and hasattr(value, "tolist"):
        return value.tolist()
    return NotImplemented
