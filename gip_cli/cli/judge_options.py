"""The judge's options of `gip score`, in panels of their own."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Annotated

import typer

from gip_cli.cli.files import same_file
from gip_cli.errors import UsageError
from gip_cli.judge import Api
from gip_cli.judge.server import DEFAULT_KEY_VARIABLE
from gip_cli.streams import is_stream

_OTHER_FILES = 32  # that are open beside connections, generously counted

_OF_SERVERS = {  # fields that mean nothing to a model in this process
    "api": "--judge-api",
    "key_variable": "--api-key-env",
    "max_concurrent": "--max-concurrent-requests",
    "requests_per_minute": "--requests-per-minute",
    "timeout": "--timeout",
    "max_retries": "--max-retries",
}

_judge = partial(typer.Option, rich_help_panel="LLM judge")
_limits = partial(typer.Option, rich_help_panel="LLM judge: cost and limits")


@dataclass(frozen=True)
class JudgeOptions:
    model: Annotated[
        str | None, _judge("--judge-model", metavar="NAME", help="The model a server judges with.")
    ] = None
    url: Annotated[
        str | None,
        _judge(
            "--judge-url",
            metavar="URL",
            help="The server, up to /v1; default: OpenAI's, or OPENAI_BASE_URL.",
        ),
    ] = None
    api: Annotated[
        Api,
        _judge(
            "--judge-api",
            metavar="NAME",
            help="auto (systemone, then chat), systemone, openai or chat.",
        ),
    ] = Api.auto
    key_variable: Annotated[
        str, _judge("--api-key-env", metavar="VARIABLE", help="Where the API key is found.")
    ] = DEFAULT_KEY_VARIABLE
    local: Annotated[
        str | None,
        _judge(
            "--judge-local",
            metavar="DIR|NAME",
            help="Judge in this process, by a causal model; no server.",
        ),
    ] = None
    attributes: Annotated[
        list[str] | None,
        _judge(
            "--attribute",
            metavar="NAME",
            help="Ask for this alone: helpfulness, accuracy, reasoning (by default these three), "
            "complexity, or one of the rubric's; repeatable.",
        ),
    ] = None
    rubric: Annotated[
        str | None, _judge(metavar="FILE.toml", help="Attributes of your own: [NAME] tables.")
    ] = None
    keep_probabilities: Annotated[
        bool, _judge("--keep-probabilities", help="Attach every level's probability too.")
    ] = False
    max_chars: Annotated[
        int,
        _judge("--max-judge-chars", min=1, metavar="N", help="Cut longer rows in the middle."),
    ] = 20_000
    dry_run: Annotated[
        bool, _limits("--dry-run", help="Say what asking would take; ask nothing.")
    ] = False
    price: Annotated[
        float | None,
        _limits("--price-per-mtok", min=0, metavar="USD", help="For a million input tokens."),
    ] = None
    max_concurrent: Annotated[
        int,
        _limits(
            "--max-concurrent-requests",
            min=1,
            max=1_000,
            metavar="N",
            help="Requests under way at most.",
        ),
    ] = 8
    requests_per_minute: Annotated[
        float | None,
        _limits(min=0.001, metavar="N", help="Requests at most, evenly spaced; retries count."),
    ] = None
    timeout: Annotated[float, _limits(min=0.001, metavar="SEC", help="For one whole answer.")] = (
        120.0
    )
    max_retries: Annotated[
        int, _limits(min=0, metavar="N", help="Further attempts after an error that may pass.")
    ] = 5
    journal: Annotated[
        str | None,
        _limits(
            metavar="PATH",
            help="Keeps every answer, so that none is asked for twice; default: OUT's sibling "
            ".judge.jsonl, or INPUT's; needed between pipes.",
        ),
    ] = None
    max_failure_rate: Annotated[
        float,
        _limits(
            min=0,
            max=1,
            metavar="F",
            help="Share of distinct rows that may lack a score; more: exit 5.",
        ),
    ] = 0.01

    def check(self) -> bool:
        """Whether a judge is wanted; raises UsageError where options do not go together."""
        remote = self.url is not None or self.model is not None
        if self.local is not None and remote:
            raise UsageError("--judge-local excludes --judge-url and --judge-model", "choose one")
        if self.local is not None:
            for name, option in _OF_SERVERS.items():
                if getattr(self, name) != getattr(JudgeOptions, name):
                    raise UsageError(f"{option} goes with a server: --judge-local asks none")
        limits = (self.price, self.requests_per_minute, self.timeout, self.max_failure_rate)
        if not all(limit is None or math.isfinite(limit) for limit in limits):
            raise UsageError("a limit is not a finite number")
        if self.url is not None and self.model is None:
            raise UsageError("--judge-url without --judge-model", "name the model to ask")
        named = remote or self.local is not None
        if not named and self != JudgeOptions():
            raise UsageError("no judge is named", "pass --judge-model or --judge-local")
        if remote:
            self._check_files()
        if self.keep_probabilities and self.api is Api.chat:
            raise UsageError("--keep-probabilities: --judge-api chat gives none", "leave it out")
        if self.price is not None and not self.dry_run:
            raise UsageError("--price-per-mtok goes with --dry-run")
        return named

    def _check_files(self) -> None:
        """Refuse more connections than files may be open; raises UsageError."""
        most, _ = getrlimit(RLIMIT_NOFILE)
        if most != RLIM_INFINITY and self.max_concurrent + _OTHER_FILES > most:
            raise UsageError(
                f"--max-concurrent-requests {self.max_concurrent}: of {most:,} files that may be "
                f"open at once (ulimit -n) gip needs {_OTHER_FILES} for the rest",
                "ask for fewer, or allow more files",
            )

    def journal_path(self, input: str, output: str) -> Path | None:
        """Where answers are kept, None for a dry run that has no place; raises UsageError."""
        stream = is_stream(output)
        if self.journal is not None:
            path = Path(self.journal)
        elif not stream:
            path = Path(output).with_suffix(".judge.jsonl")
        elif not is_stream(input, 0):
            path = Path(input).with_suffix(".judge.jsonl")
        elif self.dry_run:
            return None
        else:
            raise UsageError("no place for the judge's answers", "name one with --journal PATH")
        new = not stream and os.path.realpath(path) == os.path.realpath(output)
        if new or same_file(output, str(path)):
            raise UsageError("journal and output are the same file", "choose another", path=path)
        return path
