"""What tells one model from another: what was loaded, wherever and in whatever files it lay."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

POOLER = re.compile(r"(^|\.)pooler\.")  # the original's, of no use beside other pooling
_EMPTY: tuple[Any, ...] = ([], {})
_UNSET_MAY_BE_TRUE = "strip_accents"  # unset it is as `lowercase`
# Of bert-base-uncased, which the default model and many others have: it goes without saying, and
# stores that were made before tokenisers counted are known.
_USUAL_TOKENIZER = "f8a854308402694d7b132c256677b6a24fcbe64d65a3f19a7a556ae61690df1d"


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files: a tokeniser can be tampered with too."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def model_digest(model: SentenceTransformer, *, without_pooler: bool) -> str:
    """BLAKE2b-256 over names and bytes of the loaded tensors, and what else makes the vectors.

    A pooler that its file lacks is another each time. Pooling, activations and tokenisers have no
    tensors, but other vectors come of others: what is not the usual is added.
    """
    import torch

    digest = hashlib.blake2b(digest_size=32)
    for name, tensor in sorted(model.state_dict().items()):
        if without_pooler and POOLER.search(name):
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    tokenizers = {}
    for module in model.modules():
        if (pooling := getattr(module, "pooling_mode", "mean")) != "mean":
            digest.update(f"pooling {pooling}".encode())
        if getattr(module, "include_prompt", True) is False:
            digest.update(b"pooling without the prompt")
        activation = type(getattr(module, "activation_function", torch.nn.Tanh())).__name__
        if activation != "Tanh":
            digest.update(f"activation {activation}".encode())
        if tokenizer := getattr(module, "tokenizer", None):
            tokenizers[id(tokenizer)] = tokenizer
    for tokenizer in tokenizers.values():
        if (own := tokenizer_digest(tokenizer)) != _USUAL_TOKENIZER:
            digest.update(f"tokenizer {own}".encode())
    return f"blake2b:{digest.hexdigest()}"


def tokenizer_digest(tokenizer: Any) -> str:
    """BLAKE2b-256 over all that a tokeniser does, but for where it cuts, which a card says.

    It is of the loaded one, which several files and settings make, some of them in one library's
    version only. What is not set is left out: versions differ in which of it they write down.
    """
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(backend, Tokenizer):
        rules = json.loads(backend.to_str())
        for passing in ("version", "truncation", "padding"):
            rules.pop(passing, None)
        if merges := rules["model"].get("merges"):  # as texts before tokenizers 0.20
            joined = [one if isinstance(one, str) else " ".join(one) for one in merges]
            rules["model"]["merges"] = joined
    else:
        rules = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    for side in ("truncation_side", "padding_side"):
        if (value := getattr(tokenizer, side, "right")) != "right":
            rules[side] = value
    content = json.dumps(_without_unset(rules), sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=32).hexdigest()


def _without_unset(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_unset(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _without_unset(one) for name, one in value.items()}
    return {
        name: one
        for name, one in kept.items()
        if one is not None
        and (one is not False or name == _UNSET_MAY_BE_TRUE)
        and one not in _EMPTY
    }
