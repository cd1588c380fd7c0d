#!/usr/bin/env python3
"""Draws images from a served model over the Open Inference Protocol, with Triton's own client.

    pip install 'tritonclient[http]'
    python examples/client_open_inference.py localhost:8501 demo --count 4 --seed 7

Tensors travel as bytes. The same works with KServe, Triton and MLServer, which serve other models.
"""

import argparse

import numpy as np
import tritonclient.http as triton


def draw(address: str, model: str, count: int, seed: int) -> np.ndarray:
    """Images [count, H, W, C] by the signature `sample`.

    Args:
      address: HOST:PORT.
      model: its name.
      count: of images.
      seed: image k gets [seed, k].
    """
    client = triton.InferenceServerClient(address)
    assert client.is_model_ready(model)
    seeds = np.stack([np.full(count, seed), np.arange(count)], -1).astype(np.int32)
    given = triton.InferInput("seeds", seeds.shape, "INT32")
    given.set_data_from_numpy(seeds)
    wanted = triton.InferRequestedOutput("images", binary_data=True)
    answer = client.infer(model, [given], outputs=[wanted], parameters={"signature_name": "sample"})
    return answer.as_numpy("images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from client_rest import write_images

    images = draw(options.address, options.model, options.count, options.seed)
    print("images   ", *write_images(images, "sample"))


if __name__ == "__main__":
    main()
