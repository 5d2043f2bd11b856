"""Sweeps on a torch device: the rows lie there, picks go there, and only hits come back.

The steps are those of `gip_cli.pursuit.chunk`, on blocks of rows large enough for a GPU. What a
sweep finds is settled in float64 on the host as ever, so the picks are the same; only rates that
agree to `verify.TIE` could be told apart differently, and those count as ties. Drafts stay on
the host: they are many small steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from gip_cli.pursuit.objective import Floats
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.source import Source
from gip_cli.pursuit.sweep_plan import FIXED, LONGEST, STRETCH, Found, Hits, SweepPlan

BLOCK_BYTES = 1 << 28  # of products at a time
FOLLOWED = 1 << 16  # stretches of rows followed at a time


def torch_device(name: str) -> Any:
    """The torch device of a name; "torch-cpu" is torch's own CPU, for tests.

    Raises
    ------
    ValueError
        If there is no such name.
    RuntimeError
        If torch or the device is not there.
    """
    try:
        torch = import_module("torch")
    except ImportError:
        raise RuntimeError(f"device {name!r} needs torch, which is not installed") from None
    try:
        device = torch.device(name.removeprefix("torch-"))
    except RuntimeError:
        raise ValueError(f"no device {name!r}: cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch finds no CUDA GPU; use cpu")
    if device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"device {name!r} has no float64, which the pursuit needs; use cpu")
    return device


@contextmanager
def in_one_line(torch: Any) -> Iterator[None]:
    """RuntimeErrors of a device, its memory's above all, are raised without torch's many lines."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise RuntimeError("no room for the rows; use cpu, or float16 rows") from error
        first = str(error).partition("\n")[0]
        raise RuntimeError(f"{first}; use cpu") from error


class DeviceRows:
    """All rows of a pool on a device, block by block, in the precision that they are given in.

    With scores beside them, in float32 at least: half precision would round those off.

    Parameters
    ----------
    source : Source
    device : torch.device
    groups : int
        Columns of a pick.
    """

    def __init__(self, source: Source, device: Any, groups: int) -> None:
        self.torch: Any = import_module("torch")
        self.device = device
        self.size = BLOCK_BYTES // (4 * groups * STRETCH * LONGEST)
        m, D = source.shape
        dtype = source.embeddings.dtype
        if source.extra is not None:
            dtype = np.result_type(dtype, np.float32)
        self.blocks = []
        with in_one_line(self.torch):
            for start in range(0, m, self.size):
                rows = slice(start, min(start + self.size, m))
                block = source.block(rows, np.empty((rows.stop - start, D), dtype))
                # torch takes no read-only memory, which a memory map is.
                self.blocks.append(self.put(block if block.flags.writeable else block.copy()))

    def put(self, array: Floats) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def sweep(self, pool: RowStates, plan: SweepPlan) -> Hits:
        """`gip_cli.pursuit.sweep.Sweeper.sweep` on the device."""
        torch = self.torch
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with in_one_line(torch):
                placed = Placed(self, plan)
                found = [
                    self.sweep_block(pool, placed, X, start)
                    for start, X in zip(range(0, len(pool), self.size), self.blocks, strict=True)
                ]
        finally:
            torch.set_float32_matmul_precision(precision)
        columns = (np.concatenate(column) for column in zip(*found, strict=True))
        return Hits(*columns, picks=len(plan))

    def sweep_block(self, pool: RowStates, plan: Placed, X: Any, start: int) -> list[Floats]:
        """Bring one block of rows X (c, D) to the end of the picks; its share of the hits."""
        torch = self.torch
        objective, rows = plan.objective, slice(start, start + len(X))
        X = X.to(plan.matrix.dtype)
        noise = self.put(pool.noise[rows])
        price = None if pool.price is None else self.put(pool.price[rows])
        columns = (X @ plan.matrix).view(len(X), objective.groups, plan.stretches, -1)

        def factor(group: int) -> Any:
            return plan.fixed[None] if group == FIXED else columns[:, group]

        sums = torch.stack(
            [
                (factor(left) * factor(right)).sum(2).expand(len(X), plan.stretches).T
                for left, right in objective.products
            ]
        )
        state = self.put(pool.state[:, rows])[:, None]
        ahead = state - sums[: objective.states].double().cumsum(1)
        states = torch.cat([state, ahead], 1)
        pool.after[:, rows] = states[:, -1].cpu().numpy()

        peak = objective.peak(states[:, :-1], states[:, 1:], sums, noise)
        if price is not None:
            peak /= price
        nothing: Found = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        hits, near = [nothing], nothing
        if plan.picks is not None:
            cosines = X[:, : len(plan.picks)] @ plan.picks
            row, step = torch.nonzero(cosines > plan.bar, as_tuple=True)
            near = fetch(start + row, step, cosines[row, step])
        for hot in torch.nonzero((peak >= plan.least[:, None]).ravel()).ravel().split(FOLLOWED):
            at, row = hot // len(X), hot % len(X)
            path = []
            for before, (left, right) in zip(states, objective.products, strict=False):
                other = plan.fixed[at] if right == FIXED else columns[row, right, at]
                change = (columns[row, left, at] * other) @ plan.earlier
                path.append(before[at, row, None].to(change.dtype) - change)
            rates = objective.gain(torch.stack(path), noise[row, None].to(X.dtype))
            if price is not None:
                rates = rates / price[row, None]
            which, step = torch.nonzero(torch.abs(rates) >= plan.limits[at], as_tuple=True)
            found = fetch(start + row[which], at[which] * plan.stretch + step, rates[which, step])
            hits.append(plan.contest.thinned(found, near) if plan.contest else found)
        return [*map(np.concatenate, zip(*hits, strict=True)), *near]


def fetch(rows: Any, steps: Any, values: Any) -> Found:
    """Tensors as arrays on the host."""
    return rows.cpu().numpy(), steps.cpu().numpy(), values.cpu().numpy()


class Placed:
    """A `SweepPlan` on a device."""

    def __init__(self, rows: DeviceRows, plan: SweepPlan) -> None:
        self.objective, self.contest = plan.objective, plan.contest
        self.stretches, self.stretch, self.bar = plan.stretches, plan.stretch, plan.bar
        self.matrix, self.fixed = rows.put(plan.matrix), rows.put(plan.fixed)
        self.limits, self.least = rows.put(plan.limits), rows.put(plan.least)
        ones = np.ones((plan.stretch, plan.stretch), plan.matrix.dtype)
        self.earlier = rows.put(np.triu(ones, 1))
        self.picks = None if plan.picks is None else rows.put(plan.picks)
