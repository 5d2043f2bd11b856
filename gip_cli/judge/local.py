"""In process: transformers' decision pipeline on a local causal model, no server at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gip_cli.errors import UsageError
from gip_cli.foreign_models import cause, hub_is_away, importing, tame_transformers
from gip_cli.judge.answers import MODEL_ERROR, Answer, Unanswered, Usage
from gip_cli.judge.rubric import Rubric
from gip_cli.judge.systemone import questions, verdicts, without_legend
from gip_cli.printable import printable

_TAKES = "--judge-local takes a directory with a causal model, its tokeniser and chat template"


class LocalModel:
    """Asks a model loaded into this process, one row at a time.

    Parameters
    ----------
    model : str
        A directory, or a name that transformers resolves.

    Raises
    ------
    UsageError
        transformers is too old, or the model cannot be loaded.
    """

    api = "local"

    def __init__(self, model: str, rubric: Rubric) -> None:
        self._rubric = rubric
        self._main: asyncio.Task[Any] | None = None
        with_pipeline = _transformers()
        try:
            self._pipeline = with_pipeline.pipeline(
                "decision",
                model=model,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # noqa: BLE001 - whatever a foreign loader raises is the user's news
            raise _unloadable(model, error) from None
        # A forward pass of a large model takes a while, and Ctrl-C has to be heard within it.
        for module in self._pipeline.model.modules():
            module.register_forward_pre_hook(self._stop_if_cancelled)

    def _stop_if_cancelled(self, *_: object) -> None:
        if self._main is not None and self._main.cancelling():
            raise asyncio.CancelledError

    async def ask(self, state: str) -> Answer:
        pipeline = self._pipeline
        self._main = asyncio.current_task()
        request = {"state": state, "questions": questions(self._rubric)}
        try:
            inputs = pipeline.preprocess(request)
            answers = pipeline.postprocess(pipeline.forward(inputs))
        # Labels that are no tokens, no memory, or whatever the model's chat template raises.
        except Exception as error:  # noqa: BLE001
            raise Unanswered(MODEL_ERROR, printable(cause(error), 200)) from None
        tokens = sum(one["input_ids"].shape[-1] for one, _ in inputs["prompts"])
        return Answer(
            without_legend(answers), verdicts(self._rubric, answers), Usage(input_tokens=tokens)
        )


def identity(model: str) -> str:
    """What makes two local judges the same: a directory's files, or a hub's commit.

    Hidden files, such as a downloader's notes, make none another.

    Raises
    ------
    UsageError
        No such model.
    """
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").exists():  # it may be anything, of any size
            raise UsageError("a directory without a model's config.json", _TAKES, path=model)
        digest = hashlib.blake2b(digest_size=16)
        files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        for name, path in sorted(files.items()):
            if any(part.startswith(".") for part in name.parts):
                continue
            digest.update(os.fsencode(name) + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        return f"{folder.resolve().name}@{digest.hexdigest()}"
    if folder.is_absolute() or model.startswith("."):  # no name on a hub
        raise UsageError("no such directory", _TAKES, path=model)
    transformers = _transformers()
    from huggingface_hub import constants

    if hub_is_away(model):  # and whatever loads the model next would ask it again
        constants.HF_HUB_OFFLINE = True
    try:
        config = transformers.AutoConfig.from_pretrained(model, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - as above
        raise _unloadable(model, error) from None
    return f"{model}@{getattr(config, '_commit_hash', None) or 'unknown'}"


def token_counter(model: str, rubric: Rubric) -> Callable[[str], int]:
    """How many tokens the pipeline would read for a state: its tokeniser, without the weights."""
    transformers = _transformers()
    from transformers.decision import DecisionConfig

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        config = DecisionConfig.from_pretrained(model)
    except Exception as error:  # noqa: BLE001 - as above
        raise _unloadable(model, error) from None

    def count(state: str) -> int:
        request = {"state": state, "questions": questions(rubric)}
        try:
            prompts = config.prepare_inputs(request, tokenizer)
        except Exception as error:  # noqa: BLE001 - as where it is asked
            raise _unloadable(model, error) from None
        return sum(one["input_ids"].shape[-1] for one, _ in prompts)

    return count


def _transformers() -> Any:
    with importing():
        import transformers

        is_new = hasattr(transformers, "DecisionPipeline")  # imports torch
    if not is_new:
        raise UsageError(
            f"transformers {transformers.__version__} has no decision pipeline",
            "pip install --upgrade transformers, or ask a server with --judge-url",
        )
    tame_transformers()
    return transformers


def _unloadable(model: str, error: Exception) -> UsageError:
    return UsageError(
        f"judge model {model!r} cannot be loaded ({cause(error)})",
        _TAKES,
    )
