"""Reading answers: a number on the scale, or null with its cause; never a guess."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest

from gip_cli.judge import chat, decisions, systemone
from gip_cli.judge.answers import Usage, Verdict, on_levels
from gip_cli.judge.rubric import BUILT_IN, Rubric

RUBRIC = Rubric.choose(["helpfulness", "accuracy"])
NULL = Verdict(None, "unparsed")
HELP = BUILT_IN["helpfulness"]


@pytest.mark.parametrize(
    ("content", "help", "accuracy"),
    [
        ('{"helpfulness": 4, "accuracy": 1}', 4.0, 1.0),
        ('```json\n{"helpfulness": 4, "accuracy": 1}\n```', 4.0, 1.0),
        ('Here you are:\n{"accuracy": 5, "helpfulness": 3} as asked', 3.0, 5.0),
        ('{"grades": {"helpfulness": 2, "accuracy": 2}}', 2.0, 2.0),
        ('{"helpfulness": 4.0, "accuracy": "3"}', 4.0, 3.0),
        ('{"helpfulness": 4, "accuracy": 1, "note": "fine"}', 4.0, 1.0),
        (
            '<think>{"helpfulness": 1, "accuracy": 1}?</think>{"helpfulness": 5, "accuracy": 4}',
            5,
            4,
        ),
        ('or {"helpfulness": 1}?</think>{"helpfulness": 5, "accuracy": 4}', 5, 4),
        ('{"helpfulness": 5, "accuracy": 4}<think>or {"helpfulness": 1}?', 5, 4),
        ('<think> First {"helpfulness": 2, "accuracy": 2}. But wait', None, None),
        ('</think><think>{"helpfulness": 2, "accuracy": 2}', None, None),
        ('{"helpfulness": 4, "accuracy": 1} {"helpfulness": 4, "accuracy": 1}', 4.0, 1.0),
        # half an answer is half an answer
        ('{"helpfulness": 4}', 4.0, None),
        ('{"helpfulness": 4.5, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": "4/5", "accuracy": 2}', None, 2.0),
        ('{"helpfulness": "4.5", "accuracy": 2}', None, 2.0),
        ('{"helpfulness": 6, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": 0, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": -1, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": true, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": null, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": [4], "accuracy": 2}', None, 2.0),
        ('{"helpfulness": NaN, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": 1e999, "accuracy": 2}', None, 2.0),
        ('{"helpfulness": "five", "accuracy": 2}', None, 2.0),
        pytest.param(  # more digits than int() reads
            f'{{"helpfulness": "{"1" * 5000}", "accuracy": " 2 "}}', None, 2.0, id="digits"
        ),
        # none at all
        ("Score: 4.5", None, None),
        ("4", None, None),
        ("helpfulness: 4, accuracy: 5", None, None),
        ("[4, 5]", None, None),
        ("", None, None),
        ('{"helpfulness": 4, "accuracy":', None, None),
        ('{"Helpfulness": 4, "ACCURACY": 5}', None, None),
        ('{"helpfulness": 4, "accuracy": 1} or {"helpfulness": 5, "accuracy": 1}', None, None),
        ('{"helpfulness": 2, "helpfulness": 5, "accuracy": 1}', None, None),
        ("{" * 5000, None, None),
    ],
)
def test_chat_replies(content: str, help: float | None, accuracy: float | None) -> None:
    read = chat.verdicts(RUBRIC, {"content": content})
    assert [one.score for one in read.values()] == [help, accuracy]
    assert [one.cause for one in read.values()] == [
        None if score is not None else "unparsed" for score in (help, accuracy)
    ]


def test_chat_refusals_and_empty_messages() -> None:
    refused = {"helpfulness": Verdict(None, "refused"), "accuracy": Verdict(None, "refused")}
    assert chat.verdicts(RUBRIC, {"content": None, "refusal": "I cannot."}) == refused
    assert chat.verdicts(RUBRIC, {"content": '{"helpfulness": 4}'}, "content_filter") == refused
    for message in ({}, {"content": None}, {"content": [{"type": "text"}]}):
        assert set(chat.verdicts(RUBRIC, message).values()) == {NULL}


def test_chat_replies_in_parts_are_read_by_their_text() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": '{"helpfulness": 1}'}]}
    answer = {"type": "text", "text": '{"helpfulness": 4, "accuracy": 2}'}
    read = chat.verdicts(RUBRIC, {"content": [thinking, answer]})
    assert [one.score for one in read.values()] == [4, 2]
    for parts in ([thinking], [thinking, {"type": "text"}, None, "x"], []):
        assert set(chat.verdicts(RUBRIC, {"content": parts}).values()) == {NULL}


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        ('{"helpfulness": 4, "accuracy": 1}', True),
        ('\n{"helpfulness": 4, "accuracy": 1}\n', True),
        ('```json\n{"helpfulness": 4, "accuracy": 1}\n', True),
        ('Maybe {"helpfulness": 4, "accuracy": 1}', False),
        ('A guess: {"helpfulness": 4, "accuracy": 1}. But wait', False),
        ('{"helpfulness": 4, "accuracy": 1} <think> But wait', False),
        ('{"helpfulness": 4, "accuracy": 1} {"helpfulness": 4', False),
    ],
)
def test_chat_cut_off_by_its_limit_counts_only_if_the_answer_is_all_of_it(
    content: str, counts: bool
) -> None:
    read = chat.verdicts(RUBRIC, {"content": content}, "length")
    assert [one.score for one in read.values()] == ([4, 1] if counts else [None, None])
    whole = content.count("{") == content.count("}")
    assert chat.verdicts(RUBRIC, {"content": content})["accuracy"].score == (1 if whole else None)


LOW, HIGH = (f'{{"helpfulness": {n}, "accuracy": {n}}}' for n in (1, 4))


@pytest.mark.parametrize(
    ("content", "score"),
    [
        (f'As asked, {{"helpfulness": <1-5>, "accuracy": <1-5>}}: {HIGH}', 4),
        (f'{{"thoughts": oops, "of": 3}} {HIGH}', 4),
        (f'{LOW} No: {{"helpfulness": 4, "accuracy": 4/5}}', None),
        (f'{LOW} -> {{"helpfulness": 4, "accuracy": 4,}}', None),
        (f"{LOW} Finally: {{'helpfulness': 4, 'accuracy': 4}}", None),
        (f'{{"helpfulness": 2, "helpfulness": 5, "x": {LOW}}}', None),
        (f'{{"helpfulness": 4, "accuracy": 4, "prior": {LOW}, oops}}', None),
        (f'{{"draft": {LOW}, "final": {{"helpfulness": 4, "accu', None),
        (f'{HIGH} (Format: {{"helpfulness": <1-5>, "accuracy": <1-5>}})', 4),
        (f'The row has {{"a": 1, "a": 2}}, so: {HIGH}', 4),
        (f'{{"helpfulness": 2, "helpfulness": 5, "accuracy": 4}} - oops: {HIGH}', 4),
        (f'{HIGH} I rate {{helpfulness}} as 4, {{"helpfulness reason": "clear"}}', 4),
        (f'{{"grades": {HIGH},}}', 4),
        (f'{{"grades": {HIGH}, "reason": "says "hi" twice"}}', 4),
    ],
    ids=range(14),
)
def test_chat_grades_that_are_taken_back_by_what_cannot_be_read_are_none(
    content: str, score: float | None
) -> None:
    read = chat.verdicts(RUBRIC, {"content": content})
    assert [one.score for one in read.values()] == [score, score]


@pytest.mark.parametrize(
    ("unit", "end", "score"),
    [
        ("so ", "", None),
        ("{", "", None),
        ('{"', "", None),
        ('{"a":{"a":', "", None),
        ('{"a":[' + "1," * 8000, "", None),
        ("if (a) { b[i] = 1; } ", '{"accuracy": 3}', 3),
        ('{"a": x} ', '{"accuracy": 3}', 3),
        ('{"a": 1} ', '{"accuracy": 3}', 3),
    ],
    ids=range(8),
)
def test_chat_replies_of_megabytes_are_read_in_seconds(
    unit: str, end: str, score: float | None
) -> None:
    """Trying every opening took minutes: the time is that of their number squared."""
    started = time.process_time()
    content = unit * (8_000_000 // len(unit)) + end
    assert chat.verdicts(RUBRIC, {"content": content})["accuracy"].score == score
    assert time.process_time() - started < 20


def test_chat_prompt_shows_every_level_and_asks_after_the_row() -> None:
    shown = chat.prompt(RUBRIC, "THE ROW")
    for attribute in RUBRIC.attributes:
        for level in attribute.levels:
            assert shown.index(level) < shown.index("THE ROW")
    assert shown.endswith('{"helpfulness": <1-5>, "accuracy": <1-5>}')


def systemone_answer(**change: Any) -> dict[str, Any]:
    shares = {"0": 0.1, "1": 0.1, "2": 0.2, "3": 0.2, "4": 0.4}
    return {"type": "score", "score": 2.7, "confidence": 0.3, "probabilities": shares, **change}


@pytest.mark.parametrize(
    ("change", "score", "has_shares"),
    [
        ({}, 3.7, True),
        ({"score": 0}, 1.0, True),
        ({"score": 4.0000001}, 5.0, True),
        ({"score": -1e-9}, 1.0, True),
        ({"probabilities": None}, 3.7, False),
        ({"probabilities": {"0": 0.5, "4": 0.5}}, 3.7, False),
        ({"probabilities": dict.fromkeys("01234", 0.9)}, 3.7, False),
        ({"probabilities": {"0": -1, "1": 1, "2": 1, "3": 0, "4": 0}}, 3.7, False),
        ({"probabilities": {"0": 0.33, "1": 0.33, "2": 0.33, "3": 0, "4": 0}}, 3.7, True),
        ({"score": 4.2}, None, False),
        ({"score": -0.1}, None, False),
        ({"score": math.nan}, None, False),
        ({"score": "2.7"}, None, False),
        ({"score": True}, None, False),
        ({"score": None}, None, False),
        ({"score": 10**400}, None, False),
        ({"type": "choice"}, None, False),
    ],
)
def test_systemone_answers(change: dict[str, Any], score: float | None, has_shares: bool) -> None:
    read = systemone.verdicts(RUBRIC, {"helpfulness": systemone_answer(**change)})
    assert read["helpfulness"].score == score  # to the last digit: a journal holds none beyond
    assert (read["helpfulness"].probabilities is not None) is has_shares
    assert (read["helpfulness"].cause is None) is (score is not None)
    assert read["accuracy"] == NULL  # missing


def test_systemone_refusal_and_nonsense() -> None:
    assert systemone.verdicts(RUBRIC, {"accuracy": {"type": "refusal"}})["accuracy"] == Verdict(
        None, "refused"
    )
    for nonsense in (None, [], "no", {"helpfulness": 3, "accuracy": [4]}):
        assert set(systemone.verdicts(RUBRIC, nonsense).values()) == {NULL}


def test_the_legend_alone_is_left_out_of_what_is_kept() -> None:
    answer = systemone_answer()
    assert systemone.without_legend({"a": {**answer, "legend": {"0": "x"}}}) == {"a": answer}
    assert systemone.without_legend([1]) == [1]


def decision(name: str | None = "helpfulness", **change: Any) -> dict[str, Any]:
    shares = [
        {"label": str(rank), "value": rank - 1, "probability": share}
        for rank, share in enumerate((0.1, 0.1, 0.2, 0.2, 0.4), 1)
    ]
    answer = {"type": "score", "name": name, "score": 2.7, "confidence": 0.3}
    return {**answer, "probabilities": shares, **change}


def test_decisions_answers_stand_in_order() -> None:
    read = decisions.verdicts(RUBRIC, [decision(), decision("accuracy", score=0.0)])
    assert read["helpfulness"] == Verdict(3.7, None, (0.1, 0.1, 0.2, 0.2, 0.4), 0.3)
    assert read["accuracy"].score == 1.0
    assert decisions.verdicts(RUBRIC, [decision(None)])["helpfulness"].score == 3.7


def test_decisions_refusal_is_its_questions_alone() -> None:
    read = decisions.verdicts(RUBRIC, [{"type": "refusal", "name": None}, decision("accuracy")])
    assert read["helpfulness"] == Verdict(None, "refused")
    assert read["accuracy"].score == 3.7


def test_decisions_questions_describe_each_level_under_its_number() -> None:
    ask = Rubric((type(HELP)("plain", "How plain?", ("tangled", "clear")), HELP))
    first, second = decisions.questions(ask)
    assert first == {
        "type": "score",
        "name": "plain",
        "instructions": "How plain?",
        "levels": [
            {"label": "1", "description": "tangled"},
            {"label": "2", "description": "clear"},
        ],
    }
    assert second["name"] == "helpfulness"


@pytest.mark.parametrize(
    "odd",
    [
        [{"label": [1], "probability": 1.0}, {"label": {}, "probability": 0.0}, {}],
        [None, "1", 1.0],
        None,
        1.0,
    ],
)
def test_decisions_labels_that_are_none_cost_the_probabilities_alone(odd: Any) -> None:
    read = decisions.verdicts(RUBRIC, [decision(probabilities=odd)])
    assert read["helpfulness"] == Verdict(3.7, None, None, 0.3)


@pytest.mark.parametrize(
    "answers",
    [
        None,
        [],
        {},
        ["x"],
        [decision("accuracy")],  # out of order
        [decision(score=5)],
        [decision(type="predicate")],
    ],
)
def test_decisions_nonsense_is_null(answers: Any) -> None:
    assert decisions.verdicts(RUBRIC, answers)["helpfulness"] == NULL


def test_a_users_scale_has_its_own_top() -> None:
    three = type(HELP)("x", "q", ("a", "b", "c"))
    assert on_levels(three, 2, [0, 0, 1], 1).score == 3.0
    assert on_levels(three, 2.5, [0, 0, 1], 1).score is None


@pytest.mark.parametrize("shares", [[0.2, 0.2, 0.5], [0.5, 0.5, 0.1], [0.5, 0.5], [1, 0, 0, 0]])
def test_probabilities_that_are_no_distribution_over_the_levels_are_dropped(
    shares: list[float],
) -> None:
    three = type(HELP)("x", "q", ("a", "b", "c"))
    assert on_levels(three, 1, shares, None) == Verdict(2.0)
    assert on_levels(three, 1, [0.33, 0.33, 0.33], None).probabilities == (0.33, 0.33, 0.33)


@pytest.mark.parametrize(("told", "confidence"), [(0, 0), (1, 1), (-0.1, None), (1.1, None)])
def test_a_confidence_is_a_share(told: float, confidence: float | None) -> None:
    assert on_levels(HELP, 1, (), told) == Verdict(2.0, confidence=confidence)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"input_tokens": 3, "output_tokens": 1}, (3, 1)),
        ({"prompt_tokens": 3, "completion_tokens": 1}, (3, 1)),
        ({"input_tokens": "3"}, (0, 0)),
        ({"input_tokens": -3}, (0, 0)),
        ({"input_tokens": 10**400, "output_tokens": 1}, (0, 1)),
        (None, (0, 0)),
        ([3, 1], (0, 0)),
    ],
)
def test_usage_in_either_spelling(usage: Any, tokens: tuple[int, int]) -> None:
    assert Usage.of(usage) == Usage(*tokens)


def test_usage_adds_up_from_nothing() -> None:
    assert sum([Usage(3, 1), Usage(5, 2)], start=Usage()) == Usage(8, 3)


def test_schema_allows_the_levels_and_nothing_else() -> None:
    schema = chat.schema(RUBRIC)
    assert schema["required"] == ["helpfulness", "accuracy"]
    assert schema["properties"]["accuracy"]["enum"] == [1, 2, 3, 4, 5]
    json.dumps(schema)
