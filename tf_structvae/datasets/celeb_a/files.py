"""Reads CelebA's original files as its authors hand them out: no TensorFlow, nothing unpacked."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
SIZE = (178, 218)  # width and height, as Pillow gives them
PARTITIONS = {"train": 0, "validation": 1, "test": 2}
COUNTS = {"train": 162_770, "validation": 19_867, "test": 19_962}
LANDMARKS = tuple(
    f"{point}_{axis}"
    for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    for axis in "xy"
)
# fmt: off
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones",
    "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin",
    "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair",
    "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)
# fmt: on
IDENTITY = ("Identity_No",)

Table = dict[str, tuple[int, ...]]  # image file name -> one number a column


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the original files are; None for the two that may be left out."""

    images: Path  # the zip archive, or the folder that holds the JPEG files
    partition: Path
    attributes: Path
    landmarks: Path | None
    identity: Path | None


@dataclasses.dataclass(frozen=True)
class Listing:
    """Which image is in which split, and what is known of it."""

    splits: dict[str, list[str]]  # file names in order
    attributes: Table  # 1 or -1, columns as `ATTRIBUTES`
    landmarks: Table  # pixels, columns as `LANDMARKS`; empty if there is no such list
    identity: Table  # number of the person; likewise


def find(manual_dir: str | Path) -> Layout:
    """Finds the original files.

    Raises:
      FileNotFoundError: `manual_dir` is not there, or what is missing in it, every file by name.
    """
    folder = Path(manual_dir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"manual_dir {str(manual_dir)!r} is not a folder on this machine.")
    images = _find_images(folder)
    tables = [
        _first_file(folder, f"{stem}.txt", f"{stem}.csv")
        for stem in ("list_eval_partition", "list_attr_celeba", "list_landmarks_align_celeba")
    ]
    wanted = (
        ("img_align_celeba.zip (or the folder img_align_celeba with its .jpg files)", images),
        ("list_eval_partition.txt", tables[0]),
        ("list_attr_celeba.txt", tables[1]),
    )
    missing = [name for name, path in wanted if path is None]
    if images is None or tables[0] is None or tables[1] is None:
        raise FileNotFoundError(
            f"manual_dir {str(manual_dir)!r} lacks {', '.join(missing)}: files of CelebA's "
            f'"Align&Cropped Images", see {PAGE} and docs/celeba.md.'
        )
    return Layout(
        images, tables[0], tables[1], tables[2], _first_file(folder, "identity_CelebA.txt")
    )


def _first_file(folder: Path, *names: str) -> Path | None:
    return next((folder / n for n in names if (folder / n).is_file()), None)


def _find_images(folder: Path) -> Path | None:
    inner = folder / "img_align_celeba"
    for candidate in (inner, inner / "img_align_celeba"):
        if candidate.is_dir() and any(p.suffix == ".jpg" for p in candidate.iterdir()):
            return candidate
    return _first_file(folder, "img_align_celeba.zip")


@contextlib.contextmanager
def open_images(path: Path) -> Iterator[tuple[set[str], Callable[[str], bytes]]]:
    """Names of the images in a zip archive or folder, and what reads one of them.

    Raises:
      ValueError: the archive, or a file in it, is broken.
    """
    if path.is_dir():
        yield {p.name for p in path.iterdir()}, lambda name: (path / name).read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                PurePosixPath(m).name: m for m in archive.namelist() if not m.startswith("__MACOSX")
            }
            yield set(members), lambda name: archive.read(members[name])
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{path} is broken or was not fetched to its end ({error}); fetch it again from {PAGE}."
        ) from error


def check_image(data: bytes, name: str) -> None:
    """Decodes an image.

    Raises:
      ValueError: it is not a whole JPEG image of 218 x 178 pixels.
    """
    from PIL import Image, UnidentifiedImageError

    wanted = "CelebA's aligned images are JPEG, 178 pixels wide and 218 high"
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "JPEG" or image.size != SIZE:
                width, height = image.size
                found = f"{image.format}, {width} pixels wide and {height} high"
                raise ValueError(f"image {name} is {found}; {wanted}.")
            image.load()
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"image {name} cannot be decoded ({error}); {wanted}.") from error


def first_problem(images: Path, names: Sequence[str]) -> str:
    """Why the first of these images that is none cannot be used; "" if all are whole.

    Args:
      images: the archive, or the folder.
      names: of the images.
    """
    try:
        with open_images(images) as (_, read):
            for name in names:
                check_image(read(name), name)
    except ValueError as error:
        return str(error)
    return ""


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """Reads one of the lists: the authors' text, or the CSV form of the Kaggle mirror.

    The text may begin with the number of rows, and both with the names of the columns.

    Raises:
      ValueError: names, numbers or rows are not as they should be; with the line.
    """
    lines = [line.replace(",", " ").split() for line in path.read_text().splitlines()]
    count = int(lines[0][0]) if lines and len(lines[0]) == 1 and lines[0][0].isdigit() else None
    start = 0 if count is None else 1
    order = tuple(range(len(columns)))
    if len(lines) > start and lines[start] and not lines[start][0].endswith(".jpg"):
        order = _order(path, [n for n in lines[start] if n != "image_id"], columns)
        start += 1
    rows: Table = {}
    for number, line in enumerate(lines[start:], start + 1):
        if line:
            name, values = _row(path, number, line, len(columns))
            rows[name] = tuple(values[i] for i in order)
    if count is not None and count != len(rows):
        raise ValueError(f"{path} announces {count} rows and has {len(rows)}; fetch it again.")
    return rows


def _order(path: Path, names: list[str], columns: Sequence[str]) -> tuple[int, ...]:
    if len(columns) == 1:
        return (0,)  # the header of a single column carries no news
    if sorted(names) != sorted(columns):
        odd = sorted(set(names) ^ set(columns))
        raise ValueError(f"{path} has other columns than CelebA's {len(columns)}: see {odd[:5]}.")
    return tuple(names.index(c) for c in columns)


def _row(path: Path, number: int, line: list[str], columns: int) -> tuple[str, list[int]]:
    try:
        values = [int(v) for v in line[1:]]
    except ValueError:
        values = []
    if len(values) != columns:
        text = " ".join(line)[:60]
        raise ValueError(
            f"{path} line {number} is not a file name and {columns} whole numbers: {text!r}."
        )
    return line[0], values


def read_listing(layout: Layout) -> Listing:
    """Reads the lists and checks them against each other and against the images.

    Raises:
      ValueError: an empty or unknown partition; images that are listed but absent, with their
        number and the first few; rows missing from a list.
    """
    partition = read_table(layout.partition, ("partition",))
    unknown = sorted({v for (v,) in partition.values()} - set(PARTITIONS.values()))
    if unknown:
        raise ValueError(f"{layout.partition} has partitions {unknown}; 0, 1 and 2 are allowed.")
    splits = {
        s: sorted(n for n, (v,) in partition.items() if v == p) for s, p in PARTITIONS.items()
    }
    for split, names in splits.items():
        if not names:
            raise ValueError(f"{layout.partition} has no image of {split} ({PARTITIONS[split]}).")
    with open_images(layout.images) as (present, _):
        _require(
            partition, present, f"listed in {layout.partition.name} are not in {layout.images}"
        )
    attributes = _read_rows(layout.attributes, ATTRIBUTES, partition)
    landmarks = _read_rows(layout.landmarks, LANDMARKS, partition)
    identity = _read_rows(layout.identity, IDENTITY, partition)
    return Listing(splits, attributes, landmarks, identity)


def _read_rows(path: Path | None, columns: Sequence[str], names: Table) -> Table:
    if path is None:
        return {}
    rows = read_table(path, columns)
    _require(names, rows, f"listed in the partition have no row in {path}")
    return rows


def _require(names: Table, present, what: str) -> None:
    absent = sorted(n for n in names if n not in present)
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(names)} images {what}: {', '.join(absent[:3])}"
            f"{', ...' if len(absent) > 3 else ''}. For a part of CelebA, shorten the lists too."
        )
