"""Packaging of snipjit; the tables of the tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Read, not imported: importing the package needs torch, which is not there yet.
_VERSION = re.search(r'= "(.+)"', (ROOT / "snipjit" / "version.py").read_text(encoding="utf-8"))
assert _VERSION, "snipjit/version.py holds no version string"

BENCH = ["rich>=13"]
MODELS = [*BENCH, "transformers>=5.0", "matplotlib>=3.8"]
DEMO = [*MODELS, "openvino==2026.4.1"]
# Whom the benchmarks compare with besides torch, and what the models are made of. They do without.
PEERS = [*DEMO, "onnxruntime>=1.28", "onnx>=1.21", "onnxscript>=0.7", "diffusers==0.42.*"]
# The linters are pinned: a new release of one must not break an old checkout.
TEST = [*MODELS, "pytest>=8", "pytest-xdist>=3", "hypothesis>=6", "ruff==0.17.5", "mypy==2.4.1"]
TEST += ["diffusers==0.42.*", "sentence-transformers==6.*"]  # models for the tests

setup(
    name="snipjit",
    version=_VERSION.group(1),
    description="A JIT compiler: attention and linear layers as shape-agnostic CPU kernels",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # With this an editable install is found before a folder called snipjit, such as a clone.
    package_dir={"": "."},
    packages=find_packages(include=["snipjit", "snipjit.*"]),
    python_requires=">=3.10",
    install_requires=["numpy", "llvmlite>=0.50,<0.51", "networkx>=3", "torch>=2.11,<2.16"],
    extras_require={"bench": BENCH, "peers": PEERS, "demo": DEMO, "test": TEST},
    entry_points={
        "console_scripts": ["snipjit = snipjit.cli.commands:main"],
        "torch_dynamo_backends": ["snipjit = snipjit.frontend.torch_backend:backend"],
    },
)
