"""What loading a model with somebody else's library takes, whoever does it."""

from __future__ import annotations

import textwrap


def silence_transformers() -> None:
    """No bars and notes of its own: they would go to a terminal or a log that belongs to gip."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def hub_is_away(model: str, revision: str | None = None) -> bool:
    """Whether the hub cannot be asked: its own client would try for more than a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(model, revision=revision, timeout=10)
    except HfHubHTTPError:
        return False  # it answers; what it has is the loader's to say
    except Exception:  # noqa: BLE001 - away, switched off, or not asked for such a name
        return True
    return False


def cause(error: Exception) -> str:
    """Why a loader failed, in the first line of what it said."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return textwrap.shorten(line, 200, placeholder=" …")
