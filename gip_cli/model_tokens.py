"""How a model reads texts: where it cuts them, and their tokens, counted uncut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_cli.arrays import Counts
from gip_cli.errors import UsageError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WORD_MODULES = {"BoW", "WordEmbeddings"}  # they split texts into words by means of their own
_UNLIMITED = 1 << 40  # tokens; tokenisers without a limit say 10^30, or infinity


@dataclass(frozen=True)
class TokenReader:
    """Reads texts as a model's first module does, but whole."""

    _tokenizer: Any  # callable as those of transformers are
    _unknown: int | None
    _adds_special: bool  # whether the module puts special tokens around a text

    def read(self, texts: Sequence[str]) -> tuple[Counts, int]:
        """Each text's own tokens (n,), and how many of them are not known by half."""
        offsets = self._unknown is not None and getattr(self._tokenizer, "is_fast", False)
        split = self._tokenizer(
            list(texts),
            truncation=False,
            padding=False,
            add_special_tokens=False,
            return_offsets_mapping=offsets,
            verbose=False,
        )
        ids = split["input_ids"]
        unread = sum(not one and bool(text.strip()) for one, text in zip(ids, texts, strict=True))
        for one, spans in zip(ids, split["offset_mapping"] if offsets else (), strict=offsets):
            if self._unknown in one:
                lengths = np.diff(spans).ravel()
                unread += bool(lengths[np.array(one) == self._unknown].sum() > lengths.sum() / 2)
        return np.array([len(one) for one in ids], dtype=np.int64), unread

    def overhead(self, prefix: str) -> int:
        """How many tokens the prefix and special ones take of every text."""
        return len(self._tokenizer(prefix, add_special_tokens=self._adds_special)["input_ids"])


def token_reader(name: str, model: SentenceTransformer) -> TokenReader:
    """What reads texts as `model` does, which the user knows by `name`.

    Raises
    ------
    UsageError
        It reads words, which cannot be counted as tokens.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    first = _first_module(model)
    if (kind := type(first).__name__) in WORD_MODULES:
        raise reads_words(name, kind)
    if not isinstance(first.tokenizer, Tokenizer):
        return TokenReader(first.tokenizer, first.tokenizer.unk_token_id, _adds_special=True)
    # StaticEmbedding has one of the tokenizers library. That is copied here: to be called as those
    # of transformers are takes its limit away.
    whole = PreTrainedTokenizerFast(tokenizer_object=first.tokenizer)  # type: ignore[no-untyped-call]
    rules = json.loads(first.tokenizer.to_str())["model"]
    unknown = rules.get("unk_id")  # of a unigram model; others name it
    if rules.get("unk_token") is not None:
        unknown = first.tokenizer.token_to_id(rules["unk_token"])
    return TokenReader(whole, unknown, _adds_special=False)


def reads_words(name: str, kind: str) -> UsageError:
    """Why the model `name`, whose first module is of this `kind`, is not taken."""
    return UsageError(
        f"model {name!r} is not loaded: its module {kind} reads words, and gip counts tokens",
        "encode the rows by sentence-transformers itself, and give the vectors to gip embed "
        "--vectors FILE.npy",
    )


def longest_text(model: SentenceTransformer) -> int:
    """How many tokens of a text the model reads, special ones among them; 0 for any number."""
    first = _first_module(model)
    if _is_static(first):
        return int((first.tokenizer.truncation or {}).get("max_length", 0))
    longest = first.max_seq_length
    return int(longest) if longest and longest < _UNLIMITED else 0


def cut_texts(model: SentenceTransformer, tokens: int) -> None:
    """Have the model read at most so many tokens of a text."""
    first = _first_module(model)
    if _is_static(first):
        first.tokenizer.enable_truncation(tokens)
    else:
        first.max_seq_length = tokens


def _first_module(model: SentenceTransformer) -> Any:
    """What reads a text first; of several routes, on the one that texts without a task take."""
    first: Any = model[0]
    route = getattr(first, "default_route", None)
    return first if route is None else first.sub_modules[route][0]


def _is_static(module: Any) -> bool:
    """Whether its tokeniser alone knows a limit: StaticEmbedding says that it has none."""
    return type(module).__name__ == "StaticEmbedding"
