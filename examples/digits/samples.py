"""scikit-learn's handwritten digits (UCI ML repository), and which of them the classifiers never see.

Each sample is an 8 by 8 picture whose pixels count ink from 0 to 16.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

INK = 16
"""The value of a pixel that is fully inked."""
HELD_OUT = 360
"""Samples kept out of training, a fifth of all 1797."""
SEED = 2024


def split() -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers to train on and those held out, the same ones each time."""
    rows = len(load_digits().target)
    # RandomState and not default_rng: NumPy promises that its stream never changes.
    shuffled = np.random.RandomState(SEED).permutation(rows)
    return np.sort(shuffled[HELD_OUT:]), np.sort(shuffled[:HELD_OUT])


def training_set() -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, 64) between 0 and 1, and labels (n,), of the samples to train on."""
    digits, (train, _) = load_digits(), split()
    return digits.data[train] / INK, digits.target[train]
