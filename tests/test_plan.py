"""What a selection may be asked to be, up to the last number that still makes sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gip_cli.errors import UsageError
from gip_cli.groups import Grouping, Shares
from gip_cli.plan import Budget, Plan, Sources

EQUAL = Grouping("lang", shares=Shares("equal", {}))
TEN = Grouping("lang", per_group=10)
AT_MOST = Grouping("lang", at_most=10)
ONE = Budget(rows=1)


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        (Budget, {"rows": 1, "tokens": 1}, "two budgets; give one of -k, --fraction, --tokens"),
        (Budget, {"fraction": 0.5, "captured": 0.5}, "two budgets"),
        (Budget, {"rows": 0}, "-k 0 is not a positive number"),
        (Budget, {"tokens": 0}, "--tokens 0 is not a positive number"),
        (Budget, {"fraction": 0.0}, "--fraction 0 is not in (0, 1]"),
        (Budget, {"fraction": 1.01}, "--fraction 1.01 is not in (0, 1]"),
        (Budget, {"captured": 0.0}, "--captured 0 is not between 0 and 1"),
        (Budget, {"captured": 1.0}, "--captured 1 is not between 0 and 1"),
        (Budget, {"captured": float("nan")}, "--captured nan is not between 0 and 1"),
        (Budget, {"tokens": 1, "length_power": -0.1}, "--length-power -0.1 is not a number from 0"),
        (Budget, {"tokens": 1, "length_power": 3.1}, "--length-power 3.1 is not a number from 0 t"),
        (Budget, {"rows": 1, "length_power": 1.0}, "--token-field and --length-power go with --t"),
        (Budget, {"rows": 1, "token_field": "n"}, "--token-field and --length-power go with --t"),
        (Sources, {"self_weight": -1.0}, "--self-weight -1 is not a number from 0 to 1e+09"),
        (Sources, {"signal_weight": 2e9}, "--signal-weight 2e+09 is not a number from 0 to 1e+09"),
        (Sources, {"target_weight": float("nan")}, "--target-weight nan is not a number from 0 to"),
        (Sources, {"quality_power": 10.1}, "--quality-power 10.1 is not a number from 0 to 10"),
        (Plan, {"budget": Budget()}, "no budget; give one of -k, --fraction, --tokens, --captured"),
        (Plan, {"budget": Budget(), "grouping": EQUAL}, "no budget"),
        (Plan, {"budget": Budget(), "grouping": AT_MOST}, "no budget"),
        (Plan, {"budget": Budget(captured=0.5), "grouping": EQUAL}, "--group-share divides -k, --"),
        (Plan, {"budget": ONE, "dedup_threshold": 0.0}, "--dedup-threshold 0 is not between 0 and"),
        (Plan, {"budget": ONE, "dedup_threshold": 1.0}, "--dedup-threshold 1 is not between 0 and"),
        (Plan, {"budget": ONE, "exclude_threshold": 0.0}, "--exclude-threshold 0 is not in (0, 1]"),
        (Plan, {"budget": ONE, "exclude_threshold": 1.1}, "--exclude-threshold 1.1 is not in (0,"),
        (Plan, {"budget": ONE, "noise": 0.0}, "--noise 0 is neither auto nor a positive number"),
        (Plan, {"budget": ONE, "noise": float("inf")}, "--noise inf is neither auto nor a pos"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_wrong_use(
    kind: Callable[..., object], options: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError) as error:
        kind(**options)
    assert str(error.value).startswith(why)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Budget, {"rows": 1}),
        (Budget, {"fraction": 1.0}),
        (Budget, {"captured": 0.999}),
        (Budget, {"tokens": 1, "token_field": "n", "length_power": 3.0}),
        (Sources, {"self_weight": 0.0, "signal_weight": 1e9, "target_weight": 1e9}),
        (Sources, {"quality_power": 10.0}),
        (Plan, {"budget": Budget(), "grouping": TEN}),
        (Plan, {"budget": Budget(captured=0.5), "grouping": TEN}),
        (Plan, {"budget": Budget(tokens=5), "grouping": EQUAL}),
        (Plan, {"budget": ONE, "dedup_threshold": 0.999, "exclude_threshold": 1.0, "noise": 1e-9}),
    ],
)  # fmt: skip
def test_what_makes_sense_is_taken_as_it_is(
    kind: Callable[..., object], options: dict[str, Any]
) -> None:
    made = kind(**options)
    assert {name: getattr(made, name) for name in options} == options


def test_what_is_not_said_is_as_documented() -> None:
    assert (Sources().target_weight, Sources().quality_power) == (1, 2)
    plan = Plan(ONE)
    assert (plan.noise, plan.pursuit, plan.device) == ("auto", "projection", "cpu")
    assert (plan.dedup_threshold, plan.exclude_threshold, plan.skip_bad) == (None, 0.9, False)


def test_a_budget_is_given_by_any_one_limit() -> None:
    for limit in ({"rows": 1}, {"fraction": 0.1}, {"tokens": 1}, {"captured": 0.1}):
        assert Budget(**limit).is_set
    assert not Budget().is_set
