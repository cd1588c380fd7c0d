"""ukbb: from a volume to pictures."""

import nibabel as nib
import numpy as np
import pytest
from volumes import AFFINE, pictures_of, random_volume, write

from tf_structvae.datasets.nifti import slicing as nifti


def test_mni_volume_against_numpy(tmp_path):
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=2)
    data = np.asarray(template.dataobj, np.float64)  # RAS, 99 x 117 x 95
    write(tmp_path / "mni.nii.gz", data.astype(np.float32), template.affine)
    slicing = nifti.Slicing(height=109, width=91, slices=(0.25, 0.75, 0.25))
    pictures, positions = pictures_of(tmp_path, slicing)
    assert (pictures.shape, pictures.dtype) == ((3, 109, 91), np.uint8)
    white = np.percentile(data[data != 0], 99.5)
    for picture, position, k in zip(pictures, positions, (24, 47, 71), strict=True):
        expected = 255 * np.clip(data[4:95, 4:113, k][:, ::-1].T / white, 0, 1)
        assert np.abs(picture - expected).max() <= 0.5 + 1e-3
        assert position == -72 + 2 * k
    assert pictures.max() == 255


@pytest.mark.parametrize("axis", nifti.AXES)
def test_orientation_of_the_file_does_not_matter(tmp_path, axis):
    image = nib.Nifti1Image(random_volume(0), AFFINE)
    slicing = nifti.Slicing(axis=axis, height=40, width=30, spacing=1.3)
    found = []
    for code in ("RAS", "LAS", "PIR", "SLP"):
        turn = nib.orientations.ornt_transform(
            nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code)
        )
        turned = image.as_reoriented(turn)
        assert nib.aff2axcodes(turned.affine) == tuple(code)
        write(tmp_path / code / "v.nii", np.asarray(turned.dataobj), turned.affine)
        found.append(pictures_of(tmp_path / code, slicing))
    for pictures, positions in found[1:]:
        np.testing.assert_array_equal(pictures, found[0][0])
        np.testing.assert_allclose(positions, found[0][1], rtol=1e-6)


@pytest.mark.parametrize(
    ("axis", "corner"), [("axial", (0, -1)), ("coronal", (0, -1)), ("sagittal", (0, 0))]
)
def test_anterior_or_superior_is_up(axis, corner):
    """One bright voxel at the right, anterior, superior end."""
    data = np.zeros((5, 6, 7), np.float32)
    data[-1, -1, -1] = 9
    index = nifti.AXES.index(axis)
    rows, columns = [data.shape[i] for i in (2, 1, 0) if i != index]
    slicing = nifti.Slicing(rows, columns, axis, (1, 1, 1), normalization="max")
    pictures, _ = nifti.cut(data, AFFINE, slicing)
    assert pictures[0][corner] == 255
    assert np.count_nonzero(pictures) == 1


def test_spacing_keeps_places_in_mm():
    """Linear interpolation of intensities that are linear in mm is exact between the voxels."""
    i, j, _ = np.meshgrid(np.arange(12), np.arange(14), np.arange(3), indexing="ij")
    data = (3.0 * (2 * i - 11) + 1.5 * (3 * j - 20)).astype(np.float32)  # 3 x + 1.5 y
    slicing = nifti.Slicing(20, 16, slices=(0, 0, 1), spacing=0.8, normalization="range:-100:100")
    picture = nifti.cut(data, AFFINE, slicing)[0][0]
    x = 0.0 + 0.8 * (np.arange(16) - 7.5)  # the volume's centre is x = 0, y = -0.5
    y = -0.5 - 0.8 * (np.arange(20) - 9.5)
    expected = 255 * (3.0 * x[None] + 1.5 * y[:, None] + 100) / 200
    # 24 mm / 0.8 is 30 columns, of which 16 are about the centre; 42 / 0.8 is 52 rows
    assert np.abs(picture - expected).max() <= 0.5 + 1e-3


def test_coarser_spacing_averages():
    """Each pixel's centre is on a voxel's, so taking the nearest would leave the stripes."""
    stripes = np.zeros((33, 33, 2), np.float32)
    stripes[::2] = 100
    slicing = nifti.Slicing(11, 11, slices=(0, 0, 1), spacing=3, normalization="range:0:100")
    picture = nifti.cut(stripes, np.eye(4), slicing)[0][0]
    assert np.abs(picture[:, 1:-1] / 255 - 0.5).max() < 0.07


def test_crop_and_pad_about_the_centre():
    data = np.full((4, 4, 2), 7, np.float32)
    picture = nifti.cut(data, np.eye(4), nifti.Slicing(8, 2, slices=(0, 0, 1)))[0][0]
    expected = np.zeros((8, 2))
    expected[2:6] = 255
    np.testing.assert_array_equal(picture, expected)


def test_normalization():
    data = np.zeros((10, 10, 2), np.float32)
    data[:, :, 0] = np.arange(-20, 80).reshape(10, 10)
    values = data[:, ::-1, 0].T.astype(np.float64)

    def cut(normalization):
        slicing = nifti.Slicing(10, 10, slices=(0, 0, 1), normalization=normalization)
        return nifti.cut(data, np.eye(4), slicing)[0][0]

    percentile = np.percentile(values[values != 0], 90)
    for normalization, low, high in (
        ("percentile:90", 0, percentile),
        (("percentile", 90), 0, percentile),
        ("max", 0, 79),
        (("range", -10, 30), -10, 30),
        ("range:-10:30", -10, 30),
    ):
        expected = 255 * np.clip((values - low) / (high - low), 0, 1)
        assert np.abs(cut(normalization) - expected).max() <= 0.5 + 1e-3
    with pytest.raises(ValueError, match="needs positive intensities"):
        nifti.cut(-np.abs(data), np.eye(4), nifti.Slicing(normalization="max"))


def test_steps_finer_than_the_volume_take_each_slice_once():
    data = random_volume(1).astype(np.float32)
    _, positions = nifti.cut(data, AFFINE, nifti.Slicing(slices=(0, 1, 0.01)))
    np.testing.assert_allclose(positions, -18 + 4 * np.arange(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": "oblique"}, "axis must be one of"),
        ({"height": 0}, "height must be a whole number of pixels >= 1, got 0"),
        ({"width": 2.5}, r"width must be .* got 2\.5"),
        ({"slices": (0.6, 0.4, 0.1)}, r"slices must be .* got \(0\.6, 0\.4, 0\.1\)"),
        ({"slices": (-10, 40, 2)}, "slices must be"),
        ({"slices": (0.1, 0.2)}, "slices must be"),
        ({"slices": (0.1, 0.2, 0)}, "slices must be"),
        ({"spacing": -1}, "spacing must be"),
        ({"spacing": float("nan")}, "spacing must be"),
        ({"normalization": "median"}, "normalization must be .* got 'median'"),
        ({"normalization": "percentile:0"}, "normalization must be"),
        ({"normalization": ("range", 5, 5)}, "normalization must be"),
        ({"normalization": "range:1"}, "normalization must be"),
    ],
)
def test_bad_slicing(change, message):
    with pytest.raises(ValueError, match=message):
        nifti.Slicing(**change)
