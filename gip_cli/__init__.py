"""Pick the few instruction-tuning rows that carry the information."""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: while that loads, Ctrl-C would end in a traceback
if TYPE_CHECKING:
    from typing import Any

    from gip_cli.pursuit import Rules, Selection, select

__all__ = ["Rules", "Selection", "select"]


def __getattr__(name: str) -> Any:
    """The solver, imported when it is asked for: the command line's help needs no numpy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gip_cli import pursuit

    return getattr(pursuit, name)


def __dir__() -> list[str]:
    return __all__  # what an interactive session completes, though it is not imported yet
