"""The judge's options of `gip score`, in panels of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gip_cli.cli.options import is_stream
from gip_cli.errors import UsageError
from gip_cli.judge import Api

_JUDGE: dict[str, Any] = {"rich_help_panel": "LLM judge"}
_LIMITS: dict[str, Any] = {"rich_help_panel": "LLM judge: cost and limits"}

JudgeModel = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model that a server judges with.", **_JUDGE)
]
JudgeUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The server, up to /v1; default: OpenAI's, or OPENAI_BASE_URL.",
        **_JUDGE,
    ),
]
JudgeApi = Annotated[
    Api, typer.Option(help="How to ask it; auto tries systemone, then chat.", **_JUDGE)
]
ApiKeyEnv = Annotated[
    str, typer.Option(metavar="VARIABLE", help="Where the API key is found.", **_JUDGE)
]
JudgeLocal = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|NAME", help="Judge in this process, by a causal model; no server.", **_JUDGE
    ),
]
AttributeNames = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME",
        help="helpfulness, accuracy, reasoning (the default three), complexity, or a rubric's "
        "own; repeatable.",
        **_JUDGE,
    ),
]
RubricFile = Annotated[
    str | None,
    typer.Option(
        "--rubric", metavar="FILE.toml", help="Attributes of your own: [NAME] tables.", **_JUDGE
    ),
]
KeepProbabilities = Annotated[
    bool,
    typer.Option("--keep-probabilities", help="Attach every level's probability too.", **_JUDGE),
]
MaxJudgeChars = Annotated[
    int, typer.Option(min=1, metavar="N", help="Cut longer rows in the middle.", **_JUDGE)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what asking would take; ask nothing.", **_LIMITS)
]
PricePerMtok = Annotated[
    float | None,
    typer.Option(min=0, metavar="DOLLARS", help="For a million input tokens.", **_LIMITS),
]
MaxConcurrent = Annotated[
    int, typer.Option("--max-concurrent-requests", min=1, help="Requests under way.", **_LIMITS)
]
RequestsPerMinute = Annotated[
    float | None, typer.Option(min=0.001, help="Evenly spaced; retries count.", **_LIMITS)
]
Timeout = Annotated[
    float, typer.Option(min=0.001, metavar="SECONDS", help="For one whole answer.", **_LIMITS)
]
MaxRetries = Annotated[
    int, typer.Option(min=0, help="Further attempts after what may pass.", **_LIMITS)
]
JournalFile = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="PATH",
        help="Keeps every answer, so that none is asked for twice; default: OUT's sibling "
        ".judge.jsonl, or INPUT's.",
        **_LIMITS,
    ),
]
MaxFailureRate = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Rows without a score; more is exit 5.", **_LIMITS
    ),
]


@dataclass(frozen=True)
class JudgeOptions:
    """The judge's options as they came."""

    model: str | None
    url: str | None
    api: Api
    key_variable: str
    local: str | None
    attributes: Sequence[str]
    rubric: str | None
    keep_probabilities: bool
    max_chars: int
    dry_run: bool
    price: float | None
    max_concurrent: int
    requests_per_minute: float | None
    timeout: float
    max_retries: int
    journal: str | None
    max_failure_rate: float

    @property
    def wanted(self) -> bool:
        """Whether a judge is named; raises UsageError where one is half named."""
        remote = self.url is not None or self.model is not None
        if self.local is not None and remote:
            raise UsageError("--judge-local excludes --judge-url and --judge-model", "choose one")
        limits = (self.price, self.requests_per_minute, self.timeout, self.max_failure_rate)
        if not all(limit is None or math.isfinite(limit) for limit in limits):
            raise UsageError("a limit is not a finite number")
        if self.url is not None and self.model is None:
            raise UsageError("--judge-url without --judge-model", "name the model to ask")
        named = remote or self.local is not None
        if not named and (self.attributes or self.rubric or self.dry_run or self.journal):
            raise UsageError("no judge is named", "pass --judge-model or --judge-local")
        return named

    def journal_path(self, input: str, output: str) -> Path:
        """Where answers are kept; raises UsageError."""
        stream = is_stream(output)
        if self.journal is not None:
            path = Path(self.journal)
        elif not stream:
            path = Path(output).with_suffix(".judge.jsonl")
        elif input != "-":
            path = Path(input).with_suffix(".judge.jsonl")
        else:
            raise UsageError("no place for the judge's answers", "name one with --journal PATH")
        if not stream and path.resolve() == Path(output).resolve():
            raise UsageError("journal and output are the same file", "choose another", path=path)
        return path
