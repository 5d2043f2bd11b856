"""Rubrics: the built-in one, a user's file, and what a digest tells apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from gip_cli.errors import UsageError
from gip_cli.judge.rubric import BUILT_IN, Rubric

OWN = """
[style]
instructions = "How plain is the language?"
levels = ["tangled", "readable", "plain"]

[helpfulness]
instructions = "Does it help?"
levels = ["no", "yes"]
"""


def names(rubric: Rubric) -> list[str]:
    return [one.name for one in rubric.attributes]


def test_built_in_attributes_have_five_different_described_levels() -> None:
    assert list(BUILT_IN) == ["helpfulness", "accuracy", "reasoning", "complexity"]
    for attribute in BUILT_IN.values():
        assert len(set(attribute.levels)) == 5
        assert attribute.range == (1.0, 5.0)


def test_default_is_the_first_three() -> None:
    assert names(Rubric.choose()) == ["helpfulness", "accuracy", "reasoning"]


def test_named_attributes_come_in_the_order_named() -> None:
    assert names(Rubric.choose(["complexity", "accuracy"])) == ["complexity", "accuracy"]


def test_a_file_brings_its_attributes_and_their_own_scale(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(OWN)
    rubric = Rubric.choose(file=path)
    assert rubric.ranges == {"style": (1.0, 3.0), "helpfulness": (1.0, 2.0)}
    mixed = Rubric.choose(["accuracy", "helpfulness"], path)
    assert mixed.attributes[0] == BUILT_IN["accuracy"]
    assert mixed.attributes[1].levels == ("no", "yes")  # the file's goes first


def test_digest_changes_with_every_word_and_with_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(OWN)
    before = Rubric.choose(file=path).digest
    path.write_text("# a comment\n" + OWN)
    assert Rubric.choose(file=path).digest == before
    for old, new in (("language?", "language ?"), ("tangled", "knotted"), ("[style]", "[tone]")):
        path.write_text(OWN.replace(old, new, 1))
        assert Rubric.choose(file=path).digest != before
    path.write_text(OWN)
    assert Rubric.choose(["style"], path).digest != before
    assert Rubric.choose(["helpfulness", "style"], path).digest != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "without attributes"),
        ("[a\n", "not TOML"),
        pytest.param("a = " + "[" * 3000 + "]" * 3000, "not TOML: ", id="deep"),
        pytest.param(f"a = {'1' * 5000}", "not TOML: ", id="digits"),
        ("a = 1\n", "'a': not a table"),
        ('[a]\nlevels = ["x", "y"]\n', "no instructions"),
        ('[a]\ninstructions = " "\nlevels = ["x", "y"]\n', "no instructions"),
        ('[a]\ninstructions = "q"\n', "levels is not a list"),
        ('[a]\ninstructions = "q"\nlevels = "xyz"\n', "levels is not a list"),
        ('[a]\ninstructions = "q"\nlevels = ["x", 2]\n', "levels is not a list of texts"),
        ('[a]\ninstructions = "q"\nlevels = ["x", " "]\n', "levels is not a list of texts"),
        ('[a]\ninstructions = "q"\nlevels = ["x"]\n', "2 to 10"),
        ('[a]\ninstructions = "q"\nlevels = ["x", "x"]\n', "2 to 10 different"),
        ('[a]\ninstructions = "q"\nlevels = ["x", "y"]\nscale = 5\n', "unknown key 'scale'"),
        ('["a b"]\ninstructions = "q"\nlevels = ["x", "y"]\n', "a name is a letter"),
    ],
)
def test_a_bad_file_is_a_usage_error_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        Rubric.choose(file=path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_and_repeated_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no attribute 'charm'"):
        Rubric.choose(["charm"])
    with pytest.raises(UsageError, match="twice"):
        Rubric.choose(["accuracy", "accuracy"])
    with pytest.raises(UsageError, match="no such file"):
        Rubric.choose(file=tmp_path / "none.toml")
