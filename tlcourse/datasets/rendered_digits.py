"""Digits drawn from the fonts that come with matplotlib: a source domain for handwritten ones."""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tlcourse.datasets.dataset import ImageDataset
from tlcourse.datasets.digits import DIGITS
from tlcourse.datasets.errors import DatasetError
from tlcourse.datasets.splits import make_splits

SIZE = 32
VARIANTS = 5  # drawings of each digit in each font


def load_rendered_digits(split_seed: int) -> ImageDataset:
    """Every digit in every font, five times, turned by up to 15° and scaled by 0.8 to 1.

    White on black like the handwritten ones. Raises DatasetError when matplotlib has no fonts.
    """
    generator = np.random.default_rng(0)  # the drawings are one fixed set, whatever the split
    images, labels, groups = [], [], []
    fonts = _fonts_with_digits()
    for group, path in enumerate(fonts):
        for label, digit in enumerate(DIGITS):
            for _ in range(VARIANTS):
                angle, scale = generator.uniform(-15, 15), generator.uniform(0.8, 1)
                images.append(_draw(digit, path, angle, scale))
                labels.append(label)
                groups.append(group)
    targets = np.array(labels)
    return ImageDataset(
        name="rendered_digits",
        images=images,
        labels=targets,
        class_names=DIGITS,
        size=(SIZE, SIZE),
        channels=1,
        licence="drawn here, from fonts under free licences (DejaVu, STIX, BaKoMa)",
        citation=f"drawn from {len(fonts)} fonts of matplotlib {matplotlib.__version__}",
        splits=make_splits(targets, np.array(groups), class_names=DIGITS, seed=split_seed),
        split_note="a font is on one side only; bold and italic of one family are other fonts.",
    )


def _fonts_with_digits() -> list[Path]:
    """matplotlib's fonts that draw ten different digits; symbol fonts draw boxes or nothing."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = []
    for path in sorted(folder.glob("*.ttf")):
        drawings = {_draw(digit, path, 0, 1).tobytes() for digit in DIGITS}
        if len(drawings) == len(DIGITS) and bytes(SIZE * SIZE) not in drawings:
            fonts.append(path)
    if not fonts:
        raise DatasetError("matplotlib's fonts are missing; reinstall matplotlib")
    return fonts


def _draw(digit: str, path: Path, angle: float, scale: float) -> Image.Image:
    """One white digit in the middle of a black square, turned by ``angle`` degrees."""
    font = ImageFont.truetype(str(path), round(0.8 * SIZE * scale))
    image = Image.new("L", (SIZE, SIZE))
    left, top, right, bottom = font.getbbox(digit)
    corner = ((SIZE - left - right) / 2, (SIZE - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, digit, fill=255, font=font)
    return image.rotate(angle, Image.Resampling.BICUBIC)
