"""Frozen dataclasses that cost little to make.

A frozen dataclass sets each field through `object.__setattr__`, which is most of what making one costs, and a
route is some forty of them. Those that every route has many of are frozen to the type checker alone, which
looks at all of this program: `mypy --strict` refuses the assignment that Python then no longer would.
"""

from __future__ import annotations

import dataclasses
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def statically(cls: type[T]) -> type[T]:
    """Goes above `@dataclass(frozen=True, slots=True)`. Equality, hash and repr stay as they are; fields that
    need more than an assignment and a default are not for this (TypeError)."""
    original: Any = cls.__init__
    names = [one.name for one in fields(cls)]  # type: ignore[arg-type]
    if original.__code__.co_varnames[1 : original.__code__.co_argcount] != tuple(names):
        raise TypeError(f"{cls.__name__} has fields that are not plain arguments")
    if hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} does more than to keep its arguments")
    # What the dataclass's own `__init__` has as the default of a field that is made anew for each object.
    made: dict[str, Any] = {"absent": dataclasses._HAS_DEFAULT_FACTORY}  # type: ignore[attr-defined]
    body = ""
    for one in fields(cls):  # type: ignore[arg-type]
        value = one.name
        if callable(one.default_factory):
            made[f"make_{value}"] = one.default_factory
            value = f"make_{value}() if {value} is absent else {value}"
        body += f"\n    self.{one.name} = {value}"
    exec(f"def __init__(self, {', '.join(names)}):{body}", made)
    init = made["__init__"]
    init.__defaults__ = original.__defaults__
    init.__annotations__ = original.__annotations__
    init.__qualname__ = original.__qualname__
    init.__module__ = cls.__module__
    cls.__init__ = init  # type: ignore[method-assign]
    del cls.__setattr__, cls.__delattr__
    return cls
