"""Prompts that are images, as text: data URIs (RFC 2397), which browsers show and a ledger keeps as they are."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:  # a plan asks only whether there are images
    from PIL import Image

PREFIX = "data:image/"


def encode(image: Image.Image) -> str:
    """``image`` as a data URI: a PNG that is not compressed, so that its bytes are the same wherever it is made."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0)
    return f"{PREFIX}png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def decode(prompt: str) -> Image.Image:
    """The image in ``prompt``, in RGB. Raises InputError where it has none."""
    from PIL import Image

    head, _, data = prompt.partition(",")
    what = "it does not begin so"
    if head.startswith(PREFIX) and head.endswith(";base64"):
        try:
            return Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB")
        except (binascii.Error, OSError) as error:  # Pillow's own errors are OSErrors
            what = str(error).partition(" <")[0]
    raise InputError(f"prompt {prompt[:40]!r}: no image ({what}); give {PREFIX}png;base64,… or another type of image")
