"""Chat completions, for servers that know no typed questions: one integer an attribute.

The reply is read with tolerance for what stands around the one JSON object, and none for what
stands in it: 4.5, "4/5", 7 of 5 and two objects that disagree are no answers.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gip_cli.judge.answers import (
    REFUSED,
    UNPARSED,
    Answer,
    Unanswered,
    Usage,
    Verdict,
)
from gip_cli.judge.rubric import Attribute, Rubric
from gip_cli.printable import Tell

if TYPE_CHECKING:
    from gip_cli.judge.http import Http

_GRADE = re.compile(r"\s*\d{1,2}\s*")  # there are ten levels at most
_OPENING = re.compile(r'\{(?=\s*+")')  # of an object that has a member
# Of an object of grades, in whatever quotes: not that of the prompt, whose values are <1-5>.
_OPENS = r"""\{\s*["']?(?:%s)["']?\s*(?::(?!\s*<)|\Z)"""
_MOST_OPENINGS = 500  # tried in a reply, the last ones: an answer is its end
_MOST_READ = 64 << 20  # characters, in tries that came to nothing
_UNSUPPORTED = (400, 422)  # what servers say to a parameter that they do not know


class Chat:
    """Asks ``POST {base_url}/chat/completions``.

    `response_format` and `temperature` are left out for the rest of the run once the server has
    refused them and answered without them, which `notice` is told; if it has answered with them
    before, for that row alone.
    """

    api = "chat"

    def __init__(self, http: Http, model: str, rubric: Rubric, notice: Tell) -> None:
        self._http = http
        self._model = model
        self._rubric = rubric
        self._notice = notice
        self._options: dict[str, Any] = {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "grades", "strict": True, "schema": schema(rubric)},
            },
            "temperature": 0,
        }
        self._taken: set[str] = set()  # options that answers came with

    async def ask(self, state: str) -> Answer:
        options = dict(self._options)
        while True:
            try:
                reply = await self._ask(state, options)
            except Unanswered as failure:
                busy = failure.wait or (failure.status or 0) > 501  # or its GPU's temperature
                named = [name for name in options if name in failure.detail and not busy]
                if not options or not (named or failure.status in _UNSUPPORTED):
                    raise
                del options[(named or list(options))[0]]
            else:
                break
        self._taken |= options.keys()
        if refused := self._options.keys() - options.keys() - self._taken:
            self._options = {n: one for n, one in self._options.items() if n not in refused}
            self._notice(f"the server does not take {', '.join(sorted(refused))}: left out")
        choice = _first(reply.get("choices"))
        message = choice.get("message")
        return Answer(
            reply,
            verdicts(
                self._rubric,
                message if isinstance(message, Mapping) else {},
                str(choice.get("finish_reason")),
            ),
            Usage.of(reply.get("usage")),
        )

    async def _ask(self, state: str, options: Mapping[str, Any]) -> dict[str, Any]:
        return await self._http.reply(
            self._http.client.chat.completions.with_raw_response.create(
                model=self._model,
                messages=[{"role": "user", "content": prompt(self._rubric, state)}],
                **options,
            )
        )


def prompt(rubric: Rubric, state: str) -> str:
    """The one message: the rubric, the fenced row, then the question, so that it has the last word.

    It is one user message because some chat templates know no system role.
    """
    shown = "\n\n".join(
        f"{one.name}: {one.instructions}\n"
        + "\n".join(f"{rank} = {level}" for rank, level in enumerate(one.levels, 1))
        for one in rubric.attributes
    )
    example = ", ".join(f'"{one.name}": <1-{len(one.levels)}>' for one in rubric.attributes)
    return (
        f"You grade training data. The rubric:\n\n{shown}\n\n{state}\n\n"
        "The row ends here. Grade it by the rubric, each attribute by the level that fits best. "
        f"Answer with one JSON object of integers and nothing else: {{{example}}}"
    )


def schema(rubric: Rubric) -> dict[str, Any]:
    """The JSON Schema of the object asked for."""
    names = [one.name for one in rubric.attributes]
    return {
        "type": "object",
        "properties": {
            one.name: {"type": "integer", "enum": list(range(1, len(one.levels) + 1))}
            for one in rubric.attributes
        },
        "required": names,
        "additionalProperties": False,
    }


def verdicts(
    rubric: Rubric, message: Mapping[str, Any], finish_reason: str = "stop"
) -> dict[str, Verdict]:
    """Read a reply's message."""
    if finish_reason == "content_filter" or message.get("refusal"):
        return {one.name: Verdict(None, REFUSED) for one in rubric.attributes}
    grades = _grades(rubric, _text(message.get("content")), finish_reason == "length")
    return {one.name: _verdict(one, grades or {}) for one in rubric.attributes}


def _text(content: Any) -> str:
    """The text of a message; of its parts, as Mistral's reasoning models have, those of text."""
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict) and part.get("type") == "text")
        return "\n".join(str(part.get("text")) for part in parts)
    return content if isinstance(content, str) else ""


def _verdict(attribute: Attribute, grades: Mapping[str, Any]) -> Verdict:
    grade = grades.get(attribute.name)
    if isinstance(grade, str) and _GRADE.fullmatch(grade):
        grade = int(grade)
    if isinstance(grade, float) and grade.is_integer():
        grade = int(grade)
    if isinstance(grade, bool) or not isinstance(grade, int):
        return Verdict(None, UNPARSED)
    if not 1 <= grade <= len(attribute.levels):
        return Verdict(None, UNPARSED)
    return Verdict(float(grade))


def _grades(rubric: Rubric, text: str, cut: bool) -> dict[str, Any] | None:
    """The object in `text` that holds grades, wherever it stands; None if there is not just one.

    The same object twice is one answer; two that differ are none. Grades that cannot be read are no
    matter before the answer; around or after it there is none, save for the prompt's example. Where
    the model was `cut` off, what goes on after the object might have changed its mind. A reply is
    searched from its last openings on, and no further than `_MOST_READ`: one of megabytes must not
    hold up the others.
    """
    names = {one.name for one in rubric.attributes}
    said = text.rpartition("</think>")[2]  # some templates open the tag in the prompt
    text = said.partition("<think>")[0]
    openings = deque((one.start() for one in _OPENING.finditer(text)), _MOST_OPENINGS)
    start = openings[0] if openings else 0  # where an error is, is counted from the start
    text = text[start:]
    found: list[dict[str, Any]] = []
    end = last = read = unread = 0  # `unread`: how far grades that cannot be read go on
    opening = re.compile(_OPENS % "|".join(map(re.escape, names)))
    for at in openings:
        if at - start < end:
            continue
        try:
            value, end = _OBJECT.raw_decode(text, at - start)
        except (ValueError, RecursionError) as error:
            broken = getattr(error, "pos", None) or _whole_end(text, at - start)
            if opening.match(text, at - start):
                unread = max(unread, broken)
            read += broken - (at - start)
            if read > _MOST_READ:
                return None
        else:
            if held := _outermost(value, names):
                if at - start < unread:
                    return None
                found += held
                last = start + end
    # Cut off, what stands beside other words may be a guess amid thoughts.
    if cut and (said[last:].strip() or not re.match(r"\s*(```\w*\s*)?\{", said)):
        return None
    if opening.search(text, max(last - start, 0)):
        return None
    return found[0] if found and all(value == found[0] for value in found) else None


def _outermost(value: Any, names: set[str]) -> list[dict[str, Any]]:
    """The object `value` if it has one of `names`, else those within it: it is an envelope."""
    found, left = [], [value]
    while left:
        one = left.pop()
        if isinstance(one, dict) and names & one.keys():
            found.append(one)
        elif isinstance(one, dict | list):
            left += one.values() if isinstance(one, dict) else one
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key given twice has no value")
    return value


_OBJECT = json.JSONDecoder(object_pairs_hook=_once)


def _whole_end(text: str, at: int) -> int:
    """Where an object ends in which a key is given twice, or what is nested too deep."""
    try:
        return json.JSONDecoder().raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        return error.pos
    except (ValueError, RecursionError):
        return len(text)


def _first(choices: Any) -> Mapping[str, Any]:
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return {}
