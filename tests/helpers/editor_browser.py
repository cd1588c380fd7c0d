"""A person at the editor's page in a headless Chromium, and what the tests read from the page."""

import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("STRUCTVAE_SCREENSHOTS", ROOT / "build/screenshots"))
BROKEN_LOAD = "Failed to load resource"  # what Chromium logs of each request that fails


def upload(height=90, width=200, name="mine.png"):
    """A picture file of smooth colours, as playwright wants it."""
    rows, columns = np.mgrid[:height, :width]
    colours = np.stack([rows / height, columns / width, 0 * rows + 0.5], -1)
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * colours)).save(file, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": file.getvalue()}


class Reader:
    """A page of the editor as a person uses it; errors of the browser are collected.

    Args:
      context: of playwright.
      url: of the editor's server.
      expected: part of the browser's errors that the test brings about.
    """

    def __init__(self, context, url, expected=None):
        self.page = context.new_page()
        self.url, self.expected = url, expected
        self.errors, self.requested = [], []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.open()

    def _note(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def open(self):
        self.page.goto(self.url)
        self.page.wait_for_selector("html[data-ready]", timeout=300_000)

    def check(self):
        """No error but the expected, and no request to another host."""
        assert [e for e in self.errors if not self.expected or self.expected not in e] == []
        own = (self.url, "blob:", "data:")
        assert [u for u in self.requested if not u.startswith(own)] == []

    def tab(self, name):
        self.page.get_by_role("tab", name=name).click()

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def at(self, point, canvas="#overlay"):
        """Position in the window of the middle of a pixel (row, column)."""
        box = self.page.locator(canvas).bounding_box()
        height, width, _ = self.shape
        return (
            box["x"] + (point[1] + 0.5) * box["width"] / width,
            box["y"] + (point[0] + 0.5) * box["height"] / height,
        )

    def draw(self, *points, release=True):
        """A stroke from pixel to pixel."""
        self.page.mouse.move(*self.at(points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(point), steps=3)
        self.frame()
        if release:
            self.page.mouse.up()

    def frame(self):
        """Waits until what was asked for is drawn."""
        self.page.evaluate(
            "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))"
        )

    def wait(self, expression):
        """Until it is true; playwright's own way needs eval, which the page's policy refuses."""
        end = time.monotonic() + 300
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            self.page.wait_for_timeout(20)

    def settle(self):
        """Until no answer is awaited and all is drawn."""
        self.wait("document.getElementById('busy').hidden")
        self.frame()

    def set(self, slider, value):
        """Moves a slider as keys and pointers do: input, then change."""
        self.page.locator(slider).evaluate(
            "(e, v) => { e.value = v; for (const t of ['input', 'change'])"
            " e.dispatchEvent(new Event(t, {bubbles: true})); }",
            str(value),
        )
        self.frame()

    def at_state(self, number):
        """Waits until that state is shown."""
        self.wait(f"document.documentElement.studio.history.at === {number}")

    def studio(self, expression):
        return self.page.evaluate(f"document.documentElement.studio.{expression}")

    @property
    def shape(self):
        return tuple(self.studio("info.image_shape"))

    @property
    def document(self):
        return self.studio("history.current")

    def array(self, expression):
        """A typed array of the studio."""
        return np.array(
            self.page.evaluate(f"Array.from(document.documentElement.studio.{expression})")
        )

    def pixels(self, canvas="#picture"):
        """uint8 [H, W, 4] of a canvas."""
        width, height, data = self.page.locator(canvas).evaluate(
            "c => [c.width, c.height, Array.from("
            "c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]"
        )
        return np.array(data, np.uint8).reshape(height, width, 4)

    def lies_bare(self):
        """Whether nothing is drawn over the picture."""
        return self.page.locator("#overlay").evaluate(
            "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.every(x => !x)"
        )

    def notice(self, text):
        self.page.locator(".notice", has_text=text).first.wait_for(timeout=300_000)

    def shot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
