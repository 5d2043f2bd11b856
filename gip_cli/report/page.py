"""The page: one HTML file that needs nothing else and asks for nothing else.

No text of a dataset stands in the HTML: data and Plotly's script travel gzipped in base64, and
`base.js` unpacks them. A Content-Security-Policy lets run only the two scripts whose hashes it
names and lets nothing be fetched.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from importlib.resources import files

import orjson

from gip_cli.errors import UsageError, install
from gip_cli.report.content import Data

_SCRIPTS = ("base.js", "charts.js", "rows.js", "page.js")
_SVG_ROWS = 2_000  # up to here the map is drawn without WebGL


def plotly_script() -> str:
    """Plotly's own JavaScript, as its Python package carries it.

    Raises
    ------
    UsageError
        The extra is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise UsageError("gip report needs plotly", install("report")) from None
    script: str = get_plotlyjs()
    return script


def page(data: Data) -> bytes:
    """The HTML (UTF-8) that shows `data`, what `content` returns."""
    assets = files("gip_cli.report") / "assets"
    script = "".join((assets / name).read_text("utf-8") for name in _SCRIPTS)
    plotly = plotly_script()
    webgl = len(data["map"]["x"]) > _SVG_ROWS
    # Plotly compiles its WebGL drawing code at run time, which the browser counts as eval.
    allowed = f"{_hash(script)} {_hash(plotly)}" + " 'unsafe-eval'" * webgl
    parts = {
        "POLICY": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
        "STYLE": (assets / "page.css").read_text("utf-8"),
        "DATA": _packed(orjson.dumps({**data, "webgl": webgl})),
        "PLOTLY": _packed(plotly.encode()),
        "SCRIPT": script,
    }
    html = (assets / "page.html").read_text("utf-8")
    for name, text in parts.items():
        html = html.replace(f"%{name}%", text, 1)
    return html.encode()


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()
