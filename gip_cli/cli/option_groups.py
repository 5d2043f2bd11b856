"""Options of one kind as one dataclass, so that a command with many takes a few objects."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Show typer the fields of a command's dataclass parameters; hand the command the objects.

    A field is declared as an option of a command is, ``name: Annotated[T, typer.Option()] = ...``,
    and must have a default.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)
    }
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            types = get_type_hints(groups[name], include_extras=True)
            shown.extend(
                inspect.Parameter(
                    f.name, parameter.kind, default=f.default, annotation=types[f.name]
                )
                for f in fields(groups[name])
            )
        else:
            shown.append(parameter.replace(annotation=hints[name]))

    @functools.wraps(command)
    def call(**values: Any) -> None:
        made = {
            name: kind(**{f.name: values.pop(f.name) for f in fields(kind)})
            for name, kind in groups.items()
        }
        command(**values, **made)

    call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    return call
