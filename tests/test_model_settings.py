"""Models whose settings would run code, or reach beyond their folder, are not loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import save_file

from gip_cli.encoder import load_encoder
from gip_cli.errors import UsageError
from gip_cli.model_settings import check_settings, settings_folder
from tests.test_encoder import packaged_model
from tests.toys import error_of, gip, process, write_rows

DENSE = "sentence_transformers.models.Dense"
POOLING = "sentence_transformers.models.Pooling"
WHOLE = "sentence_transformers.SentenceTransformer"


def put(file: Path, value: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(orjson.dumps(value))


def add(model: Path, kind: str, **files: Any) -> None:
    """One more module, and its files of settings."""
    listed = orjson.loads((model / "modules.json").read_bytes())
    put(model / "modules.json", [*listed, {"idx": 9, "name": "9", "path": "9_X", "type": kind}])
    for name, value in files.items():
        put(model / "9_X" / f"{name}.json", value)


def test_a_module_that_trusts_on_its_own_runs_no_code(tmp_path: Path, model: Path) -> None:
    """sentence-transformers loads a whole model within the model, by what its settings say."""
    put(
        model / "modules.json",
        [{"idx": n, "name": path, "path": path, "type": kind}
         for n, (path, kind) in enumerate([("0_C", DENSE), ("0_D", DENSE), ("1_X", WHOLE)])],
    )  # fmt: skip
    put(model / "1_X/sentence_bert_config.json", {"trust_remote_code": True})
    sizes = {"in_features": 4, "out_features": 4}
    found = {"activation_function": "pydoc._adjust_cli_sys_path"}
    put(model / "0_C/config.json", sizes | found)
    put(model / "0_D/config.json", sizes | {"activation_function": "m.evil.Evil"})
    ran = tmp_path / "ran"
    (model / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: ...\n")
    weights = {
        "linear.weight": np.zeros((4, 4), np.float32),
        "linear.bias": np.zeros(4, np.float32),
    }
    for path in ("0_C", "0_D"):
        save_file(weights, model / path / "model.safetensors")
    pool = write_rows(tmp_path / "pool.jsonl", ["a"])
    done = gip("embed", pool, "-o", tmp_path / "p.npy", "--model", "m", cwd=tmp_path)
    assert done.returncode == 2
    assert error_of(done).startswith("model 'm' is not loaded: 0_C/config.json asks for ")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("kind", "files", "told"),
    [
        (WHOLE, {}, f"modules.json asks for the module {WHOLE}"),
        ("os.abort", {}, "modules.json asks for the module os.abort"),
        ("evil.models.Pooling", {}, "modules.json asks for the module evil.models.Pooling"),
        (DENSE, {}, f"asks for weights of {DENSE} that are no safetensors in 9_X"),
        (POOLING, {"sentence_bert_config": {"trust_remote_code": True}},
         "9_X/sentence_bert_config.json asks for trust_remote_code True"),
        (POOLING, {"sentence_bert_config": {"model_args": {"device_map": {"": "disk"}}}},
         "asks for model_args {'device_map': {'': 'disk'}}"),
        (POOLING, {"sentence_bert_config": {"tokenizer_args": {"x": ["../x"]}}},
         "asks for tokenizer_args {'x': ['../x']}"),
        (POOLING, {"sentence_bert_config": {"processing_kwargs": {"x": "a/b"}}},
         "asks for processing_kwargs {'x': 'a/b'}"),
        (POOLING, {"sentence_bert_config": {"config_args": {"trust_remote_code": False}}},
         "asks for config_args {'trust_remote_code': False}"),
        (POOLING, {"sentence_bert_config": {"model_args": {"cache_dir": "x"}}},
         "asks for model_args {'cache_dir': 'x'}"),
        (POOLING, {"sentence_bert_config": {"model_args": {"offload_folder": "x"}}},
         "asks for model_args {'offload_folder': 'x'}"),
        (POOLING, {"sentence_bert_config": {"model_kwargs": {"use_kernels": True}}},
         "asks for model_kwargs {'use_kernels': True}"),
        (POOLING, {"sentence_bert_config": {"model_kwargs": {"attn_implementation": "o/k"}}},
         "asks for model_kwargs {'attn_implementation': 'o/k'}"),
        (POOLING, {"config": {"attn_implementation": "org/kernel:f"}},
         "9_X/config.json asks for attn_implementation org/kernel:f"),
        (POOLING, {"config": {"text_config": {"_attn_implementation": {"": "paged|org/kernel"}}}},
         "asks for _attn_implementation {'': 'paged|org/kernel'}"),
        (POOLING, {"adapter_config": {"base_model_name_or_path": "org/base"}},
         "9_X/adapter_config.json asks for an adapter of another model, org/base"),
        (POOLING, {"sentence_roberta_config": {"tokenizer_name_or_path": "/x"}},
         "asks for tokenizer_name_or_path /x"),
    ],
)  # fmt: skip
def test_what_takes_trust_is_named(kind: str, files: Any, told: str, model: Path) -> None:
    add(model, kind, **files)
    with pytest.raises(UsageError) as error:
        load_encoder(str(model))
    assert told in str(error.value)
    assert "gip embed --trust-remote-code loads it, and lets it run any code" in str(error.value)


@pytest.mark.parametrize(
    "text",
    ['[{"idx": NaN, "path": "", "type": "os.abort"}]', '["os.abort"]', "[", "\ufeff[]"],
)
def test_settings_that_cannot_be_looked_at_are_not_loaded(text: str, model: Path) -> None:
    (model / "modules.json").write_text(text)
    with pytest.raises(UsageError, match=r"modules.json asks for the module os.abort|cannot be lo"):
        load_encoder(str(model))


def test_settings_behind_a_linked_folder_are_looked_at(tmp_path: Path, model: Path) -> None:
    add(model, POOLING, sentence_bert_config={"trust_remote_code": True})
    (model / "9_X").rename(tmp_path / "elsewhere")
    (model / "9_X").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="asks for trust_remote_code True"):
        load_encoder(str(model))


def test_settings_of_a_model_that_lists_no_modules_are_looked_at(model: Path) -> None:
    (model / "modules.json").unlink()
    put(model / "sentence_bert_config.json", {"trust_remote_code": True})
    with pytest.raises(UsageError, match=r"loaded: sentence_bert_config\.json asks for trust_"):
        check_settings("m", model)


def test_an_adapter_of_a_folder_without_modules_is_looked_at(model: Path) -> None:
    (model / "modules.json").unlink()
    put(model / "adapter_config.json", {"base_model_name_or_path": "x"})
    with pytest.raises(UsageError, match=r"not loaded: adapter_config.json asks for an adapter of"):
        load_encoder(str(model))


@pytest.mark.parametrize(
    "activation",
    ["os.abort", "torch.utils.model_dump.__main__.X", "torch.nn.utils.prune.Identity", "m.E"],
)
def test_only_torchs_own_activations_are_called(activation: str, model: Path) -> None:
    add(model, DENSE, config={"activation_function": activation})
    (model / "9_X/model.safetensors").touch()
    with pytest.raises(UsageError, match=f"asks for the activation function {activation}"):
        check_settings("m", model)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model_args": {"add_pooling_layer": False, "torch_dtype": "float32"}},
        {"processing_kwargs": {"text": {"padding": "longest"}}, "tokenizer_name_or_path": ""},
    ],
)
def test_options_of_what_the_libraries_have_are_fine(options: Any, model: Path) -> None:
    put(model / "sentence_bert_config.json", {"max_seq_length": 256} | options)
    config = {"attn_implementation": "sdpa", "vision": {"_attn_implementation": {"": "eager"}}}
    put(model / "config.json", orjson.loads((model / "config.json").read_bytes()) | config)
    add(model, DENSE, config={"activation_function": "torch.nn.modules.linear.Identity"})
    (model / "9_X/model.safetensors").touch()
    check_settings("m", model)


@pytest.mark.parametrize(
    ("trusting", "cache"), [(True, "SENTENCE_TRANSFORMERS_HOME"), (False, "HF_HUB_CACHE")]
)
def test_settings_of_a_hubs_model_are_looked_at_where_its_client_keeps_them(
    trusting: bool, cache: str, tmp_path: Path, model: Path
) -> None:
    place = tmp_path / "cache/models--org--m"
    commit = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text(commit)
    (place / "snapshots").mkdir()
    if trusting:
        add(model, WHOLE)
    model.rename(place / "snapshots" / commit)
    pool = write_rows(tmp_path / "pool.jsonl", ["a"])
    away = {cache: str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = process(
        "embed", pool, "-o", tmp_path / "p.npy", "--model", "org/m", env={**os.environ, **away}
    )
    if not trusting:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2
    told = f"model 'org/m' is not loaded: modules.json asks for the module {WHOLE}; gip embed --t"
    assert error_of(done).startswith(told)


def test_a_name_alone_is_of_the_librarys_own_models_or_else_of_the_hubs_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    commit = "0" * 40
    for kept in ("models--m", "models--sentence-transformers--m"):
        place = tmp_path / kept
        (place / "refs").mkdir(parents=True)
        (place / "refs/main").write_text(commit)
        (place / "snapshots" / commit).mkdir(parents=True)
        assert settings_folder("m", None, offline=True) == place / "snapshots" / commit


def test_the_packaged_models_settings_are_fine() -> None:
    check_settings("m", settings_folder(str(packaged_model()), None, offline=True))
