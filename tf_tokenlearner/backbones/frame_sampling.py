"""Which frames of a clip uniform frame sampling takes."""

import math
from typing import List

import numpy as np


def sampled_frames(num_frames: int, num_wanted: int) -> List[int]:
  """Indices of frames, as the official code of ViViT picks them.

  step = num_frames / (num_wanted + 1); the frames lie at step, 2 * step and so
  on below num_frames, in float32, rounded half to even. There a quirk is
  inherited: where the division rounds down, one frame more than wanted comes
  out, and it may be the last one twice. Source: Arnab et al. 2021 (arXiv
  2103.15691), section 3.2; sample_frames_uniformly of Scenic, no difference.

  Args:
    num_frames: of the clip.
    num_wanted: frames to pick; if there are no more than that, all are.

  Returns:
    num_wanted indices, ascending, sometimes num_wanted + 1.

  Example:
    >>> sampled_frames(8, 4), sampled_frames(8, 2), sampled_frames(4, 2)
    ([2, 3, 5, 6], [3, 5, 7], [1, 3, 3])
  """
  if num_wanted >= num_frames:
    return list(range(num_frames))
  step = num_frames / (num_wanted + 1)
  steps = np.arange(math.ceil((num_frames - step) / step), dtype='float32')
  positions = np.float32(step) + steps * np.float32(step)
  return np.minimum(np.rint(positions), num_frames - 1).astype(int).tolist()
