"""Text for people is safe to show."""

from __future__ import annotations

from gip_cli.printable import printable


def test_printable_has_no_control_character_and_no_surrogate() -> None:
    shown = printable("a\x1b]0;\x07\u202e\ud800\n\u2028é", 60)
    assert shown == "a\\x1b]0;\\x07\\u202e\\ud800\\n\\u2028é"
    assert printable("abc", 2) == "ab…"
