"""A real server that fails in every way: nothing lost, nothing invented, nothing asked twice."""

from __future__ import annotations

import gzip
import json
import random
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gip_cli.errors import JudgeError
from gip_cli.judge import Api
from tests.judge.conftest import Run, causes, items, scores, unchanged
from tests.judge.server import Asked, Handler, JudgeServer, answer, completion

BOMB = gzip.compress(b" " * (40 << 20) + b"{}")
APIS = [Api.systemone, Api.openai, Api.chat]


def retry_after(handler: Handler, asked: Asked) -> None:
    handler.json({"error": {"message": "slow down"}}, 429, retry_after="0.05")


def internal(handler: Handler, asked: Asked) -> None:
    handler.json({"error": {"message": "oh"}}, 500, retry_after="0.05")


def hang(handler: Handler, asked: Asked) -> None:
    handler.hang()


def close(handler: Handler, asked: Asked) -> None:
    handler.drop()


def garbage(handler: Handler, asked: Asked) -> None:
    handler.raw(b"<html>bad gateway</html>", content_type="text/html")


def not_an_object(handler: Handler, asked: Asked) -> None:
    handler.raw(b'["fine"]')


def no_charset(handler: Handler, asked: Asked) -> None:
    handler.raw(b"fine", content_type="application/json; charset=hex")


def truncated(handler: Handler, asked: Asked) -> None:
    handler.close_connection = True
    handler.raw(b'{"answers": {"helpfulness": {"sc', length=900)


# What may pass, and what it is counted as if it does not.
TRANSIENT: dict[Callable[[Handler, Asked], None], str] = {
    retry_after: "HTTP 429",
    internal: "HTTP 500",
    hang: "timed out",
    close: "no connection",
    garbage: "not JSON",
    not_an_object: "not JSON",
    no_charset: "not JSON",
    truncated: "bad answer",
}


def number(asked: Asked) -> int:
    return int(asked.turns[0].removeprefix("question "))


@pytest.mark.parametrize("api", APIS)
def test_a_fault_that_passes_leaves_no_trace(api: Api, tmp_path: Path) -> None:
    faults = list(TRANSIENT)

    def once(handler: Handler, asked: Asked) -> bool:
        if asked.before or number(asked) >= len(faults):
            return False
        faults[number(asked)](handler, asked)
        return True

    rows = items(len(faults) + 2)
    with JudgeServer() as server:
        clean = Run(server.url, tmp_path / "clean", api)(rows)
    with JudgeServer(once) as server:
        run = Run(server.url, tmp_path / "faulty", api, timeout=0.5)
        assert run(rows) == clean
        assert all(score for row in scores(clean) for score in row)
        assert run.tally.failures == 0
        assert len(server.requests) == len(rows) + len(faults)
        with unchanged(run.path):
            assert run(rows) == clean
        assert len(server.requests) == len(rows) + len(faults)
        assert (run.tally.asked, run.tally.rows) == (0, len(rows))


@pytest.mark.parametrize("api", APIS)
def test_a_fault_that_stays_is_null_and_is_asked_again(api: Api, tmp_path: Path) -> None:
    faults = list(TRANSIENT)
    broken = True

    def always(handler: Handler, asked: Asked) -> bool:
        if not broken or number(asked) >= len(faults):
            return False
        faults[number(asked)](handler, asked)
        return True

    rows = items(len(faults) + 2)
    with JudgeServer(always) as server:
        run = Run(server.url, tmp_path / "j", api, timeout=0.4, max_retries=1)
        first = run(rows)
        assert causes(first) == [[cause] * 2 for cause in TRANSIENT.values()] + [[None] * 2] * 2
        assert scores(first)[: len(faults)] == [[None, None]] * len(faults)
        assert run.tally.causes == {
            cause: list(TRANSIENT.values()).count(cause) for cause in TRANSIENT.values()
        }
        late = [notice for notice in run.notices if "no whole answer within 0.4 s yet; " in notice]
        assert len(late) == 1
        assert late[0].startswith(f"{server.url}: ")
        before, broken = len(server.requests), False
        second = run(rows)
        assert second[len(faults) :] == first[len(faults) :]
        assert all(score for row in scores(second) for score in row)
        assert {number(asked) for asked in server.requests[before:]} == set(range(len(faults)))
        assert len(server.requests) == before + len(faults)


def redirect(place: str) -> Callable[[Handler, Asked], None]:
    return lambda handler, asked: handler.raw(b"", 307, location=place)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (redirect("/v1/systemone"), "bad answer"),
        (redirect("ftp://127.0.0.1/v1/systemone"), "HTTP 307"),
        (redirect("http://127.0.0.1:99999/v1/systemone"), "HTTP 307"),
        (redirect("http://[::1/"), "bad answer"),
        (lambda handler, _: handler.raw(b"{}", content_encoding="gzip"), "bad answer"),
        (lambda handler, _: handler.raw(b" " * (9 << 20) + b"{}"), "answer too long"),
        (lambda handler, _: handler.raw(BOMB, content_encoding="gzip"), "answer too long"),
        (lambda handler, _: handler.raw(BOMB, 400, content_encoding="gzip"), "answer too long"),
    ],
)
def test_an_answer_of_no_use_is_no_missing_connection(
    fault: Callable[[Handler, Asked], None], cause: str, tmp_path: Path
) -> None:
    def always(handler: Handler, asked: Asked) -> bool:
        fault(handler, asked)
        return True

    with JudgeServer(always) as server:
        run = Run(server.url, tmp_path / "j", max_retries=0)
        assert causes(run(items(1))) == [[cause] * 2]
    assert run.path.stat().st_size < 100


def test_a_redirect_that_drops_the_question_is_told_once(tmp_path: Path) -> None:
    """As of http:// to https://, which most services answer so."""

    def moved(handler: Handler, asked: Asked) -> bool:
        handler.raw(b"", 301, location="/v1/elsewhere?key=1")
        return True

    with JudgeServer(moved) as server:
        run = Run(server.url, tmp_path / "j")
        with pytest.raises(JudgeError, match="HTTP 501"):  # the server knows no GET
            run(items(3))
    place = server.url.removesuffix("/v1")
    assert [line for line in run.notices if f"redirected to {place}," in line] == run.notices
    assert len(run.notices) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_row_and_no_header_goes_to_a_server_that_was_not_named(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Api-Key: topsecret")
    with JudgeServer() as other:

        def moved(handler: Handler, asked: Asked) -> bool:
            handler.raw(b"", status, location=f"{other.url}/systemone")
            return True

        with JudgeServer(moved) as server:
            run = Run(server.url, tmp_path / "j")
            assert causes(run(items(3))) == [[f"HTTP {status}"] * 2] * 3
            assert len(server.requests) == 3
        assert other.requests == []
    place = other.url.removesuffix("/v1")
    assert len(run.notices) == 1
    assert f"redirected to {place}, and a redirected question is not asked there" in run.notices[0]


@pytest.mark.parametrize(
    "location",
    [
        "http:///v1/systemone",
        "https://127.0.0.1:1/v1/systemone",
        "http://localhost:PORT/v1/systemone",
    ],
)
def test_a_redirect_to_another_host_or_port_is_not_followed(location: str, tmp_path: Path) -> None:
    """Of a scheme without a host the client would take the host alone."""

    def moved(handler: Handler, asked: Asked) -> bool:
        port = asked.headers["host"].rpartition(":")[2]
        handler.raw(b"", 307, location=location.replace("PORT", port))
        return True

    with JudgeServer(moved) as server:
        run = Run(server.url, tmp_path / "j", max_retries=0)
        assert causes(run(items(1))) == [["HTTP 307"] * 2]
        assert "a redirected question is not asked there" in run.notices[0]


def test_a_proxy_is_named_where_it_takes_no_connection(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", gone.removesuffix("/v1"))
    with JudgeServer() as server:
        run = Run(server.url, tmp_path / "j", max_retries=0)
        assert causes(run(items(1))) == [["no connection"] * 2]
        assert (
            f"{server.url}: no connection yet through the environment's proxy (" in run.notices[0]
        )
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert causes(run(items(1))) == [[None, None]]


def test_what_a_proxy_repeats_of_its_password_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(handler: Handler, asked: Asked) -> bool:
        sent = asked.headers["proxy-authorization"]
        handler.json({"error": {"message": f"refused: {sent}, puser:hunter2hunter2"}}, 407)
        return True

    with JudgeServer(refuses) as proxy:
        place = proxy.url.removesuffix("/v1").removeprefix("http://")
        monkeypatch.setenv("http_proxy", f"http://puser:hunter2hunter2@{place}")
        run = Run("http://judge.invalid/v1", tmp_path / "j", max_failure_rate=0.0)
        with pytest.raises(JudgeError, match=r"the last: refused: Basic \S*\[key\]") as caught:
            run(items(1))
    said = str(caught.value)
    assert "hunter2" not in said
    assert b64encode(b"puser:hunter2hunter2").decode()[8:-2] not in said


def test_an_answer_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    def marked(handler: Handler, asked: Asked) -> bool:
        handler.raw(b"\xef\xbb\xbf" + json.dumps(answer(asked)).encode())
        return True

    with JudgeServer(marked) as server:
        assert causes(Run(server.url, tmp_path / "j")(items(1))) == [[None, None]]


def test_a_redirect_within_the_server_is_followed(tmp_path: Path) -> None:
    def moved(handler: Handler, asked: Asked) -> bool:
        if asked.path.startswith("/v2"):
            return False
        handler.raw(b"", 308, location=asked.path.replace("/v1", "/v2/v1"))
        return True

    with JudgeServer(moved) as server:
        run = Run(server.url, tmp_path / "j")
        assert causes(run(items(3))) == [[None, None]] * 3
        assert run.notices == []


def test_what_a_redirect_leads_to_is_no_answer_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(handler: Handler) -> None:
        handler.json({"status": "ok"})

    monkeypatch.setattr(Handler, "do_GET", page, raising=False)

    def moved(handler: Handler, asked: Asked) -> bool:
        handler.raw(b"", 302, location="/")
        return True

    with JudgeServer(moved) as server:
        run = Run(server.url, tmp_path / "j")
        assert causes(run(items(3))) == [["HTTP 302"] * 2] * 3
        assert len(server.requests) == 3
        server.fault = None
        assert all(score for row in scores(run(items(3))) for score in row)


def test_numbers_of_tokens_that_are_none_are_not_counted(tmp_path: Path) -> None:
    def boasting(handler: Handler, asked: Asked) -> bool:
        usage = {0: 10**4299, 1: True}.get(number(asked), 7)
        handler.json(answer(asked) | {"usage": {"input_tokens": usage, "output_tokens": 10**4000}})
        return True

    with JudgeServer(boasting) as server:
        run = Run(server.url, tmp_path / "j")
        assert causes(run(items(3))) == [[None, None]] * 3
        assert (run.tally.usage.input_tokens, run.tally.usage.output_tokens) == (7, 0)
        with unchanged(run.path):
            run(items(3))


def test_a_packed_answer_is_read(tmp_path: Path) -> None:
    def packed(handler: Handler, asked: Asked) -> bool:
        handler.raw(gzip.compress(json.dumps(answer(asked)).encode()), content_encoding="gzip")
        return True

    with JudgeServer(packed) as server:
        assert causes(Run(server.url, tmp_path / "j")(items(1))) == [[None, None]]


def test_an_answer_without_end_is_given_up_on(tmp_path: Path) -> None:
    sent = 0

    def endless(handler: Handler, asked: Asked) -> bool:
        nonlocal sent
        handler.close_connection = True
        handler.raw(b"{", length=1 << 40)
        while True:  # until nobody listens
            sent += handler.wfile.write(b" " * (1 << 20))

    with JudgeServer(endless) as server:
        run = Run(server.url, tmp_path / "j", max_retries=0)
        assert causes(run(items(1))) == [["answer too long"] * 2]
        assert sent < 64 << 20


def test_one_request_in_five_failing_at_random_changes_nothing(tmp_path: Path) -> None:
    rows = items(150)
    with JudgeServer() as server:
        clean = Run(server.url, tmp_path / "clean")(rows)
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)

    def unlucky(handler: Handler, asked: Asked) -> bool:
        if dice.random() >= 0.2:
            return False
        dice.choice(list(TRANSIENT))(handler, asked)
        return True

    with JudgeServer(unlucky) as server:
        run = Run(server.url, tmp_path / "j", timeout=0.5, max_retries=8, max_concurrent=16)
        assert run(rows) == clean
        assert len(server.requests) > len(rows)


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Handler, Asked], None]:
    def fault(handler: Handler, asked: Asked) -> None:
        value = answer(asked)
        change(value)
        handler.json(value)

    return fault


def cut_off(value: dict[str, Any]) -> None:
    guess = {"content": 'A guess: {"helpfulness": 3, "accuracy": 2}. But'}
    value["choices"][0].update(message=guess, finish_reason="length")


def grades(text: str, **message: Any) -> Callable[[Handler, Asked], None]:
    return lambda handler, asked: handler.json(completion(text, **message))


# Answers that came whole but do not say what was asked: (fault, cause of each attribute).
BAD_ANSWERS: dict[Api, list[tuple[Callable[[Handler, Asked], None], list[str | None]]]] = {
    Api.systemone: [
        (edit(lambda v: v["answers"].pop("accuracy")), [None, "unparsed"]),
        (edit(lambda v: v["answers"]["accuracy"].update(score=4.7)), [None, "unparsed"]),
        (edit(lambda v: v["answers"].update(accuracy={"type": "refusal"})), [None, "refused"]),
        (edit(lambda v: v.pop("answers")), ["unparsed", "unparsed"]),
    ],
    Api.openai: [
        (edit(lambda v: v["answers"].pop()), [None, "unparsed"]),
        (edit(lambda v: v["answers"].pop(0)), ["unparsed", "unparsed"]),
        (edit(lambda v: v["answers"][1].update(score=-1)), [None, "unparsed"]),
        (
            edit(lambda v: v["answers"].__setitem__(0, {"type": "refusal", "name": "helpfulness"})),
            ["refused", None],
        ),
    ],
    Api.chat: [
        (grades('{"helpfulness": 3}'), [None, "unparsed"]),
        (grades('{"helpfulness": 3, "accuracy": 9}'), [None, "unparsed"]),
        (grades("Score: 4.5"), ["unparsed", "unparsed"]),
        (grades('{"helpfulness": 3, "accu'), ["unparsed", "unparsed"]),
        (grades("", refusal="I cannot judge this."), ["refused", "refused"]),
        (edit(lambda v: v["choices"].clear()), ["unparsed", "unparsed"]),
        (edit(cut_off), ["unparsed", "unparsed"]),
    ],
}


@pytest.mark.parametrize("api", APIS)
def test_a_bad_answer_is_null_counted_kept_and_not_asked_again(api: Api, tmp_path: Path) -> None:
    cases = BAD_ANSWERS[api]

    def bad(handler: Handler, asked: Asked) -> bool:
        if number(asked) >= len(cases):
            return False
        cases[number(asked)][0](handler, asked)
        return True

    rows = items(len(cases) + 1)
    with JudgeServer() as server:
        clean = Run(server.url, tmp_path / "clean", api)(rows)
    with JudgeServer(bad) as server:
        run = Run(server.url, tmp_path / "j", api)
        got = run(rows)
        assert causes(got) == [cause for _, cause in cases] + [[None, None]]
        assert [[score is None for score in row] for row in scores(got)] == [
            [cause is not None for cause in row] for row in causes(got)
        ]
        assert got[-1] == clean[-1]
        assert run.tally.failures == len(cases)  # a row counts once
        with unchanged(run.path):
            assert run(rows) == got
        assert len(server.requests) == len(rows)
        assert run.tally.failures == len(cases)  # also when it comes from the journal


def test_a_status_in_the_body_is_one(tmp_path: Path) -> None:
    """OpenRouter's own is 200 then."""

    def upstream(handler: Handler, asked: Asked) -> bool:
        if asked.before and number(asked) == 0:
            return False
        code = {0: 502, 1: 400}.get(number(asked), 402)
        handler.json({"error": {"code": code, "message": "provider"}}, retry_after="0.01")
        return True

    with JudgeServer(upstream) as server:
        run = Run(server.url, tmp_path / "j", Api.systemone, max_concurrent=1)
        assert causes(run(items(2))) == [[None, None], ["HTTP 400"] * 2]
        assert len(server.requests) == 3
        with pytest.raises(JudgeError, match=r"answers HTTP 402 \(provider"):
            run(items(9))


def test_a_servers_words_are_told_without_what_it_repeats_beside_them(tmp_path: Path) -> None:
    """As servers of FastAPI have it."""

    def refuses(handler: Handler, asked: Asked) -> bool:
        handler.json({"detail": "no such level", "input": asked.turns}, 422)
        return True

    with JudgeServer(refuses) as server:
        run = Run(server.url, tmp_path / "j", Api.systemone, max_failure_rate=0.0)
        with pytest.raises(JudgeError, match=r"the last: no such level[;)]"):
            run(items(1))


def test_what_a_server_has_not_implemented_is_not_asked_for_again(tmp_path: Path) -> None:
    def lacks(handler: Handler, asked: Asked) -> bool:
        handler.json({}, 501, retry_after="0.01")
        return True

    with JudgeServer(lacks) as server:
        run = Run(server.url, tmp_path / "j", Api.systemone, max_retries=2)
        with pytest.raises(JudgeError, match="HTTP 501"):
            run(items(1))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("choice", "cause", "said"),
    [
        ({"error": {"code": 503, "message": "provider down"}}, "HTTP 503", "provider down"),
        ({"error": {"code": "down", "message": "provider down"}}, "HTTP 502", "provider down"),
        ({"error": "provider down"}, "HTTP 502", "provider down"),
        ({"finish_reason": "error"}, "HTTP 502", "finish_reason is error"),
    ],
)
def test_an_answer_that_a_provider_breaks_off_is_asked_for_again(
    choice: dict[str, object], cause: str, said: str, tmp_path: Path
) -> None:
    """OpenRouter puts the failure beside what there is of the answer, with status 200."""
    whole = {"content": '{"helpfulness": 1, "accuracy": 1}'}

    def upstream(handler: Handler, asked: Asked) -> bool:
        if asked.before < 2:
            handler.json({"choices": [{"message": whole} | choice]})
        return asked.before < 2

    with JudgeServer(upstream) as server:
        run = Run(server.url, tmp_path / "j", Api.chat, max_retries=1, max_failure_rate=0.0)
        with pytest.raises(JudgeError, match=rf"\(1 {cause}\); the last: {said}"):
            run(items(1))
        assert len(server.requests) == 2
        assert causes(run(items(1))) == [[None, None]]


def test_the_message_of_an_error_is_shown_also_where_it_stands_in_a_list(tmp_path: Path) -> None:
    """As in what Google's OpenAI-compatible endpoint answers."""

    def refused(handler: Handler, asked: Asked) -> bool:
        error = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}
        handler.json([{"error": error}], 400)
        return True

    with JudgeServer(refused) as server:
        run = Run(server.url, tmp_path / "j", max_failure_rate=0.0)
        with pytest.raises(JudgeError, match=r"; the last: API key not valid\.; "):
            run(items(1))


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "down", "message": "provider down"}},
        {"error": {"code": 600, "message": "provider down"}},  # the provider's own, no status
        {"error": "provider down"},
    ],
)
def test_an_error_with_status_200_is_no_answer(body: dict[str, object], tmp_path: Path) -> None:
    def upstream(handler: Handler, asked: Asked) -> bool:
        handler.json(body)
        return True

    with JudgeServer(upstream) as server:
        run = Run(server.url, tmp_path / "j", Api.chat)
        assert causes(run(items(1))) == [["error with status 200"] * 2]
        server.fault = None
        assert causes(run(items(1))) == [[None, None]]
