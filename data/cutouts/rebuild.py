"""Rebuild data/cutouts from Debian's package tuxpaint-stamps-default (2022.06.04-1, GPL-2).

    apt-get download tuxpaint-stamps-default
    dpkg -x tuxpaint-stamps-default_*.deb stamps
    python data/cutouts/rebuild.py stamps/usr/share/tuxpaint/stamps

Photographs are cut to their alpha channel's box, reduced to 160 px at most and written as WebP.
A second run writes the same files; another libwebp may write other bytes, see index.csv.
"""

import csv
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
LONGEST_SIDE = 160  # px
CLASSES = {
    "birds": ["animals/birds/*.png"],
    "fish": ["animals/fish/*.png"],
    "flowers": ["plants/flowers/*.png"],
    "fruit": ["food/fruit/*.png"],
    # Only five photographs are of insects, so the class is all invertebrates.
    "invertebrates": [
        "animals/insects/*.png",
        "animals/shellfish/*.png",
        "animals/fish/lobster.png",
    ],
    "mammals": ["animals/mammals/**/*.png", "animals/marsupials/*.png"],
    "vegetables": ["food/vegetables/*.png"],
}
# Drawings, silhouettes, toys and pictures made over until they look drawn.
LEFT_OUT = {"bee", "edward_bear", "echidna", "fly", "hedgehog", "kangaroo-silo", "shrimp"}
LEFT_OUT_FOLDERS = {"cartoon", "toys", "plastic"}
# One animal in two poses, or one photograph in two colours: never on both sides of a split.
ONE_SUBJECT = {
    "apple_red": "apple_green",
    "gnu-baby-stand": "gnu-baby",
    "gnu-sitting": "gnu-stand",
    "heron_greatblue_flying": "heron_greatblue",
    "pig_golden2": "pig_golden",
}


def photographs(source: Path) -> Iterator[tuple[str, Path]]:
    """Class and file of every photograph, in a fixed order."""
    for label, patterns in CLASSES.items():
        files = {file for pattern in patterns for file in source.glob(pattern)}
        for file in sorted(files, key=Path.as_posix):  # the same order on every system
            inside = set(file.relative_to(source).parts)
            misplaced = file.stem == "lobster" and label == "fish"
            if file.stem not in LEFT_OUT and not inside & LEFT_OUT_FOLDERS and not misplaced:
                yield label, file


def reduce(file: Path) -> Image.Image:
    """The object alone, with its alpha channel, 160 px at most."""
    with Image.open(file) as image:
        rgba = image.convert("RGBA")
    rgba = rgba.crop(rgba.getchannel("A").getbbox())
    rgba.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return rgba


def rebuild(source: Path, target: Path) -> int:
    """Write the cutouts and their index below ``target``; the number of cutouts."""
    rows = []
    for label, file in photographs(source):
        image = reduce(file)
        content = io.BytesIO()
        image.save(content, "WEBP", quality=90, method=6)
        cutout = target / label / f"{file.stem.lower()}.webp"
        cutout.parent.mkdir(exist_ok=True)
        cutout.write_bytes(content.getvalue())
        rows.append(
            {
                "file": cutout.relative_to(target).as_posix(),
                "class": label,
                "subject": ONE_SUBJECT.get(file.stem, file.stem),
                "origin": file.relative_to(source).as_posix(),
                "width": image.width,
                "height": image.height,
                "sha256": hashlib.sha256(content.getvalue()).hexdigest(),
            }
        )
    if not rows:
        raise SystemExit(f"no stamps below {source}; {__doc__}")
    with (target / "index.csv").open("w", newline="", encoding="utf-8") as index:
        writer = csv.DictWriter(index, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(f"{rebuild(Path(sys.argv[1]), HERE)} cutouts written")
