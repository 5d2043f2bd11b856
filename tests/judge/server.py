"""A judge's server on 127.0.0.1 that speaks all three dialects and fails as it is told.

What it answers depends on the row alone, so that two runs can be compared; how it fails is
decided by a function that the test gives it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gip_cli.judge.item import PREAMBLE


@dataclass(frozen=True)
class Asked:
    """One request: its endpoint, the row's turns, how often this row was asked before."""

    path: str
    turns: tuple[str, ...]
    before: int
    body: dict[str, Any]
    headers: dict[str, str]
    at: float

    @property
    def text(self) -> str:
        return " ".join(self.turns)


Fault = Callable[["Handler", Asked], bool]
"""Answers in the server's stead; False leaves the answer to it."""


def once(status: int, retry_after: str) -> Fault:
    """Refuse each row the first time that it is asked about."""

    def fault(handler: Handler, asked: Asked) -> bool:
        if not asked.before:
            handler.json({}, status, retry_after=retry_after)
        return not asked.before

    return fault


@dataclass
class JudgeServer:
    """Use as a context manager; `fault` decides per request."""

    fault: Fault | None = None
    delay: float = 0.0
    requests: list[Asked] = field(default_factory=list)
    most_at_once: int = 0

    def __enter__(self) -> JudgeServer:
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.under_way = 0
        self._times: Counter[tuple[str, ...]] = Counter()
        self._http = _Server(("127.0.0.1", 0), Handler)
        self._http.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def note(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Asked:
        turns = turns_in(body)
        with self.lock:
            asked = Asked(path, turns, self._times[turns], body, headers, time.monotonic())
            self._times[turns] += 1
            self.requests.append(asked)
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        return asked


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of five, the sixth to knock waits for a second


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two small writes: 40 ms each time
    server: Any

    def do_POST(self) -> None:
        owner: JudgeServer = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = owner.note(self.path, body, headers)
        try:
            if owner.delay:
                time.sleep(owner.delay)
            if owner.fault is None or not owner.fault(self, asked):
                self.json(answer(asked))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with owner.lock:
                owner.under_way -= 1

    def json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.raw(json.dumps(value).encode(), status, **headers)

    def raw(
        self, body: bytes, status: int = 200, *, length: int | None = None, **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", headers.pop("content_type", "application/json"))
        self.send_header("content-length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang(self) -> None:
        self.close_connection = True
        self.server.owner.closing.wait(30)

    def drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None: ...


def turns_in(body: dict[str, Any]) -> tuple[str, ...]:
    """The turns' texts, read back out of the fence as a judge would see them."""
    shown = body.get("state") or body.get("input") or body["messages"][0]["content"]
    fenced = shown[shown.index(PREAMBLE) + len(PREAMBLE) :].split("\n\n", 1)[0]
    turns = [json.loads(line) for line in fenced.strip("\n").split("\n")]
    return tuple(turn["text"] for turn in turns if "text" in turn)


def distribution(turns: tuple[str, ...], name: str) -> list[float]:
    """Five probabilities that depend on the row and the attribute alone."""
    weights = [1 + byte for byte in blake2b(repr((turns, name)).encode(), digest_size=5).digest()]
    return [weight / sum(weights) for weight in weights]


def expected_index(turns: tuple[str, ...], name: str) -> float:
    return sum(level * share for level, share in enumerate(distribution(turns, name)))


def answer(asked: Asked) -> dict[str, Any]:
    return _ANSWERS[asked.path.rsplit("/", 1)[-1]](asked)


def _systemone(asked: Asked) -> dict[str, Any]:
    return {
        "model": asked.body["model"],
        "answers": {
            name: {
                "type": "score",
                "score": expected_index(asked.turns, name),
                "legend": dict(enumerate(question["criteria"])),
                "confidence": 0.5,
                "probabilities": {
                    str(level): share for level, share in enumerate(distribution(asked.turns, name))
                },
            }
            for name, question in asked.body["questions"].items()
        },
        "usage": {"input_tokens": 100, "output_tokens": 0},
    }


def _decisions(asked: Asked) -> dict[str, Any]:
    return {
        "model": asked.body["model"],
        "answers": [
            {
                "type": "score",
                "name": question["name"],
                "score": expected_index(asked.turns, question["name"]),
                "confidence": 0.5,
                "probabilities": [
                    {"value": value, "label": level["label"], "probability": share}
                    for value, (level, share) in enumerate(
                        zip(
                            question["levels"],
                            distribution(asked.turns, question["name"]),
                            strict=True,
                        )
                    )
                ],
            }
            for question in asked.body["questions"]
        ],
        "usage": {"input_tokens": 100, "output_tokens": 0, "total_tokens": 100},
    }


def _chat(asked: Asked) -> dict[str, Any]:
    prompt = asked.body["messages"][0]["content"]
    names = json.loads(prompt[prompt.rindex("{") :].replace("<1-5>", "0"))
    grades = {name: round(expected_index(asked.turns, name)) + 1 for name in names}
    return completion(json.dumps(grades))


def completion(content: str | None, **message: Any) -> dict[str, Any]:
    """A chat completion with this content."""
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 109},
    }


_ANSWERS = {"systemone": _systemone, "decisions": _decisions, "completions": _chat}
