"""Pictures of the SYNTHETIC shop's products: a shape in a colour, with a pattern on it."""

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64  # pixels
OUTLINES = {  # corners, in pixels
    "box": [(14, 8), (50, 8), (50, 56), (14, 56)],
    "bottle": [(27, 4), (37, 4), (37, 20), (46, 28), (46, 60), (18, 60), (18, 28), (27, 20)],
    "bag": [(10, 8), (22, 12), (32, 8), (42, 12), (54, 8), (50, 58), (14, 58)],
    "bar": [(4, 22), (60, 22), (60, 42), (4, 42)],
    "can": [(18, 10), (22, 6), (42, 6), (46, 10), (46, 54), (42, 58), (22, 58), (18, 54)],
    "jar": [(20, 8), (44, 8), (44, 20), (54, 28), (54, 58), (10, 58), (10, 28), (20, 20)],
}


def draw_picture(shape: str, colour: str, pattern: str, rng: np.random.Generator) -> Image.Image:
    """Draw a product, a little moved, scaled and tinted by chance.

    Args:
        shape: a key of ``OUTLINES``.
        colour: name of a colour.
        pattern: plain, stripes, dots, band or checks.
        rng: source of chance.

    Returns:
        RGB picture of 64 x 64 pixels.
    """
    paper, ink = Image.new("RGB", (SIDE, SIDE), "white"), Image.new("RGB", (SIDE, SIDE), colour)
    surface = Image.composite(Image.blend(ink, paper, 0.6), ink, _pattern_mask(pattern))
    outline = np.array(OUTLINES[shape]) - SIDE / 2
    moved = outline * rng.uniform(0.85, 1.05) + SIDE / 2 + rng.uniform(-3, 3, size=2)
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in moved], fill=255)
    picture = Image.composite(surface, paper, mask)
    tint = rng.normal(0, 6, size=3) + rng.normal(0, 4, size=(SIDE, SIDE, 1))
    return Image.fromarray((np.asarray(picture) + tint).clip(0, 255).astype(np.uint8))


def _pattern_mask(pattern: str) -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(mask)
    cells = range(0, SIDE, 8)
    if pattern == "stripes":
        for x in cells:
            draw.rectangle((x, 0, x + 2, SIDE), fill=255)
    elif pattern == "dots":
        for x in cells:
            for y in cells:
                draw.ellipse((x, y, x + 4, y + 4), fill=255)
    elif pattern == "band":
        draw.rectangle((0, 26, SIDE, 40), fill=255)
    elif pattern == "checks":
        for x in cells:
            for y in range(x % 16, SIDE, 16):
                draw.rectangle((x, y, x + 7, y + 7), fill=255)
    return mask
