"""Hyper-parameters: each may stand under defaults, as an axis and in a row.

Made from the records of `sensigap.spec`.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from sensigap.config.base import STRICT, Section, key
from sensigap.spec import CONFIGURED, Hyperparameter


def _type(kind: type, record: Hyperparameter) -> Any:
    """What one value is: its type with its choices, bounds, unit and meaning."""
    allowed: Any = Literal[record.choices] if record.choices else kind
    return Annotated[allowed, key(record.key, unit=record.unit, **record.bounds)]


def _values(one: Any) -> Any:
    return Annotated[
        list[one],
        Field(
            min_length=1,
            description="values of this hyper-parameter, none of them twice; each as under "
            "`defaults`",
            json_schema_extra={"uniqueItems": True},
        ),
    ]


_TYPES = {name: _type(*kind_and_record) for name, kind_and_record in CONFIGURED.items()}

if TYPE_CHECKING:
    Axes = dict[str, list[Any]]
    Row = dict[str, Any]
    Defaults = Section
else:
    Axes = with_config(STRICT)(
        TypedDict("Axes", {name: _values(one) for name, one in _TYPES.items()}, total=False)
    )
    Axes.__doc__ = (
        "The values that a search combines, by hyper-parameter; the others are as under `defaults`."
    )
    Row = with_config(STRICT)(TypedDict("Row", _TYPES, total=False))
    Row.__doc__ = "One network by the hyper-parameters in which it departs from `defaults`."
    Defaults = create_model(
        "Defaults",
        __base__=Section,
        __doc__="Hyper-parameters of every network, where no axis or row says otherwise.",
        **{name: (one, CONFIGURED[name][1].usual) for name, one in _TYPES.items()},
    )
