"""Kubernetes quantities: ``500m``, ``2``, ``768Mi``, ``1e3``.

See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = ["Bytes", "Cpu", "Memory", "quantity"]

PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|[eE][0-9]{1,2})?$"
MAX_LENGTH = 32

_FACTORS = {
    "m": Decimal(1) / 1000,
    "": Decimal(1),
    **{unit: Decimal(1000) ** (i + 1) for i, unit in enumerate("kMGTP")},
    **{f"{unit}i": Decimal(1024) ** (i + 1) for i, unit in enumerate("KMGTP")},
}


def quantity(text: str | int) -> Decimal:
    """The number that a Kubernetes quantity stands for.

    Parameters
    ----------
    text : str or int
        ``"500m"``, ``"1.5"``, ``"768Mi"``, ``2``.

    Raises
    ------
    ValueError
        It is not a quantity, or negative.

    >>> quantity("500m"), quantity("1Ki")
    (Decimal('0.500'), Decimal('1024'))
    """
    text = str(text)
    if len(text) > MAX_LENGTH or not (match := re.fullmatch(PATTERN[1:-1], text)):
        raise ValueError(f"got {text!r}; must be a quantity like 500m, 2 or 768Mi")
    unit = match[2] or ""
    if unit[:1] in ("e", "E"):
        return Decimal(text)
    return Decimal(text.removesuffix(unit)) * _FACTORS[unit]


def _bounded(low: str, high: str) -> list[Any]:
    """The annotations of a quantity between two others, both included."""
    wanted = f"must be a quantity of {low} to {high}"

    def check(value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        message = wanted
        if isinstance(value, float):
            message = f'{wanted}, as text: "{value}"'
        elif isinstance(value, str):
            try:
                if quantity(low) <= quantity(value) <= quantity(high):
                    return value
            except ValueError:
                pass
        raise PydanticCustomError("rule", "{message}", {"message": message})

    ordered = "quantity(string(self)).compareTo(quantity('{}')) {} 0"
    rule = (
        "!isQuantity(string(self)) || "
        f"({ordered.format(low, '>=')} && {ordered.format(high, '<=')})"
    )
    schema = {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": PATTERN,
        "maxLength": MAX_LENGTH,
        "x-kubernetes-validations": [{"rule": rule, "message": wanted}],
    }
    return [BeforeValidator(check), WithJsonSchema(schema)]


Cpu = Annotated[str, *_bounded("10m", "1024")]
"""Cores."""
Memory = Annotated[str, *_bounded("16Mi", "16Ti")]
"""Bytes; the lower bound catches ``512m``, which is half a byte."""
Bytes = Annotated[str, *_bounded("1Ki", "16Ti")]
"""Bytes of a part of a process, which may be small."""
