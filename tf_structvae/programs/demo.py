"""Draws what an exported model can do: samples, an interpolation and edits, as PNG."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tf_structvae.programs import command
from tf_structvae.serving import directory as directory_lib
from tf_structvae.utilities import shipped

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Directory of an exported model; default: saved_models/demo, or the only one in saved_models.",
)
_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Where the pictures go.")
_SEED = flags.DEFINE_integer("seed", 0, "Of all draws.", lower_bound=0, upper_bound=2**31 - 1)


def main() -> None:
    from tf_structvae.utilities import files

    directory = directory_lib.choose(_MODEL.value, shipped.nearest_models())
    directory_lib.check(directory)
    version = directory / str(max(directory_lib.versions(directory)))
    output = Path(_OUTPUT.value)
    files.check_writable("output", output)
    print(f"model     {version}: opening it", flush=True)
    import tensorflow as tf
    from tqdm.auto import tqdm

    from tf_structvae.export import card
    from tf_structvae.figures.default_edits import default_edits
    from tf_structvae.studies.demonstration import Demonstration

    model = tf.saved_model.load(str(version))  # kept: its signatures hold no variables
    content = card.read(version)
    prior = content.get("prior", "N(0, I)")
    shown = Demonstration(model.signatures, directory.absolute().name, _SEED.value, prior)
    data = (content.get("training") or {}).get("config", {}).get("data", {}).get("name", "")
    edits = default_edits(10, data, shown.image_shape)
    drawings = {
        "samples": shown.samples,
        "interpolation": shown.interpolation,
        "edit": lambda: shown.edits(edits),
    }
    output.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in tqdm(drawings.items(), desc="pictures", unit="picture"):
        paths.append(files.save_figure(draw(), output / f"{name}.png"))
    for path in paths:
        print(f"picture   {path}")
    print("next      make edit: paint in the browser; make train: train such a model yourself")


def run() -> None:
    command.run(main)
