"""What asking would cost, without asking."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from gip_cli.judge.chat import prompt
from gip_cli.judge.item import JudgeItem
from gip_cli.judge.rubric import Rubric
from gip_cli.judge.systemone import questions

CHARS_PER_TOKEN = 4.0  # English prose in common tokenisers; code and other scripts have fewer
_SAMPLE = 100  # rows that are tokenised where a tokeniser is at hand


@dataclass(frozen=True)
class Estimate:
    """Rows and how many are `cut`; distinct ones, how many of them have an answer, and what the
    others would take.

    `input_tokens` counts rubric and row once a request, as decision models do; where a
    tokeniser counted a sample, it counts what that model reads.
    """

    rows: int
    distinct: int
    reused: int
    cut: int
    input_tokens: int
    chars_per_token: float
    measured: bool  # with a tokeniser

    @property
    def requests(self) -> int:
        return self.distinct - self.reused

    def dollars(self, price_per_mtok: float) -> float:
        """At a price in dollars for a million input tokens."""
        return self.input_tokens / 1e6 * price_per_mtok


def estimate(
    items: Iterable[JudgeItem],
    rubric: Rubric,
    known: Container[bytes],
    api: str,
    count_tokens: Callable[[str], int] | None = None,
) -> Estimate:
    """Go through `items` and count.

    Parameters
    ----------
    known : container of bytes
        Keys that have an answer: a journal, or what `journal.look` found.
    count_tokens : callable, optional
        Tokens that the judge reads for a state. It is asked about the first rows only; the
        others are reckoned by characters.
    """
    overhead = len(prompt(rubric, "") if api == "chat" else json.dumps(questions(rubric)))
    rows = reused = cut = chars = 0
    sampled_chars = sampled_tokens = sampled = 0
    seen: set[bytes] = set()
    for item in items:
        rows += 1
        cut += bool(item.cut)
        if item.key in seen:
            continue
        seen.add(item.key)
        if item.key in known:
            reused += 1
            continue
        chars += overhead + len(item.state)
        if count_tokens is not None and sampled < _SAMPLE:
            sampled += 1
            sampled_chars += overhead + len(item.state)
            sampled_tokens += count_tokens(item.state)
    per_token = sampled_chars / sampled_tokens if sampled_tokens else CHARS_PER_TOKEN
    return Estimate(
        rows=rows,
        distinct=len(seen),
        reused=reused,
        cut=cut,
        input_tokens=round(chars / per_token),
        chars_per_token=per_token,
        measured=bool(sampled_tokens),
    )
