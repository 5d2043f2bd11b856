"""`gip embed`: rows to cached embeddings."""

from __future__ import annotations

from typing import Annotated

import typer

from gip_cli.cli.embed_options import EncodingOptions, ModelOptions, PartOptions, StoreOptions
from gip_cli.cli.option_groups import grouped
from gip_cli.cli.options import Input, Quiet, SkipBad


@grouped
def embed(
    input: Input,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="NAME.npy", help="Where to keep the embeddings."),
    ],
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    encoding: EncodingOptions = EncodingOptions(),  # noqa: B008
    store: StoreOptions = StoreOptions(),  # noqa: B008
    text: PartOptions = PartOptions(),  # noqa: B008
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
) -> None:
    """Embed every row of INPUT into NAME.npy; running again encodes only what is new.

    \b
    gip embed pool.jsonl -o pool.npy
    gip embed pool.jsonl -o pool.npy --vectors mine.npy
    zcat big.jsonl.gz | gip embed - -o big.npy --dtype float16
    """
    from gip_cli.cli.embed_run import run  # imports numpy

    run(input, output, model, encoding, store, text, skip_bad=skip_bad)
