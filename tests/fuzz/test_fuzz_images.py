"""Image files of every format and mode, whole and damaged, under any name."""

import io
import warnings
from pathlib import Path

import numpy as np
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlcourse.datasets import open_image
from tlcourse.errors import ImageError

FORMATS = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "tiff": ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    "jpeg": ("L", "RGB", "CMYK"),
    "webp": ("RGB", "RGBA"),
    "gif": ("L", "P", "RGB"),
    "bmp": ("1", "L", "P", "RGB"),
    "ppm": ("1", "L", "RGB"),
    "tga": ("L", "RGB", "RGBA"),
    "ico": ("RGBA",),
    "eps": ("RGB",),
}
WHOLE = [(form, mode) for form, modes in FORMATS.items() for mode in modes]
SUFFIXES = ["", ".png", ".jpg", ".tga", ".heic", ".txt", ".eps", ".mpg", ".pcd", ".icns"]


@st.composite
def images(draw) -> tuple[bytes, str, tuple[int, int]]:
    form, mode = draw(st.sampled_from(WHOLE))
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(generator.integers(0, 65536, size[::-1]).astype(kind))
    else:
        pixels = generator.integers(0, 256, (*size[::-1], 4), dtype=np.uint8)
        image = Image.fromarray(pixels, "RGBA").convert("RGB").convert(mode)
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue(), form, size


def damaged(content: bytes, draw) -> bytes:
    changed = bytearray(content)
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)))):
        changed[place % len(changed)] = byte
    return bytes(changed[: draw(st.sampled_from([None, len(changed) // 2, 30, 1]))])


def opened(content: bytes, folder: Path, suffix: str) -> Image.Image | str:
    """The image, or why it is none; anything else that is raised is a fault."""
    path = folder / f"file{suffix}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, of odd metadata
        try:
            image = open_image(path)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            image = str(error)
    assert [p.name for p in folder.iterdir()] == [path.name]
    path.unlink()
    return image


def check(image: Image.Image | str) -> None:
    if not isinstance(image, str):
        assert image.mode in ("L", "RGB") and min(image.size) >= 8
        assert image.width * image.height <= 50_000_000
        assert np.asarray(image).shape[:2] == image.size[::-1]


@fuzz
@given(images(), st.sampled_from(SUFFIXES))
def test_a_whole_image_is_read_whatever_it_is_called(tmp_path_factory, image, suffix):
    content, form, size = image
    found = opened(content, tmp_path_factory.mktemp("f"), f".{form}" if form == "tga" else suffix)
    check(found)
    if isinstance(found, str):
        deep = "32-bit values" in found and form == "tiff"
        assert deep or min(size) < 8 or form in ("eps", "ico"), found
    elif form != "ico":  # whose sides are powers of two
        assert found.size == size
    if form in ("png", "bmp", "ppm") and not isinstance(found, str):
        whole = Image.open(io.BytesIO(content))
        if whole.mode in ("L", "RGB"):
            assert np.array_equal(np.asarray(found), np.asarray(whole))


@fuzz
@given(images(), st.sampled_from(SUFFIXES), st.data())
def test_a_damaged_image_is_read_or_refused(tmp_path_factory, image, suffix, data):
    content, form, _ = image
    folder = tmp_path_factory.mktemp("f")
    check(
        opened(
            damaged(content, data.draw), folder, data.draw(st.sampled_from([suffix, f".{form}"]))
        )
    )


@fuzz
@given(st.binary(max_size=300), st.sampled_from(SUFFIXES))
def test_bytes_are_no_image(tmp_path_factory, content, suffix):
    check(opened(content, tmp_path_factory.mktemp("f"), suffix))
