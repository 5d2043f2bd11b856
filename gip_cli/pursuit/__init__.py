"""Greedy Information Projection (arXiv 2603.13790): arrays in, picked rows out.

The numerical core. It imports numpy and threadpoolctl (torch only when a torch device is asked
for), reads no file and prints nothing. "Design" in its docstrings is the project's design.md, which
states the paper's procedure in the symbols used here.
"""

from gip_cli.pursuit.check import MOST_NOISE, least_noise
from gip_cli.pursuit.noise import default_noise, effective_rank
from gip_cli.pursuit.results import Diagnostics, Progress, Selection, Stopped
from gip_cli.pursuit.rules import Rules
from gip_cli.pursuit.solver import select

__all__ = [
    "MOST_NOISE",
    "Diagnostics",
    "Progress",
    "Rules",
    "Selection",
    "Stopped",
    "default_noise",
    "effective_rank",
    "least_noise",
    "select",
]
