"""The process that decodes one image: it reads the file, writes the picture and ends.

It is run by its path, with nothing of the server in it. Before it reads the first byte it limits
itself and gives up the rights of root. Arguments: width, height, megapixels, MB of memory, seconds.

Output: the media type in a line, then the picture; with status 3 a sentence instead.
"""

from __future__ import annotations

import io
import os
import resource
import sys
import warnings
from typing import Final

from PIL import Image, ImageOps

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
REFUSED: Final = 3
UNPRIVILEGED: Final = 65_534


def limit(memory_mb: int, seconds: int) -> None:
    """Limit what this process can take or reach."""
    bounds = {
        resource.RLIMIT_AS: memory_mb * 2**20,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 16,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(UNPRIVILEGED)
        os.setuid(UNPRIVILEGED)


def warm_up() -> None:
    """Load what each kind of image needs: without the rights of root it may not be readable."""
    for kind in FORMATS:
        for mode in ("RGB", "RGBA"):
            sample = io.BytesIO()
            Image.new("RGB" if kind == "JPEG" else mode, (2, 2)).save(sample, kind)
            make(sample.getvalue(), 1, 1, 4)


def make(content: bytes, width: int, height: int, max_pixels: int) -> tuple[str, bytes]:
    """Return the media type and the bytes of the picture. Raises ValueError with a sentence."""
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # the size is looked at here
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except OSError:
        raise ValueError("the file is no PNG, JPEG, WebP or GIF image") from None
    if image.width * image.height > max_pixels:
        megapixels = max_pixels // 1_000_000
        size = f"{image.width}x{image.height}"
        raise ValueError(f"the image has {size} pixels: at most {megapixels} megapixels")
    try:
        image.draft("RGB", (2 * width, 2 * height))  # a JPEG is decoded at a fraction of its size
        image.load()
        image = ImageOps.exif_transpose(image)
        is_clear = image.has_transparency_data
        image = image.convert("RGBA" if is_clear else "RGB")
        image.thumbnail((width, height))
    except MemoryError:
        raise ValueError("the image needs too much memory") from None
    except Exception:
        raise ValueError("the image is broken") from None
    picture = io.BytesIO()
    if is_clear:
        image.save(picture, "PNG")
        return "image/png", picture.getvalue()
    image.save(picture, "JPEG", quality=85)
    return "image/jpeg", picture.getvalue()


def main() -> int:
    """Read from the standard input, write to the standard output."""
    numbers = [int(text) for text in sys.argv[1:]]
    width, height, megapixels = numbers[:3]
    memory_mb, seconds = numbers[3:]
    warm_up()
    limit(memory_mb, seconds)
    content = sys.stdin.buffer.read()
    try:
        media_type, picture = make(content, width, height, megapixels * 1_000_000)
    except ValueError as error:
        sys.stdout.buffer.write(str(error).encode())
        return REFUSED
    sys.stdout.buffer.write(media_type.encode() + b"\n" + picture)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.buffer.flush()
    os._exit(status)
