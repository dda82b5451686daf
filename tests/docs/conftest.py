"""Stand-ins for the folders and files that the pages mention."""

import contextlib
import io
import os

import pytest


@pytest.fixture(scope='session', name='world')
def fixture_world(
    tmp_path_factory, finished_run, finished_video_run, image_export,
    video_export, tflite_export, stream_exports):
  """A folder laid out as the pages say, with tiny runs and their exports."""
  from PIL import Image
  from sklearn import datasets
  from tests import goldens
  from tf_tokenlearner.serving import hub_module

  world = tmp_path_factory.mktemp('world')
  for name, target in {
      'runs/digits': finished_run, 'runs/pictures': finished_run,
      'runs/clips': finished_video_run, 'exported/pictures': image_export,
      'exported/clips': video_export,
      'exported/pictures_tflite': tflite_export,
      'exported/stream': stream_exports['saved_model'],
      'exported/stream_tflite': stream_exports['tflite']}.items():
    path = world / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
  (world / 'public_vit').symlink_to(
      goldens.FOLDER / 'pretrained' / 'timm_hub_vit')
  with contextlib.redirect_stdout(io.StringIO()):
    hub_module.export(
        finished_run, str(world / 'exported' / 'pictures_hub'),
        output_type='feature_vector', verify=False)
  for i in range(3):
    pixels = (datasets.load_digits().images[i] * 15.9).astype('uint8')
    folder = world if not i else world / 'more_photos'
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).resize((20, 24)).convert('RGB').save(
        folder / ('photo.png' if not i else f'{i}.png'))
  return world


@pytest.fixture(name='in_world')
def fixture_in_world(world, monkeypatch):
  """Makes the stand-ins the working directory."""
  monkeypatch.chdir(world)
  return world


@pytest.fixture(scope='session', name='environment')
def fixture_environment():
  """Environment of a shell in which the package is installed."""
  import sys
  return {**os.environ,
          'PATH': f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}'}
