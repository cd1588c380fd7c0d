"""Files in the layout of CelebA's authors."""

import io
import zipfile

import numpy as np
from PIL import Image

from tf_structvae.datasets.celeb_a import files

COUNT = 40


NAMES = [f"{i:06d}.jpg" for i in range(1, COUNT + 1)]


PARTITION = [0] * 28 + [1] * 7 + [2] * 5


def jpeg(index, size=(178, 218), form="JPEG"):
    pixels = np.random.default_rng(index).integers(0, 256, (7, 6, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(data, form, quality=80)
    return data.getvalue()


JPEGS = {name: jpeg(i) for i, name in enumerate(NAMES)}


RNG = np.random.default_rng(7)


ATTRIBUTES = 2 * RNG.integers(0, 2, (COUNT, 40)) - 1


LANDMARKS = RNG.integers(30, 170, (COUNT, 10))


IDENTITY = RNG.integers(1, 10178, (COUNT, 1))


def rows(values, separator=" "):
    """The authors pad the numbers to columns, so there are two blanks before some."""
    lines = [separator.join([n, *map(str, v)]) for n, v in zip(NAMES, values, strict=True)]
    return "".join(line.replace(" 1", "  1") + "\n" for line in lines)


def write(folder, images="zip", csv=False):
    """CelebA's own layout, or that of the Kaggle mirror, with 40 images of noise."""
    folder.mkdir()
    tables = (
        ("list_attr_celeba", files.ATTRIBUTES, ATTRIBUTES),
        ("list_landmarks_align_celeba", files.LANDMARKS, LANDMARKS),
    )
    partition = np.array(PARTITION)[:, None]
    if csv:
        for stem, header, values in (("list_eval_partition", ["partition"], partition), *tables):
            text = ",".join(["image_id", *header]) + "\n" + rows(values, ",")
            (folder / f"{stem}.csv").write_text(text)
    else:
        (folder / "list_eval_partition.txt").write_text(rows(partition))
        (folder / "identity_CelebA.txt").write_text(rows(IDENTITY))
        for stem, header, values in tables:
            text = f"{COUNT}\n{' '.join(header)} \n{rows(values)}"
            (folder / f"{stem}.txt").write_text(text)
    if images == "zip":
        with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
            archive.writestr("img_align_celeba/", b"")
            archive.writestr("__MACOSX/img_align_celeba/000001.jpg", b"not an image")
            for name in reversed(NAMES):
                archive.writestr(f"img_align_celeba/{name}", JPEGS[name])
        return folder
    inner = folder / images
    inner.mkdir(parents=True)
    for name, data in JPEGS.items():
        (inner / name).write_bytes(data)
    return folder
