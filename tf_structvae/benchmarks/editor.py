"""From pointer event to updated picture in the editor, in a headless Chromium.

Measured in the page: from the time stamp that the browser gives the event to the moment when the
frame with the picture that follows from it has left the page for the screen; a stroke of pointer
moves, one at a time. Networks are untrained: time does not depend on weights.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from tf_structvae.benchmarks import chromium
from tf_structvae.utilities import markdown

TARGETS = {"64x64": 60.0, "218x178": 250.0}  # ms, medians, on two idle cores
_MOVES = 60

# Counts a picture to the first event that it answers; a message comes after the frame in which it
# is drawn. `compute` draws it, too.
_RECORD = """() => {
  const studio = document.documentElement.studio;
  window.found = {latency: [], work: []};
  let first = null;
  const note = (event) => { first = first ?? event.timeStamp; };
  document.addEventListener("pointermove", note, {capture: true});
  document.addEventListener("input", note, {capture: true});
  studio.addEventListener("drawn", () => {
    if (first === null) return;
    const [start, channel] = [first, new MessageChannel()];
    first = null;
    channel.port1.onmessage = () => window.found.latency.push(performance.now() - start);
    channel.port2.postMessage(null);
  });
  const compute = studio.compute.bind(studio);
  studio.compute = () => {
    const start = performance.now();
    compute();
    window.found.work.push(performance.now() - start);
  };
}"""

_COVARIANCES = """() => {
  const {conditional, size} = document.documentElement.studio;
  return Array.from({length: 20}, (_, i) => {
    const start = performance.now();
    conditional.covariances(i * size.width + i);
    return performance.now() - start;
  });
}"""


class Case(NamedTuple):
    """A network whose editor is measured."""

    name: str
    config: str
    shape: tuple[int, int, int]


CASES = [
    Case("64x64", "avatars", (64, 64, 3)),
    Case("218x178", "celeba", (218, 178, 3)),  # the paper's size and network
]


def check() -> None:
    """
    Raises:
      ImportError: playwright is missing.
      ValueError: Chromium is missing.
    """
    if importlib.util.find_spec("playwright") is None:
        raise ImportError("--suite=editor needs playwright: pip install 'tf_structvae[browser]'.")
    if chromium.executable() is None:
        raise ValueError(
            "--suite=editor needs Chromium: apt-get install chromium, or set CHROMIUM."
        )


def run(quick: bool) -> list[dict[str, Any]]:
    """Medians of all cases, or of the first; ms."""
    with tempfile.TemporaryDirectory() as folder:
        return [_measure(case, Path(folder)) for case in CASES[: 1 if quick else None]]


def table(results: list[dict[str, Any]]) -> str:
    """As Markdown."""
    rows = []
    for r in results:
        parts = [f"{r[k][0]:.0f} ({r[k][1]:.0f})" for k in ("stroke", "work", "slider", "map")]
        stroke, *others = parts
        target = f"{TARGETS[r['size']]:.0f}"
        rows.append([r["size"], stroke, target, *others, f"{r['new_latent']:.0f}"])
    titles = "size|stroke|target|work of the page|slider|covariance|new latent code"
    return (
        "Milliseconds from event to picture, median (95 of 100); target: median of a stroke.\n\n"
        + markdown.table(titles.split("|"), rows)
    )


def _measure(case: Case, folder: Path) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    url = _serve(case, folder)
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium.executable(), args=chromium.ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.wait_for_selector("html[data-ready]", timeout=300_000)
        result = {"size": case.name, **_watch(page)}
        browser.close()
    return result


def _watch(page) -> dict[str, Any]:
    page.evaluate(_RECORD)
    _sweep(page)
    stroke, work = _taken(page, "latency"), _taken(page, "work")
    _slide(page)
    slider = _taken(page, "latency")
    covariance = page.evaluate(_COVARIANCES)
    return {
        "stroke": _summary(stroke),
        "work": _summary(work),
        "slider": _summary(slider),
        "map": _summary(covariance),
        "new_latent": _new_latent(page),
    }


def _sweep(page) -> None:
    """A stroke."""
    box = page.locator("#overlay").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    for i in range(_MOVES):
        across, along = 0.2 + 0.6 * i / _MOVES, 0.3 + 0.3 * (i % 12) / 12
        page.mouse.move(box["x"] + across * box["width"], box["y"] + along * box["height"])
        page.wait_for_timeout(30)
    page.mouse.up()


def _slide(page) -> None:
    """The first component's slider, dragged."""
    page.get_by_role("tab", name="Steer").click()
    page.evaluate("window.found = {latency: [], work: []}")
    box = page.locator("#component-0").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for i in range(_MOVES // 2):
        page.mouse.move(box["x"] + box["width"] * (0.5 + 0.01 * i), box["y"] + 5)
        page.wait_for_timeout(30)
    page.mouse.up()


def _new_latent(page) -> float:
    """Milliseconds until another code is asked for and shown."""
    page.get_by_role("tab", name="Picture").click()
    count = "document.documentElement.studio.history.states.length"
    before, start = page.evaluate(count), time.perf_counter()
    page.get_by_role("button", name="New latent").click()
    while page.evaluate(count) == before:
        page.wait_for_timeout(10)
    return 1e3 * (time.perf_counter() - start)


def _taken(page, name: str) -> list[float]:
    return page.evaluate(f"window.found.{name}.splice(0)")


def _summary(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]


def _serve(case: Case, folder: Path) -> str:
    """The address of an editor in a thread of this process."""
    import uvicorn
    from ml_collections import ConfigDict

    from tf_structvae.export import export
    from tf_structvae.serving import sockets
    from tf_structvae.serving.editor.server import create_app
    from tf_structvae.training import config, from_config

    made: ConfigDict = config.default()
    if case.config == "celeba":
        made = config.paper(kl_target=45.0, entropy_target=-504750.0)
    made.model.factor_initial = 0.05  # an untrained P would be too small to be seen
    export(from_config.build_model(made, case.shape), folder / case.config)
    bound = sockets.bind("127.0.0.1", 0)
    app = create_app(case.config, folder / case.config)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", loop="asyncio", ws="none"))
    threading.Thread(target=server.run, args=([bound],), daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return sockets.address(bound)
