"""What tells one model from another: what was loaded, wherever and in whatever files it lay."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

POOLER = re.compile(r"(^|\.)pooler\.")  # the original's, of no use beside other pooling


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
    """BLAKE2b-256 over names and bytes of the loaded tensors: the same wherever they lay.

    A pooler that its file lacks is another each time. Pooling has no tensors, but other vectors
    come of it: unless it is the usual, its name is added.
    """
    import torch

    digest = hashlib.blake2b(digest_size=32)
    for name, tensor in sorted(model.state_dict().items()):
        if without_pooler and POOLER.search(name):
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    for module in model.modules():
        if (pooling := getattr(module, "pooling_mode", "mean")) != "mean":
            digest.update(f"pooling {pooling}".encode())
    return f"blake2b:{digest.hexdigest()}"
