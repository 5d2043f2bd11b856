"""Text for people is safe to show."""

from __future__ import annotations

import pytest

from gip_cli.printable import agreeing, printable, rounded


def test_printable_has_no_control_character_and_no_surrogate() -> None:
    shown = printable("a\x1b]0;\x07\u202e\ud800\n\u2028é", 60)
    assert shown == "a\\x1b]0;\\x07\\u202e\\ud800\\n\\u2028é"
    assert printable("abc", 2) == "ab…"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (4.0, "4"), (-0.12345, "-0.123"), (999.4, "999"), (999.7, "1,000"),
     (-1323.3, "-1,323"), (12, "12"), (3e20, "3e+20")],
)  # fmt: skip
def test_rounded_has_three_digits_or_all_before_the_point(number: float, shown: str) -> None:
    assert rounded(number) == shown


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("lack a score", "lacks a score"),
        ("have no number", "has no number"),
        ("are given", "is given"),
        ("capture", "captures"),
    ],
)
def test_what_is_said_of_one_is_in_the_singular(many: str, one: str) -> None:
    assert [agreeing(number, many) for number in (0, 1, 2)] == [many, one, many]
