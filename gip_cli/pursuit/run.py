"""A whole pursuit: prepare the pool, advance block by block, keep the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import numpy as np

from gip_cli.pursuit import check
from gip_cli.pursuit.chunk import Buffers
from gip_cli.pursuit.deferral import Deferral
from gip_cli.pursuit.device import DeviceRows, torch_device
from gip_cli.pursuit.draft import Belief, Drafter, Level
from gip_cli.pursuit.greedy import Greedy
from gip_cli.pursuit.objective import Array, Floats, Ids, Objective, Precision
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.rest import remaining
from gip_cli.pursuit.results import Diagnostics, Progress, Record, Selection, Stopped
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.rules import Rules
from gip_cli.pursuit.source import Source
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.sweep_plan import LONGEST, STRETCH
from gip_cli.pursuit.team import Team
from gip_cli.pursuit.verify import Block, Sweep

FEW, LONGEST_DRAFT = 384, 64  # rows that picks are tried on one at a time; picks
HOT_SHARE, MOST_HOT = 24, 16384  # rows that drafts are first verified on: m / 24, at most 16,384,
MOST_BESIDE = 4096  # or so many beside a device, which sweeps the pool faster than drafts are made
LARGE = 1 << 15  # pool of which wrong blocks are shortened: 20,000 rows took as long either way
FLOAT32_SHARE = 128  # of the pool: for fewer picks, a start in float64 costs more than it spares
SMALL_NOISE = 200  # times the least: below it float32 is too coarse for what an observation leaves
GIVEN_BATCH = 256


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of the problem: what `select` was asked, checked and in the solver's terms.

    Attributes
    ----------
    source : Source
        (m, D) rows.
    objective : Objective
        Before any pick; the run conditions it.
    noise : (m,)
        s2 / w^2 of each row; infinite for rows that may not be picked. The run overwrites it.
    s2 : float
        Noise variance of a row of weight 1.
    least_noise : float
        Least s2 beside these weights.
    unit : float
        What gains are measured in, so that neither they nor rounding have a scale.
    k : int
        Most picks.
    given, given_noise : (g, d), (g,)
        Picks made before.
    rules, price, max_cosine, stop_at
        As for `select`.
    fill : bool
        Whether rows that gain nothing are picked when no others are left.
    """

    source: Source
    objective: Objective
    noise: Array
    s2: float
    least_noise: float
    unit: float
    k: int
    given: Array
    given_noise: Array
    rules: Rules | None
    price: Array | None
    max_cosine: float | None
    stop_at: float | None
    fill: bool

    @property
    def has_small_noise(self) -> bool:
        """Whether float32 will not do."""
        return self.s2 < SMALL_NOISE * self.least_noise

    @property
    def starts_in_float32(self) -> bool:
        """Whether the states before the first pick are worked out in float32."""
        return self.k < len(self.noise) // FLOAT32_SHARE and not self.has_small_noise


def run(
    instance: Instance, team: Team, device: str, on_progress: Callable[[Progress], None] | None
) -> Selection:
    """Pick until the budget is met, enough is captured, or no row is left."""
    began = perf_counter()
    m, D = instance.source.shape
    objective, captured = instance.objective, 0.0
    for start in range(0, len(instance.given), GIVEN_BATCH):
        batch = slice(start, start + GIVEN_BATCH)
        columns = objective.observe(instance.given[batch], instance.given_noise[batch])
        captured += float(columns.energy.sum())
    record = Record(min(instance.k, m), captured, instance.s2)

    host = Sweeper(team, objective, D)
    whole: Sweep = host.sweep
    most_hot = MOST_HOT
    if device != "cpu":
        most_hot = MOST_BESIDE
        whole = DeviceRows(instance.source, torch_device(device), objective.groups).sweep
    levels = [Level(FEW, LONGEST_DRAFT, step=1)]
    if (hot := min(m // HOT_SHARE, most_hot)) > 2 * FEW:
        levels.insert(0, Level(hot, LONGEST * STRETCH, step=STRETCH))
    levels[0].may_shorten = device == "cpu" and m >= LARGE
    greedy = Greedy(Drafter(levels, host.sweep, instance.max_cosine), whole, host)
    pool = RowStates(
        instance.source, instance.noise, instance.price, np.empty((objective.states, m))
    )
    if instance.has_small_noise:  # float64 rows would be rounded, and what is left of them be that
        greedy.use_float64(pool)
    squares = prepare(pool, instance, host)
    zero = np.flatnonzero(squares == 0)
    greedy.spread = float(np.max(squares / pool.noise))
    if instance.starts_in_float32:
        greedy.largest = greedy.spread
    if isinstance(objective, Projection) and device == "cpu":
        greedy.deferral = Deferral(squares, host, instance.max_cosine)
    greedy.seconds["prepare"] = perf_counter() - began

    def outcome(stopped: Stopped) -> Selection:
        work = Diagnostics(
            levels[0].blocks,
            levels[0].drafted,
            levels[0].accepted,
            greedy.near_ties,
            greedy.refreshes,
            greedy.deferral.most if greedy.deferral else 0,
            dict(greedy.seconds),
        )
        return record.selection(stopped, work)

    aim = np.inf if instance.stop_at is None else instance.stop_at
    if captured >= aim:
        return outcome("captured")
    for block, duplicates in blocks(greedy, pool, zero, instance, on_host=device == "cpu"):
        gains = block.columns.gains * instance.unit
        record.add(block.rows, gains, block.columns.energy, duplicates)
        if record.total >= aim:
            record.cut(aim)
            return outcome("captured")
        if on_progress is not None:
            on_progress(Progress(instance.k, outcome("interrupted")))
    return outcome("budget" if record.picks == instance.k else "exhausted")


def blocks(
    greedy: Greedy, pool: RowStates, zero: Ids, instance: Instance, *, on_host: bool
) -> Iterator[tuple[Block, Ids]]:
    """All blocks of picks up to the budget, and how many rows each pick closed for its cosine.

    When no gain is left, the rows that are still open follow in their order (if `fill`), those
    of all zeros last.
    """
    belief, left = Belief(instance.objective, instance.rules), instance.k
    while left:
        # A device holds the rows of the whole pool, and rows that are deferred are of this one.
        if on_host and not (greedy.deferral and greedy.deferral.deferred):
            pool = pool.narrowed()
        if not (step := greedy.advance(pool, belief, left)):
            break
        belief = step.after
        left -= len(step.block)
        yield step.block, step.closures.duplicates
    if not left or not instance.fill:
        return
    rest = remaining(pool, belief, zero, greedy.host, instance.max_cosine)
    yield from islice(rest, left)


def prepare(pool: RowStates, instance: Instance, host: Sweeper) -> Array:
    """Work out the pool's states before the first pick; its rows' squared norms (m,)."""
    squares = np.empty(len(pool))
    precision: Precision = np.float32 if instance.starts_in_float32 else np.float64

    def work(X: Floats, rows: slice, _: Buffers) -> None:
        X = X.astype(precision, copy=False)
        F = X[:, : pool.d]
        squares[rows] = np.einsum("ij,ij->i", F, F)
        with np.errstate(over="ignore", invalid="ignore"):  # of rows that are not finite
            pool.state[:, rows] = instance.objective.state(X)

    host.each_chunk(pool, LONGEST, work)
    check.finite(squares)
    check.spread(squares, pool.noise)
    if (scores := instance.source.extra) is not None:  # of any norm
        squares += np.einsum("ij,ij->i", scores, scores)
    return squares
