"""One answer in the judge's journal: what of a line is believed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gip_cli.errors import InputError
from gip_cli.judge.answers import Verdict, number
from gip_cli.judge.rubric import Rubric

_LOCAL = re.compile(r"@[0-9a-f]{32}\Z")  # of a hub's model it is a commit, of 40


def read_entry(line: bytes, rubric: Rubric, path: Path, line_number: int) -> dict[str, Any]:
    """A line as it was written; InputError if gip did not write it, or not for its rubric."""
    try:
        entry: dict[str, Any] = json.loads(line)
        for name in ("model", "rubric", "api", "key"):
            if not isinstance(entry[name], str):
                raise ValueError(f"{name} is not a text")
        bytes.fromhex(entry["key"])
        verdicts_in(entry, rubric)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            "not an answer that gip wrote",
            "delete the line, and its row will be asked again",
            path=path,
            line=line_number,
        ) from None
    return entry


def same_judge(one: str, other: str) -> bool:
    """Whether two names mean one judge: a local model is known by its files, not by its folder."""
    local = _LOCAL.search(one)
    return one == other or bool(local and other.endswith(local[0]))


def plain(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON, of which `verdicts_in` makes it again."""
    if verdict.score is None:
        return {"score": None, "cause": verdict.cause}
    return {
        "score": verdict.score,
        "probabilities": verdict.probabilities,
        "confidence": verdict.confidence,
    }


def verdicts_in(entry: dict[str, Any], rubric: Rubric) -> dict[str, Verdict]:
    """The verdicts of a journal's line; ValueError, KeyError, TypeError or AttributeError if none.

    One to `rubric` has a verdict for each of its attributes, and scores on their levels.
    """
    ours = entry["rubric"] == rubric.digest
    verdicts = {}
    for name, one in entry["scores"].items():
        score, cause = one["score"], one.get("cause")
        if isinstance(cause, str) is not (score is None):
            raise TypeError("a score or the cause of its absence")
        shares, sure = one.get("probabilities"), one.get("confidence")
        verdicts[name] = Verdict(
            None if score is None else _number(score),
            cause,
            tuple(map(_number, shares)) if shares else None,
            None if sure is None else _number(sure),
        )
        if ours and score is not None:
            low, high = rubric.ranges[name]
            if not low <= score <= high:
                raise ValueError("a score off the scale")
    if not ours:
        return verdicts
    if verdicts.keys() != rubric.ranges.keys():
        raise ValueError("not all attributes")
    return {name: verdicts[name] for name in rubric.ranges}  # jq -S may have sorted them


def _number(value: Any) -> float:
    if (known := number(value)) is None:
        raise TypeError("not a number")
    return known
