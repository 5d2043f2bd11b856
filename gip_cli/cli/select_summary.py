"""What `gip select` tells a person, all of it read from the receipt's figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gip_cli.candidates import Reason
from gip_cli.formats import ONE_TEXT
from gip_cli.printable import Tell, agreeing, counted, exact, listed, rounded
from gip_cli.problem import Problem
from gip_cli.pursuit import Progress
from gip_cli.receipt import Figures

_TOLD_IDLE = 0.05  # share of the picks that may add next to nothing without a word
_SHOWN, _NAMED = 5, 3  # groups named before the rest is only counted: a line each, or in one

_BEFORE_EXCLUDED = {reason.words for reason in Reason if reason < Reason.EXCLUDED}
_CLOSED = {
    Reason.NO_EMBEDDING.words: "have no embedding",
    Reason.GIVEN.words: "are given",
    Reason.EXCLUDED.words: "are too close to an excluded one",
    Reason.NO_TOKEN_COUNT.words: "have no token count",
    Reason.NO_SIGNAL.words: "lack a signal",
    Reason.DUPLICATE_OF_GIVEN.words: "are too close to a row given",
}


def progress_of(problem: Problem, at: Progress) -> tuple[float, float, str]:
    """Picks made, how many there will be as far as can be told, and the energy captured."""
    detail = f"captured {at.captured:.1%}"
    budget = problem.plan.budget
    if budget.tokens is not None:
        spent = problem.candidates.tokens[at.selection.indices].sum()
        return at.picks, at.picks * budget.tokens / max(spent, 1), detail
    if budget.captured is not None:
        return at.picks, at.picks * budget.captured / max(at.captured, 1e-9), detail
    return at.picks, at.budget, detail


def summarise(figures: Figures, tell: Tell) -> None:
    """The outcome in a few lines: what could not be met first, then picks against the rest."""
    _tell_not_pickable(figures, tell)
    _tell_given(figures, tell)
    _tell_unmet(figures, tell)
    tell(
        f"picked {figures['picked']:,} of {counted(figures['input']['rows'], 'row')}; captured "
        f"{figures['captured']:.1%} of the query's energy "
        f"(random picks: {figures['captured_by_random']['mean']:.1%}), noise {figures['noise']:.4g}"
    )
    if (idle := figures["idle_picks"]) > figures["picked"] * _TOLD_IDLE:
        wanted = {"per_group", "group_share"} & figures["options"].keys()
        fewer = "" if wanted else ": fewer would do"
        tell(
            f"  less than a thousandth of that comes from the last "
            f"{'pick' if idle == 1 else counted(idle, 'pick')}{fewer}"
        )
    if limit := figures["options"].get("tokens"):
        tell(f"  {figures['tokens']['picked']:,} of {counted(limit, 'token')}")
    if given := figures["given"]:
        rows = counted(given["rows"], "row")
        beside = "" if figures["quotas"] is None else ", and count in no group's quota"
        tell(f"  the {rows} given had captured {given['captured']:.1%} of it{beside}")
    if repeated := figures["repeated_texts"]:
        why = "; --dedup-threshold 0.99 keeps such out, a lower --noise most"
        if "dedup_threshold" in figures["options"]:  # what it lets by is near to nothing
            why = ": their vectors are zero"
        tell(
            f"  {repeated:,} of {counted(figures['picked'], 'pick')} "
            f"{agreeing(repeated, 'repeat')} the text of another{why}"
        )
    if figures["duplicates_avoided"] is not None:
        tell(f"  {counted(figures['duplicates_avoided'], 'near-duplicate')} of picks avoided")
    for name, means in figures["signals"].items():
        outcome = f"  {name}: mean {_number(means['picked'])} (pool {_number(means['pool'])})"
        if means["scale_from"] == "rows":
            low, high = means["scale"]
            outcome += f", on the scale that these rows span, {exact(low)} to {exact(high)}"
        tell(outcome)
    length, cosine = figures["response_characters"], figures["nearest_cosine"]
    if length["picked"] is not None:
        measured = "text" if figures["embeddings"]["format"] in ONE_TEXT else "response"
        tell(
            f"  {measured} length: mean {length['picked']:,.0f} characters "
            f"(pool {length['pool']:,.0f})"
        )
    if cosine["picked"] is not None and cosine["random"] is not None:
        tell(
            f"  nearest-neighbour cosine: mean {cosine['picked']:.3f} "
            f"(random picks {cosine['random']:.3f})"
        )


def tell_closed(figures: Figures, tell: Tell, reasons: Iterable[str]) -> None:
    """How many rows could not be picked, for each of these reasons."""
    rows = figures["input"]["rows"]
    for reason in reasons:
        if count := figures["not_pickable"].get(reason):
            these = f"{count:,} of {counted(rows, 'row')} {agreeing(count, _CLOSED[reason])}"
            which = _lacking(figures, count) if reason == Reason.NO_SIGNAL.words else ""
            tell(f"{these}{which} and cannot be picked")


def _lacking(figures: Figures, rows: int) -> str:
    """Of several signals, those that most rows lack, and how many; nothing if `rows` lack all."""
    counts = {name: means["missing"] for name, means in figures["signals"].items()}
    if len(counts) < 2 or set(counts.values()) == {rows}:
        return ""
    most = sorted(filter(counts.get, counts), key=lambda name: -counts[name])
    named = [f"{name}: {counts[name]:,}" for name in most[:_SHOWN]]
    more = [f"{len(most) - _SHOWN} more"] if len(most) > _SHOWN else []
    return f" ({', '.join(named + more)})"


def _tell_not_pickable(figures: Figures, tell: Tell) -> None:
    """Rows that could not be picked."""
    rows = figures["input"]["rows"]
    tell_closed(figures, tell, figures["not_pickable"])
    if figures["beside"].get("exclude") and Reason.EXCLUDED.words not in figures["not_pickable"]:
        other = "other " * bool(_BEFORE_EXCLUDED & figures["not_pickable"].keys())
        tell(f"no {other}row is too close to an excluded one")
    if without := [row for row in _table(figures) if row["share"] == 0 and row["rows"]]:
        count = sum(row["rows"] for row in without)
        tell(
            f"{count:,} of {counted(rows, 'row')} {agreeing(count, 'are')} in {_groups(without)} "
            f"to which {figures['options']['group_share']} gives no share and cannot be picked"
        )


def _tell_given(figures: Figures, tell: Tell) -> None:
    """What of --given is not as one might expect."""
    for file in figures["beside"].get("given", ()):
        if not file["rows"]:
            tell(f"{file['path']}: no usable rows, so none are given by it")
    given = figures["given"]
    if given and (repeated := given["repeated"]):
        tell(
            f"{repeated:,} of {counted(given['rows'] + repeated, 'given row')} "
            f"{agreeing(repeated, 'are')} in another --given file, too: counted once"
        )
    if given and given["without_signals"]:
        tell(
            f"{counted(given['without_signals'], 'given row')} without signals, here or in the "
            "pool: taken for full quality; select them with --keep-signals to have them weighed"
        )


def _tell_unmet(figures: Figures, tell: Tell) -> None:
    """Budget and quotas, as far as they mean something else or could not be had."""
    options = figures["options"]
    if (
        "tokens" in options
        and "token_field" not in options
        and figures["embeddings"]["part"] != "both"
    ):
        tell(f"--tokens counts the embedded part only: the {figures['embeddings']['part']}")
    if figures["stopped"] == "interrupted":
        return
    if "captured" in options and figures["stopped"] != "captured":
        tell(
            f"--captured {options['captured']:g} is not reached: {_no_more(figures)}, and "
            f"{figures['captured']:.1%} is all there is at noise {figures['noise']:.4g}; "
            "a lower --noise captures more"
        )
    elif figures["stopped"] == "exhausted":
        asked = f" of the {figures['asked']:,} asked for" if figures["asked"] else ""
        tell(f"picked {figures['picked']:,}{asked}: {_no_more(figures)}")
    if table := _table(figures):
        unit = figures["quotas"]["unit"]
        gone = [row for row in table if not row["rows"]]
        if gone and options.get("group_share") in ("equal", "proportional"):  # else they are short
            tell(f"no row of {_groups(gone)} can be picked")
        _tell_none_of_it(table, unit, tell)
        could = [row for row in table if row["available"] >= row["quota"]]
        cut = [row for row in could if row["shortfall"] > 0] if _cut_off(figures) else []
        cannot = [row for row in table if row["available"] < row["quota"]]
        _tell_short(cannot if cut else table, unit, tell)
        if cut:
            groups = f"{_groups(cut)} {agreeing(len(cut), 'have')}"
            tell(f"{groups} fewer than --per-group {could[0]['quota']:,}: the budget ended first")


def _groups(table: Sequence[Figures]) -> str:
    """How many groups, and the first few by name."""
    names = [str(row["group"]) for row in table]
    return f"{counted(len(table), 'group')} ({listed(names, _NAMED)})"


def _table(figures: Figures) -> Sequence[Figures]:
    """Every group's quota and what came of it; nothing where no group was to have some."""
    table: Sequence[Figures] = (figures["quotas"] or {}).get("table", ())
    return table


def _no_more(figures: Figures) -> str:
    """Why no further row was picked, where rows were wanted."""
    options, quotas = figures["options"], figures["quotas"]
    left = figures["pickable"] - figures["picked"] - (figures["duplicates_avoided"] or 0)
    if not left or not quotas or quotas["unit"] == "tokens" or not quotas["full"]:
        return "no further row can be picked"
    limits = ("per_group", "max_per_group", "group_share")
    option = next(f"--{one.replace('_', '-')} {options[one]}" for one in limits if one in options)
    return f"no row can be picked but from groups that are full ({option})"


def _cut_off(figures: Figures) -> bool:
    """Whether groups might have had their --per-group but for another budget."""
    options = figures["options"]
    other = figures["asked"] is not None or bool({"tokens", "captured"} & options.keys())
    return other and "per_group" in options and figures["stopped"] != "exhausted"


def _tell_none_of_it(table: Sequence[Figures], unit: str, tell: Tell) -> None:
    """Groups that could give rows, and whose part of the budget is nothing."""
    groups = [row["quota"] for row in table if row["available"] and row["share"]]
    if none := groups.count(0):
        budget = counted(sum(row["quota"] for row in table), unit.removesuffix("s"))
        tell(
            f"{none:,} of {counted(len(groups), 'group')} {agreeing(none, 'get none')} of the "
            f"{budget} (larger shares come first, alike ones by name): raise the budget"
        )


def _tell_short(table: Sequence[Figures], unit: str, tell: Tell) -> None:
    """Quotas not met, but for tokens fewer than a row has on average, which are always left."""
    short = [
        row
        for row in table
        if row["shortfall"]
        and (
            row["shortfall"] * row["rows"] >= row["available"]
            or row["available"] < row["quota"]
            or not row["picked"]
        )
    ]
    if not short:
        return
    total = sum(row["shortfall"] for row in short)
    groups = f"{counted(len(short), 'group')} {agreeing(len(short), 'are')}"
    tell(f"{groups} {counted(total, unit.removesuffix('s'))} short:")
    short = sorted(short, key=lambda row: -row["shortfall"])
    for row in short[:_SHOWN]:
        quota = counted(row["quota"], unit.removesuffix("s"))
        why = "no row of it can be picked" if row["in_pool"] else "no row is in it"
        none = "" if row["rows"] else f" ({why})"
        tell(f"  {row['group']}: {row['picked']:,} of {quota}{none}")
    if len(short) > _SHOWN:
        tell(f"  and {len(short) - _SHOWN:,} more (see the receipt)")


def _number(value: float | None) -> str:
    return "unknown" if value is None else rounded(value)
