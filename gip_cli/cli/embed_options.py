"""The options of `gip embed` that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from gip_cli.cli.options import TextOptions
from gip_cli.formats import Part

Device = StrEnum("Device", ["auto", "cpu", "cuda", "mps"])
Dtype = StrEnum("Dtype", ["float32", "float16"])


@dataclass(frozen=True)
class ModelOptions:
    """Which model encodes."""

    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A sentence-transformers name, or a model's directory; default: all-MiniLM-L6-v2.",
        ),
    ] = None
    revision: Annotated[
        str | None, typer.Option(help="The model's revision on its hub.", metavar="REV")
    ] = None
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's repository run its code.")
    ] = False


@dataclass(frozen=True)
class PartOptions(TextOptions):
    """What of a row is its text, and which part of that is embedded."""

    part: Annotated[
        Part, typer.Option(metavar="NAME", help="What to embed: both, prompt or response.")
    ] = Part.both


@dataclass(frozen=True)
class EncodingOptions:
    """How the model encodes a text."""

    prompt_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="An instruction that the model wants before a text; default: the model's own.",
        ),
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(min=1, metavar="TOKENS", help="Cut texts here; default: the model's."),
    ] = None
    batch_size: Annotated[
        int, typer.Option(min=1, max=65_536, metavar="N", help="Texts encoded at once.")
    ] = 32
    device: Annotated[
        Device, typer.Option(metavar="NAME", help="Where the model runs: auto, cpu, cuda or mps.")
    ] = Device.auto


@dataclass(frozen=True)
class StoreOptions:
    """What else is stored than a model's vectors, and in which precision."""

    reuse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OTHER.npy",
            help="Take what these embeddings have of the rows, too; repeatable.",
        ),
    ] = None
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npy", help="Take these embeddings, one a row by position; no model."
        ),
    ] = None
    dtype: Annotated[
        Dtype,
        typer.Option(
            metavar="NAME", help="How to store them: float32, or float16: half the bytes."
        ),
    ] = Dtype.float32
