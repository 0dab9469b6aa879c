"""Numbers of bytes as people write them: `1048576`, or as Kubernetes quantities such as `10Mi` and `500k`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_QUANTITY: Final = re.compile(r"([0-9]{1,15})(Ki|Mi|Gi|Ti|k|M|G|T)?")
_UNITS: Final[dict[str | None, int]] = {
    None: 1,
    **{unit: 1000**power for power, unit in enumerate("kMGT", 1)},
    **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
}
_MOST: Final = 2**53


def size(value: Any) -> int:
    """A quantity in bytes."""
    text = str(value) if type(value) is int else value
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    made = int(found[1]) * _UNITS[found[2]] if found is not None else -1
    if not 0 <= made <= _MOST:
        raise PydanticCustomError("size", "expected bytes such as 1048576, 512Ki, 10Mi or 1G")
    return made


Size = Annotated[
    int,
    BeforeValidator(size),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
