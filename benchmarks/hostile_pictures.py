"""Pictures in which P-Net proposes far more windows than in a photo, and pictures of odd shapes.

Code makes each of them, from the project's samples or from nothing and with a fixed seed, so that
everyone measures the same pixels. Sizes in names are width x height. Imports no detector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.common.images import SAMPLES, Pixels, read_rgb

SEED = 7
FACE = ("astronaut.jpg", (slice(60, 176), slice(175, 270)))
"""A face without much around it: side by side, such crops are faces and nothing else."""
HEADS = (
    ("astronaut.jpg", (slice(10, 210), slice(125, 315))),
    ("grace_hopper.jpg", (slice(40, 300), slice(150, 380))),
)

Floats = npt.NDArray[np.float32]
Draw = Callable[[int, int], Pixels]


def sample(name: str, width: int, height: int) -> Pixels:
    """One of the project's samples, resized."""
    return _resized(_photo(name), width, height)


def face(width: int, height: int) -> Pixels:
    """One face that fills the picture."""
    name, part = FACE
    return _resized(_photo(name)[part], width, height)


def tiles(width: int, height: int, side: int) -> Pixels:
    """One face of ``side`` pixels, repeated."""
    times = (-(-height // side), -(-width // side), 1)
    return np.ascontiguousarray(np.tile(face(side, side), times)[:height, :width])


def mosaic(side: int, smallest: int, draw: Draw) -> Pixels:
    """A square cut again and again at random places; ``draw(width, height)`` fills the pieces."""
    rng = np.random.default_rng(SEED)
    canvas = np.zeros((side, side, 3), dtype=np.uint8)

    def fill(top: int, left: int, height: int, width: int) -> None:
        # Large pieces are always cut; one in six of the others is kept, so that all sizes occur.
        whole = max(height, width) <= side // 2 and rng.random() < 1 / 6
        if whole or min(height, width) < 2.5 * smallest:
            canvas[top : top + height, left : left + width] = draw(width, height)
            return
        down, across = (int(length * rng.uniform(0.4, 0.6)) for length in (height, width))
        for y, tall in ((top, down), (top + down, height - down)):
            for x, wide in ((left, across), (left + across, width - across)):
                fill(y, x, tall, wide)

    fill(0, 0, side, side)
    return canvas


def one_face(side: int, face_side: int) -> Pixels:
    """One face in the middle of a grey square."""
    canvas = np.full((side, side, 3), 128, dtype=np.uint8)
    start = (side - face_side) // 2
    canvas[start : start + face_side, start : start + face_side] = face(face_side, face_side)
    return canvas


def crowd(side: int, block: int) -> Pixels:
    """Heads from 20 pixels at the back to 150 in front, a block of them repeated to the size."""
    rng = np.random.default_rng(SEED)
    heads = [_photo(name)[part] for name, part in HEADS]
    canvas = sample("coffee.jpg", block, block)
    size, top = 20.0, 0.0
    while top < block:
        for left in np.arange(-size / 2, block, 0.8 * size):
            place = rng.uniform(-0.15, 0.15, 2) * size + (left, top)
            head = heads[int(rng.integers(2))][:, :: int(rng.choice((-1, 1)))]
            _paste(canvas, _bytes(head * rng.uniform(0.6, 1.1)), place, round(size))
        top += 0.6 * size
        size = 20 + 130 * top / block
    times = -(-side // block)
    return np.ascontiguousarray(np.tile(canvas, (times, times, 1))[:side, :side])


def led_wall(width: int, height: int, pitch: int = 6) -> Pixels:
    """A photo on a wall of bright dots."""
    photo = sample("astronaut.jpg", width, height).astype(np.float32)
    y, x = np.mgrid[:height, :width]
    from_centre = (x % pitch - pitch / 2) ** 2 + (y % pitch - pitch / 2) ** 2
    dots = (from_centre < (pitch / 3) ** 2).astype(np.float32)
    lit = photo * cv2.GaussianBlur(dots, (0, 0), 0.8)[..., None] * 1.6
    return _bytes(lit)


def halftone(width: int, height: int, pitch: float = 8.0) -> Pixels:
    """A photo printed in dots of three inks, the screens at the angles that printers use."""
    photo = sample("astronaut.jpg", width, height)
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    for channel, degrees in enumerate((15, 75, 0)):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        waves = [2 * np.pi / pitch * axis for axis in (cos * x + sin * y, cos * y - sin * x)]
        screen = 127.5 + 63 * (np.cos(waves[0]) + np.cos(waves[1]))
        photo[..., channel] = np.where(photo[..., channel] > screen, 250, 20)
    return _blurred(photo, 0.8)


def qr_code(width: int, height: int, modules: int = 29) -> Pixels:
    """A picture like a QR code, without content."""
    rng = np.random.default_rng((SEED, width, height))
    code = rng.integers(0, 2, (modules, modules), dtype=np.uint8)
    finder = np.zeros((8, 8), dtype=np.uint8)  # seven modules and a white border on two sides
    finder[:7, :7] = 1
    finder[1:6, 1:6] = 0
    finder[2:5, 2:5] = 1
    code[:8, :8], code[:8, -8:], code[-8:, :8] = finder, finder[:, ::-1], finder[::-1]
    paper = np.full((modules + 4, modules + 4, 3), 255, dtype=np.uint8)
    paper[2:-2, 2:-2] -= 235 * code[..., None]
    code_image: Pixels = cv2.resize(paper, (width, height), interpolation=cv2.INTER_AREA)
    return code_image


def text(width: int, height: int, line: int = 15) -> Pixels:
    """A page of small print in two columns."""
    rng = np.random.default_rng(SEED)
    page = np.full((height, width, 3), 250, dtype=np.uint8)
    letters = np.array(list("eeeetttaaaooiinnsshhrrddlucmfwygpb"))
    margin, column = 40, width // 2
    for y in range(2 * margin, height - margin, line):
        for left in (margin, column + margin // 2):
            words = ("".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(200))
            x, end = left, left + column - 3 * margin // 2
            for word in words:
                wide = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0]
                if x + wide > end:
                    break
                where = (x, y)
                cv2.putText(
                    page, word, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1, cv2.LINE_AA
                )
                x += wide + 6
    return page


def fence(width: int, height: int, mesh: int = 44, wire: float = 4.0) -> Pixels:
    """Chain-link fence: wires in both diagonals, a little bent, before a blurred background."""
    picture = _blurred(sample("coffee.jpg", width, height), 12).astype(np.float32)
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    bend = 3 * np.sin(2 * np.pi * y / mesh)
    for along in (x + bend + y, x - bend - y):
        off = np.abs(along % mesh - mesh / 2)
        light = (215 - 25 * off)[..., None]
        picture = np.where((off < wire)[..., None], light, picture)
    return _blurred(_bytes(picture), 0.7)


def bricks(width: int, height: int, long: int = 48, high: int = 18, mortar: int = 3) -> Pixels:
    """A wall of bricks, each row shifted by half a brick."""
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[:height, :width]
    row = y // high
    shifted = x + row % 2 * (long // 2)
    kinds = rng.uniform(0.65, 1.15, (height // high + 1, width // long + 2)).astype(np.float32)
    clay = kinds[row, shifted // long, None] * np.array([158, 74, 56], dtype=np.float32)
    is_mortar = (y % high < mortar) | (shifted % long < mortar)
    wall = np.where(is_mortar[..., None], np.array([176, 170, 160], dtype=np.float32), clay)
    wall += rng.normal(0, 9, (height, width, 1)).astype(np.float32)
    return _blurred(_bytes(wall), 0.6)


def foliage(width: int, height: int) -> Pixels:
    """Leaves in light and shadow: noise at several scales, in the colours of leaves."""
    rng = np.random.default_rng(SEED)
    total: Floats = np.zeros((height, width), dtype=np.float32)
    for cell, weight in ((256, 0.5), (64, 0.7), (16, 1.0), (6, 0.8), (2, 0.4)):
        shape = (height // cell + 2, width // cell + 2)
        noise = cv2.resize(rng.normal(0, 1, shape).astype(np.float32), (width, height))
        # Folding makes edges, which plain noise lacks, like those of leaves in front of others.
        total += weight * (np.abs(noise) if cell in (16, 6) else noise)
    light = np.clip((total - total.mean()) / (2.2 * total.std()) + 0.45, 0, 1)[..., None]
    dark, bright = (np.array(rgb, dtype=np.float32) for rgb in ((12, 24, 8), (190, 215, 95)))
    return _bytes(dark + light * (bright - dark))


def checkerboard(side: int, field: int) -> Pixels:
    """Black and white fields."""
    y, x = np.mgrid[:side, :side] // field
    return np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def noise(side: int) -> Pixels:
    """Random values in every channel."""
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def plain(side: int, value: int) -> Pixels:
    """A uniform grey."""
    return np.full((side, side, 3), value, dtype=np.uint8)


PICTURES: Mapping[str, Callable[[], Pixels]] = {
    "tiles of 28, 4 Mpx": partial(tiles, 2000, 2000, 28),
    "tiles of 28, 25 Mpx": partial(tiles, 5000, 5000, 28),
    "tiles of 60, 25 Mpx": partial(tiles, 5000, 5000, 60),
    "faces at every scale, 4 Mpx": partial(mosaic, 2000, 14, face),
    "one face of 4,800 px in 25 Mpx": partial(one_face, 5000, 4800),
    "crowd over 100 Mpx": partial(crowd, 10000, 1250),
    "LED wall, 1.5 Mpx": partial(led_wall, 1024, 1500),
    "noise, 25 Mpx": partial(noise, 5000),
    "halftone print": partial(halftone, 2000, 2000),
    "QR codes": partial(mosaic, 2000, 60, qr_code),
    "page of text": partial(text, 2400, 3400),
    "chain-link fence": partial(fence, 2400, 1700),
    "brick wall": partial(bricks, 2400, 1700),
    "foliage": partial(foliage, 2400, 1700),
    "strip 1x65000": partial(sample, "astronaut.jpg", 1, 65000),
    "strip 65000x1": partial(sample, "astronaut.jpg", 65000, 1),
    "strip 12x65000": partial(tiles, 12, 65000, 12),
    "strip 65000x20": partial(tiles, 65000, 20, 20),
    "black": partial(plain, 2000, 0),
    "white": partial(plain, 2000, 255),
    "checkerboard of 2 px": partial(checkerboard, 2000, 2),
}
"""Makes each picture, (H, W, 3) uint8 RGB."""


@cache
def _photo(name: str) -> Pixels:
    return read_rgb(SAMPLES / name)


def _resized(photo: Pixels, width: int, height: int) -> Pixels:
    shrinks = photo.shape[0] * photo.shape[1] > width * height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized: Pixels = cv2.resize(photo, (width, height), interpolation=how)
    return resized


def _bytes(picture: npt.NDArray[np.floating]) -> Pixels:
    clipped: Pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return clipped


def _blurred(picture: Pixels, sigma: float) -> Pixels:
    blurred: Pixels = cv2.GaussianBlur(picture, (0, 0), sigma)
    return blurred


def _paste(canvas: Pixels, head: Pixels, place: npt.NDArray[np.float64], side: int) -> None:
    """Put a head, cut out as an ellipse, on the canvas; parts outside the canvas are left out."""
    left, top = (int(value) for value in place)
    height, width = canvas.shape[:2]
    rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
    target = canvas[rows, columns]
    if not target.size:
        return
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    inside = (x / 0.85) ** 2 + y**2 < 1
    seen = (
        slice(rows.start - top, min(side, height - top)),
        slice(columns.start - left, min(side, width - left)),
    )
    target[inside[seen]] = _resized(head, side, side)[seen][inside[seen]]
