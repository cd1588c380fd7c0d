"""Volumes in NIfTI files and folders laid out as UK Biobank's, for the tests of ukbb."""

import gzip
import zipfile

import nibabel as nib
import numpy as np

from tf_structvae.datasets.nifti import files
from tf_structvae.datasets.nifti import slicing as nifti
from tf_structvae.datasets.nifti.ukbb import SPLITS, UKBB, UKBBConfig

AFFINE = np.array([[2.0, 0, 0, -11], [0, 3, 0, -20], [0, 0, 4, -18], [0, 0, 0, 1]])
SMALL = nifti.Slicing(height=14, width=12, slices=(0.2, 0.8, 0.3))


def random_volume(seed, shape=(12, 14, 10)):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def as_bytes(data, affine=AFFINE):
    return gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), 1)


def write(path, data, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


def write_zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)


def volumes_of(folder, pattern=""):
    return files.find_volumes(str(folder), files.list_files(str(folder)), pattern)[0]


def pictures_of(folder, slicing):
    (volume,) = volumes_of(folder)
    return nifti.cut(*nifti.read(str(folder), volume), slicing)


def ukb_folder(folder, people, instances=1):
    """UK Biobank's zips, one for each participant and visit."""
    for p in people:
        for i in range(2, 2 + instances):
            members = {
                "T1/T1_brain_to_MNI.nii.gz": as_bytes(random_volume(10 * p + i)),
                "T1/T1.nii.gz": b"not to be read",
                "T1/T1.json": b"{}",
            }
            write_zip(folder / f"part{p % 2}" / f"{1000000 + p}_20252_{i}_0.zip", members)
    return folder


def options(folder, **changes):
    values = {"height": 14, "width": 12, "slices": (0.2, 0.8, 0.3), "workers": 1}
    return UKBBConfig(manual_dir=str(folder), **(values | {"fractions": (0.4, 0.3, 0.3)} | changes))


def build(folder, data_dir, **changes):
    builder = UKBB(config=options(folder, **changes), data_dir=str(data_dir))
    builder.download_and_prepare()
    return builder


def examples(builder):
    return {s: list(builder.as_dataset(split=s).as_numpy_iterator()) for s in SPLITS}


def people_of(builder):
    return {s: {e["participant"].decode() for e in part} for s, part in examples(builder).items()}
