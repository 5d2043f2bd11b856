"""What loading a model with somebody else's library takes, whoever does it."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from gip_cli.errors import UsageError
from gip_cli.interrupts import put_off
from gip_cli.storage import temporary_folder

# In the report on what was loaded; of several layers the name is one, `layer.{0, 2}.weight`.
_MISSING = re.compile(r"^(\S.*?) +\| \S*MISSING\b", re.MULTILINE)


@contextmanager
def importing() -> Iterator[None]:
    """Within it torch and what goes with it can be imported for the first time.

    Raises UsageError for a package that is not there, or that its environment keeps from it.
    """
    if sys.flags.optimize > 1:  # transformers reads its own, and prints a page before it fails
        raise UsageError(
            "Python leaves out docstrings (-OO or PYTHONOPTIMIZE), and transformers needs them",
            "run it with -O at most",
        )
    temporary_folder()  # they ask for it, and would fail for another reason
    with put_off():  # a signal amid the first import of torch aborts the process (SIGABRT)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever importing a foreign package raises
            raise UsageError(
                f"PyTorch and sentence-transformers cannot be loaded ({cause(error)})",
                "see to their installation, and to environment variables that are meant for them",
            ) from None


def tame_transformers() -> None:
    """No bars and notes of its own: they would go to a terminal or a log that belongs to gip.

    And no questions, such as whether a model's code may run, which `yes` in a pipe would answer.
    """
    from transformers import dynamic_module_utils
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0


@contextmanager
def missing_weights() -> Iterator[list[str]]:
    """Which tensors the models that are loaded within it have not in their files, by name.

    transformers makes them up at random, and says so in its log alone.
    """
    missing: list[str] = []

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            missing.extend(_MISSING.findall(record.getMessage()))

    logger, reader = logging.getLogger("transformers.modeling_utils"), Reader()
    before = logger.level, logger.propagate
    logger.addHandler(reader)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield missing
    finally:
        logger.removeHandler(reader)
        logger.setLevel(before[0])
        logger.propagate = before[1]


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
