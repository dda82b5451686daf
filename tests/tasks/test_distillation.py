"""The loss of distillation against NumPy, and teachers that are refused."""

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.tasks import distillation

LOGITS = np.array([[2., -1., .5], [0., 3., 1.]], np.float32)
TEACHER = np.array([[1., 1., -2.], [.5, 0., 4.]], np.float32)


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_loss(loss):
  options = config.Distillation(weight=.3, temperature=2.)
  p, q = TEACHER.astype(np.float64) / 2, LOGITS.astype(np.float64) / 2
  if loss == 'softmax':
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (p, q))
    divergence = (p * np.log(p / q)).sum(-1)
  else:
    p, q = 1 / (1 + np.exp(-p)), 1 / (1 + np.exp(-q))
    divergence = (
        p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(-1)
  found = distillation.blend(
      tf.constant(5.), tf.constant(LOGITS), tf.constant(TEACHER), loss, options)
  np.testing.assert_allclose(
      found, .7 * 5 + .3 * 4 * divergence.mean(), rtol=1e-5)
  same = distillation.blend(
      tf.constant(5.), tf.constant(TEACHER), tf.constant(TEACHER), loss,
      options)
  np.testing.assert_allclose(same, .7 * 5, rtol=1e-5)


@pytest.mark.parametrize('options, message', [
    ('weight: 0', r'weight must lie in \(0, 1\], got 0'),
    ('temperature: 0', 'temperature must be above 0, got 0'),
    ('teacher: nowhere/ckpt', 'no checkpoint at .*nowhere/ckpt'),
    ('', r'expected the 10 classes of this run \(0, 1, 2, 3, 4, \.\.\.\), got 8'
     r' \(right, left, ')])
def test_refused_options(tiny_digits, finished_video_run, options, message):
  params = experiments.parse('tokenlearner_digits', [
      tiny_digits, f'task.distillation.teacher={finished_video_run}',
      f'task: {{distillation: {{{options}}}}}'])
  with pytest.raises(errors.UserError, match=message):
    classification_task.complete(params.task)


def test_teacher_of_other_classes_or_pixels(finished_run):
  student = backbones.Classifier(tiny.vit(), 10)
  with pytest.raises(errors.UserError, match='expected classes 10 as of the '):
    distillation.load_teacher(
        str(goldens.FOLDER / 'pretrained' / 'timm_hub_vit'), student)
  with pytest.raises(errors.UserError, match=r'input size \(8, 12, 3\) .* got '
                     r'\(8, 8, 1\)'):
    distillation.load_teacher(finished_run, student)
