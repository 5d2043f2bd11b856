"""Models that read texts in other ways than the default one: real ones, of few numbers."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from gip_cli.encoder import Encoded, SentenceEncoder, load_encoder
from gip_cli.errors import UsageError
from tests.test_encoder import packaged_model
from tests.toys import embed, error_of, gip, write_rows

UNKNOWN = "สวัสดีครับ"  # a script that the default model's tokenizer does not know


def static_model(folder: Path, tokenizer: Tokenizer | None = None) -> Path:
    """A model of one vector a token, as model2vec's are, by the default model's tokenizer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    if tokenizer is None:
        tokenizer = Tokenizer.from_file(str(packaged_model() / "tokenizer.json"))
        tokenizer.no_truncation()
    vectors = np.random.default_rng(5).standard_normal((tokenizer.get_vocab_size(), 4))
    module = StaticEmbedding(tokenizer, torch.from_numpy(vectors.astype(np.float32)))
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return folder


def word_level(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return static_model(tmp_path_factory.mktemp("models") / "static")


def test_a_static_models_vectors_are_the_means_of_its_tokens(tmp_path: Path) -> None:
    folder = static_model(tmp_path / "m", word_level({"?": 0, "a": 1, "b": 2}))
    encoder = load_encoder(str(folder))
    assert (encoder.card.dimension, encoder.card.max_length, encoder.card.overhead) == (4, 0, 0)
    a, b, both, twice = encoder.encode(["a", "b", "a b", "b b"]).vectors
    np.testing.assert_allclose(np.linalg.norm([a, b, both], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(b, twice, atol=1e-6)
    assert abs(np.linalg.det(np.stack([a, b, both])[:, :3])) < 1e-6


def test_a_static_model_is_told_by_its_own_tokens(static: Path) -> None:
    encoder = load_encoder(str(static))
    encoded = encoder.encode(["word " * 600, "word", UNKNOWN, ""])
    assert encoded.tokens.tolist() == [600, 1, 1, 0]  # no special ones, and uncut
    assert encoded.unread == 1
    assert load_encoder(f"{static}/.").card.weights == encoder.card.weights


@pytest.mark.parametrize("by_file", [True, False])
def test_a_static_model_cuts_texts_where_it_is_told_to(
    by_file: bool, static: Path, tmp_path: Path
) -> None:
    """By the option, or by a limit in its tokenizer's file, which it keeps to itself."""
    if by_file:
        tokenizer = Tokenizer.from_file(str(static / "tokenizer.json"))
        tokenizer.enable_truncation(10)
        encoder = load_encoder(str(static_model(tmp_path / "m", tokenizer)), prompt_prefix="so ")
        with pytest.raises(UsageError, match="--max-length 11 is more than the 10 tokens that"):
            load_encoder(str(tmp_path / "m"), max_length=11)
    else:
        encoder = load_encoder(str(static), max_length=10, prompt_prefix="so ")
    assert (encoder.card.max_length, encoder.card.overhead) == (10, 1)
    nine, ten, other = "a b c d e f g h i", "a b c d e f g h i j", "a b c d e f g h j"
    encoded = encoder.encode([nine, ten, other])
    assert encoded.tokens.tolist() == [9, 10, 9]
    np.testing.assert_allclose(encoded.vectors[0], encoded.vectors[1], atol=1e-6)
    assert encoded.vectors[0] @ encoded.vectors[2] < 0.9999


def test_a_store_of_a_static_model_is_told_known_reused_and_gone_on_with(
    static: Path, tmp_path: Path
) -> None:
    class Ending:
        """A model that is ended after its first batch."""

        def __init__(self, encoder: SentenceEncoder) -> None:
            self.card, self._encoders = encoder.card, [encoder]

        def encode(self, texts: Sequence[str]) -> Encoded:
            return self._encoders.pop().encode(texts)

    texts = [f"text {n}" for n in range(6)] + ["word " * 20, UNKNOWN]
    pool, store = write_rows(tmp_path / "pool.jsonl", texts), tmp_path / "pool.npy"
    with pytest.raises(IndexError):
        embed(pool, store, Ending(load_encoder(str(static), max_length=16)), batch_size=4)
    options = ("--model", static, "--max-length", 16)
    resumed = gip("embed", pool, "-o", store, *options, "--batch-size", 4)
    told = resumed.stderr.decode()
    assert "8 rows x 4; 4 texts encoded, 0 rows reused, 4 resumed\n" in told
    assert "rows longer than 16 tokens: 1; " in told
    again = gip("embed", pool, "-o", store, "--model", "static", *options[2:], cwd=static.parent)
    assert b"; 0 texts encoded, 8 rows reused, 0 resumed\n" in again.stderr
    other = write_rows(tmp_path / "other.jsonl", [*texts, "one more", UNKNOWN * 2])
    made = gip("embed", other, "-o", tmp_path / "other.npy", *options, "--reuse", store)
    assert b"; 2 texts encoded, 8 rows reused, 0 resumed\n" in made.stderr
    assert b"1 of 2 texts encoded is mostly of letters, signs or overlong words" in made.stderr
    target = write_rows(tmp_path / "target.jsonl", ["text 3 more"])
    picked = gip("select", pool, "-e", store, "-k", 1, "--target", target, cwd=static.parent)
    assert picked.returncode == 0, picked.stderr.decode()
    assert picked.stdout == b'{"text":"text 3"}\n'


def test_a_text_without_a_token_is_unread(static: Path) -> None:
    encoded = load_encoder(str(static)).encode(["\x00 \x01", " ", "a"])
    assert (encoded.tokens.tolist(), encoded.unread) == ([0, 0, 1], 1)
    assert not encoded.vectors[:2].any()


def test_unknown_tokens_of_a_unigram_model_are_known_by_their_number(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.Unigram([("?", -9.0), ("ab", -1.0)], unk_id=0))
    encoder = load_encoder(str(static_model(tmp_path / "m", tokenizer)))
    assert encoder.encode(["ab", "abab", "xyzxyz", "abx"]).unread == 1


def test_a_model_that_reads_any_number_of_tokens_has_no_limit(tmp_path: Path) -> None:
    """Its tokenizer says 10^30, which no file of numbers takes."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    torch.manual_seed(5)
    sizes = T5Config(vocab_size=3, d_model=4, d_kv=2, d_ff=4, num_layers=1, num_heads=2)
    T5EncoderModel(sizes).save_pretrained(tmp_path / "t5")
    PreTrainedTokenizerFast(
        tokenizer_object=word_level({"?": 0, "a": 1, "b": 2}), unk_token="?", pad_token="?"
    ).save_pretrained(tmp_path / "t5")
    modules = [Transformer(str(tmp_path / "t5")), Pooling(4)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "m"))
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a", "a b " * 500]), tmp_path / "pool.npy"
    for found in (b"2 texts encoded, 0 rows reused", b"0 texts encoded, 2 rows reused"):
        done = gip("embed", pool, "-o", store, "--model", tmp_path / "m")
        assert found in done.stderr
        assert b"rows longer than" not in done.stderr
    assert orjson.loads(store.with_suffix(".json").read_bytes())["max_length"] == 0
    cut = load_encoder(str(tmp_path / "m"), max_length=2)
    assert cut.card.max_length == 2
    vectors = cut.encode(["a b", "a b a a a"]).vectors
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_a_models_default_prompt_is_told_counted_and_a_setting_of_its_store(
    static: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(static, tmp_path / "m")
    prompts = {"prompts": {"query": "ask this: ", "document": ""}, "default_prompt_name": "query"}
    file = folder / "config_sentence_transformers.json"
    file.write_bytes(orjson.dumps(orjson.loads(file.read_bytes()) | prompts))
    prompted, without = (load_encoder(str(folder), prompt_prefix=one) for one in (None, ""))
    assert (prompted.card.prompt_prefix, prompted.card.overhead) == ("ask this: ", 3)
    plain = load_encoder(str(static))
    for encoder, text in ((prompted, "ask this: a b"), (without, "a b")):
        vectors = encoder.encode(["a b"]).vectors
        np.testing.assert_allclose(vectors, plain.encode([text]).vectors, atol=1e-6)
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a b", "c"]), tmp_path / "pool.npy"
    command = ("embed", pool, "-o", store, "--model", folder)
    told = gip(*command).stderr.decode()
    assert f"gip: {folder} has 'ask this: ' before each text (--prompt-prefix '' has not)" in told
    target = write_rows(tmp_path / "target.jsonl", ["a b d"])
    for given in ([], ["--prompt-prefix", "ask this: "]):
        assert "; 0 texts encoded, 2 rows reused" in gip(*command, *given).stderr.decode()
        assert gip("select", pool, "-e", store, "-k", 1, "--target", target).returncode == 0
    told = gip(*command, "--prompt-prefix", "").stderr.decode()
    assert "with other settings (overhead, prompt_prefix): encoding every row anew" in told
    assert "before each text" not in told
    write_rows(pool, ["a b", "c", "d"])
    wanting = error_of(gip("select", pool, "-k", 1, cwd=tmp_path))
    _, _, remedy = wanting.partition("; run gip ")
    done = gip(*shlex.split(remedy.partition(" and take")[0]), cwd=tmp_path)
    assert b"1 text encoded, 2 rows reused" in done.stderr, done.stderr.decode()


def test_of_several_routes_texts_are_read_by_the_one_that_they_take(
    static: Path, tmp_path: Path
) -> None:
    """It is not the first: queries are short, and often read by a smaller model."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    other = static_model(tmp_path / "query", word_level({"?": 0, "a": 1, "b": 2}))
    query, document = (list(SentenceTransformer(str(one), device="cpu")) for one in (other, static))
    router = Router.for_query_document(query, document)
    SentenceTransformer(modules=[router], device="cpu").save(str(tmp_path / "m"))
    with pytest.raises(UsageError, match=r"asks for the module .*Router; gip embed --trust-rem"):
        load_encoder(str(tmp_path / "m"))
    encoder = load_encoder(str(tmp_path / "m"), trust_remote_code=True, max_length=3)
    encoded, alone = (one.encode(["a-b c", "a"]) for one in (encoder, load_encoder(str(static))))
    assert encoded.tokens.tolist() == [4, 1]
    np.testing.assert_allclose(encoded.vectors[1], alone.vectors[1], atol=1e-6)
    assert encoded.vectors[0] @ alone.vectors[0] < 0.9999  # cut


@pytest.mark.parametrize("trust", [[], ["--trust-remote-code"]])
def test_a_model_of_words_is_refused_with_a_remedy_that_works(
    trust: list[str], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    model = SentenceTransformer(modules=[BoW(vocab=["a", "b"])], device="cpu")
    model.save(str(tmp_path / "m"))
    pool = write_rows(tmp_path / "pool.jsonl", ["a", "a b"])
    refused = gip("embed", pool, "-o", tmp_path / "p.npy", "--model", tmp_path / "m", *trust)
    assert refused.returncode == 2
    told = error_of(refused)
    assert "its module " in told
    assert "BoW reads words, and gip counts tokens; encode the rows by sentence-tr" in told
    np.save(tmp_path / "own.npy", model.encode(["a", "a b"]))
    assert "gip embed --vectors FILE.npy" in told
    taken = gip("embed", pool, "-o", tmp_path / "p.npy", "--vectors", tmp_path / "own.npy")
    assert taken.returncode == 0
