"""Digits drawn from the fonts that come with matplotlib: a source domain for handwritten ones."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from tlcourse.datasets.dataset import ImageDataset
from tlcourse.datasets.digits import DIGITS
from tlcourse.datasets.splits import make_splits
from tlcourse.errors import DatasetError

SIZE = 32
VARIANTS = 5  # drawings of each digit in each font
GLYPHS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def load_rendered_digits(split_seed: int) -> ImageDataset:
    """Every digit in every font, five times: turned by up to 15°, sheared by up to 0.2, scaled.

    White on black like the handwritten ones. Raises DatasetError when matplotlib has no fonts.
    """
    generator = np.random.default_rng(0)  # the drawings are one fixed set, whatever the split
    images, labels, groups = [], [], []
    fonts = _fonts_with_digits()
    for group, path in enumerate(fonts):
        for label, digit in enumerate(DIGITS):
            for _ in range(VARIANTS):
                angle, shear, scale = generator.uniform((-15, -0.2, 0.8), (15, 0.2, 1.0))
                images.append(_draw(digit, path, angle, shear, scale))
                labels.append(label)
                groups.append(group)
    targets, of_font = np.array(labels), np.array(groups)
    return ImageDataset(
        name="rendered_digits",
        images=images,
        labels=targets,
        class_names=DIGITS,
        size=(SIZE, SIZE),
        channels=1,
        licence="drawn here, from fonts under free licences (DejaVu, STIX, BaKoMa)",
        citation=f"drawn from {len(fonts)} fonts of matplotlib {matplotlib.__version__}",
        splits=make_splits(targets, of_font, class_names=DIGITS, seed=split_seed),
        split_note="a font is on one side only; bold and italic of one family are other fonts.",
        groups=of_font,
    )


def _fonts_with_digits() -> list[Path]:
    """matplotlib's fonts whose glyphs for 0 to 9 are named so.

    Symbol fonts have none, a box for all, or other signs: cmsy10 draws ∞ for 1.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = []
    for path in sorted(folder.glob("*.ttf")):
        font = FT2Font(str(path))
        names = [font.get_glyph_name(font.get_char_index(ord(digit))) for digit in DIGITS]
        # cmmi10's are named zerooldstyle and so on.
        if all(name.startswith(glyph) for name, glyph in zip(names, GLYPHS, strict=True)):
            fonts.append(path)
    if not fonts:
        raise DatasetError("matplotlib's fonts are missing; reinstall matplotlib")
    return fonts


def _draw(digit: str, path: Path, angle: float, shear: float, scale: float) -> Image.Image:
    """A white digit in the middle of a black square, sheared, then turned by ``angle`` degrees."""
    font = ImageFont.truetype(str(path), round(0.8 * SIZE * scale))
    image = Image.new("L", (SIZE, SIZE))
    left, top, right, bottom = font.getbbox(digit)
    corner = ((SIZE - left - right) / 2, (SIZE - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, digit, fill=255, font=font)
    leaning = (1, shear, -shear * SIZE / 2, 0, 1, 0)
    image = image.transform(image.size, Image.Transform.AFFINE, leaning, Image.Resampling.BICUBIC)
    return image.rotate(angle, Image.Resampling.BICUBIC)
