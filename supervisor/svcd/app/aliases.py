"""Aliases in annotations (PEP 695): `type Rows = NDArray[np.float32]`, and numpy's own NDArray from Python 3.12 on.

Such an alias is an object of its own, in which nothing tells what it stands for until it is asked. What looks into
annotations is given them without.
"""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def unaliased(annotation: Any, within: tuple[Any, ...] = ()) -> Any:
    """Return an annotation with each alias in it replaced by what it stands for.

    One that stands for itself among others (`type Json = int | list[Json]`) stays where it comes again, and one that
    holds names as text stays altogether: pydantic knows where to look those up. within: the aliases that this is a
    part of. Raises what the text of an alias raises, such as NameError.
    """
    origin = typing.get_origin(annotation)
    alias = next((each for each in (annotation, origin) if _is_alias(each)), None)
    if alias is None:
        return with_arms(annotation, lambda arm: unaliased(arm, within))
    if any(alias is each for each in within) or _has_text(alias.__value__):
        return annotation
    return unaliased(_meant(alias, typing.get_args(annotation)), (*within, alias))


def with_arms(annotation: Any, change: Callable[[Any], Any]) -> Any:
    """Return an annotation with `change` made to each type that it is made of; itself where that changes none."""
    arms, origin = typing.get_args(annotation), typing.get_origin(annotation)
    if not arms or origin is typing.Literal or origin is None:
        return annotation
    if origin is Annotated:
        inner = change(arms[0])
        return annotation if inner is arms[0] else Annotated[(inner, *annotation.__metadata__)]
    replaced = tuple(change(arm) if not isinstance(arm, list) else arm for arm in arms)
    if all(new is old for new, old in zip(replaced, arms, strict=True)):
        return annotation
    if origin in (types.UnionType, typing.Union):
        return typing.Union[replaced]  # noqa: UP007  (computed arms)
    return annotation.copy_with(replaced) if hasattr(annotation, "copy_with") else origin[replaced]


def _is_alias(annotation: Any) -> bool:
    """By its looks: Python 3.11 has none of its own, and typing_extensions has another type than Python."""
    return type(annotation).__name__ == "TypeAliasType"


def _has_text(value: Any) -> bool:
    return isinstance(value, str | typing.ForwardRef) or (
        typing.get_origin(value) is not typing.Literal and any(map(_has_text, typing.get_args(value)))
    )


def _meant(alias: Any, args: tuple[Any, ...]) -> Any:
    """Return what an alias stands for with these in place of its parameters."""
    value, parameters = alias.__value__, alias.__type_params__
    if len(args) != len(parameters):
        return value
    given = dict(zip(parameters, args, strict=True))
    if isinstance(value, typing.TypeVar):
        return given.get(value, Any)
    free = getattr(value, "__parameters__", ())
    return value[tuple(given.get(each, Any) for each in free)] if free else value
