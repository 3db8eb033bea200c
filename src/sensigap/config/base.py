"""What every model of the configuration shares: strictness, and keys that describe themselves."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def key(description: str, *, unit: str = "", **bounds: Any) -> Any:
    """A field with its description, unit ('' for none) and bounds."""
    extra: Any = {"unit": unit} if unit else None
    return Field(description=description, json_schema_extra=extra, **bounds)


class Section(BaseModel):
    """A part of the configuration: unknown keys and inexact types are faults."""

    model_config = STRICT
