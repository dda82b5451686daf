"""Videos are streamed in steps."""

import types

import numpy as np
import pytest

from tests.data import video_making
from tf_tokenlearner.data import views
from tf_tokenlearner.prediction import examples
from tf_tokenlearner.prediction import predictors
from tf_tokenlearner.prediction import run

CLIPS = views.ClipView((4, 16, 16, 3), 10., 2, 'loop', 16, 48)


@pytest.fixture(name='streamer')
def fixture_streamer():
  """Answers with the brightness of each frame and the number of steps."""
  def step(frames, state):
    steps = state['steps'] + 1
    return {'steps': steps, 'probabilities': np.array(
        [[*frames[0, :, -1, -1].mean(-1), steps]])}
  return predictors.Streamer(
      types.SimpleNamespace(view=CLIPS), 'ab', 2,
      lambda: {'steps': 0}, step)


def brightness(number):
  return 10 + video_making.STEP * number


def test_steps_yield_time_and_answer(streamer, tmp_path):
  path = video_making.write(
      tmp_path / 'a.mp4', video_making.numbered(11), rate=10)
  for _ in range(2):  # Each time from the beginning.
    seconds, answers = zip(*run.steps(streamer, path, 10.))
    np.testing.assert_allclose(seconds, [.2, .6, 1.])
    assert len(answers) == 3
    for i, (first, second, steps) in enumerate(answers):
      assert abs(first - brightness(4 * i)) < 4
      assert abs(second - brightness(4 * i + 2)) < 4
      assert steps == i + 1


def test_video_shorter_than_a_step_is_padded(streamer, tmp_path):
  path = video_making.write(
      tmp_path / 'a.mp4', video_making.numbered(2), rate=10)
  (seconds, (first, second, _)), = run.steps(streamer, path, 10.)
  assert seconds == 0 and first == second
  assert abs(first - brightness(0)) < 4


def test_empty_file_is_refused(streamer, tmp_path):
  (tmp_path / 'a.mp4').write_bytes(b'')
  with pytest.raises(examples.UnreadableError, match='empty file'):
    list(run.steps(streamer, str(tmp_path / 'a.mp4'), 10.))
