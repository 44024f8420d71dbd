"""Open one image file of unknown origin, or say exactly why not."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tlcourse.errors import ImageError

MAX_MEGAPIXELS = 50
MIN_SIDE = 8
MAX_ASPECT = 50  # a strip, enlarged until its short side fits a network, would fill the memory


def open_image(path: Path) -> Image.Image:
    """The decoded image, 8-bit grey (``L``) or colour (``RGB``), upright.

    Transparency is composited on white, 16-bit grey is scaled by 1/257, EXIF orientation is
    applied, and an animation gives its first frame.

    Raises
    ------
    ImageError
        For an empty, truncated or non-image file, for one above 50 megapixels (read off its header,
        before anything is decoded), for a side below 8 px or 50 times the other, for drawings (EPS,
        WMF), which other programs would have to draw, and for numbers without a known range (32-bit
        integers and floats).

    Examples
    --------
    >>> open_image(Path("nowhere.png"))
    Traceback (most recent call last):
    tlcourse.errors.ImageError: nowhere.png: is gone; was it moved while the folder was read?
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path}: the file is empty")
        with warnings.catch_warnings():
            # PIL warns of large images; the limit below is lower than PIL's and raises.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            # PIL would start Ghostscript on an unknown file.
            if image.format in ("EPS", "WMF"):
                raise ImageError(f"{path}: {image.format} is a drawing; save it as PNG or JPEG")
            _check_size(path, image)
            return _to_8_bit(path, ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise ImageError(f"{path}: is gone; was it moved while the folder was read?") from error
    except PermissionError as error:
        raise ImageError(f"{path}: may not be read; who owns it?") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large, above {MAX_MEGAPIXELS} megapixels") from error
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
        raise ImageError(f"{path}: damaged or truncated") from error


def on_white(image: Image.Image) -> Image.Image:
    """An image with transparency as it looks on white paper, ``RGB``."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _check_size(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise ImageError(
            f"{path}: {width} × {height} px is above {MAX_MEGAPIXELS} megapixels; reduce it first"
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"{path}: {width} × {height} px is too small; each side needs {MIN_SIDE} px or more"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{path}: {width} × {height} px is a strip; one side may be {MAX_ASPECT} times the "
            "other at most"
        )


def _to_8_bit(path: Path, image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ImageError(
            f"{path}: read as 32-bit values ({image.mode}), which have no fixed range; "
            "save it as a PNG with 8 or 16 bits a channel"
        )
    if image.mode == "1":
        return image.convert("L")
    if image.has_transparency_data:
        return on_white(image)
    if image.mode not in ("L", "RGB"):
        return image.convert("RGB")
    image.load()
    return image
