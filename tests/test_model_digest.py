"""What makes a model another one, in place or elsewhere, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from gip_cli.encoder import ModelCard, load_encoder
from gip_cli.model_digest import tokenizer_digest
from tests.test_model_settings import DENSE, add, put
from tests.test_model_tokens import static_model, word_level
from tests.toys import gip, write_rows

# Of 0.1.0's stores: if it is another one, every store of the default model is made anew.
DEFAULT = "blake2b:ec25fb535f93675c1a6fe0f82355caca30416b63cca4c11fa6177d7d72cdbe9c"


def card(folder: Path) -> ModelCard:
    return load_encoder(str(folder), device="cpu").card


def change(file: Path, **members: object) -> None:
    put(file, orjson.loads(file.read_bytes()) | members)


def test_stores_of_the_default_model_stay_known(model: Path) -> None:
    assert load_encoder().card.weights == DEFAULT
    change(model / "tokenizer_config.json", model_max_length=99, name_or_path="elsewhere")
    rewritten = Tokenizer.from_file(str(model / "tokenizer.json"))
    rewritten.enable_truncation(7)
    rewritten.save(str(model / "tokenizer.json"), pretty=True)
    (model / "README.md").write_text("another text")
    (model.parent / "link").symlink_to(model)
    for name in (model, model / ".", model.parent / "link"):
        assert card(name).weights == DEFAULT


def test_a_model_that_pools_without_the_prompt_is_another(model: Path) -> None:
    change(model / "1_Pooling/config.json", include_prompt=False)
    assert card(model).weights != DEFAULT


def other_words(folder: Path) -> None:
    """Two words change places in every file that has them."""
    for file, changes in {
        "tokenizer.json": {
            '"[PAD]":0,': '"[PAD]":1,',
            '"[unused0]":1,': '"[unused0]":0,',
        },
        "vocab.txt": {"[PAD]\n[unused0]\n": "[unused0]\n[PAD]\n"},
    }.items():
        text = (folder / file).read_text()
        for one, other in changes.items():
            assert one in text
            text = text.replace(one, other)
        (folder / file).write_text(text)


def cased(folder: Path) -> None:
    rules = orjson.loads((folder / "tokenizer.json").read_bytes())
    rules["normalizer"]["lowercase"] = False
    put(folder / "tokenizer.json", rules)
    change(folder / "tokenizer_config.json", do_lower_case=False)


def accented(folder: Path) -> None:
    """As set and as unset it is written down, and unset it follows another setting."""
    rules = orjson.loads((folder / "tokenizer.json").read_bytes())
    assert rules["normalizer"]["strip_accents"] is None
    rules["normalizer"]["strip_accents"] = False
    put(folder / "tokenizer.json", rules)
    change(folder / "tokenizer_config.json", strip_accents=False)


def from_the_left(folder: Path) -> None:
    change(folder / "tokenizer_config.json", truncation_side="left")


@pytest.mark.parametrize("changed", [other_words, cased, accented, from_the_left])
def test_a_model_whose_tokenizer_is_changed_in_place_is_another(
    changed: Callable[[Path], None], model: Path
) -> None:
    changed(model)
    weights = card(model).weights
    assert weights != DEFAULT
    assert card(model / ".").weights == weights


def test_a_store_is_made_anew_where_a_word_was_added(tmp_path: Path) -> None:
    folder = static_model(tmp_path / "m", word_level({"?": 0, "a": 1, "b": 2}))
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a", "b", "c"]), tmp_path / "pool.npy"
    command = ("embed", pool, "-o", store, "--model", folder)
    assert gip(*command).returncode == 0
    other = np.load(store)
    word_level({"?": 0, "a": 2, "b": 1}).save(str(folder / "tokenizer.json"))
    again = gip(*command).stderr.decode()
    assert "was made with other settings (weights): encoding every row anew" in again
    np.testing.assert_array_equal(np.load(store), other[[1, 0, 2]])
    assert "; 0 texts encoded, 3 rows reused" in gip(*command).stderr.decode()


def test_what_is_unset_makes_no_tokenizer_another() -> None:
    """Versions of the library write down more or less of it; merges were texts once."""
    tokenizer = word_level({"?": 0, "a": 1})
    digest = tokenizer_digest(tokenizer)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding()
    assert tokenizer_digest(tokenizer) == digest
    merging = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}}
    written = [
        tokenizer_digest(Tokenizer.from_str(orjson.dumps({"model": merging | more}).decode()))
        for more in (
            {"merges": ["a b"]},
            {"merges": [["a", "b"]], "byte_fallback": False, "unk_token": None},
            {"merges": [["a", "b"]], "byte_fallback": True},
        )
    ]
    assert written[0] == written[1] != written[2]


def test_a_model_whose_activation_is_another_is_another(model: Path) -> None:
    sizes = {"in_features": 384, "out_features": 2}
    add(model, DENSE, config=sizes)
    tensors = np.random.default_rng(5).standard_normal((2, 384)).astype(np.float32)
    weights = {"linear.weight": tensors, "linear.bias": np.zeros(2, np.float32)}
    save_file(weights, model / "9_X/model.safetensors")
    usual = card(model)
    assert usual.weights != DEFAULT
    put(model / "9_X/config.json", sizes | {"activation_function": "torch.nn.Identity"})
    assert card(model).weights != usual.weights
