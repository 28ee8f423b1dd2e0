"""Write data/caltech101-thumbnails from the photographs: small copies of all 8,677 of the Caltech-101 atlas.

    python data/make_thumbnails.py --images caltech101/101_ObjectCategories

The folder is the one that ``torchvision.datasets.Caltech101("caltech101", download=True)`` makes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from nbutils.atlas import load_atlas
from nbutils.book.thumbnails import FOLDER, PER_SHEET, sheet, small

QUALITY = 40  # of WebP: at this size more is hard to see, and all sheets together take 3.4 MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, type=Path, help="the folder with a folder for each category")
    images = parser.parse_args().images
    files = load_atlas().files
    place = Path(__file__).resolve().parent / FOLDER
    place.mkdir(exist_ok=True)
    for start in range(0, len(files), PER_SHEET):
        pictures = []
        for file in files[start : start + PER_SHEET]:
            with Image.open(images / file) as photograph:
                pictures.append(small(photograph))
        sheet(pictures).save(place / f"{start // PER_SHEET}.webp", quality=QUALITY, method=6)
    print(f"wrote {len(files)} thumbnails to {place}")


if __name__ == "__main__":
    main()
