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
