"""The editor's page: what it tells of the model, keyboard, touch, sizes and colours."""

import numpy as np
import pytest
from editor_expected import assert_shows, normal, picture


def test_page_tells_which_model_it_shows(visit):
    reader = visit()
    facts = reader.page.locator("#model-facts").inner_text()
    for word in ("version 1", "20 \u00d7 24 colour", "waves", "CC0-1.0"):
        assert word in facts
    reader.page.get_by_text("About this model").click()
    card = reader.page.locator("#model-card").inner_text()
    for word in ("Smooth waves.", "rank 4", "1,234", "Nobody"):
        assert word in card
    assert_shows(reader, np.ravel(normal(reader).mean()))


def test_keyboard_alone_paints(visit):
    reader = visit()
    keys = reader.page.keyboard
    for _ in range(40):
        if reader.page.evaluate("document.activeElement.id") == "overlay":
            break
        keys.press("Tab")
    assert reader.page.evaluate("document.activeElement.id") == "overlay"
    keys.press("]")
    for key in ("ArrowUp", "ArrowUp", "Shift+ArrowLeft"):
        keys.press(key)
    keys.down(" ")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.up(" ")
    (stroke,) = reader.document["strokes"]
    assert stroke["points"] == [[10, 5], [10, 6], [10, 7]]
    assert stroke["size"] == 2
    assert_shows(reader, picture(reader))
    assert "Row 10, column 7" in reader.page.locator("#canvas-status").inner_text()
    keys.press("e")
    keys.press(" ")
    assert reader.document["strokes"][-1]["erase"] is True
    keys.press("i")
    keys.press(" ")
    assert reader.page.get_by_label("Brush").is_checked()
    keys.press("v")
    assert reader.page.locator("#before").get_attribute("aria-pressed") == "true"
    reader.page.locator("#tab-edit").focus()
    for tab in ("steer", "blend", "look", "source"):
        keys.press("ArrowRight")
        assert reader.page.locator(f"#{tab}").is_visible()


# What can be used now: of radio buttons the chosen one, of tabs the present one.
_REACHABLE = """[...document.querySelectorAll("button, input, select, summary, [tabindex]")].filter(
  (e) => e.checkVisibility() && !e.disabled && e.tabIndex >= 0 &&
    !(e.type === "radio" && !e.checked)).map((e) => e.outerHTML.slice(0, 90))"""


LATER = [pytest.param(tab, marks=pytest.mark.long) for tab in ("steer", "blend", "look")]


@pytest.mark.parametrize("tab", ["edit", "source", *LATER])
def test_every_control_is_reached_by_the_keyboard(visit, tab):
    reader = visit()
    reader.draw((3, 3), (9, 9))  # or there is nothing to undo
    reader.page.locator(f"#tab-{tab}").click()
    reader.settle()
    wanted, reached = set(reader.page.evaluate(_REACHABLE)), set()
    assert len(wanted) > 10
    for _ in range(2 * len(wanted)):
        reader.page.keyboard.press("Tab")
        reached.add(reader.page.evaluate("document.activeElement.outerHTML.slice(0, 90)"))
    assert wanted - reached == set()


def swipe(reader, *places):
    """A finger drawn over places in the window."""
    session = reader.page.context.new_cdp_session(reader.page)
    kinds = ["touchStart", *["touchMove"] * (len(places) - 1), "touchEnd"]
    for kind, place in zip(kinds, [*places, None], strict=True):
        points = [{"x": place[0], "y": place[1]}] if place else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    reader.frame()


def test_finger_paints_and_drags(visit):
    reader = visit(width=360, height=740, has_touch=True, is_mobile=True)
    reader.page.touchscreen.tap(*reader.at((8, 8)))
    swipe(reader, reader.at((15, 4)), reader.at((17, 10)), reader.at((21, 16)))
    tap, stroke = reader.document["strokes"]
    assert tap["points"] == [[8, 8]]
    assert stroke["points"] == [[15, 4], [17, 10], [21, 16]]
    assert_shows(reader, picture(reader))
    reader.tab("Interpolate")
    reader.page.locator("#square").scroll_into_view_if_needed()
    # below the large picture, which stays in sight
    box = reader.page.locator("#square").bounding_box()
    swipe(
        reader,
        *([box["x"] + t * box["width"], box["y"] + 0.95 * box["height"]] for t in (0.9, 0.5)),
    )
    assert reader.page.locator("#square-point").get_attribute("style").startswith("left: 50%")
    assert_shows(reader, picture(reader))


# Text whose contrast with the colour behind it is below WCAG's 4.5.
_FAINT = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return (numbers(colour)[3] ?? 1) > 0.5 ? colour : behind(e.parentElement);
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest(":disabled, option, #busy")) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (!(contrast >= 4.5)) found.push([e.textContent.trim(), contrast]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(visit, scheme):
    reader = visit(color_scheme=scheme)
    for tab in ("Edit", "Steer", "Interpolate", "Look", "Picture"):
        reader.tab(tab)
        assert reader.page.evaluate(_FAINT) == [], tab
    reader.page.get_by_text("About this model").click()
    assert reader.page.evaluate(_FAINT) == []
    reader.page.locator("h2").evaluate_all("all => all.forEach(e => { e.style.color = 'grey'; })")
    assert reader.page.evaluate(_FAINT) != []


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (360, "dark"),
        (1920, "light"),
        pytest.param(360, "light", marks=pytest.mark.long),
        pytest.param(768, "dark", marks=pytest.mark.long),
        pytest.param(1920, "dark", marks=pytest.mark.long),
    ],
)
def test_pages_fit_and_are_kept_as_pictures(visit, width, scheme):
    reader = visit(width=width, color_scheme=scheme)
    reader.draw((3, 3), (9, 9))
    for tab in ("Edit", "Steer", "Interpolate", "Look", "Picture"):
        reader.tab(tab)
        reader.settle()
        reader.shot(f"{tab.lower()}_{width}_{scheme}")
        wide = reader.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, tab
        small = reader.page.locator("button:visible").evaluate_all(
            "all => all.filter(b => b.offsetHeight < 24 || b.offsetWidth < 24).map(b => b.id)"
        )
        assert small == [], tab
    background = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(x) for x in background[4:-1].split(",")[:3]])
    assert (brightness < 128) == (scheme == "dark")
    other = "light" if scheme == "dark" else "dark"
    reader.page.get_by_label("Theme").select_option(other)
    switched = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert switched != background
