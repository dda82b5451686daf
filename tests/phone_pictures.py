"""Image files with an orientation tag, as phones write them."""

import io

import numpy as np
import PIL.Image
import PIL.ImageOps


def encode(pixels: np.ndarray, tag: int) -> bytes:
  """Returns uint8 [H, W, 3] as a PNG file with an EXIF orientation, 1 to 8."""
  exif = PIL.Image.Exif()
  exif[0x0112] = tag
  file = io.BytesIO()
  PIL.Image.fromarray(pixels).save(file, 'PNG', exif=exif)
  return file.getvalue()


def upright(data: bytes) -> np.ndarray:
  """Returns the pixels of a file, uint8 [H, W, 3], turned by Pillow."""
  return np.array(PIL.ImageOps.exif_transpose(
      PIL.Image.open(io.BytesIO(data))))
