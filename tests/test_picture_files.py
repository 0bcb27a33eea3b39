"""Pictures that decode to the pixels that one can work out, and files that are none."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_missrec.picture_files import open_picture
from tests.dataset_builders.test_pictures import encoded, noise

RED, WHITE = (255, 0, 0), (255, 255, 255)


def pixels_of(data: bytes) -> list[list[tuple[int, ...]]]:
    """Rows of the opened picture."""
    picture = open_picture(io.BytesIO(data))
    assert picture.mode == "RGB"
    return [[tuple(map(int, pixel)) for pixel in row] for row in np.asarray(picture)]


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "webp", "ppm"])
def test_formats(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"  # its name says nothing
    picture = noise(0)
    path.write_bytes(encoded(picture, kind, **({"lossless": True} if kind == "webp" else {})))
    assert np.array_equal(np.asarray(open_picture(path)), np.asarray(picture))


def test_transparency_is_white() -> None:
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (255, 0, 0, 0))
    assert pixels_of(encoded(picture)) == [[RED, WHITE]]
    grey = Image.new("LA", (2, 1), (90, 0))
    grey.putpixel((0, 0), (90, 255))
    assert pixels_of(encoded(grey)) == [[(90, 90, 90), WHITE]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    assert pixels_of(encoded(palette, "gif", transparency=1)) == [[RED, WHITE]]
    assert pixels_of(encoded(Image.new("RGB", (1, 1), "red"), transparency=RED)) == [[WHITE]]


def test_a_camera_held_sideways() -> None:
    picture = Image.new("RGB", (2, 1), "red")
    picture.putpixel((1, 0), WHITE)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    assert pixels_of(encoded(picture, exif=exif)) == [[RED], [WHITE]]


def test_16_bits_keep_their_upper_8() -> None:
    levels = np.array([[0, 255, 256, 0x8000, 0xFFFF]], dtype=np.uint16)
    for kind in ("png", "tiff"):
        rows = pixels_of(encoded(Image.fromarray(levels), kind))
        assert [pixel[0] for pixel in rows[0]] == [0, 0, 1, 128, 255]


def test_other_colours() -> None:
    assert pixels_of(encoded(Image.new("CMYK", (1, 1)), "tiff")) == [[WHITE]]
    assert pixels_of(encoded(Image.new("1", (1, 1), 1))) == [[WHITE]]


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (1, 1), colour) for colour in ("red", "white")]
    animation = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert pixels_of(animation) == [[RED]]


JPEG, PNG = encoded(noise(1, 90, 60), "jpeg"), encoded(noise(1, 90, 60))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        JPEG[:-200],
        JPEG[:30],
        PNG[: len(PNG) // 2],
        PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:],
        encoded(noise(1), "eps"),  # a program, which Pillow would have run
        encoded(noise(1), "pcx"),  # no format of the web: the less code that strangers reach
    ],
)
def test_what_does_not_decode(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="^does not decode$"):
        open_picture(path)


def test_too_many_pixels() -> None:
    assert open_picture(io.BytesIO(PNG), max_pixels=90 * 60).size == (90, 60)
    with pytest.raises(ValueError, match="^too many pixels$"):
        open_picture(io.BytesIO(PNG), max_pixels=90 * 60 - 1)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^no such file$"):
        open_picture(tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="^cannot be read$"):
        open_picture(tmp_path)
