"""A dataset's text made safe to show."""

from __future__ import annotations


def printable(text: str, width: int = 60) -> str:
    """`text` for a terminal: escapes for controls, cut to `width` characters."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text[:width]
    )
    return shown if len(text) <= width else shown + "…"
