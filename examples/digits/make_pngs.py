"""Write the held-out digits as 8-bit grey PNG files, `held_out/ROW_LABEL.png`; git has them, this makes them anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from samples import INK, split
from sklearn.datasets import load_digits

FOLDER = Path(__file__).with_name("held_out")


def main() -> None:
    digits, (_, held_out) = load_digits(), split()
    FOLDER.mkdir(exist_ok=True)
    for row in held_out:
        grey = np.rint(digits.images[row] * (255 / INK)).astype(np.uint8)
        Image.fromarray(grey).save(FOLDER / f"{row:04d}_{digits.target[row]}.png", optimize=True)
    print(f"{len(held_out)} pictures in {FOLDER}")


if __name__ == "__main__":
    main()
