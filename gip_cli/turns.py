"""A row's value to its turns, for each known format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Turn = tuple[str, str]  # (role, text); roles are system, user, assistant, or the row's own word
Value = dict[str, Any]


class NotThisFormat(Exception):  # noqa: N818 - control flow between these functions only
    """Why a row is not of a format."""


def _string(value: Value, key: str) -> str:
    text = value.get(key)
    if isinstance(text, str):
        return text
    raise NotThisFormat(f"{key!r} is not a string" if key in value else f"no {key!r}")


def _alpaca(value: Value) -> list[Turn]:
    instruction = _string(value, "instruction")
    extra = _string(value, "input") if value.get("input") is not None else ""
    prompt = f"{instruction}\n{extra}" if extra else instruction
    return [("user", prompt), ("assistant", _string(value, "output"))]


_QA_KEYS = (("question", "answer"), ("prompt", "completion"), ("prompt", "response"))


def _qa(value: Value) -> list[Turn]:
    for asked, answered in _QA_KEYS:
        if asked in value and answered in value:
            return [("user", _string(value, asked)), ("assistant", _string(value, answered))]
    raise NotThisFormat("no question/answer, prompt/completion or prompt/response")


def _text(value: Value) -> list[Turn]:
    return [("text", _string(value, "text"))]


# The names that ShareGPT files use, and OpenAI's, are made one set.
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}


def _conversation(value: Value, key: str, role: str, content: str) -> list[Turn]:
    turns = value.get(key)
    if not isinstance(turns, list):
        raise NotThisFormat(f"{key!r} is not a list")
    if not turns:
        raise NotThisFormat(f"{key!r} is empty")
    out: list[Turn] = []
    for number, turn in enumerate(turns, 1):
        if not (isinstance(turn, dict) and isinstance(turn.get(role), str) and content in turn):
            raise NotThisFormat(f"turn {number} of {key!r} lacks {role!r} or {content!r}")
        name: str = turn[role]
        out.append((_ROLES.get(name, name), _content(turn[content], number)))
    return out


def _content(content: Any, number: int) -> str:
    """A turn's text: a string; null (a tool call) as none; parts joined, others by their type."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(
            text if isinstance(text := part.get("text"), str) else f"[{_type(part)}]"
            for part in content
        )
    raise NotThisFormat(f"turn {number} holds neither text nor a list of parts")


def _type(part: dict[str, Any]) -> str:
    name = part.get("type")
    return name if isinstance(name, str) else "part"


@dataclass(frozen=True)
class Format:
    """How a row of it is known, and read; `turns` raises NotThisFormat where it cannot be."""

    marks: tuple[tuple[str, ...], ...]  # a row with all keys of one of these has the format
    turns: Callable[[Value], list[Turn]]


FORMATS = {
    "messages": Format(
        (("messages",),), lambda value: _conversation(value, "messages", "role", "content")
    ),
    "sharegpt": Format(
        (("conversations",),), lambda value: _conversation(value, "conversations", "from", "value")
    ),
    "alpaca": Format((("instruction", "output"),), _alpaca),
    "qa": Format(_QA_KEYS, _qa),
    "text": Format((("text",),), _text),
}
