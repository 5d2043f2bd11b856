"""What the judge's tests share: rows, a way to run, and an environment without keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gip_cli.judge import Api, Journal, JudgeItem, Outcome, Rubric, Server, Tally, Verdict, judge
from tests.judge.server import JudgeServer

RUBRIC = Rubric.choose(["helpfulness", "accuracy"])
Verdicts = list[dict[str, Verdict]]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gone() -> str:
    """The address of a server that is there no more."""
    with JudgeServer() as server:
        return server.url


def items(count: int) -> list[JudgeItem]:
    return [JudgeItem.of([("user", f"question {n}"), ("assistant", "a")]) for n in range(count)]


@dataclass
class Run:
    """Runs the judge on one journal, as often as it is called."""

    url: str
    path: Path
    api: Api = Api.systemone
    model: str = "m"
    rubric: Rubric = RUBRIC
    timeout: float = 5.0
    max_retries: int = 2
    max_concurrent: int = 8
    max_failure_rate: float = 1.0
    requests_per_minute: float | None = None
    notices: list[str] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    outcome: Outcome | None = None

    def __call__(self, asked: Iterable[JudgeItem]) -> Verdicts:
        server = Server(
            self.model,
            self.api,
            self.url,
            timeout=self.timeout,
            max_retries=self.max_retries,
            requests_per_minute=self.requests_per_minute,
        )
        seen: list[JudgeItem] = []

        def noted() -> Iterable[JudgeItem]:
            for item in asked:
                seen.append(item)
                yield item

        with Journal(self.path, self.model, self.rubric, server.apis) as journal:
            self.outcome = judge(
                noted(),
                lambda: server.connect(self.rubric, self.notices.append, journal.api),
                self.rubric,
                journal,
                max_concurrent=self.max_concurrent,
                max_failure_rate=self.max_failure_rate,
                on_progress=lambda tally: self.tallies.append(tally),
            )
            return [self.outcome.verdicts(item.key) for item in seen]

    @property
    def tally(self) -> Tally:
        assert self.outcome is not None
        return self.outcome.tally


def scores(verdicts: Verdicts) -> list[list[float | None]]:
    return [[one.score for one in row.values()] for row in verdicts]


def causes(verdicts: Verdicts) -> list[list[str | None]]:
    return [[one.cause for one in row.values()] for row in verdicts]


@contextlib.contextmanager
def unchanged(path: Path):  # type: ignore[no-untyped-def]
    """The file at `path` has the same bytes after the block."""
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before
