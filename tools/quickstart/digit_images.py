"""Scikit-learn's handwritten digits as image files.

    python tools/quickstart/digit_images.py FOLDER

writes FOLDER/train/3/0012.png and the like: 1297 digits to learn from and 500
to test on, 16 x 16 pixels. Only the data file of the package is read, so
`pip install --no-deps scikit-learn` is enough.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np

TEST = 500
SIDE = 16


def find_digits() -> Path:
    """The data file in the installed package.

    Raises:
        FileNotFoundError: Without the package; says how to get it.
    """
    package = importlib.util.find_spec('sklearn')
    if package is not None:
        found = Path(package.origin).parent / 'datasets/data/digits.csv.gz'
        if found.is_file():
            return found
    raise FileNotFoundError(
        'the digits come with scikit-learn, which is not installed: '
        'pip install --no-deps scikit-learn'
    )


def read_digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 8, 8) from 0 to 16, and labels (N, )."""
    table = np.loadtxt(path, delimiter=',')
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int)


def write_images(folder: Path) -> None:
    """Write the images, the same split on every machine."""
    pictures, labels = read_digits(find_digits())
    order = np.random.RandomState(0).permutation(len(labels))
    for rank, index in enumerate(order):
        split = 'val' if rank < TEST else 'train'
        place = folder / split / str(labels[index])
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.round(pictures[index] * (255 / 16)).astype(np.uint8)
        pixels = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(place / f'{index:04}.png'), pixels)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='where to write')
    args = parser.parse_args(arguments)
    try:
        write_images(args.folder)
    except FileNotFoundError as error:
        sys.exit(f'digit_images.py: {error}')


if __name__ == '__main__':
    main()
