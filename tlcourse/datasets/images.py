"""Open one image file of unknown origin, or say exactly why not."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tlcourse.datasets.layouts import printable
from tlcourse.errors import ImageError

MAX_MEGAPIXELS = 50
MIN_SIDE = 8
MAX_ASPECT = 50  # a strip, enlarged until its short side fits a network, would fill the memory
DEPTHS = (8, 10, 12, 14, 16)  # of sensors and scanners whose values stand in 16-bit files
DARK = 16  # no level of 255 reaches this where 16-bit colour makes use of 12 bits only
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"heif", b"mif1", b"msf1", b"avif")


def open_image(path: Path, *, bits: int | None = None) -> Image.Image:
    """The decoded image, 8-bit grey (``L``) or colour (``RGB``), upright.

    The content decides, whatever the file is called. Transparency is composited on white, or on
    black where nothing would be seen on white; EXIF orientation is applied; an animation gives its
    first frame, a document of several pages its first. Colour profiles are not applied, as
    torchvision and timm do not: a photograph in Display P3 looks a little pale.

    Parameters
    ----------
    path
        The file.
    bits
        Of which a 16-bit grey file makes use: 12 scales 4095 to 255. None: the fewest of 8, 10, 12,
        14 and 16 that hold its largest value.

    Raises
    ------
    ImageError
        For an empty, truncated or non-image file, for one above 50 megapixels (read off its header,
        before anything is decoded), for a side below 8 px or 50 times the other, for drawings (EPS,
        WMF), which other programs would have to draw, for numbers without a known range (32-bit
        integers and floats), and for 16-bit colour that would come out black.

    Examples
    --------
    >>> open_image(Path("nowhere.png"))
    Traceback (most recent call last):
    tlcourse.errors.ImageError: nowhere.png: is gone; was it moved while the folder was read?
    """
    return decode(path).in_8_bits(bits)


@dataclass(frozen=True)
class Decoded:
    """An upright image as its file has it, ``L``, ``RGB`` or 16-bit grey, and the file's pages."""

    image: Image.Image
    pages: int

    @cached_property
    def bits(self) -> int | None:
        """Of which 16-bit grey makes use, as far as this one image tells; None for any other."""
        if not self.image.mode.startswith("I;16"):
            return None
        largest = int(np.asarray(self.image).max())
        return next(bits for bits in DEPTHS if largest < 2**bits)

    def in_8_bits(self, bits: int | None = None) -> Image.Image:
        """16-bit grey scaled from ``bits``, by default its own; any other image as it is."""
        used = self.bits
        if used is None:
            return self.image
        levels = np.asarray(self.image) / ((2 ** (bits or used) - 1) / 255)
        return Image.fromarray(np.round(levels).clip(0, 255).astype(np.uint8))


def decode(path: Path) -> Decoded:
    """The image in a file, checked; raises ImageError as ``open_image`` does."""
    path = Path(path)
    name = printable(path)
    try:
        if path.is_symlink() and path.is_dir():
            raise ImageError(f"{name}: a link to a folder, not entered")
        if path.is_dir():
            raise ImageError(f"{name}: a folder, which may not be listed or is no image")
        status = path.stat()
        if not path.is_file():  # a pipe would be waited on for ever
            raise ImageError(f"{name}: neither a file nor a folder")
        if status.st_size == 0:
            raise ImageError(f"{name}: the file is empty")
        with warnings.catch_warnings():
            # PIL warns of large images; the limit below is lower than PIL's and raises. Only this:
            # other threads may see the filter.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            _check_format(path, image)
            _check_size(name, image)
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            deep = ";16" in str(image.tile[0].args if image.tile else "")
            return Decoded(_grey_or_colour(name, ImageOps.exif_transpose(image), deep), pages)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ImageError(f"{name}: neither a file nor a folder, a link to nothing") from error
        raise ImageError(f"{name}: is gone; was it moved while the folder was read?") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read; who owns it?") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_why_unidentified(path)}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too large, above {MAX_MEGAPIXELS} megapixels") from error
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
        raise ImageError(f"{name}: damaged or truncated") from error


def on_white(image: Image.Image) -> Image.Image:
    """An image with transparency as it looks on white paper, ``RGB``; white chalk on black."""
    rgba = image.convert("RGBA")
    white = _on_paper(rgba, "white")
    if _shows_something(white):
        return white
    black = _on_paper(rgba, "black")
    return black if _shows_something(black) else white


def _on_paper(rgba: Image.Image, paper: str) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", rgba.size, paper), rgba).convert("RGB")


def _shows_something(image: Image.Image) -> bool:
    return bool(np.ptp(np.asarray(image), axis=(0, 1)).any())


def _check_format(path: Path, image: Image.Image) -> None:
    # PIL would start Ghostscript on an unknown file.
    if image.format in ("EPS", "WMF"):
        raise ImageError(f"{printable(path)}: {image.format} is a drawing; save it as PNG or JPEG")
    # Formats without a signature would be seen in many files that are no images.
    named = Image.registered_extensions().get(path.suffix.lower())
    if Image.OPEN[image.format or ""][1] is None and named != image.format:
        raise UnidentifiedImageError


def _why_unidentified(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF:
        return "a HEIC photograph; save it as JPEG, or read it through pillow-heif"
    if path.suffix.lower() not in Image.registered_extensions():
        return "not an image file by its name, nor by its content"
    return "not an image that can be read"


def _check_size(name: str, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise ImageError(
            f"{name}: {width} × {height} px is above {MAX_MEGAPIXELS} megapixels; reduce it first"
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"{name}: {width} × {height} px is too small; each side needs {MIN_SIDE} px or more"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{name}: {width} × {height} px is a strip; one side may be {MAX_ASPECT} times the "
            "other at most"
        )


def _grey_or_colour(name: str, image: Image.Image, deep: bool) -> Image.Image:
    """``L``, ``RGB`` or ``I;16``; of ``deep`` colour PIL keeps the upper 8 of 16 bits only."""
    if image.mode in ("I", "F"):
        raise ImageError(
            f"{name}: read as 32-bit values ({image.mode}), which have no fixed range; "
            "save it as a PNG with 8 or 16 bits a channel"
        )
    if image.mode == "1":
        return image.convert("L")
    if image.has_transparency_data:
        return on_white(image)
    if image.mode not in ("L", "RGB") and not image.mode.startswith("I;16"):
        return image.convert("RGB")
    image.load()
    if deep and image.mode == "RGB" and np.asarray(image).max() < DARK:
        raise ImageError(
            f"{name}: 16-bit colour of which 12 bits or fewer are used, so that it would come out "
            "black; save it with 8 bits a channel"
        )
    return image
