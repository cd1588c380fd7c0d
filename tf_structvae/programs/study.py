"""Trains the variants of a study with several seeds and lays their results side by side."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tf_structvae.programs import command
from tf_structvae.training import config_file
from tf_structvae.utilities.files import save_figure, write_whole

_CONFIG = flags.DEFINE_string("config", "configs/study.py", "A file with VARIANTS and STUDIES.")
_STUDY = flags.DEFINE_string("study", "recipes", "One of the file's STUDIES.")
_VARIANTS = flags.DEFINE_list("variants", None, "These variants instead of a whole study.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of each variant.")
_JOBS = flags.DEFINE_integer("jobs", 2, "How many runs at a time.", lower_bound=1)
_FEATURES = flags.DEFINE_list(
    "features", ["vgg_edge5", "vgg_edge3"], "Features of the Frechet distances; empty for none."
)
_OUTPUT = flags.DEFINE_string("output", "runs/study", "Where runs, table and picture are kept.")
_SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE, a change of the config of every run.")

COLUMNS = (
    "elbo",
    "log_prob",
    "train_kl",
    "train_entropy_above_floor",
    "train_entropy_multiplier",
    "component_square_min",
    "component_square_max",
    "displacement",
    "residual_square",
    "saturation",
    "variance_ratio",
    "autocorrelation",
)


def _variants(file: str) -> list[str]:
    from tf_structvae.studies import variants as study

    module = study.load_file(file)
    if _VARIANTS.value:
        unknown = set(_VARIANTS.value) - set(module.VARIANTS)
        if unknown:
            raise ValueError(
                f"--variants must be of {', '.join(module.VARIANTS)}; got {', '.join(unknown)}."
            )
        return _VARIANTS.value
    if _STUDY.value not in module.STUDIES:
        raise ValueError(
            f"--study must be one of {', '.join(module.STUDIES)}, got {_STUDY.value!r}."
        )
    return list(module.STUDIES[_STUDY.value])


def main() -> None:
    if not _SEEDS.value or not all(s.isdigit() and s.isascii() for s in _SEEDS.value):
        raise ValueError(f"--seeds must be whole numbers, got {','.join(_SEEDS.value)!r}.")
    file = config_file.find(_CONFIG.value)
    variants = _variants(file)
    from tf_structvae.evaluation.features import extractor
    from tf_structvae.studies import variants as study

    study.check_overrides(_SET.value)
    for features in _FEATURES.value:
        extractor(features)  # refused before anything is trained
    output = Path(_OUTPUT.value)
    runs = [
        study.Run(f"{file}:{v}", v, int(s), output / f"{v}_{s}")
        for s in _SEEDS.value
        for v in variants
    ]
    study.train_all(runs, _SET.value, _JOBS.value)
    columns = list(COLUMNS)
    for features in _FEATURES.value:
        study.score_frechet(runs, features)
        columns += [f"{features}_means", f"{features}_samples"]
    text = study.table(runs, columns)
    name = "variants" if _VARIANTS.value else _STUDY.value
    save_figure(study.picture(runs), output / f"{name}.png")
    write_whole(output / f"{name}.md", text + "\n")
    print(f"\nMean and standard deviation over {len(_SEEDS.value)} seeds:\n\n{text}\n")
    print(f"table     {output / f'{name}.md'}\npicture   {output / f'{name}.png'}")


def run() -> None:
    command.run(main)
