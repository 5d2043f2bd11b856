"""Which text a row gives, in one table; and which rows give none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gip_cli.errors import InputError, UsageError
from gip_cli.formats import FormatName, Part, Rendered, Renderer, key_of, lookup
from gip_cli.judge import JudgeItem
from gip_cli.rows import BadRows, Row, RowFile

ROOT = Path(__file__).parent.parent


def row_of(value: dict[str, Any]) -> Row:
    return Row(json.dumps(value).encode(), value, "pool.jsonl", 7, 0)


def messages(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def sharegpt(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": value} for who, value in turns]}


def called(content: Any, **members: Any) -> dict[str, Any]:
    """A question and an assistant's turn with calls."""
    turn = {"role": "assistant", "content": content, **members}
    return {"messages": [{"role": "user", "content": "q"}, turn]}


def function(name: str, arguments: Any) -> dict[str, Any]:
    """A call in OpenAI's form."""
    named = {"name": name, "arguments": arguments}
    return {"id": "call_x7", "type": "function", "function": named}


DEEP: Any = 1
for _ in range(300):
    DEEP = {"a": DEEP}

IMAGE = {"type": "image_url", "image_url": {"url": "data:..."}}

# format, row, the text of both parts, of the prompt, of the response
CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("alpaca", {"instruction": "i", "input": "x", "output": "o"}, "i\nx\no", "i\nx", "o"),
    ("alpaca", {"instruction": "i", "input": "", "output": "o"}, "i\no", "i", "o"),
    ("alpaca", {"instruction": "i", "output": "o"}, "i\no", "i", "o"),
    ("alpaca", {"instruction": "i", "input": None, "output": "o"}, "i\no", "i", "o"),
    ("alpaca", {"instruction": " i", "input": " ", "output": "o\n"}, " i\n \no\n", " i\n ", "o\n"),
    ("qa", {"question": "q", "answer": "a"}, "q\na", "q", "a"),
    ("qa", {"prompt": "q", "completion": "a"}, "q\na", "q", "a"),
    ("qa", {"prompt": "q", "response": "a", "id": 3}, "q\na", "q", "a"),
    (
        "qa",
        {
            "prompt": messages(("system", "s"), ("user", "q"))["messages"],
            "completion": messages(("assistant", "a"), ("tool", "t"))["messages"],
        },
        "s\nq\na\nt", "s\nq\nt", "a",
    ),
    ("qa", {"question": "q", "answer": [{"role": "gpt", "content": "a"}]}, "q\na", "q", "a"),
    (
        "qa",
        {
            "system": "s",
            "prompt": messages(("user", "q"))["messages"],
            "completion": messages(("assistant", "a"))["messages"],
        },
        "s\nq\na", "s\nq", "a",
    ),
    ("messages", messages(("user", "q"), ("assistant", "a")), "q\na", "q", "a"),
    (
        "messages",
        messages(("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "r"),
                 ("assistant", "b")),
        "s\nq\na\nr\nb", "s\nq\nr", "a\nb",
    ),
    # A turn may be empty; a tool's answer is no response of the model's.
    (
        "messages",
        messages(("user", "q"), ("assistant", None), ("tool", "t"), ("assistant", "a")),
        "q\n\nt\na", "q\nt", "\na",
    ),
    (
        "messages",
        messages(("user", [{"type": "text", "text": "q"}, IMAGE]), ("assistant", "a")),
        "q\n[image_url]\na", "q\n[image_url]", "a",
    ),
    ("messages", messages(("user", [{"type": 3}, {}]), ("assistant", "a")),
     "[part]\n[part]\na", "[part]\n[part]", "a"),
    ("messages", messages(("wizard", "q"), ("assistant", "a")), "q\na", "q", "a"),
    ("sharegpt", sharegpt(("human", "q"), ("gpt", "a")), "q\na", "q", "a"),
    ("sharegpt", sharegpt(("system", "s"), ("user", "q"), ("bot", "a")), "s\nq\na", "s\nq", "a"),
    ("sharegpt", sharegpt(("Human", "q"), ("ChatGPT", "a")), "q\na", "q", "a"),
    ("messages", {"messages": [{"role": "prompter", "content": "q"},
                               {"role": "Assistant", "content": "a"}]}, "q\na", "q", "a"),
    ("sharegpt", sharegpt(("human", "q"), ("model", "a")), "q\na", "q", "a"),
    # As LMSYS, WildChat, Dolly, OpenOrca and MetaMathQA have them.
    ("sharegpt", {"conversations": messages(("user", "q"), ("assistant", "a"))["messages"]},
     "q\na", "q", "a"),
    ("sharegpt", {"conversation": messages(("user", "q"), ("assistant", "a"))["messages"]},
     "q\na", "q", "a"),
    ("sharegpt", {"conversation": "of 3", **sharegpt(("human", "q"), ("gpt", "a"))},
     "q\na", "q", "a"),
    ("alpaca", {"instruction": "q", "context": "c", "response": "a"}, "q\nc\na", "q\nc", "a"),
    ("alpaca", {"instruction": "q", "context": "", "response": "a"}, "q\na", "q", "a"),
    ("alpaca", {"instruction": "q", "output": "a", "response": "r", "context": "c"},
     "q\na", "q", "a"),
    ("qa", {"system_prompt": "s", "question": "q", "response": "a"}, "s\nq\na", "s\nq", "a"),
    ("qa", {"system_prompt": "", "question": "q", "response": "a"}, "q\na", "q", "a"),
    ("qa", {"query": "q", "response": "a", "type": "t"}, "q\na", "q", "a"),
    ("qa", {"system_prompt": "s", "question": "q", "answer": "a"}, "q\na", "q", "a"),
    # Which tell a format where no other does.
    ("qa", {"instruction": "i", "prompt": "q", "response": "a"}, "q\na", "q", "a"),
    ("alpaca", {"instruction": "q", "output": "a", "conversation": 3}, "q\na", "q", "a"),
    # A call is what the assistant says: its name, and its arguments as they stand.
    ("messages", called(None, tool_calls=[function("f", '{"x": 1}')]),
     'q\nf({"x": 1})', "q", 'f({"x": 1})'),
    ("messages", called("a", tool_calls=[function("f", {"y": "é", "x": [1]}), function("g", "")]),
     'q\na\nf({"y":"é","x":[1]})\ng()', "q", 'a\nf({"y":"é","x":[1]})\ng()'),
    ("messages", called("", tool_calls=[{"name": "f", "arguments": None}, {"name": "g"}]),
     "q\nf()\ng()", "q", "f()\ng()"),
    ("messages", called(None, function_call={"name": "f", "arguments": "{}"}),
     "q\nf({})", "q", "f({})"),
    ("messages", called([{"type": "text", "text": "a"}], tool_calls=[function("f", "1")],
                        function_call={"name": "g", "arguments": "2"}),
     "q\na\nf(1)\ng(2)", "q", "a\nf(1)\ng(2)"),
    ("messages", called("a", tool_calls=None, function_call=None), "q\na", "q", "a"),
    ("messages", called("a", tool_calls=[]), "q\na", "q", "a"),
    (
        "messages",
        {"messages": [{"role": "user", "content": "q"},
                      {"role": "assistant", "tool_calls": [function("f", "1")]}]},
        "q\nf(1)", "q", "f(1)",
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "q"},
                           {"from": "gpt", "value": "a", "tool_calls": [function("f", "1")]}]},
        "q\na\nf(1)", "q", "a\nf(1)",
    ),
    # A system prompt beside the turns is the turn that it would be among them.
    ("sharegpt", {"system": "s", **sharegpt(("human", "q"), ("gpt", "a"))},
     "s\nq\na", "s\nq", "a"),
    ("sharegpt", {"system": "", **sharegpt(("human", "q"), ("gpt", "a"))}, "q\na", "q", "a"),
    ("sharegpt", {"system": None, **sharegpt(("human", "q"), ("gpt", "a"))}, "q\na", "q", "a"),
    ("messages", {"system": [{"type": "text", "text": "s"}], **messages(("user", "q"),
                  ("assistant", "a"))}, "s\nq\na", "s\nq", "a"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "both", "prompt", "response"), CASES)
def test_the_text_of_a_row(
    name: str, value: dict[str, Any], both: str, prompt: str, response: str, tmp_path: Path
) -> None:
    (tmp_path / "pool").write_bytes(row_of(value).raw)
    with RowFile(tmp_path / "pool", BadRows(), reread=True) as rows:
        for part, text in ((Part.both, both), (Part.prompt, prompt), (Part.response, response)):
            renderer = Renderer.sniff(rows, part=part)
            assert renderer.format == name
            (rendered,) = renderer.read(rows)
            assert rendered.text == text


def test_rows_that_differ_in_the_call_alone_have_keys_of_their_own_and_a_judge_sees_it() -> None:
    names = ["get_weather", "send_email", "delete_db"]
    rows = [row_of(called(None, tool_calls=[function(name, "{}")])) for name in names]
    turns = [Renderer("messages").turns(row) for row in rows]
    assert len({key_of("\n".join(text for _, text in one)) for one in turns}) == 3
    for name, one in zip(names, turns, strict=True):
        assert f'{{"role": "assistant", "text": "{name}({{}})"}}' in JudgeItem.of(one).state


def test_a_response_is_as_long_as_what_the_assistant_says() -> None:
    row = row_of(messages(("user", "qqqq"), ("assistant", "ab"), ("user", "q"), ("assistant", "c")))
    turns = Renderer("messages").turns(row)
    assert Rendered(row, turns, "any").response_length == 3


def test_a_text_is_all_there_is_to_it(tmp_path: Path) -> None:
    (tmp_path / "pool").write_text('{"text": "t"}')
    with RowFile(tmp_path / "pool", BadRows(), reread=True) as rows:
        (rendered,) = Renderer.sniff(rows).read(rows)
        assert (rendered.text, rendered.response_length) == ("t", 1)
        for format in (None, FormatName("text")):
            said = "rows of format 'text' have one text; leave --part out"
            with pytest.raises(UsageError, match=said):
                Renderer.sniff(rows, format, part=Part.prompt)


@pytest.mark.parametrize("name", ["alpaca", "messages", "qa", "sharegpt", "text"])
def test_the_samples_are_of_the_format_they_are_named_for(name: str) -> None:
    with RowFile(ROOT / f"sample_data/{name}.jsonl", BadRows(), reread=True) as rows:
        renderer = Renderer.sniff(rows)
        assert renderer.format == name
        assert len(list(renderer.read(rows))) >= 20


def test_fields_are_found_by_dots_and_join_in_the_order_given() -> None:
    value = {"a": {"b": ["x", {"c": "y"}]}, "a.b": "z"}
    row = row_of(value)
    assert Renderer("fields", ("a.b.1.c", "a.b")).turns(row) == [("text", "y"), ("text", "z")]
    assert lookup(value, "a.b.7") is None
    assert lookup(value, "a.b." + "9" * 5000) is None
    with pytest.raises(InputError, match=r"field 'a.c' is missing or null"):
        Renderer("fields", ("a.c",)).turns(row)
    with pytest.raises(InputError, match=r"field 'a' is not a string"):
        Renderer("fields", ("a",)).turns(row)
    with pytest.raises(InputError, match=r"field 'a.b' is a list, whose items are a.b.0 and on"):
        Renderer("fields", ("a.b",)).turns(row_of({"a": {"b": ["x"]}}))
    with pytest.raises(InputError, match=r"field 'a' is missing or null"):
        Renderer("fields", ("a",)).turns(row_of({"a": None}))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("alpaca", {"instruction": "i"}, "no 'output'"),
    ("alpaca", {"instruction": 3, "output": "o"}, "'instruction' is not a string"),
    ("alpaca", {"instruction": "i", "input": ["x"], "output": "o"}, "'input' is not a string"),
    ("alpaca", {"instruction": "i", "output": None}, "'output' is null"),
    ("alpaca", {"instruction": "", "input": " \n", "output": "\t"}, "a row without text"),
    (
        "qa",
        {"question": "q", "completion": "a"},
        "no question/answer, prompt/completion, prompt/response, question/response or "
        "query/response",
    ),
    ("qa", {"prompt": "q", "completion": 3}, "'completion' is not a string"),
    ("qa", {"prompt": [], "completion": "a"}, "'prompt' is empty"),
    ("qa", {"prompt": ["q"], "completion": "a"}, "turn 1 of 'prompt' lacks 'role' or 'content'"),
    ("text", {"text": ""}, "a row without text"),
    ("messages", {"messages": []}, "'messages' is empty"),
    ("messages", {"messages": {}}, "'messages' is not a list"),
    ("messages", {"messages": ["q"]}, "turn 1 of 'messages' lacks 'role' or 'content'"),
    ("messages", {"messages": [{"role": None, "content": "q"}]}, "lacks 'role' or 'content'"),
    ("messages", {"messages": [{"role": "user"}]}, "lacks 'role' or 'content'"),
    ("messages", messages(("user", "q"), ("assistant", 3)), "turn 2 holds neither text nor"),
    ("messages", messages(("user", ["q"])), "turn 1 holds neither text nor"),
    ("messages", messages(("user", None), ("assistant", " ")), "a row without text"),
    ("messages", called(None, tool_calls={}), "'tool_calls' of turn 2 is not a list"),
    ("messages", called(None, tool_calls=["f"]), "tool call 1 of turn 2 names no function"),
    ("messages", called(None, tool_calls=[function("f", "1"), {"function": {"arguments": "2"}}]),
     "tool call 2 of turn 2 names no function"),
    ("messages", called(None, function_call="f"), "tool call 1 of turn 2 names no function"),
    ("messages", called(None, tool_calls=[function("f", 3)]), "neither text nor an object"),
    ("messages", called(None, tool_calls=[function("f", DEEP)]), "nested too deeply"),
    ("messages", {"messages": [{"role": "user", "tool_calls": []}]}, "lacks 'role' or 'content'"),
    ("sharegpt", {"system": 3, **sharegpt(("human", "q"))}, "'system' holds neither text nor"),
    ("sharegpt", {"conversations": None}, "'conversations' is not a list"),
    ("sharegpt", {"conversations": [{"from": "human", "content": "q"}]}, "lacks 'from' or 'value'"),
    ("sharegpt", {"conversation": [{"input": "q", "output": "a"}]}, "lacks 'from' or 'value'"),
    ("sharegpt", messages(("user", "q")), "no 'conversations'"),
    ("messages", sharegpt(("human", "q")), "no 'messages'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "why"), REFUSED)
def test_a_row_without_a_text_is_refused_with_its_place(
    name: str, value: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError) as error:
        Renderer(name).turns(row_of(value))
    assert str(error.value).startswith("pool.jsonl:7: ")
    assert why in str(error.value)
    assert "--skip-bad" in str(error.value)


def test_a_part_that_a_row_lacks_is_not_embedded_as_nothing(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    lines = [messages(("user", "q"), ("assistant", "a")), messages(("user", "q"))]
    pool.write_text("\n".join(map(json.dumps, lines)))
    bad = BadRows(skip=True)
    with RowFile(pool, bad, reread=True) as rows:
        assert [one.text for one in Renderer("messages", part=Part.response).read(rows)] == ["a"]
    assert bad.count == 1
    assert "pool:2: a row without a response; pass --part both" in str(bad.first)


@pytest.mark.parametrize(("key", "taken"), [("data", True), ("d a", False), ("é", False)])
def test_rows_within_one_object_are_told_how_to_be_taken_out(
    key: str, taken: bool, tmp_path: Path
) -> None:
    (tmp_path / "pool").write_text(json.dumps({"n": [], key: [{"instruction": "q", "output": ""}]}))
    with (
        RowFile(tmp_path / "pool", BadRows(), reread=True) as rows,
        pytest.raises(InputError) as error,
    ):
        Renderer.sniff(rows)
    remedy = "the rows are in 'data': jq -c '.data[]' takes them out"
    assert str(error.value).endswith(remedy if taken else "; pass --text-field")


def test_a_file_of_unknown_rows_names_their_keys_in_safe_letters(tmp_path: Path) -> None:
    (tmp_path / "pool").write_text('{"q\\u001b[31m": 1, "a": 2}\n{"text": "t"}')
    with RowFile(tmp_path / "pool", BadRows(), reread=True) as rows:
        with pytest.raises(InputError) as error:
            Renderer.sniff(rows)
        assert "pool:1: no known format (keys: q\\x1b[31m, a); pass --text-field" in str(
            error.value
        )
        assert Renderer.sniff(rows, format="text").format == "text"
        assert Renderer.sniff(rows, fields=["a"]).fields == ("a",)
        with pytest.raises(UsageError, match="--format and --text-field exclude each other"):
            Renderer.sniff(rows, "text", ["a"])
    with RowFile(tmp_path / "pool", BadRows(skip=True), reread=True) as rows:
        assert Renderer.sniff(rows).format == "text"


def test_keys_are_the_digest_of_the_text() -> None:
    assert key_of("abc").hex() == "cf4ab791c62b8d2b2109c90275287816"  # of `b2sum -l 128`
    assert key_of("é") != key_of("e\u0301")  # as written, not as it looks


def test_every_format_has_a_name_on_the_command_line() -> None:
    assert sorted(FormatName) == ["alpaca", "messages", "qa", "sharegpt", "text"]
