"""What the judge is asked: attributes, each a question with levels described lowest first."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeGuard

from gip_cli.errors import UsageError
from gip_cli.storage import storage_errors

# What the typed-question servers take: TypeSafe, OpenAI and llama.cpp stop at ten levels.
MIN_LEVELS, MAX_LEVELS = 2, 10
_PROMPTS = 1  # raised whenever the words around the rubric change: another prompt, other answers
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Attribute:
    """One quality: how to judge it, and what each level (lowest first) looks like."""

    name: str
    instructions: str
    levels: tuple[str, ...]

    @property
    def range(self) -> tuple[float, float]:
        """The scale of its score: 1 is the lowest level, their number the highest."""
        return 1.0, float(len(self.levels))


@dataclass(frozen=True)
class Rubric:
    """The attributes that one request asks about, in order."""

    attributes: tuple[Attribute, ...]

    @cached_property
    def digest(self) -> str:
        """BLAKE2b-128 of names, instructions and levels: another wording, another judgment."""
        asked = [[one.name, one.instructions, one.levels] for one in self.attributes]
        return blake2b(json.dumps([_PROMPTS, asked]).encode(), digest_size=16).hexdigest()

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        return {one.name: one.range for one in self.attributes}

    @classmethod
    def choose(cls, names: Sequence[str] = (), file: str | Path | None = None) -> Rubric:
        """The attributes `names`, looked up in `file` first and then among the built-in ones.

        Without names: all of the file's, or helpfulness, accuracy and reasoning.

        Raises
        ------
        UsageError
            An unknown or repeated name, or a file that is no rubric.
        """
        own = _read(file) if file is not None else {}
        known = {**BUILT_IN, **own}
        chosen = list(names) or list(own) or list(_DEFAULT)
        for name in chosen:
            if name not in known:
                raise UsageError(
                    f"no attribute {name!r}", f"choose from {', '.join(known)}, or write a --rubric"
                )
        if len(set(chosen)) < len(chosen):
            raise UsageError("an --attribute is given twice", "ask for each once")
        return cls(tuple(known[name] for name in chosen))


def _read(path: str | Path) -> dict[str, Attribute]:
    """The attributes of a TOML file: one table each, with instructions and levels."""
    with storage_errors(path):
        data = Path(path).read_bytes()
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # also of too many digits
        raise UsageError(f"not TOML: {error}", path=path) from None
    if not tables:
        raise UsageError("a rubric without attributes", "write one table an attribute", path=path)
    return {name: _attribute(name, table, path) for name, table in tables.items()}


def _attribute(name: str, table: Any, path: str | Path) -> Attribute:
    def wrong(what: str) -> UsageError:
        return UsageError(
            f"attribute {name!r}: {what}",
            'write [NAME], instructions = "..." and levels = ["lowest", ..., "highest"]',
            path=path,
        )

    if not _NAME.fullmatch(name):
        raise wrong("a name is a letter, then letters, digits, - and _")
    if not isinstance(table, dict):
        raise wrong("not a table")
    if unknown := sorted(table.keys() - {"instructions", "levels"}):
        raise wrong(f"unknown key {unknown[0]!r}")
    instructions, levels = table.get("instructions"), table.get("levels")
    if not _is_text(instructions):
        raise wrong("no instructions")
    if not isinstance(levels, list) or not all(map(_is_text, levels)):
        raise wrong("levels is not a list of texts")
    if not MIN_LEVELS <= len(levels) <= MAX_LEVELS or len(set(levels)) < len(levels):
        raise wrong(f"{MIN_LEVELS} to {MAX_LEVELS} different levels are wanted")
    return Attribute(name, instructions, tuple(levels))


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


_DEFAULT = ("helpfulness", "accuracy", "reasoning")

# Each level describes a situation that can be recognised alone: a judge that weighs one level
# at a time cannot use "worse than the one before".
BUILT_IN = {
    one.name: one
    for one in (
        Attribute(
            "helpfulness",
            "How well does the assistant's response do what the user asked for?",
            (
                "It does not do what was asked: empty, off topic, refused without cause, or an "
                "answer to another question.",
                "It touches the request but misses its main point, or leaves out so much that "
                "the user has to ask again.",
                "It does the main part of what was asked, with a gap, a detour or a form that "
                "the user has to repair.",
                "It does all of what was asked, clearly; a careful reader could still name "
                "something to improve.",
                "It does all of what was asked, in the form that was asked for, with everything "
                "the user needs and nothing in the way.",
            ),
        ),
        Attribute(
            "accuracy",
            "How correct is what the assistant says, its numbers, code and references included?",
            (
                "Its main claim or result is wrong, made up, or contradicts the text it was given.",
                "Some of it is right, but an error changes what the user would conclude or do.",
                "The main result is right; beside it stand smaller errors or claims that nobody "
                "could rely on.",
                "Nothing is wrong; a detail is imprecise or lacks a qualification that matters "
                "little.",
                "Everything it states is correct and agrees with the text it was given, and it "
                "says where it cannot know.",
            ),
        ),
        Attribute(
            "reasoning",
            "Where the task needs steps, does the response show them, and do they carry its "
            "result? A task that needs none (a greeting, a single fact) is judged by whether the "
            "response is as direct as it should be.",
            (
                "The task needs steps and the response shows none, or shows steps that "
                "contradict its result.",
                "It shows steps, but one that the result depends on is missing or wrong.",
                "Its steps lead to the result, but the reader has to fill some in or to skip "
                "idle ones.",
                "It shows the steps that matter in a sound order; one could be plainer.",
                "Every step that the task needs is there, in order, each following from the "
                "last; or the task needs none and the response adds none.",
            ),
        ),
        Attribute(
            "complexity",
            "How much does the user's instruction ask of whoever answers it? Judge the "
            "instruction, not the response.",
            (
                "It asks for one well-known fact or a trivial edit; anybody answers at once.",
                "It asks for one plain step: a short rewriting, a simple sum, an everyday "
                "explanation.",
                "It asks for a few steps, or sets a few conditions, or needs schooling in a field.",
                "It sets many conditions, or steps that depend on one another, or needs a "
                "practitioner's knowledge of a field.",
                "It asks for work that an expert would have to plan: several hard parts that "
                "have to fit together, or knowledge few people have.",
            ),
        ),
    )
}
