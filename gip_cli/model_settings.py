"""What a model's own settings may ask for where its code is not trusted.

They name classes and functions that sentence-transformers imports, and options that it passes on.
Its own guard is against the model's files of Python alone: a module that is a whole model was seen
to be loaded with whatever trust its settings claim, and pickled weights of modules after the first
are read where there are no others.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gip_cli.errors import UsageError
from gip_cli.model_tokens import WORD_MODULES, reads_words

_TEXT_MODULES = {"Dropout", "Normalize", "Pooling", "Transformer", "WordWeights"}
_WITH_WEIGHTS = {"CNN", "Dense", "LSTM", "LayerNorm", "StaticEmbedding", "WeightedLayerPooling"}
_MODULE = re.compile(r"sentence_transformers(\.\w+)*\.(\w+)", re.ASCII)
_ACTIVATION = re.compile(r"torch\.nn\.(modules\.\w+\.)?\w+", re.ASCII)
_ELSEWHERE = {"cache_dir", "device_map", "offload_folder", "tokenizer_name_or_path"}
_KERNELS = {"allow_all_kernels", "kernel_config", "use_kernels"}  # of the hub's, fetched and run
_NAME = re.compile(r"[\w.-]*", re.ASCII)  # of a mode or a type: no path, no repository


def settings_folder(model: str, revision: str | None, *, offline: bool) -> Path:
    """Where a model's settings lie; those of a hub's are fetched.

    Raises what the hub's client does where it has no such model.
    """
    if (folder := Path(model)).is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    # A name alone is of the library's own models, or else of the hub's oldest.
    names = [model] if "/" in model else [f"sentence-transformers/{model}", model]
    for name in names:
        try:
            fetched = snapshot_download(
                name,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors"],
                cache_dir=os.getenv("SENTENCE_TRANSFORMERS_HOME"),  # as its loader takes it
                local_files_only=offline,
            )
        except (LocalEntryNotFoundError, RepositoryNotFoundError):
            if name == names[-1]:
                raise
        else:
            return Path(fetched)
    raise AssertionError


def check_settings(model: str, folder: Path) -> None:
    """Refuse a model whose settings ask for more than vectors of texts take.

    Raises
    ------
    UsageError
        Names the file, and what it asks for.
    """
    for file, what in _asked_for(model, folder):
        raise UsageError(
            f"model {model!r} is not loaded: {file.relative_to(folder)} asks for {what}",
            "gip embed --trust-remote-code loads it, and lets it run any code",
        )


def _asked_for(model: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Files of settings, and what of theirs takes trust."""
    listed, places = folder / "modules.json", {folder: None}  # in their order, each once
    for module in _read(listed) or []:
        kind, path = str(module.get("type")), folder / str(module.get("path"))
        match = _MODULE.fullmatch(kind)
        name = match[2] if match else ""
        if name in WORD_MODULES:
            raise reads_words(model, kind)
        if name not in _TEXT_MODULES | _WITH_WEIGHTS:
            yield listed, f"the module {kind}"
        if name in _WITH_WEIGHTS and not (path / "model.safetensors").is_file():
            yield listed, f"weights of {kind} that are no safetensors in {path.relative_to(folder)}"
        if name == "Dense":
            config = _read(path / "config.json") or {}
            activation = str(config.get("activation_function", "torch.nn.Tanh"))
            if not _ACTIVATION.fullmatch(activation):
                yield path / "config.json", f"the activation function {activation}"
        places[path] = None
    for place in places:
        if (adapter := _read(file := place / "adapter_config.json")) is not None:
            yield file, f"an adapter of another model, {adapter.get('base_model_name_or_path')}"
        for name, value in _kernels(_read(file := place / "config.json")):
            yield file, f"{name} {value}"
    for file in (file for place in places for file in place.glob("sentence_*_config.json")):
        for name, value in (_read(file) or {}).items():
            if name == "trust_remote_code" or (name in _ELSEWHERE and value):
                yield file, f"{name} {value}"
            if name.endswith(("_args", "_kwargs")) and not _is_plain(value):
                yield file, f"{name} {value}"


def _kernels(config: Any) -> Iterator[tuple[str, str]]:
    """What of a transformer's settings, or of a part's within it, names code of the hub's.

    `org/kernel` is fetched and run where the package `kernels` is installed.
    """
    for name, value in config.items() if isinstance(config, dict) else ():
        if name.endswith("_implementation") and not _is_plain(value):
            yield name, value
        yield from _kernels(value)


def _is_plain(value: Any) -> bool:
    """Whether options only choose among what the libraries have."""
    if isinstance(value, dict):
        return value.keys().isdisjoint({*_ELSEWHERE, *_KERNELS, "trust_remote_code"}) and all(
            map(_is_plain, value.values())
        )
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not isinstance(value, str) or bool(_NAME.fullmatch(value))


def _read(file: Path) -> Any:
    """A file's JSON, by the parser of who reads it next; None where there is no file.

    Raises what it does, and where a value is not of the usual kind an AttributeError comes of it:
    what cannot be read is not loaded either.
    """
    if not file.is_file():
        return None
    with file.open(encoding="utf8") as opened:
        return json.load(opened)
