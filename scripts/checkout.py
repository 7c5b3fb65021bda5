"""The folder of the checkout: where `config/`, `output/` and the test broker's files are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
