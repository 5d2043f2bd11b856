"""A real headless Chromium, and the report of the sample pool opened in it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput

from tests.conftest import ROOT
from tests.toys import gip

ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
    # WebGL in software, as the map of many rows needs.
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)


@dataclass
class Page:
    """A report open in the browser, and what the browser said while it was."""

    driver: webdriver.Chrome
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    untouched: Path | None = None  # what is open, as long as all tests only looked at it

    def open(self, path: Path, width: int = 1280, height: int = 900, *, dark: bool = False) -> Page:
        cdp = self.driver.execute_cdp_cmd
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        cdp("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        cdp("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.listen()
        self.untouched = None
        self.errors.clear()
        self.requests.clear()
        self.driver.get(path.as_uri())
        self.wait(lambda: self.js("return document.getElementById('loading').hidden"))
        return self.listen()

    def listen(self) -> Page:
        """Take over what the browser logged since."""
        for entry in self.driver.get_log("browser"):  # type: ignore[no-untyped-call]
            if entry["level"] == "SEVERE":
                self.errors.append(entry["message"])
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        return self

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return "".join(self.texts(selector)[:1])

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        texts: list[str] = self.js(script, selector)
        return texts

    def wait(self, holds: Callable[[], Any], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"waited {seconds} s in vain; {self.listen().errors}"
            time.sleep(0.02)

    def point(self, trace: int, at: int) -> tuple[int, int]:
        """Where a point of the map is in the window, scrolled into view."""
        x, y = self.js(
            """
            const map = document.getElementById("map");
            map.scrollIntoView({ block: "center", behavior: "instant" });
            const { xaxis, yaxis } = map._fullLayout;
            const { left, top } = map.querySelector(".nsewdrag").getBoundingClientRect();
            const { x, y } = map.data[arguments[0]];
            return [left + xaxis.c2p(x[arguments[1]]), top + yaxis.c2p(y[arguments[1]])];
            """,
            trace,
            at,
        )
        return round(x), round(y)

    def move(self, *places: tuple[int, int], pressed: bool = False) -> None:
        """Move the mouse along places of the window, with its button down if `pressed`."""
        actions = ActionBuilder(self.driver, mouse=PointerInput("mouse", "mouse"), duration=20)
        for number, place in enumerate(places):
            actions.pointer_action.move_to_location(*place)
            if pressed and not number:
                actions.pointer_action.pause(0.3)  # as a hand does; Plotly sees a hover first
                actions.pointer_action.pointer_down()
        if pressed:
            actions.pointer_action.pointer_up()
        actions.perform()

    def keys(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs the Debian packages chromium and chromium-driver")
    options = Options()
    options.binary_location = binary
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield Page(chrome)
    chrome.quit()


@dataclass
class Sample:
    """The sample pool's selection and report, made by the commands that a user gives."""

    pool: Path
    selection: Path
    report: Path

    @property
    def receipt(self) -> Any:
        return json.loads(self.selection.with_suffix(".receipt.json").read_bytes())


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, sample_store: Path) -> Sample:
    folder = tmp_path_factory.mktemp("sample")
    made = Sample(folder / "scored.jsonl", folder / "small.jsonl", folder / "report.html")
    scoring = ("--metadata", "rating=meta.rating", "--range", "rating=1:5")
    reporting = ("-s", made.selection, "--group-field", "meta.topic")
    for arguments in (
        ("score", ROOT / "sample_data/alpaca.jsonl", "-o", made.pool, *scoring),
        ("select", made.pool, "-e", sample_store, "-k", 20, "-o", made.selection),
        ("report", made.pool, "-e", sample_store, *reporting, "-o", made.report),
    ):
        run = gip(*arguments)
        assert run.returncode == 0, run.stderr.decode()
    return made
