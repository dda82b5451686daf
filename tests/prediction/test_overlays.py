"""Drawings of attention maps."""

import av
import cv2
import numpy as np
import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.prediction import overlays


def maps():
  """Two tokens: one looks at the left half, one everywhere."""
  return np.float32([[[.5, 0], [.5, 0]], [[.2, .2], [.2, .2]]])


def test_tiles_show_where_tokens_look():
  view = np.zeros([200, 200, 1], np.float32)  # Grey, 128.
  drawn = overlays.draw(view, maps())
  assert drawn.shape == (200, 3 * 200 + 2 * 4, 3)
  assert (drawn[:, :200] == 128).all()
  assert (drawn[:, 200:204] == 255).all()
  orange = np.round(.2 * 128 + .8 * np.array([255, 90, 0]))
  assert (drawn[100, 204] == orange).all() and (drawn[100, 403] == 128).all()
  assert (drawn[:, 408:] == orange).all()


def test_small_pictures_grow_and_keep_their_colours():
  view = np.full([2, 4, 3], -1, np.float32)
  view[0, 0] = [1, -1, 0]
  drawn = overlays.draw(view, maps())
  assert drawn.shape == (80, 3 * 160 + 2 * 4, 3)
  assert (drawn[:40, :40] == [255, 0, 128]).all()
  assert (drawn[40:, :160] == 0).all() and (drawn[:, 40:160] == 0).all()


def test_many_tokens_go_into_rows():
  drawn = overlays.draw(np.zeros([160, 160, 1]), np.ones([8, 2, 2]))
  assert drawn.shape == (2 * 160 + 4, 5 * 160 + 4 * 4, 3)
  assert (drawn[164:, 656:] == 255).all()  # Nine tiles.


def test_files_differ_as_what_they_are_of(tmp_path):
  found = overlays.paths('out', ['x/a/1.png', 'x/b/1.png', 'x/b/1.jpg'], '.png')
  assert found == ['out/a/1.png.png', 'out/b/1.png.png', 'out/b/1.jpg.png']
  assert overlays.paths('out', [str(tmp_path / '1.png')], '.png') == [
      'out/1.png.png']


def test_png(tmp_path):
  path = tmp_path / 'new' / 'a.png'
  view = np.random.default_rng(0).uniform(-1, 1, [160, 170, 3])
  for _ in range(2):  # It is written over.
    overlays.write_image(str(path), view, maps())
  read = cv2.imread(str(path))[..., ::-1]
  np.testing.assert_array_equal(read, overlays.draw(view, maps()))


def test_gif(tmp_path):
  path = str(tmp_path / 'a.gif')
  view = np.linspace(-1, 1, 4)[:, None, None, None] * np.ones([160, 160, 1])
  of_time = np.stack([maps(), maps()[::-1]])  # Two frames each.
  overlays.write_clip(path, view, of_time, fps=4)
  with av.open(path) as container:
    frames = [(frame.time, frame.to_ndarray(format='rgb24'))
              for frame in container.decode(video=0)]
  assert [time for time, _ in frames] == [0, .25, .5, .75]
  for i, (_, read) in enumerate(frames):
    expected = overlays.draw(view[i], of_time[i // 2])
    assert np.abs(np.float32(read) - expected).mean() < 3  # 256 colours.


def test_nothing_torn_stays_behind(tmp_path, monkeypatch):
  for name in ('a.png', 'a.gif'):
    (tmp_path / name).write_text('old')

  def begin(path, *unused_args):
    with open(path, 'w', encoding='utf-8') as file:
      file.write('torn')
    raise KeyboardInterrupt

  monkeypatch.setattr(overlays, '_write_gif', begin)
  monkeypatch.setattr(overlays, 'open', lambda path, mode: begin(path),
                      raising=False)
  view = np.zeros([1, 4, 4, 1])
  with pytest.raises(KeyboardInterrupt):
    overlays.write_image(str(tmp_path / 'a.png'), view[0], maps())
  with pytest.raises(KeyboardInterrupt):
    overlays.write_clip(str(tmp_path / 'a.gif'), view, maps()[None], 8)
  assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
      'a.png': 'old', 'a.gif': 'old'}


def test_place_that_is_taken(tmp_path):
  (tmp_path / 'a.png').mkdir()
  with pytest.raises(errors.UserError, match=(
      r'/a.png cannot be written: Is a directory\.$')):
    overlays.write_image(str(tmp_path / 'a.png'), np.zeros([4, 4, 1]), maps())
  assert [path.name for path in tmp_path.iterdir()] == ['a.png']


def test_folder_that_cannot_be(tmp_path):
  (tmp_path / 'file').write_text('')
  for write, view, weights in (
      (overlays.write_image, np.zeros([4, 4, 1]), maps()),
      (lambda *args: overlays.write_clip(*args, 8), np.zeros([1, 4, 4, 1]),
       maps()[None])):
    with pytest.raises(errors.UserError, match='/file/a.x cannot be written: '):
      write(str(tmp_path / 'file' / 'a.x'), view, weights)
