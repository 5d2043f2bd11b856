"""What loading a model with somebody else's library takes, whoever does it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from gip_cli.errors import UsageError
from gip_cli.interrupts import put_off
from gip_cli.storage import temporary_folder


@contextmanager
def importing() -> Iterator[None]:
    """Within it torch and what goes with it can be imported for the first time.

    Raises UsageError for a package that is not there, or that its environment keeps from it.
    """
    temporary_folder()  # they ask for it, and would fail for another reason
    with put_off():  # a signal amid the first import of torch aborts the process (SIGABRT)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever importing a foreign package raises
            raise UsageError(
                f"PyTorch and sentence-transformers cannot be loaded ({cause(error)})",
                "see to their installation, and to environment variables that are meant for them",
            ) from None


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
