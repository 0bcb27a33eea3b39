"""Opening pictures that strangers made: whole, upright, RGB, or not at all."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

MOST_PIXELS = 40_000_000  # 8,000 by 5,000; some 160 MB once decoded
FORMATS = {"AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"}


def open_picture(source: Path | BinaryIO, max_pixels: int = MOST_PIXELS) -> Image.Image:
    """Decode a picture that may be damaged or malicious.

    Args:
        source: a file, of which the first frame is taken.
        max_pixels: more are refused before anything is decoded.

    Returns:
        RGB, turned as its EXIF data says, with white behind what is transparent. Of 16 bits a
        channel the upper 8 are kept.

    Raises:
        ValueError: the reason why there is no picture: ``no such file``, ``cannot be read``,
            ``too many pixels``, ``does not decode``.
    """
    Image.init()
    try:
        with Image.open(source, formats=sorted(FORMATS & Image.OPEN.keys())) as picture:
            if picture.width * picture.height > max_pixels:
                raise Image.DecompressionBombError
            return _upright_rgb(picture)
    except FileNotFoundError as error:
        raise ValueError("no such file") from error
    except (PermissionError, IsADirectoryError) as error:
        raise ValueError("cannot be read") from error
    except Image.DecompressionBombError as error:  # Pillow has a cap of its own
        raise ValueError("too many pixels") from error
    except Exception as error:  # of any kind: decoders meet damage deep within
        raise ValueError("does not decode") from error


def _upright_rgb(picture: Image.Image) -> Image.Image:
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I"):  # 16 bits, which convert() would cut off at 255
        levels = np.asarray(picture) >> 8
        picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        opaque = Image.new("RGBA", picture.size, "white")
        opaque.alpha_composite(picture.convert("RGBA"))
        picture = opaque
    return picture.convert("RGB")
