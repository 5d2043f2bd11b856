"""The journal: whole lines are kept whatever happens, and never used for another question."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gip_cli.errors import InputError, StorageError, UsageError
from gip_cli.judge.answers import Answer, Usage, Verdict
from gip_cli.judge.journal import Journal, look
from gip_cli.judge.rubric import Rubric

RUBRIC = Rubric.choose(["helpfulness", "accuracy"])
OTHER = Rubric.choose(["helpfulness"])


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def answer(number: int) -> Answer:
    verdicts = {
        "helpfulness": Verdict(1 + number / 10, None, (0.25, 0.25, 0.5), 0.4),
        "accuracy": Verdict(None, "refused"),
    }
    return Answer({"said": number}, verdicts, Usage(10, 2))


def write(path: Path, numbers: range, model: str = "m", api: str = "chat") -> None:
    with Journal(path, model, RUBRIC, [api]) as journal:
        for number in numbers:
            journal.append(key(number), api, answer(number), 0.25)


def test_what_is_appended_comes_back_now_and_later(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        assert key(3) not in journal
        assert journal.api is None
        journal.append(key(3), "chat", answer(3), 0.25)
        assert journal.get(key(3)) == answer(3).verdicts
        assert journal.api == "chat"
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        assert key(3) in journal
        assert journal.get(key(3)) == answer(3).verdicts
        assert journal.api == "chat"
        with pytest.raises(KeyError):
            journal.get(key(4))


def test_a_line_holds_what_a_person_would_look_for(tmp_path: Path) -> None:
    write(tmp_path / "j", range(1))
    line = json.loads((tmp_path / "j").read_text().splitlines()[1])
    assert line == {
        "key": key(0).hex(),
        "model": "m",
        "rubric": RUBRIC.digest,
        "api": "chat",
        "scores": {
            "helpfulness": {"score": 1.0, "probabilities": [0.25, 0.25, 0.5], "confidence": 0.4},
            "accuracy": {"score": None, "cause": "refused"},
        },
        "usage": {"input_tokens": 10, "output_tokens": 2},
        "seconds": 0.25,
        "raw": {"said": 0},
    }


def test_cut_off_at_any_byte_it_keeps_every_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(3))
    whole = path.read_bytes()
    # Of a line that lacks its newline alone nothing is missing.
    ends = [end for end in range(len(whole)) if whole[end : end + 1] == b"\n"]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = max(sum(end <= size for end in ends) - 1, 0)
        known = look(path, "m", RUBRIC, ["chat"])
        assert [key(number) in known for number in range(3)] == [n < kept for n in range(3)]
        if size % 29 and size not in ends:
            continue  # opening to write syncs to disk, which takes its time
        with Journal(path, "m", RUBRIC, ["chat"]) as journal:
            assert [key(number) in journal for number in range(3)] == [
                number < kept for number in range(3)
            ]
            journal.append(key(9), "chat", answer(9), 0.25)
        with Journal(path, "m", RUBRIC, ["chat"]) as journal:
            assert journal.get(key(9)) == answer(9).verdicts


def test_another_model_rubric_or_api_never_reuses_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(2))
    for model, rubric, apis in (
        ("m2", RUBRIC, ["chat"]),
        ("m", OTHER, ["chat"]),
        ("m", RUBRIC, ["systemone"]),
    ):
        with Journal(path, model, rubric, apis) as journal:
            assert key(0) not in journal
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:  # and the others' lines are kept
        assert key(0) in journal


def test_a_local_model_is_the_same_in_a_folder_of_another_name(tmp_path: Path) -> None:
    path, digest = tmp_path / "j", "0123456789abcdef" * 2
    with Journal(path, f"a@{digest}", RUBRIC, ["local"]) as journal:
        journal.append(key(0), "local", answer(0), 0.25)
    for model, known in ((f"b@{digest}", True), (f"b@{digest[::-1]}", False), (digest, False)):
        with Journal(path, model, RUBRIC, ["local"]) as journal:
            assert (key(0) in journal) is known
            assert not known or journal.get(key(0)) == answer(0).verdicts


def test_of_two_apis_the_last_ones_answers_are_used(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(2), api="systemone")
    write(path, range(1, 3), api="chat")
    with Journal(path, "m", RUBRIC, ["systemone", "chat"]) as journal:
        assert journal.api == "chat"
        assert [key(number) in journal for number in range(3)] == [False, True, True]


def test_a_score_by_another_api_is_none_by_the_last(tmp_path: Path) -> None:
    """Where no answer holds one, a judge is not asked about a whole pool."""
    path, apis = tmp_path / "j", ["systemone", "chat"]
    write(path, range(1), api="systemone")
    assert look(path, "m", RUBRIC, apis).scored
    nothing = dict.fromkeys(answer(0).verdicts, Verdict(None, "unparsed"))
    with Journal(path, "m", RUBRIC, apis) as journal:
        journal.append(key(1), "chat", Answer("well", nothing, Usage()), 0)
    assert not look(path, "m", RUBRIC, apis).scored


def test_journals_joined_by_cat_are_one(tmp_path: Path) -> None:
    """Parts of a pool judged on two machines: what was paid for is not asked for again."""
    write(tmp_path / "a", range(3))
    write(tmp_path / "b", range(2, 5))
    both = tmp_path / "both"
    joined = (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes()
    values = map(json.loads, joined.splitlines())
    by_jq = b"".join(
        json.dumps(one, separators=(",", ":"), sort_keys=True).encode() + b"\n" for one in values
    )
    for there in joined, joined.replace(b"\n", b"\r\n"), by_jq:
        both.write_bytes(there)
        with Journal(both, "m", RUBRIC, ["chat"]) as journal:
            assert [journal.get(key(n)) for n in range(5)] == [answer(n).verdicts for n in range(5)]
            assert [*journal.get(key(0))] == [*RUBRIC.ranges]  # jq -S sorts them


@pytest.mark.parametrize("end", [b'{"key": "00', b"[" * 100_000], ids=["torn", "deep"])
def test_looking_changes_nothing(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(2))
    torn = path.read_bytes() + end
    path.write_bytes(torn)
    known = look(path, "m", RUBRIC, ["chat"])
    assert key(1) in known
    assert key(2) not in known
    assert path.read_bytes() == torn


@pytest.mark.parametrize(
    "text",
    [
        '{"instruction": "a"}\n{"instruction": "b"}',
        "x",
        '{"gip": "judge journal"}\n',
        "\n",
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"pool.jsonl: exists and is not a judge's journal"):
        Journal(path, "m", RUBRIC, ["chat"])
    assert path.read_text() == text


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_journal_that_another_tool_has_written_anew_is_one(tmp_path: Path, end: str) -> None:
    path = tmp_path / "j"
    write(path, range(3))
    values = [json.loads(line) for line in path.read_text().splitlines()]
    del values[2]  # as `jq -c` does it
    lines = [json.dumps(value, separators=(",", ":")) + end for value in values]
    path.write_bytes("".join(lines).encode())
    write(path, range(3, 4))
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        assert [number for number in range(4) if key(number) in journal] == [0, 2, 3]
        assert journal.get(key(2)) == answer(2).verdicts
    path.write_text(lines[0].replace("1", "2"))
    with pytest.raises(UsageError, match="exists and is not a judge's journal"):
        Journal(path, "m", RUBRIC, ["chat"])


def test_a_key_is_the_same_however_its_digits_are_written(tmp_path: Path) -> None:
    """As a database that has bytes for it may write them anew."""
    path, known = tmp_path / "j", key(0xABCDEF)
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        journal.append(known, "chat", answer(1), 0.25)
    path.write_text(path.read_text().replace("abcdef", "ABCDEF"))
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        assert known in journal
        assert journal.get(known) == answer(1).verdicts


@pytest.mark.parametrize(
    "damage", ["{}", "[]", "3", "null", '"model"', "x", '{"key": "zz"}', "\0\0\0"]
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "j"
    write(path, range(2))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], damage, *lines[2:]]) + "\n")
    with pytest.raises(InputError, match=r"j:3: not an answer that gip wrote; delete the line"):
        Journal(path, "m", RUBRIC, ["chat"])


@pytest.mark.parametrize(
    ("name", "value"), [("model", 3), ("rubric", 3), ("api", 3), ("key", 3), ("key", "zz")]
)
def test_what_an_answer_is_known_by_is_checked(name: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(1))
    header, line = path.read_text().splitlines()
    path.write_text(f"{header}\n{json.dumps(json.loads(line) | {name: value})}\n")
    with pytest.raises(InputError, match=r"j:2: not an answer that gip wrote; delete the line"):
        look(path, "m", RUBRIC, ["chat"])


@pytest.mark.parametrize(
    "verdict",
    [
        {"score": "4"},
        {"score": True},
        {"score": float("nan")},
        {"score": None},
        {"score": 4, "cause": "refused"},
        {"score": None, "cause": 3},
        {"score": 4, "probabilities": ["1"]},
        {"score": 4, "confidence": []},
        {"cause": "refused"},
        {"score": 0.99},
        {"score": 5.01},
        4,
    ],
    ids=str,
)
def test_a_verdict_is_a_score_or_the_cause_of_its_absence(tmp_path: Path, verdict: object) -> None:
    path = tmp_path / "j"
    write(path, range(1))
    header, line = path.read_text().splitlines()
    for name in ("accuracy", "helpfulness"):
        entry = json.loads(line)
        entry["scores"][name] = verdict
        path.write_text(f"{header}\n{json.dumps(entry)}\n")
        with pytest.raises(InputError, match=r"j:2: not an answer that gip wrote; delete the line"):
            look(path, "m", RUBRIC, ["chat"])


@pytest.mark.parametrize(
    "names", [[], ["accuracy"], ["helpfulness", "charm"], ["helpfulness", "accuracy", "charm"]]
)
def test_an_answer_has_the_attributes_of_its_rubric(names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(1))
    header, line = path.read_text().splitlines()
    entry = json.loads(line) | {"scores": {name: {"score": 3} for name in names}}
    path.write_text(f"{header}\n{json.dumps(entry)}\n")
    with pytest.raises(InputError, match=r"j:2: not an answer that gip wrote; delete the line"):
        look(path, "m", RUBRIC, ["chat"])
    assert not look(path, "m", OTHER, ["chat"]).at  # whose line this is not


def test_what_an_answer_cost_is_for_people_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(1))
    header, line = path.read_text().splitlines()
    entry = json.loads(line)
    del entry["usage"]
    path.write_text(f"{header}\n{json.dumps(entry)}\n")
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        assert journal.get(key(0)) == answer(0).verdicts


def test_what_a_model_says_is_kept_however_odd(tmp_path: Path) -> None:
    odd = {"half a pair": "\ud800", "big": 10**60, "deep": [[["é\u2028"]]]}
    with Journal(tmp_path / "j", "m", RUBRIC, ["chat"]) as journal:
        journal.append(key(0), "chat", Answer(odd, answer(0).verdicts, Usage()), 0)
    write(tmp_path / "j", range(1, 2))
    lines = (tmp_path / "j").read_bytes().split(b"\n")
    assert json.loads(lines[1])["raw"] == odd


@pytest.mark.parametrize("link", [None, Path.symlink_to, Path.hardlink_to])
def test_a_second_writer_waits_for_the_first(
    link: Callable[[Path, Path], None] | None, tmp_path: Path
) -> None:
    path = other = tmp_path / "j"
    if link is not None:
        write(path, range(1, 2))
        link(other := tmp_path / "other", path)
    notices: list[str] = []
    opened = threading.Event()

    def second() -> None:
        with Journal(other, "m", RUBRIC, ["chat"], notices.append) as journal:
            assert key(0) in journal
            opened.set()

    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        thread = threading.Thread(target=second)
        thread.start()
        assert not opened.wait(0.2)
        journal.append(key(0), "chat", answer(0), 0)
    thread.join(5)
    assert opened.is_set()
    assert notices == [f"another gip is writing {other}; waiting for it"]
    assert {one.name for one in tmp_path.iterdir()} == {path.name, other.name}


def appended(path: Path) -> None:
    write(path, range(2, 4))


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"key": "00')


def replaced(path: Path) -> None:
    """By a file of the same size."""
    write(path.with_name("other"), range(2, 4))
    path.with_name("other").replace(path)


@pytest.mark.parametrize(
    ("at_first", "change", "known"),
    [
        (0, appended, [2, 3]),
        (2, appended, [0, 1, 2, 3]),
        (2, replaced, [2, 3]),
        (2, Path.unlink, []),
        (2, torn, [0, 1]),
        (2, Path.exists, [0, 1]),
    ],
)
def test_what_happens_to_it_between_being_read_and_held_is_seen(
    at_first: int, change: Callable[[Path], object], known: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "j"
    if at_first:
        write(path, range(at_first))
    with Journal(path, "m", RUBRIC, ["chat"], hold=False) as journal:
        before = [number for number in range(5) if key(number) in journal]
        assert before == [*range(at_first)]
        change(path)
        assert journal.hold() == (known != before)
        journal.append(key(4), "chat", answer(4), 0.25)
        assert [number for number in range(5) if key(number) in journal] == [*known, 4]
        for number in [*known, 4]:
            assert journal.get(key(number)) == answer(number).verdicts
    write(path, range(0))  # whole lines, and no others


def test_an_answer_of_another_row_is_never_given(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(3))
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        head, *lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(head + b"".join(reversed(lines)))
        assert journal.get(key(1)) == answer(1).verdicts
        with pytest.raises(InputError, match="j: was changed while it was in use; run again"):
            journal.get(key(2))
        path.write_bytes(head + lines[1][1:] + lines[2])
        with pytest.raises(InputError, match="was changed"):
            journal.get(key(0))


@pytest.mark.parametrize("there", ["{}", "[]", "3", "null", '{"key": 3}'])
def test_what_is_no_answer_any_more_is_never_given(there: str, tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, range(1))
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        head, _ = path.read_text().splitlines()
        path.write_text(f"{head}\n{there}\n")
        with pytest.raises(InputError, match="j: was changed while it was in use; run again"):
            journal.get(key(0))


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "j"
    write(path, range(2))
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
        try:
            with pytest.raises(StorageError):
                journal.append(key(2), "chat", answer(2), 0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.stat().st_size == size
        journal.append(key(3), "chat", answer(3), 0)
        assert journal.get(key(3)) == answer(3).verdicts


def test_at_its_end_every_answer_is_on_the_disk(tmp_path: Path, synced: dict[int, int]) -> None:
    path = tmp_path / "j"
    with pytest.raises(KeyboardInterrupt), Journal(path, "m", RUBRIC, ["chat"]) as journal:
        journal.append(key(0), "chat", answer(0), 0.25)
        journal.append(key(1), "chat", answer(1), 0.25)
        raise KeyboardInterrupt
    status = path.stat()
    assert synced == {status.st_ino: status.st_size}


def test_an_answer_that_comes_late_is_on_the_disk_at_once(
    tmp_path: Path, synced: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gip_cli.judge.journal._SYNC_SECONDS", 0.0)
    path = tmp_path / "j"
    with Journal(path, "m", RUBRIC, ["chat"]) as journal:
        for number in range(2):
            journal.append(key(number), "chat", answer(number), 0.25)
            status = path.stat()
            assert synced == {status.st_ino: status.st_size}


def test_no_folder_and_no_permission_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none: no such directory; make it first"):
        Journal(tmp_path / "none" / "j", "m", RUBRIC, ["chat"])
    for folder in (tmp_path, Path(), Path("/")):
        with pytest.raises(UsageError, match="a directory"):
            Journal(folder, "m", RUBRIC, ["chat"])
    with pytest.raises(UsageError, match="no such file or directory"):
        Journal("/proc/self/fd/j", "m", RUBRIC, ["chat"])


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/full"), Path("/dev/null")):
        with pytest.raises(UsageError, match="exists and is not a judge's journal"):
            Journal(path, "m", RUBRIC, ["chat"])
        with pytest.raises(UsageError, match="exists and is not a judge's journal"):
            look(path, "m", RUBRIC, ["chat"])
