#!/usr/bin/env python3
"""Asks a served model over REST: bin/serve or TF-Serving, which differ in the URL alone.

    python examples/client_rest.py http://localhost:8501/v1/models/demo --count 4
    python examples/client_rest.py http://localhost:8501/v1/models/demo \\
        --signature decode --inputs inputs.json --output decoded.json

The first draws images by `sample` and writes them as sample-0.png, ...; the second sends
{"input": [[...], ...], ...} to any signature and writes what comes back. It needs no TensorFlow;
NumPy and Pillow only to write images. A request that is lost on the way, or that a busy server
turns away, is sent again: the signatures have no memory, so that does no harm.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
import urllib.error
import urllib.request

AGAIN = (429, 503)  # "later", says the server


def predict(url: str, signature: str, inputs: dict, tries: int = 10, timeout: float = 60):
    """The outputs of a signature by name; a lone one goes without it, says the API.

    Args:
      url: http://HOST:PORT/v1/models/NAME, with /versions/N or /labels/LABEL if need be.
      signature: its name.
      inputs: name -> nested lists.
      tries: how often to send the request before giving up, a longer pause after each.
      timeout: seconds for each.

    Raises:
      ValueError: the server refuses the request; with its words.
      OSError: there is no answer.
    """
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    for attempt in range(1, tries + 1):
        request = urllib.request.Request(f"{url}:predict", body)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)["outputs"]
        except urllib.error.HTTPError as error:
            if error.code not in AGAIN or attempt == tries:
                words = json.load(error).get("error", error.reason)
                raise ValueError(f"{error.code}: {words}") from None
        except (OSError, http.client.HTTPException) as error:
            if attempt == tries:
                raise OSError(f"no answer from {url}: {error}") from None
        time.sleep(min(0.1 * 2**attempt, 3))
    raise ValueError(f"tries must be positive, got {tries}.")


def write_images(images: list, prefix: str) -> list[str]:
    """Writes nested lists [B, H, W, C] in [0, 1] as PREFIX-0.png, ... and returns the names."""
    import numpy as np
    from PIL import Image

    names = []
    for i, image in enumerate(np.asarray(images)):
        pixels = (255 * image + 0.5).astype(np.uint8)
        if pixels.shape[-1] != 3:
            pixels = pixels[..., 0]  # grey, or the first channel of others
        names.append(f"{prefix}-{i}.png")
        Image.fromarray(pixels).save(names[-1])
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="http://HOST:PORT/v1/models/NAME")
    parser.add_argument("--signature", default="sample")
    parser.add_argument("--inputs", help="a JSON file of inputs; without it, seeds for sample")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--output", help="a JSON file, or for images how their names begin")
    options = parser.parse_args()
    if options.inputs:
        with open(options.inputs) as file:
            inputs = json.load(file)
    else:
        inputs = {"seeds": [[options.seed, i] for i in range(options.count)]}
    try:
        outputs = predict(options.url, options.signature, inputs)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if options.inputs:
        with open(options.output or f"{options.signature}.json", "w") as file:
            json.dump(outputs, file)
        print("outputs  ", ", ".join(sorted(outputs)) if isinstance(outputs, dict) else "1")
    else:
        print("images   ", *write_images(outputs["images"], options.output or options.signature))


if __name__ == "__main__":
    main()
