"""The rows that may be picked: joined, weighed, counted, and closed for a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gip_cli.candidates import Candidates, Reason, count_reasons
from gip_cli.embeddings import Embeddings
from gip_cli.errors import InputError, MismatchError, UsageError
from gip_cli.plan import Budget, Plan, Sources
from gip_cli.rows import BadRows, RowFile
from tests.selecting import in_memory, pose, row, write_rows

D = 4
AXES = np.eye(D)
DIAGONAL = [0.5] * D  # its cosine with every axis is 0.5, exactly
Gather = Callable[..., Candidates]


@pytest.fixture
def gather(tmp_path: Path) -> Gather:
    """The candidates of rows, beside files of a row each; `store` changes what is known of all."""

    def run(
        rows: list[dict[str, Any]],
        plan: Plan | None = None,
        *,
        store: Callable[[Embeddings], Embeddings] = lambda store: store,
        **beside: list[dict[str, Any]],
    ) -> Candidates:
        files = {
            part: [write_rows(tmp_path / f"{part}{n}", [one]) for n, one in enumerate(rows)]
            for part, rows in beside.items()
        }
        everything = in_memory(write_rows(tmp_path / "all", sum(beside.values(), rows)), D)
        pool = write_rows(tmp_path / "pool", rows)
        with RowFile(pool, BadRows(), reread=True) as file:
            plan = plan or Plan(Budget(rows=1))
            return pose(file, store(everything), plan, **files).candidates

    return run


def scored(vector: Any, good: float | None) -> dict[str, Any]:
    return row(vector, gip={"signals": {"good": good}})


def test_rows_given_are_weighed_on_the_scale_that_the_pool_spans(gather: Gather) -> None:
    plan = Plan(Budget(rows=1), Sources(quality_power=1.0))
    pool = [scored(AXES[0], 2), scored(AXES[1], 10)]
    given = gather(pool, plan, given=[scored(AXES[2], 4), scored(AXES[3], 6)]).given
    assert given is not None
    np.testing.assert_allclose(given.weights, [0.25, 0.5])


def test_targets_are_a_source_of_the_query(gather: Gather) -> None:
    plan = Plan(Budget(rows=1), Sources(target_weight=3.0))
    targets = [row(AXES[1]), row(AXES[2])]
    query = gather([row(AXES[0]), row(AXES[1])], plan, targets=targets).query
    assert query.sources == {"self": 0.25, "targets": 0.75}
    np.testing.assert_allclose(query.covariance, np.diag([0.125, 0.5, 0.375, 0]))


def test_a_row_of_an_excluded_text_is_excluded_whatever_the_threshold(gather: Gather) -> None:
    plan = Plan(Budget(rows=1), exclude_threshold=1.0)  # no cosine is above it
    rows = gather([row(axis) for axis in AXES], plan, exclude=[row(AXES[0]), row(AXES[1])])
    assert rows.reasons.tolist() == [Reason.EXCLUDED] * 2 + [Reason.OPEN] * 2


def test_of_a_leak_all_rows_are_told_whatever_else_they_lack(gather: Gather) -> None:
    unit = {"gip": {"signals": {"q": 1.0}}}
    pool = [row(AXES[0], n=1, **unit), row(AXES[1], **unit), row(AXES[2], n=1)]
    for lacking in (pool[1], pool[2]):
        rows = gather(
            [*pool, row(AXES[3], n=1, **unit)],
            Plan(Budget(tokens=3, token_field="n"), skip_bad=True),
            exclude=[lacking],
        )
        assert rows.reasons[pool.index(lacking)] == Reason.EXCLUDED


def test_a_query_without_energy_is_wrong_use(gather: Gather) -> None:
    with pytest.raises(UsageError, match="no query source has a positive weight; see --signal, "):
        gather([row(AXES[0])], Plan(Budget(rows=1), Sources(self_weight=0.0)))


def test_a_row_is_near_where_its_cosine_is_above_the_threshold(gather: Gather) -> None:
    pool = [row(DIAGONAL), row([0.6, 0.8, 0, 0]), row(AXES[3])]
    plan = Plan(Budget(rows=1), exclude_threshold=0.5, dedup_threshold=0.7)
    excluded = gather(pool, plan, exclude=[row(AXES[2]), row(AXES[0])]).reasons
    assert excluded.tolist() == [Reason.OPEN, Reason.EXCLUDED, Reason.OPEN]
    plan = Plan(Budget(rows=1), exclude_threshold=0.7, dedup_threshold=0.5)
    doubled = gather(pool, plan, given=[row(AXES[0])]).reasons
    assert doubled.tolist() == [Reason.OPEN, Reason.DUPLICATE_OF_GIVEN, Reason.OPEN]


def test_the_signals_used_are_told_with_their_weights(gather: Gather) -> None:
    pool = [row(AXES[0], gip={"signals": {"a": 1, "b": 2, "c": 3}})]
    assert gather(pool, Plan(Budget(rows=1), Sources(("b=3", "a")))).signals_used == {
        "b": 3,
        "a": 1,
    }


def test_every_reason_has_words_of_its_own() -> None:
    assert [reason.words for reason in Reason] == [
        "open", "no embedding", "given", "excluded", "no token count", "no signal",
        "duplicate of given", "duplicate", "group full", "budget", "no gain",
    ]  # fmt: skip


def test_where_all_rows_are_given_or_excluded_there_is_nothing_to_add(gather: Gather) -> None:
    pool = [row(AXES[0]), row(AXES[1])]
    nothing = "there is nothing to add: give a pool with other rows$"
    with pytest.raises(InputError, match=rf"no row can be picked \(2 given\); {nothing}"):
        gather(pool, given=pool)
    with pytest.raises(InputError, match=rf"\(1 given, 1 excluded\); {nothing}"):
        gather(pool, given=pool[:1], exclude=pool[1:])


def test_of_several_reasons_the_first_is_told_and_all_are_counted_in_order(
    gather: Gather,
) -> None:
    values = (1, None, 2, 3, None, None)
    pool = [
        scored(axis, value) for axis, value in zip([*AXES, -AXES[0], -AXES[1]], values, strict=True)
    ]
    rows = gather(pool, given=pool[:2], exclude=[pool[1], pool[0], pool[3], pool[4]])
    assert [Reason(code).words for code in rows.reasons] == [
        "given", "given", "open", "excluded", "excluded", "no signal"
    ]  # fmt: skip
    assert list(count_reasons(rows.reasons).items()) == [
        ("given", 2), ("excluded", 2), ("no signal", 1)
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"pool: no row can be picked \(2 given, 1 no signal\)$"):
        gather(pool[:3], given=[pool[0], pool[2]])
    apart = [scored(AXES[0], 3), scored(AXES[1], 1), scored(AXES[2], 2)]
    for one, name in zip(apart, ("a", "b", "b"), strict=True):
        one["gip"]["signals"] = {name: one["gip"]["signals"].popitem()[1]}
    with pytest.raises(InputError) as error:
        gather(apart)
    assert str(error.value).endswith(
        "pool: no row can be picked (3 no signal); none has all signals (b in 2, a in 1): "
        "gip select --signal NAME chooses"
    )


def test_of_many_signals_that_no_row_has_all_of_the_first_are_named(gather: Gather) -> None:
    pool = [row([1, at, 0, 0], gip={"signals": {name: 1}}) for at, name in enumerate("abcdefg")]
    named = r"\(a in 1, b in 1, c in 1, d in 1, e in 1 and 2 more\)"
    with pytest.raises(InputError, match=named):
        gather(pool)


def test_a_row_without_an_embedding_is_refused_or_left_aside(gather: Gather) -> None:
    pool = [row(AXES[0], n=3), row(AXES[1], n=5)]

    def without_first(store: Embeddings) -> Embeddings:
        return replace(
            store, vectors=store.vectors[1:], keys=store.keys[1:], tokens=store.tokens[1:]
        )

    with pytest.raises(MismatchError, match="pool:1: no embedding"):
        gather(pool, store=without_first)
    rows = gather(pool, Plan(Budget(rows=1), skip_bad=True), store=without_first)
    assert rows.reasons.tolist() == [Reason.NO_EMBEDDING, Reason.OPEN]
    assert not rows.vectors[0].any()
    assert (rows.counted.tolist(), rows.tokens.tolist()) == ([False, True], [0, D])
    by_field = Plan(Budget(tokens=9, token_field="n"), skip_bad=True)
    rows = gather(pool, by_field, store=without_first)
    assert (rows.counted.tolist(), rows.tokens.tolist()) == ([True, True], [3, 5])

    def uncounted(store: Embeddings) -> Embeddings:
        return replace(without_first(store), tokens=np.full(len(store.tokens) - 1, -1))

    rows = gather(pool, Plan(Budget(rows=1), skip_bad=True), store=uncounted)
    assert rows.reasons.tolist() == [Reason.NO_EMBEDDING, Reason.OPEN]


def test_tokens_of_a_field_are_whole_numbers_rounded_up_and_nothing_else(gather: Gather) -> None:
    counts = [0, 2.1, "7", -1, "3 each", 2**53]
    pool = [row([1, n, 0, 0], n=count) for n, count in enumerate(counts)]
    budget = Budget(tokens=9, token_field="n")
    rows = gather(pool, Plan(budget, skip_bad=True))
    assert rows.tokens.tolist() == [0, 3, 7, 0, 0, 0]
    assert rows.counted.tolist() == rows.open.tolist() == [True] * 3 + [False] * 3
    assert count_reasons(rows.reasons) == {"no token count": 3}
    assert gather(pool[:3], Plan(budget)).tokens.tolist() == [0, 3, 7]
    with pytest.raises(InputError, match="pool:4: no number of tokens in field 'n'; mend the row"):
        gather(pool, Plan(budget))
    for large in (2**32, "1e400"):
        with pytest.raises(InputError, match="the number of tokens in field 'n' is too large"):
            gather([row(AXES[0], n=large)], Plan(budget))
    with pytest.raises(UsageError, match="--token-field"):
        gather(pool, Plan(Budget(tokens=9, token_field="m")))


def test_vectors_given_without_token_counts_serve_all_budgets_but_tokens(gather: Gather) -> None:
    def uncounted(store: Embeddings) -> Embeddings:
        return replace(store, tokens=np.full_like(store.tokens, -1))

    rows = gather([row(AXES[0]), row(AXES[1])], store=uncounted)
    assert (rows.tokens.tolist(), rows.open.tolist()) == ([0, 0], [True, True])
    with pytest.raises(UsageError, match=r"all\.npy: --tokens: .* given without token counts; say"):
        gather([row(AXES[0])], Plan(Budget(tokens=9)), store=uncounted)
