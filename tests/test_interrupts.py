"""Blocks that no signal may cut short, such as the first import of torch."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import threading, time
from gip_cli.interrupts import put_off
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()  # as BLAS has
try:
    with put_off():
        print("loading", flush=True)
        time.sleep(0.5)
        print("loaded", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
"""


# Sends a signal when a module of numpy is first looked for: both are its first arguments.
AMID_NUMPY = """
import signal, sys
number = int(sys.argv.pop(1))

class Finder:
    def find_spec(name, path, target=None):
        if name == wanted:
            sys.meta_path.remove(Finder)
            signal.raise_signal(number)

wanted = sys.argv.pop(1)
sys.meta_path.insert(0, Finder)
from gip_cli.__main__ import main
try:
    main()
finally:
    print(*vars(sys.modules.get("numpy", signal)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["numpy", "numpy._core._multiarray_umath", "numpy.exceptions"])
def test_a_signal_amid_the_first_import_of_numpy_is_told_as_that(
    number: signal.Signals, name: str
) -> None:
    """And comes once that is done: numpy prints it, makes another error of it, or hangs."""
    run = subprocess.run(
        [sys.executable, "-c", AMID_NUMPY, str(int(number)), name, "select", "no.jsonl", "-k", "1"],
        capture_output=True,
        text=True,
    )
    assert run.stderr.count("\n") == 1, run.stderr
    assert run.stderr.startswith("gip: error: ")
    assert run.returncode == (130 if number == signal.SIGINT else 143)
    assert {"linalg", "__version__"} <= {*run.stdout.split()}


@pytest.mark.parametrize("moment", [b"loading\n", b"loaded\n"])
def test_ctrl_c_waits_until_all_is_loaded(moment: bytes) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = b""
    while not told.endswith(moment):
        told += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    told += process.communicate()[0]
    assert told == b"loading\nloaded\ninterrupted\n"
    assert process.returncode == 0
