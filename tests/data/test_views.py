"""Views: their JSON form, and the frames that suffice."""

import json

import numpy as np
import pytest

from tf_tokenlearner.data import resizing
from tf_tokenlearner.data import views


def test_json_restores_the_view():
  for view in (
      views.ImageView((8, 9, 1), .875),
      views.ImageView((8, 9, 1), 1., resizing.Resizing(
          'letterbox', 'bicubic', True)),
      views.ClipView((4, 8, 9, 3), None, 2, 'pad', 10, 96)):
    text = json.dumps(views.to_json(view))
    assert views.from_json(json.loads(text)) == view


def test_view_of_an_older_manifest_is_a_crop():
  values = {'inputs': 'images', 'input_size': [8, 8, 1],
            'center_crop_fraction': .5}
  assert views.from_json(values) == views.ImageView((8, 8, 1), .5)
  assert views.to_json(views.from_json(values)) == {
      **values, 'input_size': (8, 8, 1), 'resize': 'crop',
      'interpolation': 'bilinear', 'antialias': False}


@pytest.mark.parametrize('short_videos', ['loop', 'pad'])
@pytest.mark.parametrize('stride', [0, 1, 3])
@pytest.mark.parametrize('length', [1, 3, 9, 10, 11, 24])
def test_window_holds_the_middle_clip(length, stride, short_videos):
  view = views.ClipView((4, 8, 8, 3), 8., stride, short_videos, 8, 8)
  video = np.arange(length)[np.newaxis]
  window = video[:, view.window(length)]
  assert window.shape == (1, 3 * stride + 1)
  np.testing.assert_array_equal(view.middle(window), view.middle(video))
