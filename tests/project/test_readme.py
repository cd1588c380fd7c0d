"""README.md: short, its first screen in order, and its links and those of docs/ lead somewhere."""

import re
import sys

import page_programs
import pytest

ROOT = page_programs.ROOT
sys.path.insert(0, str(ROOT / "docs/hooks"))
import pages  # noqa: E402

README = (ROOT / "README.md").read_text()
# Of Markdown, but not in blocks of code.
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^ *```.*?^ *```", re.M | re.S)


def _anchors(path):
    """Of the headings, as GitHub and the site name them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", _CODE.sub("", path.read_text()), re.M):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).lower())
        found.add(re.sub(r" ", "-", words.strip()))
    return found


def test_size():
    assert len(README.encode()) <= 8000


def test_first_screen():
    """One sentence with the paper's link, the picture, and the commands."""
    start = "\n".join(README.splitlines()[:20])
    wanted = ("arxiv.org/abs/", "docs/images/figure_1.png", "\nmake train ", "\nmake test ")
    places = [start.index(text) for text in wanted]
    assert places == sorted(places)


def test_one_table_of_results_and_a_short_example():
    results = README.split("## Results")[1].split("\n## ")[0]
    rows = [line for line in results.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    [program] = page_programs.blocks(ROOT / "README.md")
    assert len(program.code.strip().splitlines()) <= 16


@pytest.mark.parametrize("page", page_programs.FILES, ids=lambda page: page.name)
def test_links_resolve(page):
    wrong = []
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = page.parent / path if path else page
        if not target.exists():
            wrong.append(link)
        elif anchor and target.suffix == ".md" and "reference" not in target.parts:
            wrong += [link] if anchor not in _anchors(target) else []
    assert wrong == []


@pytest.mark.parametrize("page", page_programs.FILES, ids=lambda page: page.name)
def test_sources_that_the_site_shows_have_a_link_for_github(page):
    text = page.read_text()
    shown = {m["path"] for m in pages._SOURCE.finditer(text)}
    assert [path for path in shown if f"](../{path})" not in text] == []


_OUR_OWN_WORDS = re.compile(
    r"price of (a|the) nat|timid|too bold|over-bright|stand-ins?\b|z tells|told by z|displaced",
    re.I,
)


def test_no_words_that_only_this_project_uses():
    """In what users read: pages, and what programs print and draw."""
    sources = [p for room in ("figures", "programs", "studies") for p in _sources(room)]
    found = [
        f"{path.name}: {line.strip()}"
        for path in [*page_programs.FILES, *sources]
        for line in path.read_text().splitlines()
        if _OUR_OWN_WORDS.search(line)
    ]
    assert found == []


def _sources(room):
    return sorted((ROOT / "tf_structvae" / room).rglob("*.py"))


@pytest.mark.parametrize("path", sorted((ROOT / "docs/images").glob("*.png")), ids=lambda p: p.name)
def test_every_picture_is_in_the_gallery(path):
    assert f"](images/{path.name})" in (ROOT / "docs/gallery.md").read_text()
