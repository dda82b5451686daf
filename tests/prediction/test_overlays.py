"""Drawings of attention maps."""

import itertools
import os

import cv2
import numpy as np
from PIL import Image
from PIL import ImageSequence
import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.data import resizing
from tf_tokenlearner.prediction import overlays

GAP, LINE = 4, 18


def maps():
  """Two tokens: one attends to the left half, one everywhere a little."""
  return np.float32([[[1, 0], [1, 0]], [[.25, .25], [.25, .25]]])


def draw(view, weights, caption='cat 0.930'):
  return np.int32(overlays.draw(
      view, weights, caption, overlays.full_scale(weights)))


def tiles(drawn, height, width, count, in_row):
  """Returns the pixels of each tile, without names, caption and legend."""
  for i in range(count):
    row, column = divmod(i, in_row)
    top = 2 * LINE + row * (height + LINE + GAP)
    left = column * (width + GAP)
    yield drawn[top:top + height, left:left + width]


def orange(opacity):
  """Returns grey 128 blended with the colour."""
  return np.round((1 - .8 * opacity) * 128
                  + .8 * opacity * np.array([255, 90, 0]))


def test_tiles_show_where_tokens_attend_on_one_scale():
  drawn = draw(np.zeros([200, 200, 1], np.float32), maps())  # Grey, 128.
  assert drawn.shape == (200 + 3 * LINE + GAP, 3 * 200 + 2 * GAP, 3)
  picture, half, everywhere = tiles(drawn, 200, 200, 3, 3)
  assert (picture == 128).all()
  assert (half[100, 0] == orange(1)).all()
  assert (half[100, 199] == 128).all()
  assert (everywhere == orange(.25)).all()  # A quarter of the other's maximum.
  assert (drawn[100, 200:204] == 255).all()


@pytest.mark.parametrize('weight', [0, 1e-9, 1 / 196, 2 / 196])
def test_a_token_that_attends_nowhere_is_not_solid(weight):
  """Uniform attention stays faint, also if all tokens have it."""
  weights = np.full([2, 14, 14], weight, np.float32)
  drawn = draw(np.zeros([160, 160, 1], np.float32), weights)
  for tile in itertools.islice(tiles(drawn, 160, 160, 3, 3), 1, None):
    assert (tile == orange(weight * 196 / 4)).all()


def test_a_strong_token_has_the_full_colour():
  weights = np.zeros([1, 14, 14], np.float32)
  weights[0, 7:9] = 1 / 28
  _, tile = tiles(draw(np.zeros([210, 210, 1]), weights), 210, 210, 2, 2)
  assert (tile[120] == orange(1)).all() and (tile[:90] == 128).all()


def test_caption_and_legend_are_written():
  view = np.zeros([200, 200, 1], np.float32)
  drawn, other = draw(view, maps()), draw(view, maps(), 'dog 0.930')
  differs = (drawn != other).any(-1)
  assert differs[:LINE].any() and not differs[LINE:].any()
  doubled = draw(view, 2 * maps())
  differs = (drawn != doubled).any(-1)
  # All tiles stay the same; the legend has another number.
  assert differs[-LINE:, 100:].any() and not differs[:-LINE].any()
  bar = drawn[-LINE:, :96]
  assert (bar[0, 0] == 128).all() and (bar[0, -1] == orange(1)).all()


@pytest.mark.parametrize('caption', ['\u72ac \u0421', 'x' * 300, ''])
def test_caption_may_hold_any_text(caption):
  view = np.zeros([160, 160, 1], np.float32)
  assert draw(view, maps(), caption).shape == draw(view, maps()).shape


def test_small_images_are_enlarged_without_new_colours():
  view = np.full([2, 4, 3], -1, np.float32)
  view[0, 0] = [1, -1, 0]
  drawn = draw(view, maps())
  assert drawn.shape == (80 + 3 * LINE + GAP, 3 * 160 + 2 * GAP, 3)
  picture, *_ = tiles(drawn, 80, 160, 1, 3)
  assert (picture[:40, :40] == [255, 0, 128]).all()
  assert (picture[40:] == 0).all() and (picture[:, 40:] == 0).all()


def test_many_tokens_fill_several_rows():
  drawn = draw(np.zeros([160, 160, 1]), np.ones([8, 2, 2]))
  assert drawn.shape == (
      2 * (160 + LINE + GAP) + 2 * LINE, 5 * 160 + 4 * GAP, 3)
  *_, last, empty = tiles(drawn, 160, 160, 10, 5)
  assert (last == orange(1)).all() and (empty == 255).all()


def test_bars_of_a_letterbox_are_not_drawn():
  """Maps keep their place on the picture, which is twice as wide as high."""
  place = resizing.Resizing('letterbox').placement((20, 40), (16, 16))
  view = np.zeros([16, 16, 1], np.float32)
  view[4:12] = 1  # A white picture between grey bars.
  weights = np.zeros([1, 4, 4], np.float32)
  weights[0, 1] = 1  # The upper half of the picture.
  drawn = np.int32(overlays.draw(view, weights, '', 1., place))
  picture, tile = tiles(drawn, 80, 160, 2, 2)
  assert (picture == 255).all()
  full = np.round(.2 * 255 + .8 * np.array([255, 90, 0]))
  np.testing.assert_allclose(tile[20], np.tile(full, [160, 1]), atol=4)
  assert (tile[61:] == 255).all()
  # On the border of upper and lower half, half the colour.
  np.testing.assert_allclose(tile[40, 0], (full + 255) / 2, atol=4)


def test_stretched_pictures_get_their_shape_again():
  place = resizing.Resizing('stretch').placement((20, 40), (16, 16))
  view = np.zeros([16, 16, 1], np.float32)
  view[:, 12:] = 1
  weights = np.zeros([1, 4, 4], np.float32)
  weights[0, :, 3] = 1
  picture, tile = tiles(
      np.int32(overlays.draw(view, weights, '', 1., place)), 80, 160, 2, 2)
  assert (picture[:, :120] == 128).all() and (picture[:, 120:] == 255).all()
  assert (tile[:, :99] == 128).all() and (tile[:, 141:] != 255).any(-1).all()


def test_paths_are_distinct(tmp_path):
  found = overlays.paths('out', ['x/a/1.png', 'x/b/1.png', 'x/b/1.jpg'], '.png')
  assert found == ['out/a/1.png.png', 'out/b/1.png.png', 'out/b/1.jpg.png']
  assert overlays.paths('out', [str(tmp_path / '1.png')], '.png') == [
      'out/1.png.png']


def test_writes_a_png(tmp_path):
  path = tmp_path / 'new' / 'a.png'
  view = np.random.default_rng(0).uniform(-1, 1, [160, 170, 3])
  for _ in range(2):  # The second replaces the first.
    overlays.write_image(str(path), view, maps(), 'cat 0.930')
  read = cv2.imread(str(path))[..., ::-1]
  np.testing.assert_array_equal(read, draw(view, maps()))


def test_writes_an_animated_gif(tmp_path):
  path = str(tmp_path / 'a.gif')
  view = np.linspace(-1, 1, 4)[:, None, None, None] * np.ones([160, 160, 1])
  of_time = np.stack([maps(), maps()[::-1]])  # Two frames each.
  overlays.write_clip(path, view, of_time, 'cat 0.930', fps=3)
  with Image.open(path) as opened:
    frames = []
    for frame in ImageSequence.Iterator(opened):
      frames.append((frame.info['duration'], np.asarray(frame.convert('RGB'))))
    assert opened.info['loop'] == 0
  assert [duration for duration, _ in frames] == [330, 340, 330, 330]  # ms
  for i, (_, read) in enumerate(frames):
    expected = draw(view[i], of_time[i // 2])
    assert np.abs(np.float32(read) - expected).mean() < 3  # 256 colours.


def test_gif_colours_are_dithered(tmp_path):
  """Means over 10 x 10 pixels equal those of the drawing."""
  path = str(tmp_path / 'a.gif')
  down, across, time = np.mgrid[-.6:.6:160j, -.6:.6:160j, -1:1:4j]
  view = np.moveaxis(np.stack([down, across, down * across * time], -1), 2, 0)
  overlays.write_clip(path, view, maps()[None], 'cat 0.930', fps=3)
  with Image.open(path) as opened:
    drawn = np.float32(opened.convert('RGB'))
  expected = np.float32(draw(view[0], maps()))
  means = lambda pixels: pixels.reshape(
      len(pixels) // 10, 10, -1, 10, 3).mean((1, 3))
  differences = [
      np.abs(means(found) - means(wanted)) for found, wanted in zip(
          tiles(drawn, 160, 160, 3, 3), tiles(expected, 160, 160, 3, 3))]
  assert differences[0].mean() < 3  # Without dithering: 6.8.
  assert np.max(differences[1:]) < 3  # Without dithering: 6.7.
  bar = drawn[-LINE:-GAP, :96] - expected[-LINE:-GAP, :96]
  assert np.abs(bar.reshape(14, 12, 8, 3).mean((0, 2))).max() < 2


def test_interrupt_leaves_the_old_file(tmp_path, monkeypatch):
  for name in ('a.png', 'a.gif'):
    (tmp_path / name).write_text('old')

  def begin(unused_picture, path, **unused_options):
    with open(path, 'w', encoding='utf-8') as file:
      file.write('torn')
    raise KeyboardInterrupt

  monkeypatch.setattr(Image.Image, 'save', begin)
  view = np.zeros([1, 4, 4, 1])
  with pytest.raises(KeyboardInterrupt):
    overlays.write_image(str(tmp_path / 'a.png'), view[0], maps(), '')
  with pytest.raises(KeyboardInterrupt):
    overlays.write_clip(str(tmp_path / 'a.gif'), view, maps()[None], '', 8)
  assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
      'a.png': 'old', 'a.gif': 'old'}


def test_path_of_a_folder_is_refused(tmp_path):
  (tmp_path / 'a.png').mkdir()
  with pytest.raises(errors.UserError, match=(
      r'/a.png cannot be written: Is a directory\.$')):
    overlays.write_image(
        str(tmp_path / 'a.png'), np.zeros([4, 4, 1]), maps(), '')
  assert [path.name for path in tmp_path.iterdir()] == ['a.png']


def test_unwritable_folder_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  for write, view, weights in (
      (overlays.write_image, np.zeros([4, 4, 1]), maps()),
      (lambda *args: overlays.write_clip(*args, 8), np.zeros([1, 4, 4, 1]),
       maps()[None])):
    with pytest.raises(errors.UserError, match='/file/a.x cannot be written: '):
      write(str(tmp_path / 'file' / 'a.x'), view, weights, '')


def test_file_names_need_not_be_utf8(tmp_path):
  path = os.path.join(tmp_path, os.fsdecode(b'\xff.png.png'))
  overlays.write_image(path, np.zeros([4, 4, 1]), maps(), 'cat')
  with open(path, 'rb') as file:
    assert Image.open(file).size[0] > 160
