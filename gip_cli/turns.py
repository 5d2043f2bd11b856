"""A row's value to its turns, for each known format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

Turn = tuple[str, str]  # (role, text); roles are system, user, assistant, or the row's own word
Value = dict[str, Any]


class NotThisFormat(Exception):  # noqa: N818 - control flow between these functions only
    """Why a row is not of a format."""


def _string(value: Value, key: str) -> str:
    text = value.get(key)
    if isinstance(text, str):
        return text
    what = "null" if text is None else "not a string"
    raise NotThisFormat(f"{key!r} is {what}" if key in value else f"no {key!r}")


def _alpaca(value: Value) -> list[Turn]:
    dolly = "response" in value and "output" not in value
    beside, answered = ("context", "response") if dolly else ("input", "output")
    instruction = _string(value, "instruction")
    extra = _string(value, beside) if value.get(beside) is not None else ""
    prompt = f"{instruction}\n{extra}" if extra else instruction
    return [("user", prompt), ("assistant", _string(value, answered))]


_QA_KEYS = (("question", "answer"), ("prompt", "completion"), ("prompt", "response"))
_OTHER_QA_KEYS = (("question", "response"), ("query", "response"))  # OpenOrca's, MetaMathQA's


def _qa(value: Value) -> list[Turn]:
    for keys in (*_QA_KEYS, *_OTHER_QA_KEYS):
        asked, answered = keys
        if asked in value and answered in value:
            said = value.get("system_prompt") if keys in _OTHER_QA_KEYS else None
            system = _content(said, "'system_prompt'")
            turns = [*_side(value, asked, "user"), *_side(value, answered, "assistant")]
            return [("system", system), *turns] if system else turns
    *pairs, last = map("/".join, (*_QA_KEYS, *_OTHER_QA_KEYS))
    raise NotThisFormat(f"no {', '.join(pairs)} or {last}")


def _side(value: Value, key: str, role: str) -> list[Turn]:
    """One side of a row: a text, or messages, as TRL has them, the user's after a `system`."""
    if isinstance(turns := value[key], list):
        beside = value if role == "user" else {key: turns}
        return _conversation(beside, key, "role", "content")
    return [(role, _string(value, key))]


def _text(value: Value) -> list[Turn]:
    return [("text", _string(value, "text"))]


def _sharegpt(value: Value) -> list[Turn]:
    """By ShareGPT's names or, as in LMSYS's and others' files, by OpenAI's."""
    key = "conversations"
    if key not in value and "conversation" in value:
        key = "conversation"
    turns = value.get(key)
    first = turns[0] if isinstance(turns, list) and turns else None
    openai = isinstance(first, dict) and "role" in first and "from" not in first
    return _conversation(value, key, *(("role", "content") if openai else ("from", "value")))


# The names that ShareGPT files use, and OpenAI's, are made one set; some write them large.
_ROLES = {"human": "user", "prompter": "user", "user": "user", "system": "system"} | dict.fromkeys(
    ("assistant", "gpt", "chatgpt", "bot", "model", "ai", "bing", "bard"), "assistant"
)


def _conversation(value: Value, key: str, role: str, content: str) -> list[Turn]:
    """The turns listed under `key`, after one for a `system` that stands beside the list."""
    turns = value.get(key)
    if not isinstance(turns, list):
        raise NotThisFormat(f"{key!r} is not a list" if key in value else f"no {key!r}")
    if not turns:
        raise NotThisFormat(f"{key!r} is empty")
    system = _content(value.get("system"), "'system'")
    out: list[Turn] = [("system", system)] if system else []
    for number, turn in enumerate(turns, 1):
        name = turn.get(role) if isinstance(turn, dict) else None
        calls = _calls(turn, number) if isinstance(name, str) else []
        if not (isinstance(name, str) and (content in turn or calls)):
            raise NotThisFormat(f"turn {number} of {key!r} lacks {role!r} or {content!r}")
        said = _content(turn.get(content), f"turn {number}")
        out.append((_ROLES.get(name.lower(), name), "\n".join([said, *calls] if said else calls)))
    return out


def _content(content: Any, where: str) -> str:
    """A turn's text: a string; null as none; parts joined, those without text by their type."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(
            text if isinstance(text := part.get("text"), str) else f"[{_type(part)}]"
            for part in content
        )
    raise NotThisFormat(f"{where} holds neither text nor a list of parts")


def _calls(turn: Value, number: int) -> list[str]:
    """A text for each of the turn's tool calls; `function_call` is the older way to make one."""
    calls = turn.get("tool_calls")
    if not isinstance(calls, list | None):
        raise NotThisFormat(f"'tool_calls' of turn {number} is not a list")
    calls = list(calls or ())
    if turn.get("function_call") is not None:
        calls.append(turn["function_call"])
    return [_call(call, f"tool call {at} of turn {number}") for at, call in enumerate(calls, 1)]


def _call(call: Any, where: str) -> str:
    """``name(arguments)``; its id, made anew each time, says nothing.

    What is called stands under `function`, or in the call itself. Arguments that are a text stay
    as they are, an object is written as compact JSON.
    """
    function = call.get("function", call) if isinstance(call, dict) else None
    if not (isinstance(function, dict) and isinstance(function.get("name"), str)):
        raise NotThisFormat(f"{where} names no function")
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        try:
            arguments = orjson.dumps(arguments).decode()
        except orjson.JSONEncodeError:  # it reads deeper than it writes
            raise NotThisFormat(f"{where} has arguments nested too deeply") from None
    if not isinstance(arguments, str | None):
        raise NotThisFormat(f"{where} has arguments that are neither text nor an object")
    return f"{function['name']}({arguments or ''})"


def _type(part: dict[str, Any]) -> str:
    name = part.get("type")
    return name if isinstance(name, str) else "part"


@dataclass(frozen=True)
class Format:
    """How a row of it is known, and read; `turns` raises NotThisFormat where it cannot be.

    A row has the format with all keys of one of its `marks` or, if no other format's marks are
    there, of one of `others`.
    """

    marks: tuple[tuple[str, ...], ...]
    turns: Callable[[Value], list[Turn]]
    others: tuple[tuple[str, ...], ...] = ()


FORMATS = {
    "messages": Format(
        (("messages",),), lambda value: _conversation(value, "messages", "role", "content")
    ),
    "sharegpt": Format((("conversations",),), _sharegpt, (("conversation",),)),
    "alpaca": Format((("instruction", "output"),), _alpaca, (("instruction", "response"),)),
    "qa": Format(_QA_KEYS, _qa, _OTHER_QA_KEYS),
    "text": Format((("text",),), _text),
}


def format_of(value: Value) -> str | None:
    """The format that a row has by its keys; None if none that is known."""
    marks = [(name, mark) for name, known in FORMATS.items() for mark in known.marks]
    marks += [(name, mark) for name, known in FORMATS.items() for mark in known.others]
    return next((name for name, mark in marks if value.keys() >= set(mark)), None)
