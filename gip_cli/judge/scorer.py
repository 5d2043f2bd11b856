"""From rows to questions, and from verdicts back to the rows' own lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from gip_cli.formats import Renderer
from gip_cli.judge.item import JudgeItem
from gip_cli.judge.rubric import Rubric
from gip_cli.judge.run import Outcome
from gip_cli.rows import Row, RowFile
from gip_cli.signals import attach, attached, refuse_present


@dataclass(frozen=True)
class JudgeScorer:
    """Attaches a judge's scores to rows.

    Parameters
    ----------
    max_chars : int
        Characters of a row that the judge is shown.
    overwrite : bool
        Replace signals of the same name that a row has already.
    beside : names
        Signals that are attached, and overwritten, by another in the same run.
    keep_probabilities : bool
        Attach a level's probabilities (lowest first) and the confidence too, where there are any.

    Attributes
    ----------
    without : Counter
        Rows so far, by attribute, that have a score and no probabilities.
    """

    rubric: Rubric
    renderer: Renderer
    max_chars: int
    overwrite: bool = False
    beside: Collection[str] = ()
    keep_probabilities: bool = False
    without: Counter[str] = field(default_factory=Counter)

    def items(self, rows: RowFile) -> Iterator[JudgeItem]:
        """What to ask about, a row at a time.

        Raises
        ------
        InputError
            A row that cannot be read, or to which no score can be attached: it has a signal of
            an attribute's name already, or a ``"gip"`` member that gip did not write.
        """
        names = self.rubric.ranges.keys()
        for one in self.renderer.read(rows):
            if self.overwrite:
                attached(one.row, replaced={*names, *self.beside})
            else:
                refuse_present(one.row, names)
            yield JudgeItem.of(one.turns, self.max_chars)

    def line(self, row: Row, outcome: Outcome) -> bytes:
        """The bytes of a row that was asked about, with its scores; null where there is none.

        Raises
        ------
        InputError
            It was not asked about: somebody has written to the file since.
        """
        item = JudgeItem.of(self.renderer.turns(row), self.max_chars)
        try:
            verdicts = outcome.verdicts(item.key)
        except KeyError:
            raise row.error("changed since it was judged", "run again") from None
        scores = {name: one.score for name, one in verdicts.items()}
        kept = {}
        for name, one in verdicts.items() if self.keep_probabilities else ():
            if one.probabilities is not None or one.confidence is not None:
                kept[name] = {"probabilities": one.probabilities, "confidence": one.confidence}
            self.without[name] += one.score is not None and one.probabilities is None
        return attach(row, scores, self.rubric.ranges, judge=kept)
