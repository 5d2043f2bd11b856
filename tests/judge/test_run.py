"""Running a judge: each row once, limits kept, dialects found out, and when to give up."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import sys
import threading
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import quote, unquote

import pytest

from gip_cli.errors import InputError, JudgeError, UsageError
from gip_cli.judge import Api, Journal, JudgeItem, Rubric, Server, Usage, Verdict, judge
from gip_cli.judge.answers import Answer
from gip_cli.judge.chat import prompt
from gip_cli.judge.estimate import CHARS_PER_TOKEN, estimate
from gip_cli.judge.systemone import questions
from tests.judge.conftest import RUBRIC, Run, causes, items, scores
from tests.judge.server import (
    Asked,
    Handler,
    JudgeServer,
    answer,
    completion,
    distribution,
    expected_index,
    once,
)

KEY = "sk-test-5Zp0t9QwErTyUiOp"


def endpoints(server: JudgeServer) -> list[str]:
    return [asked.path.removeprefix("/v1") for asked in server.requests]


@pytest.mark.parametrize("api", [Api.systemone, Api.openai])
def test_score_is_the_expected_level_from_one(api: Api, tmp_path: Path) -> None:
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j", api)
        (row,) = run([JudgeItem.of([("user", "q"), ("assistant", "a")])])
    for name, verdict in row.items():
        turns = ("q", "a")
        assert verdict.score == pytest.approx(1 + expected_index(turns, name))
        assert verdict.probabilities == pytest.approx(tuple(distribution(turns, name)))
        assert verdict.confidence == 0.5
    assert run.tally.usage == Usage(100, 0)
    assert len(server.requests) == 1  # all attributes at once


def test_chat_gives_integers_without_probabilities(tmp_path: Path) -> None:
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j", Api.chat)
        (row,) = run([JudgeItem.of([("user", "q"), ("assistant", "a")])])
    assert row["accuracy"] == Verdict(float(round(expected_index(("q", "a"), "accuracy")) + 1))
    assert run.tally.usage == Usage(100, 9)
    body = server.requests[0].body
    assert body["temperature"] == 0
    assert body["response_format"]["json_schema"]["strict"] is True


def test_identical_rows_are_asked_once_and_counted_once(tmp_path: Path) -> None:
    rows = items(3) * 4
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j")
        got = run(rows)
    assert len(server.requests) == 3
    assert got[:3] * 4 == got
    assert (run.tally.rows, run.tally.asked) == (3, 3)


def test_nobody_is_called_when_everything_is_known(tmp_path: Path) -> None:
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j")
        first = run(items(600))

    def nobody() -> NoReturn:
        raise AssertionError

    with Journal(run.path, "m", RUBRIC, ["systemone"]) as journal:
        outcome = judge(items(600), nobody, RUBRIC, journal)
        assert [outcome.verdicts(item.key) for item in items(600)] == first
    assert (outcome.tally.rows, outcome.tally.asked) == (600, 0)


def test_a_longer_pool_asks_only_for_what_is_new(tmp_path: Path) -> None:
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j")
        run(items(5))
        run(items(9))
        assert len(server.requests) == 9
        assert (run.tally.rows, run.tally.asked) == (9, 4)
        Run(server.url, run.path, model="another")(items(9))
        Run(server.url, run.path, rubric=Rubric.choose(["accuracy"]))(items(9))
        Run(server.url, run.path, Api.chat)(items(9))
        assert len(server.requests) == 36


def test_no_more_rows_are_held_than_are_under_way(tmp_path: Path) -> None:
    pulled = 0

    def stream() -> Iterator[JudgeItem]:
        nonlocal pulled
        for item in items(60):
            pulled += 1
            assert pulled - len(run.tallies) <= run.max_concurrent
            yield item

    with JudgeServer(delay=0.01) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=4)
        run(stream())
        assert pulled == 60
        assert server.most_at_once == 4


def test_requests_a_minute_count_retries_too(tmp_path: Path) -> None:
    with JudgeServer(once(503, retry_after="0.001")) as server:
        run = Run(server.url, tmp_path / "j", requests_per_minute=1200)
        began = time.monotonic()
        run(items(6))
    times = sorted(asked.at - began for asked in server.requests)
    assert len(times) == 12
    # Each may arrive late, but none before its turn.
    assert all(at >= turn * 0.05 - 1e-3 for turn, at in enumerate(times))
    # Nor do many come at once: eight turns are 0.4 s, of which the first may have lost a half.
    assert all(times[n + 8] - times[n] >= 0.2 for n in range(4))


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    with JudgeServer(once(429, retry_after="0.9")) as server:
        Run(server.url, tmp_path / "j")(items(1))
    first, second = (asked.at for asked in server.requests)
    assert second - first >= 0.9


def test_a_server_that_dribbles_times_out_as_a_whole(tmp_path: Path) -> None:
    def dribble(handler: Handler, asked: Asked) -> bool:
        handler.close_connection = True
        handler.raw(b"{", length=1000)
        for _ in range(40):
            time.sleep(0.05)
            handler.wfile.write(b" ")
            handler.wfile.flush()
        return True

    with JudgeServer(dribble) as server:
        started = time.monotonic()
        run = Run(server.url, tmp_path / "j", timeout=0.3, max_retries=0)
        assert causes(run(items(1))) == [["timed out", "timed out"]]
        assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, {"error": {"message": "no such route"}}) for status in (404, 405, 501)),
        (200, {"error": "Unexpected endpoint or method. (POST /v1/systemone): no such route"}),
        (403, {"message": "Missing Authentication Token: no such route"}),
    ],
)
def test_auto_falls_back_to_chat_and_says_so(
    status: int, body: dict[str, object], tmp_path: Path
) -> None:
    def no_systemone(handler: Handler, asked: Asked) -> bool:
        if not asked.path.endswith("systemone"):
            return False
        handler.json(body, status)
        return True

    with JudgeServer(no_systemone) as server:
        run = Run(server.url, tmp_path / "j", Api.auto)
        got = run(items(5))
        assert causes(got) == [[None, None]] * 5
        assert endpoints(server).count("/systemone") == 1
        assert endpoints(server).count("/chat/completions") == 5
        assert len(run.notices) == 1
        assert "no /systemone" in run.notices[0]
        assert "no such route" in run.notices[0]
        assert run.outcome is not None
        assert run.outcome.api == "chat"
        run(items(6))  # what the journal holds says how to go on
        assert endpoints(server)[6:] == ["/chat/completions"]


def test_auto_stays_with_systemone_where_there_is_one(tmp_path: Path) -> None:
    with JudgeServer(once(500, retry_after="0.01")) as server:
        run = Run(server.url, tmp_path / "j", Api.auto)
        run(items(5))
        assert set(endpoints(server)) == {"/systemone"}
        assert run.notices == []


def test_auto_does_not_try_a_silent_server_row_by_row(tmp_path: Path) -> None:
    def silent(handler: Handler, asked: Asked) -> bool:
        handler.hang()
        return True

    with JudgeServer(silent) as server:
        run = Run(server.url, tmp_path / "j", Api.auto, timeout=0.8, max_retries=0)
        started = time.monotonic()
        assert causes(run(items(17))) == [["timed out"] * 2] * 17
        assert time.monotonic() - started < 7  # one, then two times eight: 2.4; one by one 13.6
        server.closing.set()


def test_auto_asks_no_row_by_chat_once_systemone_has_answered(tmp_path: Path) -> None:
    def lost(handler: Handler, asked: Asked) -> bool:
        if "question 2" in asked.text:
            handler.json({}, 404)
        return "question 2" in asked.text

    with JudgeServer(lost) as server:
        run = Run(server.url, tmp_path / "j", Api.auto, max_concurrent=1)
        got = run(items(5))
    assert causes(got) == [[None] * 2] * 2 + [["HTTP 404"] * 2] + [[None] * 2] * 2
    assert endpoints(server) == ["/systemone"] * 5


def test_auto_settles_on_one_api_whoever_answers_first(tmp_path: Path) -> None:
    """Of a first request without answer, the others ask at once; some find no /systemone."""
    first = threading.Event()

    def torn(handler: Handler, asked: Asked) -> bool:
        if not first.is_set():
            first.set()
            handler.json({}, 400)
            return True
        if asked.path.endswith("systemone"):
            missing = "question 3" in asked.text
            time.sleep(0 if missing else 0.3)
            handler.json({} if missing else answer(asked), 404 if missing else 200)
            return True
        return False

    with JudgeServer(torn) as server:
        run = Run(server.url, tmp_path / "j", Api.auto, max_retries=0)
        got = run(items(6))
        assert causes(got) == [["HTTP 400"] * 2] + [[None, None]] * 5
        lines = (tmp_path / "j").read_text().splitlines()[1:]
        assert {json.loads(line)["api"] for line in lines} == {"chat"}
        assert len(run.notices) == 1


@pytest.mark.parametrize(
    ("status", "message", "refused"),
    [
        (400, "'response_format' of type json_schema is not supported", {"response_format"}),
        (422, "extra fields not permitted", {"response_format"}),
        (400, "temperature does not support 0 with this model", {"temperature"}),
        (400, "no", {"response_format", "temperature"}),
        # llama-cpp-python 0.3.36, word for word
        (500, "1 validation error:\n  {'loc': ('body', 'response_format')", {"response_format"}),
    ],
)
def test_chat_leaves_out_what_the_server_does_not_take(
    status: int, message: str, refused: set[str], tmp_path: Path
) -> None:
    def strict(handler: Handler, asked: Asked) -> bool:
        if not refused & asked.body.keys():
            return False
        handler.json({"error": {"message": message}}, status)
        return True

    with JudgeServer(strict) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1)
        assert causes(run(items(4))) == [[None, None]] * 4
        assert len(server.requests) == 4 + len(refused)
        assert run.notices == [f"the server does not take {', '.join(sorted(refused))}: left out"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "message", ["overloaded", "GPU temperature too high", "no response_format today"]
)
def test_chat_asks_a_busy_server_again_with_the_same_options(
    message: str, status: int, tmp_path: Path
) -> None:
    def busy(handler: Handler, asked: Asked) -> bool:
        if asked.before and asked.turns[0] != "question 0":
            return False
        error = {"message": message, "request": asked.body}
        handler.json({"error": error}, status, retry_after="0.01")
        return True

    with JudgeServer(busy) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_retries=1)
        assert causes(run(items(3))) == [[f"HTTP {status}"] * 2, [None] * 2, [None] * 2]
        assert all("response_format" in asked.body for asked in server.requests)
        assert all("temperature" in asked.body for asked in server.requests)
        assert len(server.requests) == 6
        assert run.notices == []


def test_chat_leaves_out_no_option_that_a_gateway_names(tmp_path: Path) -> None:
    def hot(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] == "question 0":
            handler.json({"error": {"message": "GPU temperature too high"}}, 502)
        return asked.turns[0] == "question 0"

    with JudgeServer(hot) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1, max_retries=0)
        assert causes(run(items(2))) == [["HTTP 502"] * 2, [None] * 2]
        assert ["temperature" in asked.body for asked in server.requests] == [True, True]


def test_an_option_that_is_refused_in_plain_text_is_not_asked_for_again(tmp_path: Path) -> None:
    def strict(handler: Handler, asked: Asked) -> bool:
        if "response_format" not in asked.body:
            return False
        handler.raw(b"no such field: response_format", 500, content_type="text/plain")
        return True

    with JudgeServer(strict) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1)
        assert causes(run(items(2))) == [[None, None]] * 2
        assert len(server.requests) == 3


def test_chat_does_not_learn_from_a_row_that_is_refused_either_way(tmp_path: Path) -> None:
    def too_long(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] != "question 0":
            return False
        handler.json({"error": {"message": "context length exceeded"}}, 400)
        return True

    with JudgeServer(too_long) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1)
        assert causes(run(items(2))) == [["HTTP 400"] * 2, [None] * 2]
        assert "response_format" in server.requests[-1].body
        assert run.notices == []


def test_chat_goes_on_with_options_that_answers_came_with(tmp_path: Path) -> None:
    """As where a server fails to hold one row's answer to the schema: that row goes without."""

    def fails(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] != "question 2" or "response_format" not in asked.body:
            return False
        handler.json({"error": {"message": "Failed to generate JSON."}}, 400)
        return True

    with JudgeServer(fails) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1)
        assert causes(run(items(5))) == [[None, None]] * 5
        without = [a.turns[0] for a in server.requests if "response_format" not in a.body]
        assert without == ["question 2"]
        assert run.notices == []


def test_too_many_failures_are_exit_five_with_the_journal_kept(tmp_path: Path) -> None:
    def some(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] not in ("question 1", "question 2"):
            return False
        handler.json({"error": {"message": "too long"}}, 400)
        return True

    with JudgeServer(some) as server:
        run = Run(server.url, tmp_path / "j", max_failure_rate=0.19)
        with pytest.raises(JudgeError) as caught:
            run(items(10))
        assert caught.value.exit_code == 5
        said = str(caught.value)
        assert "2 of 10 distinct rows (20%) lack a score (2 HTTP 400); the last: too long" in said
        assert said.endswith(
            f"kept in {run.path}: allow for rows that are refused as they are, or cut them by "
            "--max-judge-chars, and run again to ask for what is missing"
        )
        with pytest.raises(JudgeError, match=re.escape(said)):  # also where none answers anew
            run(items(10))
        run.max_failure_rate = 0.2  # not above
        assert scores(run(items(10)))[1] == [None, None]
        assert (run.tally.rows, run.tally.asked) == (10, 2)


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [
        (400, "model 'm' not found", "see to --judge-url (does it end in /v1?), --judge-model, "),
        (429, "slow down", "the server is busy: run again later, or set --requests-per-minute"),
        (500, "no", "see to --judge-url (does it end in /v1?), --judge-model, "),
    ],
)
def test_few_rows_that_all_fail_have_the_remedy_of_many(
    status: int, message: str, remedy: str, tmp_path: Path
) -> None:
    """A first trial is of a few rows; nothing is kept that could be spoken of."""

    def always(handler: Handler, asked: Asked) -> bool:
        handler.json({"error": {"message": message}}, status)
        return True

    with JudgeServer(always) as server:
        run = Run(server.url, tmp_path / "j", max_retries=0, max_failure_rate=0.01)
        with pytest.raises(JudgeError) as caught:
            run(items(3))
    what, _, told = str(caught.value).partition("so nothing was written; ")
    assert f"3 of 3 distinct rows (100%) lack a score (3 HTTP {status})" in what
    assert told.startswith(remedy)
    assert "kept in" not in told


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (lambda handler: handler.json({}, 429), "the server is busy: run again later, or set --r"),
        (lambda handler: handler.hang(), "a slow server wants fewer --max-concurrent-requests or"),
        (lambda handler: handler.json({}, 500), "answers are kept in "),
        (lambda handler: handler.json({}, 403), "answers are kept in "),  # moderation, say
    ],
)
def test_few_rows_that_fail_beside_others_have_the_remedy_of_their_failure(
    fault: Callable[[Handler], None], remedy: str, tmp_path: Path
) -> None:
    def some(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] not in ("question 1", "question 2"):
            return False
        fault(handler)
        return True

    with JudgeServer(some) as server:
        run = Run(server.url, tmp_path / "j", max_retries=0, max_failure_rate=0.01, timeout=2)
        with pytest.raises(JudgeError) as caught:
            run(items(10))
    what, _, told = str(caught.value).partition("so nothing was written; ")
    assert "2 of 10 distinct rows (20%) lack a score" in what
    assert told.startswith(remedy)
    assert told.endswith(f"kept in {run.path}: run again to ask for what is missing")


def test_few_rows_that_are_all_refused_beside_a_journals_have_the_remedy_of_many(
    tmp_path: Path,
) -> None:
    def closed(handler: Handler, asked: Asked) -> bool:
        handler.json({}, 403)
        return True

    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j", max_retries=0, max_failure_rate=0.01)
        run(items(5))
        server.fault = closed
        with pytest.raises(JudgeError, match=r"written; see to --judge-url .*; answers are kept"):
            run(items(8))


def test_a_server_that_has_lost_the_endpoint_of_the_journals_answers_is_told_so(
    tmp_path: Path,
) -> None:
    """Not asked by chat unless that is said: answers of different kinds are not mixed."""

    def only_chat(handler: Handler, asked: Asked) -> bool:
        if asked.path.endswith("/systemone"):
            handler.json({"detail": "Not Found"}, 404)
        return asked.path.endswith("/systemone")

    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j", Api.auto)
        run(items(2))
        server.fault = only_chat
        with pytest.raises(JudgeError) as caught:
            run(items(4))
        assert (
            f"HTTP 404 (Not Found); answers in {run.path} came by systemone: if the server has "
            "that no more, --judge-api chat asks about all rows anew; else see to --judge-url"
        ) in str(caught.value)
        run.api = Api.chat
        assert causes(run(items(4))) == [[None, None]] * 4
        server.fault = lambda handler, asked: bool(handler.json({}, 404)) or True
        with pytest.raises(JudgeError, match=r"HTTP 404; see to --judge-url"):
            run(items(5))


def test_few_rows_of_a_server_that_is_not_there_have_the_remedy_of_many(
    gone: str, tmp_path: Path
) -> None:
    run = Run(gone, tmp_path / "j", max_retries=0, max_failure_rate=0.01)
    with pytest.raises(JudgeError, match=r"written; is the server running, and --judge-url right"):
        run(items(3))


def test_a_share_just_above_the_rate_is_told_as_that(tmp_path: Path) -> None:
    def one(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] != "question 7":
            return False
        handler.json({}, 400)
        return True

    with JudgeServer(one) as server:
        run = Run(server.url, tmp_path / "j", max_failure_rate=0.01)
        with pytest.raises(JudgeError, match=r"1 of 99 distinct rows \(1\.01%\)"):
            run(items(99))


def test_a_failure_rate_is_compared_as_it_is_told(tmp_path: Path) -> None:
    def some(handler: Handler, asked: Asked) -> bool:
        if int(asked.turns[0].removeprefix("question ")) >= 29:
            return False
        handler.json({}, 400)
        return True

    with JudgeServer(some) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=16, max_failure_rate=0.29)
        run(items(100))  # 0.29 * 100 is less than 29
        assert run.tally.failures == 29


def test_too_many_answers_without_a_score_are_told_how_to_be_asked_again(tmp_path: Path) -> None:
    def unread(handler: Handler, asked: Asked) -> bool:
        handler.json({"answers": {"helpfulness": {"type": "refusal"}}})
        return True

    with JudgeServer(unread) as server:
        run = Run(server.url, tmp_path / "j", max_failure_rate=0.0)
        for _ in range(2):  # the second time from the journal
            with pytest.raises(
                JudgeError, match=r'delete its lines with "score": null, .* and run'
            ):
                run(items(3))
        assert len(server.requests) == 3
        server.fault = None
        lines = run.path.read_text().splitlines(keepends=True)
        run.path.write_text("".join(line for line in lines if '"score": null' not in line))
        assert causes(run(items(3))) == [[None, None]] * 3


def test_which_score_rows_lack_beside_others_is_told(tmp_path: Path) -> None:
    def forgets(handler: Handler, asked: Asked) -> bool:
        handler.json(completion('{"helpfulness": 3}' if asked.turns[0] < "question 2" else "Good."))
        return True

    with JudgeServer(forgets) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_failure_rate=0.0)
        told = r"3 of 3 distinct rows \(100%\) lack a score \(2 accuracy unparsed, 1 unparsed\)"
        with pytest.raises(JudgeError, match=told):
            run(items(3))


def test_a_dead_server_is_given_up_on(gone: str, tmp_path: Path) -> None:
    run = Run(gone, tmp_path / "j", max_retries=0, max_failure_rate=0.5)
    with pytest.raises(JudgeError, match=r"20 requests in a row had no answer.*no connection"):
        run(items(1000))
    with pytest.raises(JudgeError, match=r"; is the server running, and --judge-url right\?$"):
        run(items(1000))
    run.max_failure_rate = 1.0
    assert causes(run(items(30))) == [["no connection"] * 2] * 30


@pytest.mark.parametrize("fault", [Handler.drop, lambda handler: handler.json({}, 500)])
def test_of_a_server_that_breaks_down_amid_the_rows_no_more_is_asked_than_to_run_again(
    fault: Callable[[Handler], None], tmp_path: Path
) -> None:
    def later(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] == "question 0":
            return False
        fault(handler)
        return True

    with JudgeServer(later) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=1, max_retries=0, max_failure_rate=0.5)
        with pytest.raises(JudgeError) as caught:
            run(items(30))
    what, _, remedy = str(caught.value).partition("; ")
    assert what.startswith("20 requests in a row had no answer, the last: ")
    assert remedy == f"answers are kept in {run.path}: run again to go on"


@pytest.mark.parametrize("answers", [0, 1])
def test_a_server_that_is_too_slow_is_told_as_that(answers: int, tmp_path: Path) -> None:
    """With -q the last message is the only one."""

    def sleeps(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] != "question 0" or not answers:
            over.wait(10)
        return False

    over = threading.Event()
    with JudgeServer(sleeps) as server:
        run = Run(server.url, tmp_path / "j", timeout=0.5, max_retries=0, max_failure_rate=0.5)
        with pytest.raises(JudgeError, match=r"in a row .* timed out.*; a slow server wants fewer"):
            run(items(21))
        over.set()


def test_a_server_that_answers_is_not_asked_after(tmp_path: Path) -> None:
    def no(handler: Handler, asked: Asked) -> bool:
        handler.json({"error": {"message": "no such model"}}, 400)
        return True

    with JudgeServer(no) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=11, max_failure_rate=0.5)
        with pytest.raises(JudgeError, match=r"^22 requests in a row .*such model\); see to --j"):
            run(items(100))


@pytest.mark.parametrize("status", [401, 402, 404])
def test_a_wrong_key_or_address_ends_the_run_at_once(status: int, tmp_path: Path) -> None:
    def no(handler: Handler, asked: Asked) -> bool:
        handler.json({"error": {"message": "who are you?"}}, status)
        return True

    with JudgeServer(no) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=1)
        why = "no API key was sent: " * (status == 401)
        with pytest.raises(JudgeError, match=rf"HTTP {status} \({why}who are you\?\); see to"):
            run(items(100))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "more"),
    [(401, 1), (402, 1), (403, 20), (404, 20), (400, 30)],  # a closed door may be one row's
)
def test_a_key_or_address_that_is_lost_on_the_way_ends_the_run_at_any_failure_rate(
    status: int, more: int, tmp_path: Path
) -> None:
    def later(handler: Handler, asked: Asked) -> bool:
        if len(server.requests) <= 5:
            return False
        handler.json({"error": {"message": "gone"}}, status)
        return True

    with JudgeServer(later) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=1)
        if status == 400:
            run(items(35))
            assert run.tally.failures == 30
        else:
            why = "no API key was sent: " * (status == 401)
            said = rf"HTTP {status} \({why}gone\); see to .* kept in"
            with pytest.raises(JudgeError, match=said):
                run(items(100))
        assert len(server.requests) == 5 + more


@pytest.mark.parametrize(
    ("turns", "rate", "lasting"),
    [
        ((200, 400), 0.6, 23),  # of the rows themselves, which are not asked about again
        ((200, 413), 1.0, 23),
        ((200, 422), 1.0, 23),
        ((200, 403), 0.6, 0),
        ((200, 403), 1.0, 0),
        ((403, 500, 200), 1.0, 0),
    ],
)
def test_failures_that_others_come_between_do_not_end_the_run(
    turns: tuple[int, ...], rate: float, lasting: int, tmp_path: Path
) -> None:
    def by_turns(handler: Handler, asked: Asked) -> bool:
        status = turns[(len(server.requests) - 1) % len(turns)]
        if status != 200:
            handler.json({}, status)
        return status != 200

    with JudgeServer(by_turns) as server:
        run = Run(
            server.url, tmp_path / "j", max_concurrent=1, max_failure_rate=rate, max_retries=0
        )
        run(items(46))
        assert (run.tally.asked, len(server.requests)) == (46, 46)
        assert run.tally.failures == sum(turns[at % len(turns)] != 200 for at in range(46))
        assert run.outcome is not None
        assert run.outcome.lasting == lasting


def test_a_door_that_is_closed_amid_other_failures_does_not_end_the_run(tmp_path: Path) -> None:
    def shut(handler: Handler, asked: Asked) -> bool:
        if len(server.requests) > 1:
            handler.json({}, 403 + 97 * (len(server.requests) % 2))
        return len(server.requests) > 1

    with JudgeServer(shut) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=1, max_retries=0)
        run(items(46))
        assert (run.tally.asked, run.tally.causes) == (46, {"HTTP 403": 23, "HTTP 500": 22})


@pytest.mark.parametrize("answered", [0, 2])
def test_a_server_that_asks_to_wait_is_told_as_such(answered: int, tmp_path: Path) -> None:
    def busy(handler: Handler, asked: Asked) -> bool:
        if len(server.requests) <= answered:
            return False
        handler.json({"error": {"message": "slow down"}}, 429, retry_after="300")
        return True

    said = r"HTTP 429 \(slow down, Retry-After: 300\); the server is busy: run again later, "
    with JudgeServer(busy) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=1, max_failure_rate=0.5)
        with pytest.raises(JudgeError, match=said) as caught:
            run(items(100))
        assert ("are kept in" in str(caught.value)) is bool(answered)
        assert len(server.requests) == 20 + answered  # openai's package waits two minutes at most


@pytest.mark.parametrize("status", [503, 529])
def test_a_server_that_is_not_ready_is_told_as_busy(status: int, tmp_path: Path) -> None:
    def loading(handler: Handler, asked: Asked) -> bool:
        handler.json({"error": {"message": "Loading model"}}, status)
        return True

    with JudgeServer(loading) as server:
        run = Run(server.url, tmp_path / "j", max_retries=0, max_failure_rate=0.5)
        with pytest.raises(
            JudgeError, match=rf"{status} \(Loading model\); the server is busy: run"
        ):
            run(items(30))


def test_once_a_run_has_to_end_no_other_row_is_asked_about(tmp_path: Path) -> None:
    def broke(handler: Handler, asked: Asked) -> bool:
        if asked.text == "question 0 a":
            handler.json({}, 402)
        else:
            time.sleep(0.2)
        return asked.text == "question 0 a"

    with JudgeServer(broke) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=4)
        with pytest.raises(JudgeError, match="HTTP 402"):
            run(items(100))
        assert len(server.requests) <= 4


def test_a_key_without_credit_ends_the_run_at_once(tmp_path: Path) -> None:
    """OpenAI says so with the status of a server that is busy."""

    def broke(handler: Handler, asked: Asked) -> bool:
        error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
        handler.json({"error": error}, 429)
        return True

    with JudgeServer(broke) as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=1, max_retries=0)
        with pytest.raises(JudgeError, match=r"HTTP 429 \(You exceeded your current quota\); see"):
            run(items(9))
        assert len(server.requests) == 1


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_a_judge_that_never_gives_a_score_is_given_up_on(rate: float, tmp_path: Path) -> None:
    def prose(handler: Handler, asked: Asked) -> bool:
        handler.json(completion("I think it is good."))
        return True

    with JudgeServer(prose) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1, max_failure_rate=rate)
        if rate == 1:
            run(items(30))
        else:
            with pytest.raises(JudgeError, match=r"first 20 answers holds a score \(20 unparsed\)"):
                run(items(30))
            assert len(server.requests) == 20
            server.fault = None
            run(items(40))  # another 20, with a score
            server.fault = prose
            run.max_failure_rate = 0.9
            run(items(70))  # of a judge that has answered before
            assert run.tally.failures == 50
            run(items(100)[::-1])  # also where what it has answered comes last
            assert run.tally.failures == 80


def test_a_judge_that_gives_one_score_of_two_is_asked_about_all_rows(tmp_path: Path) -> None:
    def half(handler: Handler, asked: Asked) -> bool:
        handler.json(completion('{"accuracy": 4}'))
        return True

    with JudgeServer(half) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1, max_failure_rate=0.5)
        with pytest.raises(JudgeError, match=r"30 of 30 distinct rows \(100%\) lack a score"):
            run(items(30))


def test_a_judge_that_is_given_up_on_is_told_by_its_answers_of_this_run(tmp_path: Path) -> None:
    def prose(handler: Handler, asked: Asked) -> bool:
        if len(server.requests) % 3:
            handler.json(completion("I think it is good."))
        else:
            handler.json({}, status=413)
        return True

    with JudgeServer(prose) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_concurrent=1, max_failure_rate=0.5)
        for _ in range(2):
            with pytest.raises(JudgeError, match=r"first 20 answers holds a score \(20 unparsed\)"):
                run(items(99))


def interrupted(
    ask: Callable[[], Awaitable[Answer]], asked: Iterable[JudgeItem], journal_path: Path
) -> None:
    """A run in this process that Ctrl-C ends while its judge is at `ask`."""

    class Asked:
        api = "local"

        async def ask(self, state: str) -> Answer:
            return await ask()

    @asynccontextmanager
    async def connect() -> AsyncIterator[Asked]:
        yield Asked()

    with (
        Journal(journal_path, "m", RUBRIC, ("local",)) as journal,
        pytest.raises(KeyboardInterrupt),
    ):
        judge(asked, connect, RUBRIC, journal)


def test_ctrl_c_twice_amid_the_work_is_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first is heard when the work rests, as between two layers of a local model."""

    async def ask() -> Answer:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("interrupted")

    interrupted(ask, items(9), tmp_path / "j")
    gc.collect()  # what nobody has asked a task for is told when it goes
    assert caplog.records == []


def test_ctrl_c_twice_amid_the_loop_forgets_no_task(tmp_path: Path) -> None:
    """A launcher that passes it on sends a second beside the terminal's."""

    async def ask() -> Answer:
        asyncio.get_running_loop().call_later(0.05, sys.setprofile, interrupting)
        await asyncio.Event().wait()
        raise AssertionError("nobody has set it")

    def interrupting(frame: FrameType, event: str, _: object) -> None:
        """The loop has taken who is to be woken from its list, and has not yet woken them."""
        if event == "call" and frame.f_code is asyncio.Handle._run.__code__:
            signal.raise_signal(signal.SIGINT)

    third = threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT))  # else it would never end
    third.start()
    try:
        interrupted(ask, items(9), tmp_path / "j")
        assert third.is_alive()
    finally:
        sys.setprofile(None)
        third.cancel()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_the_loop_is_made_is_no_traceback(tmp_path: Path) -> None:
    def interrupting(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_make_self_pipe":
            signal.raise_signal(signal.SIGINT)

    async def ask() -> Answer:
        raise AssertionError("interrupted")

    sys.setprofile(interrupting)
    try:
        interrupted(ask, items(1), tmp_path / "j")
    finally:
        sys.setprofile(None)
    gc.collect()  # half a loop, or what it was never to run, is told when it goes


def test_ctrl_c_again_while_the_loop_winds_up_is_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupting() -> None:
        """As a look-up of a host's name, whose thread is waited for."""
        for _ in range(2):
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.1)

    async def ask() -> Answer:
        await asyncio.get_running_loop().run_in_executor(None, interrupting)
        raise AssertionError("interrupted")

    interrupted(ask, items(1), tmp_path / "j")
    assert caplog.records == []


def test_a_bad_row_ends_the_run_as_it_is_and_keeps_what_was_answered(tmp_path: Path) -> None:
    def stream() -> Iterator[JudgeItem]:
        yield from items(3)
        raise InputError("not JSON", path="pool.jsonl", line=4)

    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j", max_concurrent=1)
        with pytest.raises(InputError, match=r"pool\.jsonl:4"):
            run(stream())
        run(items(3))
        assert len(server.requests) == 3


def test_the_key_is_sent_and_stands_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def tattle(handler: Handler, asked: Asked) -> bool:
        sent = asked.headers["authorization"]
        assert sent == f"Bearer {KEY}"
        if asked.turns[0] == "question 0":
            handler.json({"error": {"message": f"odd key {sent}"}}, 400)
        elif asked.turns[0] == "question 1":
            handler.json({"answers": {"helpfulness": {"score": 1.5, "type": "score"}}, "you": sent})
        elif asked.turns[0] == "question 2":
            handler.json({"error": sent})
        else:
            handler.raw(sent.encode(), 403, content_type="text/plain")
        return True

    with JudgeServer(tattle) as server:
        run = Run(server.url, tmp_path / "j", max_failure_rate=0.0)
        with pytest.raises(JudgeError) as caught:
            run(items(4))
        assert len(server.requests) == 4
    assert "[key]" in str(caught.value)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert "[key]" in "".join(written)
    for text in (
        str(caught.value),
        repr(caught.value),
        *run.notices,
        *written,
        *capfd.readouterr(),
    ):
        assert KEY not in text


@pytest.mark.parametrize(
    "key", ["s3/!", "s3cr3t!", "sk-abcd/efgh", "12345678", "a  b'c\"d\\e", "n0123456"]
)
def test_a_key_is_found_in_every_spelling_that_json_has(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    quoted = json.dumps(key)[1:-1]
    percent = "".join(f"%{ord(char):02x}" for char in key)
    spellings = [
        quote(key, safe=""),
        percent,
        percent.replace("%", "%25"),
        b64encode(key.encode()).decode().rstrip("="),
        json.dumps(b64encode(key.encode()).decode().rstrip("=").replace("/", "\\/"))[1:-1],
        urlsafe_b64encode(key.encode()).decode().rstrip("="),
        quoted,
        quoted.replace("/", "\\/"),
        "".join(f"\\u{ord(char):04X}" for char in key),
        json.dumps(quoted.replace("/", "\\/"))[1:-1],  # JSON within a text
    ]

    choices = [{"message": {"content": '{"helpfulness": 3, "accuracy": 4}'}}]

    def echo(handler: Handler, asked: Asked) -> bool:
        spelling = spellings[int(asked.turns[0].removeprefix("question "))]
        text = f'["{spelling}\\n0123"'
        if asked.body["model"] == "errors":
            handler.raw(text.encode(), 400)  # JSON cut short
        else:
            grades = f'"digits": 5512345678, "choices": {json.dumps(choices)}'
            handler.raw(f'{{"{spelling}": {text}], {grades}}}'.encode())
        return True

    with JudgeServer(echo) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, "answers")
        assert scores(run(items(len(spellings)))) == [[3.0, 4.0]] * len(spellings)
        for line in run.path.read_text().splitlines()[1:]:
            kept = {"[key]": ["[key]\n0123"], "digits": 5512345678, "choices": choices}
            assert json.loads(line)["raw"] == kept
        for item in items(len(spellings)):
            run = Run(server.url, tmp_path / "k", Api.chat, "errors", max_failure_rate=0.0)
            with pytest.raises(JudgeError, match=r'the last: \["\[key\]\\n0123"; above'):
                run([item])


def test_what_is_sent_beside_the_key_is_kept_nowhere_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gate: Bearer let-me-in-0123\nX-Team: blue")
    choices = [{"message": {"content": '{"helpfulness": 3, "accuracy": 4}'}}]

    def echo(handler: Handler, asked: Asked) -> bool:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        handler.json({**headers, "said": "let-me-in-0123", "choices": choices})
        return True

    with JudgeServer(echo) as server:
        for place, user in enumerate(("user:pässw%40rt", "token-0123456789", "user:help")):
            run = Run(server.url.replace("//", f"//{user}@"), tmp_path / f"{place}", Api.chat)
            assert scores(run(items(1))) == [[3.0, 4.0]]
            kept = json.loads(run.path.read_text().splitlines()[1])["raw"]
            assert (kept["x-gate"], kept["x-team"]) == ("Bearer [key]", "blue")
            assert kept["said"] == "[key]"
            headers = server.requests[-1].headers
            (basic,) = [headers[name] for name in headers if name.lower() == "authorization"]
            sent = b64decode(basic.removeprefix("Basic ")).decode()
            assert sent == unquote(user) + ":" * (":" not in user)
            shown = kept["authorization"].removeprefix("Basic ")
            assert ("[key]" in shown) == (user != "user:help")  # which is part of any text
            assert len(shown.replace("[key]", "")) < 10 or user == "user:help"


def test_the_middle_of_a_key_is_not_shown_amid_other_base64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def basic(handler: Handler, asked: Asked) -> bool:
        user = "x" * int(asked.turns[0].removeprefix("question "))
        handler.json({"error": {"message": b64encode(f"{user}:{KEY}:".encode()).decode()}}, 400)
        return True

    with JudgeServer(basic) as server:
        for item in items(4):
            run = Run(server.url, tmp_path / "j", max_failure_rate=0.0)
            with pytest.raises(JudgeError, match=r"the last: \S{0,7}\[key\]\S{0,5}; above"):
                run([item])


def test_a_server_of_ones_own_needs_no_key_and_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Server("m", base_url="http://127.0.0.1:1/v1").key() is None
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not in the environment"):
        Server("m").key()
    with pytest.raises(UsageError, match="MY_KEY is not in the environment"):
        Server("m", base_url="http://127.0.0.1:1/v1", key_variable="MY_KEY").key()
    for mistaken in (KEY, "gsk_" + "a1" * 26, "hf_x", "AKIA0123456789ABCDEF", ""):
        with pytest.raises(UsageError, match="--api-key-env names no variable") as caught:
            Server("m", key_variable=mistaken).key()
        assert not mistaken or mistaken not in str(caught.value)
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    assert Server("m", key_variable="MY_KEY").key() == KEY
    monkeypatch.setenv("MY_KEY", "a\nb")
    with pytest.raises(UsageError, match="what MY_KEY holds is no API key"):
        Server("m", key_variable="MY_KEY").key()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://x/v1",
        "http://",
        "http://x:99999/v1",
        "http://x:0/v1",
        "",
        "http://x/v1?api-version=1",
        "http://x/v1#top",
        "http://x/v1?",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--judge-url is not the address of a server"):
        Server("m", base_url=url)


@pytest.mark.parametrize(
    "url", ["http://h:99999/v1", "h/v1", "http://é..b/v1", "http://h/\udcff/v1"]
)
def test_an_address_of_the_environment_that_is_none(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(UsageError, match=r"^OPENAI_BASE_URL is not the address of a server; give"):
        Server("m").check()
    assert Server("m", base_url="http://h/v1").place == "http://h/v1"


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("ALL_PROXY", "foo://h", "foo://h"),
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "socksio"),
        ("HTTP_PROXY", "foo:bar", "Invalid port: 'bar'"),
        ("HTTPS_PROXY", "http://é..b", "Invalid IDNA hostname"),
        ("SSL_CERT_FILE", "/none", "No such file"),
        ("SSL_CERT_FILE", __file__, "no certificate"),
    ],
)
def test_an_environment_that_no_request_can_be_made_in(
    variable: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setitem(sys.modules, "socksio", None)  # even where it is installed
    with pytest.raises(UsageError, match=rf"{why}.*\); see to HTTP_PROXY, .* and SSL_CERT_FILE$"):
        Server("m", base_url="http://127.0.0.1:1/v1").check()


@pytest.mark.parametrize(
    ("variable", "value", "header"),
    [
        ("OPENAI_ORG_ID", "\u201corg-1\u201d", "OpenAI-Organization"),
        ("OPENAI_PROJECT_ID", "project\r", "OpenAI-Project"),
        ("OPENAI_CUSTOM_HEADERS", "X-Team: é", "X-Team"),
    ],
)
def test_a_header_of_the_environment_that_cannot_be_sent(
    variable: str, value: str, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=rf"header {header} cannot be sent; .*{variable}"):
        Server("m", base_url="http://127.0.0.1:1/v1").check()


def test_spaces_around_an_address_are_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Server("m", base_url=" http://h/v1 ").place == "http://h/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", " http://h/v1 ")
    assert Server("m").place == "http://h/v1"


def test_the_address_is_shown_without_its_password() -> None:
    assert Server("m", base_url="http://me:secret@[::1]:8000/v1").place == "http://[::1]:8000/v1"
    assert Server("m").place == "https://api.openai.com/v1"


def test_many_known_rows_do_not_hold_up_those_under_way(tmp_path: Path) -> None:
    """With everything known but the first row, its answer arrives before the pass is over."""
    rows = items(6000)
    done_at: list[int] = []
    passed = 0

    class Quick:
        api = "local"

        async def ask(self, state: str) -> Answer:
            await asyncio.sleep(0)
            done_at.append(passed)
            return Answer({}, {"helpfulness": Verdict(3.0), "accuracy": Verdict(3.0)}, Usage())

    @asynccontextmanager
    async def connect() -> AsyncIterator[Quick]:
        yield Quick()

    def stream() -> Iterator[JudgeItem]:
        nonlocal passed
        for passed, item in enumerate(rows):  # noqa: B007
            yield item

    with Journal(tmp_path / "j", "m", RUBRIC, ["local"]) as journal:
        judge(rows[1:], connect, RUBRIC, journal)
        done_at.clear()
        outcome = judge(stream(), connect, RUBRIC, journal)
    assert (outcome.tally.rows, outcome.tally.asked) == (len(rows), 1)
    assert done_at[0] < 3000


def test_estimate_counts_without_asking(tmp_path: Path) -> None:
    rows = [*items(6), *items(2)]
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j")
        run(rows[:2])
        with Journal(run.path, "m", RUBRIC, ["systemone"]) as journal:
            plain = estimate(rows, RUBRIC, journal, "systemone")
        assert len(server.requests) == 2
    assert (plain.rows, plain.distinct, plain.reused, plain.requests) == (8, 6, 2, 4)
    assert plain.chars_per_token == CHARS_PER_TOKEN
    assert not plain.measured
    assert plain.dollars(2.0) == pytest.approx(plain.input_tokens * 2e-6)
    nothing: set[bytes] = set()
    more = estimate(rows, RUBRIC, nothing, "systemone")
    assert more.input_tokens / 6 == pytest.approx(plain.input_tokens / 4, rel=0.01)
    counted = estimate(rows, RUBRIC, nothing, "local", lambda state: 700)
    assert counted.measured
    assert counted.input_tokens == pytest.approx(6 * 700, rel=0.01)


def test_estimate_reckons_a_row_and_the_words_around_it_once_a_request() -> None:
    rows = [JudgeItem.of([("user", "x" * 10 * n)], 50) for n in (1, 5, 6, 9, 9)]
    spent = {}
    for api, words in (("chat", prompt(RUBRIC, "")), ("systemone", json.dumps(questions(RUBRIC)))):
        found = estimate(rows, RUBRIC, set(), api)
        chars = sum(len(words) + len(one.state) for one in rows[:4])
        assert found.input_tokens == round(chars / 4)
        assert (found.rows, found.distinct, found.cut) == (5, 4, 3)
        spent[api] = found.input_tokens
    assert spent["chat"] != spent["systemone"]


def test_estimate_has_the_tokens_of_a_hundred_rows_counted() -> None:
    asked: list[str] = []

    def count(state: str) -> int:
        asked.append(state)
        return len(state)

    rows = items(120)
    found = estimate(rows, RUBRIC, {rows[0].key}, "local", count)
    assert asked == [one.state for one in rows[1:101]]
    assert (found.reused, found.measured) == (1, True)


def test_progress_tells_tokens_failures_and_rows(tmp_path: Path) -> None:
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j")
        run(items(7))
    assert len(run.tallies) == 7
    assert run.tally.usage.input_tokens == 700


def test_journal_lines_are_json_for_other_tools(tmp_path: Path) -> None:
    with JudgeServer() as server:
        Run(server.url, tmp_path / "j")(items(3))
    head, *lines = (tmp_path / "j").read_text().splitlines()
    assert json.loads(head) == {"gip": "judge journal", "version": 1}
    assert {json.loads(line)["key"] for line in lines} == {one.key.hex() for one in items(3)}
    assert all("legend" not in line for line in lines)
