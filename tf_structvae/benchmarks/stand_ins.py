"""Files in the layouts of data sets that cannot be shipped, to time their pipelines."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

IMAGES = 2000
VOLUMES = 40
CELEB_A_SIZE = (218, 178)


def _jpegs() -> Iterator[tuple[str, bytes]]:
    """Drawn faces of CelebA's size, named as CelebA's."""
    from PIL import Image

    from tf_structvae.datasets.drawn.avatar_drawing import draw
    from tf_structvae.datasets.drawn.drawing_pool import draw_split

    for i, png, _ in draw_split(draw, 0, "train", IMAGES, *CELEB_A_SIZE):
        jpeg = io.BytesIO()
        Image.open(io.BytesIO(png)).save(jpeg, format="JPEG", quality=90)
        yield f"{i + 1:06d}.jpg", jpeg.getvalue()


def _celeb_a(folder: Path) -> None:
    from tf_structvae.datasets.celeb_a.files import ATTRIBUTES

    names = []
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for name, jpeg in _jpegs():
            archive.writestr(f"img_align_celeba/{name}", jpeg)
            names.append(name)
    parts = [f"{name} {(0, 0, 0, 0, 0, 0, 0, 0, 1, 2)[i % 10]}" for i, name in enumerate(names)]
    (folder / "list_eval_partition.txt").write_text("\n".join([*parts, ""]))
    rows = [f"{name} {' '.join(['-1'] * len(ATTRIBUTES))}" for name in names]
    header = [str(len(names)), " ".join(ATTRIBUTES)]
    (folder / "list_attr_celeba.txt").write_text("\n".join([*header, *rows, ""]))


def _image_folder(folder: Path) -> None:
    for name, jpeg in _jpegs():
        (folder / name).write_bytes(jpeg)


def _ukbb(folder: Path) -> None:
    import nibabel as nib
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    volume = np.asarray(template.dataobj, np.float32)
    rng = np.random.default_rng(0)
    for i in range(VOLUMES):
        noisy = 1000 * volume + (volume > 0) * rng.integers(0, 50, volume.shape)
        path = folder / f"{1_000_000 + i}_20252_2_0" / "T1" / "T1_brain_to_MNI.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(noisy.astype(np.int16), template.affine), path)


_MAKERS = {"celeb_a": _celeb_a, "image_folder": _image_folder, "ukbb": _ukbb}


def make(name: str, data_dir: str) -> str:
    """The folder of generated files in the layout of a data set's originals, made if need be."""
    folder = Path(data_dir) / "stand_ins" / name
    finished = folder.parent / f"{name}.done"
    if not finished.exists():
        folder.mkdir(parents=True)
        _MAKERS[name](folder)
        finished.touch()
    return str(folder)
