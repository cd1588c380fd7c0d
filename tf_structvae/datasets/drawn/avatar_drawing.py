"""Draws one cartoon face from one seed: no TensorFlow, so worker processes start fast.

Artwork: the Avataaars set by Pablo Stanley, through the MIT-licensed package `python-avatars`;
rasterised by `resvg-py`. Parts that no photographed face shows are left out.
"""

from __future__ import annotations

import colorsys
import functools
import io

import numpy as np

HAIR_STYLES = [
    "NONE",
    "BIG_HAIR",
    "BOB",
    "BUN",
    "CAESAR_SIDE_PART",
    "CAESAR",
    "CURLY",
    "CURVY",
    "FRO",
    "LONG_NOT_TOO_LONG",
    "MIA_WALLACE",
    "SHAGGY_MULLET",
    "SHAGGY",
    "SHORT_CURLY",
    "SHORT_DREADS_1",
    "SHORT_FLAT",
    "SHORT_ROUND",
    "SHORT_WAVED",
    "SIDES",
    "STRAIGHT_1",
    "STRAIGHT_STRAND",
    "BUZZCUT",
    "CORNROWS",
    "LOOSE_HAIR",
    "LONG_HAIR_CURLY",
    "PIXIE",
    "POMPADOUR",
    "QUIFF",
]
CLOTHES = [
    "BLAZER_SHIRT",
    "COLLAR_SWEATER",
    "HOODIE",
    "OVERALL",
    "SHIRT_CREW_NECK",
    "SHIRT_SCOOP_NECK",
    "SHIRT_V_NECK",
]
GLASSES = ["NONE", "PRESCRIPTION_2", "ROUND", "WAYFARERS"]
FACIAL_HAIR = ["NONE", "BEARD_LIGHT", "BEARD_MEDIUM", "MOUSTACHE_MAGNUM"]
MOUTHS = ["DEFAULT", "SERIOUS", "SMILE", "TWINKLE", "BIG_SMILE", "SAD"]
EYES = ["DEFAULT", "HAPPY", "SIDE", "SQUINT", "CLOSED"]
EYEBROWS = ["DEFAULT", "DEFAULT_NATURAL", "FLAT_NATURAL", "RAISED_EXCITED_NATURAL"]
NOSES = ["DEFAULT", "SMALL", "WIDE"]

# sRGB anchors from light to dark; a tone in [0, 1] interpolates between them.
_SKIN = np.array([[255, 224, 196], [237, 185, 138], [208, 139, 91], [160, 94, 52], [88, 58, 44]])
# Natural hair: platinum, blonde, red, auburn, brown, dark brown, black, grey.
_HAIR = np.array(
    [
        [232, 214, 178],
        [196, 150, 84],
        [176, 74, 30],
        [140, 78, 42],
        [104, 62, 44],
        [66, 44, 38],
        [34, 26, 26],
        [190, 186, 184],
    ]
)
_DYED_SHARE = 0.12
_BARE_CHIN_SHARE = 0.72
_NO_GLASSES_SHARE = 0.72
_SPLIT_KEYS = {"train": 0, "validation": 1, "test": 2}
_CANVAS = (264.0, 280.0)  # width and height of the artwork's view box
_CENTRE = (132.0, 144.0)  # of the face and shoulders
_CROP = 226.0  # geometric mean of the cropped height and width


def _hex(rgb: np.ndarray) -> str:
    return "#" + bytes(np.clip(np.rint(rgb), 0, 255).astype(np.uint8)).hex()


def _hsv(rng: np.random.Generator, saturation, value) -> np.ndarray:
    h, s, v = rng.uniform(), rng.uniform(*saturation), rng.uniform(*value)
    return 255.0 * np.array(colorsys.hsv_to_rgb(h, s, v))


def _mostly_none(rng: np.random.Generator, names: list[str], none_share: float) -> str:
    return names[0] if rng.uniform() < none_share else names[int(rng.integers(1, len(names)))]


def draw_attributes(seed: int, split: str, index: int) -> dict:
    """The latent description of one face; every factor is drawn independently of the others."""
    rng = np.random.default_rng([seed, _SPLIT_KEYS[split], index])
    tone = rng.uniform()
    place = tone * (len(_SKIN) - 1)
    low = min(int(place), len(_SKIN) - 2)
    skin = _SKIN[low] + (place - low) * (_SKIN[low + 1] - _SKIN[low]) + rng.normal(0, 4, 3)
    if rng.uniform() < _DYED_SHARE:
        hair = _hsv(rng, (0.4, 0.8), (0.4, 0.9))
    else:
        hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.85, 1.15) + rng.normal(0, 6, 3)
    return {
        "hair_style": HAIR_STYLES[int(rng.integers(len(HAIR_STYLES)))],
        "hair_color": _hex(hair),
        "skin_tone": float(tone),
        "skin_color": _hex(skin),
        "background_color": _hex(_hsv(rng, (0.05, 0.6), (0.35, 1.0))),
        "clothing": CLOTHES[int(rng.integers(len(CLOTHES)))],
        "clothing_color": _hex(_hsv(rng, (0.1, 0.85), (0.2, 0.95))),
        "glasses": _mostly_none(rng, GLASSES, _NO_GLASSES_SHARE),
        "facial_hair": _mostly_none(rng, FACIAL_HAIR, _BARE_CHIN_SHARE),
        "mouth": MOUTHS[int(rng.integers(len(MOUTHS)))],
        "eyes": EYES[int(rng.integers(len(EYES)))],
        "eyebrows": EYEBROWS[int(rng.integers(len(EYEBROWS)))],
        "nose": NOSES[int(rng.integers(len(NOSES)))],
        "light_angle": float(rng.uniform(0, 2 * np.pi)),
        "light_strength": float(rng.uniform(0.0, 0.3)),
        "brightness": float(rng.uniform(0.82, 1.08)),
        "rotation": float(rng.normal(0, 3.0)),  # degrees
        "shift": tuple(float(v) for v in rng.normal(0, 3.5, 2)),  # units of the artwork
        "scale": float(rng.uniform(0.94, 1.06)),
        "blur": float(rng.uniform(0.3, 0.7)),  # pixels at 64x64
    }


def _svg(a: dict, height: int, width: int) -> str:
    import python_avatars as pa

    face = pa.Avatar(
        style=pa.AvatarStyle.TRANSPARENT,
        top=pa.HairType[a["hair_style"]],
        eyebrows=pa.EyebrowType[a["eyebrows"]],
        eyes=pa.EyeType[a["eyes"]],
        nose=pa.NoseType[a["nose"]],
        mouth=pa.MouthType[a["mouth"]],
        facial_hair=pa.FacialHairType[a["facial_hair"]],
        skin_color=a["skin_color"],
        hair_color=a["hair_color"],
        facial_hair_color=a["hair_color"],
        accessory=pa.AccessoryType[a["glasses"]],
        clothing=pa.ClothingType[a["clothing"]],
        clothing_color=a["clothing_color"],
    ).render()
    crop_h = _CROP * a["scale"] * (height / width) ** 0.5
    crop_w = crop_h * width / height
    x = _CENTRE[0] + a["shift"][0] - crop_w / 2
    y = min(_CENTRE[1] + a["shift"][1] - crop_h / 2, _CANVAS[1] - 4 - crop_h)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="{x:.3f} {y:.3f} {crop_w:.3f} {crop_h:.3f}">'
        f'<g transform="rotate({a["rotation"]:.3f} {_CENTRE[0]} {_CENTRE[1]})">{face}</g></svg>'
    )


@functools.lru_cache(maxsize=4)
def _ramps(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:height, 0:width]
    return 2 * y / (height - 1) - 1, 2 * x / (width - 1) - 1


def draw(seed: int, split: str, index: int, height: int, width: int) -> tuple[np.ndarray, dict]:
    """Draws face `index` of `split`.

    Returns:
      The image, uint8 [height, width, 3], and its attributes: the same for the same arguments
      in every process.
    """
    import resvg_py
    from PIL import Image, ImageFilter

    a = draw_attributes(seed, split, index)
    png = resvg_py.svg_to_bytes(
        _svg(a, height, width), background=a["background_color"], skip_system_fonts=True
    )
    image = Image.open(io.BytesIO(bytes(png))).convert("RGB")
    image = image.filter(ImageFilter.GaussianBlur(a["blur"] * (height * width) ** 0.5 / 64))
    y, x = _ramps(height, width)
    ramp = np.sin(a["light_angle"]) * y + np.cos(a["light_angle"]) * x
    light = a["brightness"] * (1 + a["light_strength"] * ramp)
    pixels = np.asarray(image, np.float64) * light[..., None]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), a
