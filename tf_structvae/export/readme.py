"""model_card.json as README.md, whose first lines are the metadata that model hubs read.

The fields are those of the Hugging Face Hub (https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_structvae.export import card
from tf_structvae.utilities.files import whole

FILE = "README.md"
_TAGS = ("tf_structvae", "vae", "low-rank-gaussian", "structured-uncertainty")
# public data sets by their names on the Hub, which refuses unknown ones
_DATASETS = {
    "cifar10": "uoft-cs/cifar10",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "mnist": "ylecun/mnist",
    "mnist5k": "ylecun/mnist",
}
_TASK = "unconditional-image-generation"


def text(content: Mapping[str, Any]) -> str:
    """The whole file.

    Args:
      content: of model_card.json.
    """
    parts = [_front(content), _what_it_is(content), _how_to_use(content), _signatures(content)]
    if data := _section(content, "data"):
        parts.append(_data(data))
    if metrics := _section(content, "metrics"):
        parts.append(_metrics(metrics))
    parts.append(_licence(content))
    return "\n\n".join(parts) + "\n"


def write(path: str | Path) -> Path:
    """Writes README.md beside the model_card.json of a version, and in the place of one there.

    Args:
      path: of a version of an export.

    Returns:
      The path of the file.

    Raises:
      FileNotFoundError: there is no model_card.json.
    """
    path = Path(path)
    content = json.loads((path / card.FILE).read_text(encoding="utf-8"))
    with whole(path / FILE) as partial:
        partial.write_text(text(content), encoding="utf-8")
    return path / FILE


def metadata(content: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a card, for hubs.

    `license` is that which `about` of `export` names; of the terms of the data none is guessed. A
    conditional model has no `pipeline_tag`, since no task of the Hub is its.

    Args:
      content: of model_card.json.
    """
    data = _section(content, "data")
    known = _DATASETS.get(str(data.get("name", "")).partition("/")[0].removeprefix("tfds:"))
    conditional = bool(content.get("classes"))
    named = content.get("license")
    terms = {"license": named} if named else {"license": "other", "license_name": "see-model-card"}
    return {
        "library_name": "keras",
        **terms,
        "tags": [*_TAGS, *(["conditional-image-generation"] if conditional else [])],
        **({"datasets": [known]} if known else {}),
        **({} if conditional else {"pipeline_tag": _TASK}),
    }


def _front(content: Mapping[str, Any]) -> str:
    """YAML, in which a value in JSON is one, too."""
    values = {k: json.dumps(v, ensure_ascii=False) for k, v in metadata(content).items()}
    return "\n".join(["---", *(f"{k}: {v}" for k, v in values.items()), "---"])


def _what_it_is(content: Mapping[str, Any]) -> str:
    height, width, channels = content["image_shape"]
    rank = content["rank"]
    if content["likelihood"] == "local_low_rank":
        factor = f"low rank ({rank})" if rank else "no low rank"
        emitted = f"a multivariate normal with {factor} and a local precision over all pixels"
    elif rank:
        emitted = f"a low-rank multivariate normal of rank {rank} over all pixels"
    else:
        emitted = "an independent normal for each pixel"
    size = f"{height}x{width} pixels and {channels} channel{'s' if channels > 1 else ''}"
    given = f" given one of {len(content['classes'])} classes" if content.get("classes") else ""
    return (
        f"# {content['name']}\n\nA variational autoencoder of images of {size}{given}, whose "
        f"decoder emits {emitted}: {content['latent_dim']} latents (prior: "
        f"{content.get('prior', 'N(0, I)')}), {content['parameters']:,} parameters. Written by "
        "`tf_structvae`, as a SavedModel."
    )


def _how_to_use(content: Mapping[str, Any]) -> str:
    labels = ", labels=0" if content.get("classes") else ""
    return f"""```python
import tf_structvae as sv

model = sv.load("DIRECTORY")  # of this file
pictures = model.sample(16, seed=1{labels})  # [16, H, W, C] in [0, 1]
q = model.encode(pictures{labels})  # q(z | x)
p = model.decode(q.mean(){labels})  # p(x | z), over all pixels at once
```

TensorFlow alone runs it, too: `tf.saved_model.load("DIRECTORY").signatures`."""


def _signatures(content: Mapping[str, Any]) -> str:
    return f"## Signatures\n\n{card.table(content)}"


def _data(data: Mapping[str, Any]) -> str:
    parts = ["## Training data", data.get("description"), data.get("attribution")]
    if data.get("citation"):
        parts.append(f"```bibtex\n{str(data['citation']).strip()}\n```")
    return "\n\n".join(str(p) for p in parts if p)


def _metrics(metrics: Mapping[str, Any]) -> str:
    lines = ["| score | value | standard error |", "|---|---|---|"]
    for name, found in metrics.items():
        score = found if isinstance(found, Mapping) else {"value": found}
        value, error = score.get("value"), score.get("standard_error")
        lines.append(f"| `{name}` | {_number(value, 6)} | {_number(error, 2)} |")
    shown = "\n".join(lines)
    return f"## Scores\n\nOf held-out images; likelihoods are nats an image.\n\n{shown}"


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, (int, float)) else str(value or "")


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What `about` stated of data or metrics, {} of nothing and of JSON of another form."""
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _licence(content: Mapping[str, Any]) -> str:
    named = content.get("license")
    first = (
        f"The model: {named}."
        if named
        else "Whoever trained the model has not named a licence for it."
    )
    data = _section(content, "data").get("license")
    rest = f" The training data: {' '.join(str(data).split())}" if data else ""
    return f"## Licence\n\n{first}{rest}"
