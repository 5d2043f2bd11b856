"""What comes back from a judge: a verdict an attribute, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gip_cli.judge.rubric import Attribute
from gip_cli.rows import is_number

REFUSED, UNPARSED, TIMED_OUT = "refused", "unparsed", "timed out"
NO_CONNECTION, ERROR_200 = "no connection", "error with status 200"
MODEL_ERROR = "model error"
TOO_SLOW = "a slow server wants fewer --max-concurrent-requests or a longer --timeout"
NO_ENDPOINT = (404, 405, 501)  # what servers answer where they have nothing at the path

_ROUNDING = 1e-6  # of an expected level that a server summed in float32
_MOST_TOKENS = 2**53  # of one answer: a server's longer number is none, and could not be shown
_ROUNDED_SUM = 0.06  # ten probabilities rounded to two decimals miss 1 by up to 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """One attribute's answer; `score` is None exactly if `cause` says why.

    `score` is the expected level, 1 being the lowest; `probabilities` (levels,), lowest first,
    and `confidence` in [0, 1] are None where the judge gives none.
    """

    score: float | None
    cause: str | None = None
    probabilities: tuple[float, ...] | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        )

    @classmethod
    def of(cls, usage: Any) -> Usage:
        """From a response's ``usage``, in either of the two spellings; zero where it is silent."""
        counts = usage if isinstance(usage, Mapping) else {}

        def count(*names: str) -> int:
            found = (counts[name] for name in names if is_number(counts.get(name)))
            tokens = next(found, 0)
            return int(tokens) if 0 <= tokens <= _MOST_TOKENS else 0

        return cls(
            count("input_tokens", "prompt_tokens"), count("output_tokens", "completion_tokens")
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's answer about one row: as it came (`raw`), and as it was understood."""

    raw: Any
    verdicts: dict[str, Verdict]
    usage: Usage


class Unanswered(Exception):  # noqa: N818 - control flow: becomes a counted null, or a JudgeError
    """No answer could be had: why, in the words that are counted, and what the server said.

    `wait` is set where it said that the answer may be had later.
    """

    def __init__(
        self, cause: str, detail: str = "", status: int | None = None, *, wait: bool = False
    ) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail
        self.status = status
        self.wait = wait


class Transport(Protocol):
    """A way to ask a judge. `ask` raises `Unanswered`; it may be called concurrently."""

    @property
    def api(self) -> str:
        """Which kind of answer `ask` gives: answers of different kinds are never mixed."""

    async def ask(self, state: str) -> Answer: ...


def on_levels(
    attribute: Attribute, index: Any, probabilities: Sequence[Any], confidence: Any
) -> Verdict:
    """A verdict from an expected level index (0 is the lowest) and a probability a level.

    An index that is not a number on the scale is no answer; probabilities that are no
    distribution over the levels are dropped, since the score does not need them.
    """
    top = len(attribute.levels) - 1
    level = number(index)
    if level is None or not -_ROUNDING <= level <= top + _ROUNDING:
        return Verdict(None, UNPARSED)
    shares = [share for share in map(number, probabilities) if share is not None and share >= 0]
    whole = len(shares) == top + 1 and abs(sum(shares) - 1) <= _ROUNDED_SUM
    sure = number(confidence)
    return Verdict(
        score=1 + min(max(level, 0.0), float(top)),
        probabilities=tuple(shares) if whole else None,
        confidence=sure if sure is not None and 0 <= sure <= 1 else None,
    )


def number(value: Any) -> float | None:
    """`value` as a finite float if it is a number."""
    if not is_number(value):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None
