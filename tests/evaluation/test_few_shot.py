"""The protocol of few-shot evaluation, on arrays."""

import numpy as np
import pytest
from sklearn import linear_model

from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import few_shot


def make_sweep(accuracies, left_out=None, left_out_errors=None):
  return few_shot.Sweep(tuple(accuracies), tuple(left_out or accuracies),
                        tuple(left_out_errors or accuracies))


def test_draws_the_given_number_per_class():
  labels = np.array([2, 0, 1, 0, 2, 0, 1, 2, 2])
  drawn = few_shot.draw(labels, 4, 2, seed=0)
  np.testing.assert_array_equal(drawn, np.sort(drawn))
  np.testing.assert_array_equal(
      np.bincount(labels[drawn], minlength=4), [2, 2, 2, 0])
  # All that there are, where there are fewer.
  np.testing.assert_array_equal(few_shot.draw(labels, 4, 9, 0), np.arange(9))


def test_draws_depend_only_on_the_seed_and_are_nested():
  labels = np.arange(400) % 4
  five = few_shot.draw(labels, 4, 5, seed=0)
  np.testing.assert_array_equal(five, few_shot.draw(labels, 4, 5, seed=0))
  assert set(five) != set(few_shot.draw(labels, 4, 5, seed=1))
  assert set(five) < set(few_shot.draw(labels, 4, 10, seed=0))


@pytest.mark.parametrize('size', [6, 60], ids=['n>d', 'n<d'])
def test_accuracies_equal_scikit_learn(size, monkeypatch):
  monkeypatch.setattr(few_shot, '_AT_ONCE', 7)  # And a rest of 4.
  generator = np.random.default_rng(size)
  features = generator.normal(size=[70, size]).astype(np.float32) * 2 + 1
  features[:, -1] = 1.  # Tells nothing, and has no deviation.
  labels = generator.integers(0, 4, 70)
  features[:, :4] += 4 * np.eye(4)[labels]
  train, test = slice(20), slice(20, 70)
  ours = few_shot.sweep(
      features[train], labels[train], features[test], labels[test], 4)
  doubles = features.astype(np.float64)
  x = (doubles - doubles[train].mean(0)) / (doubles[train].std(0) + 1e-5)
  y = np.where(labels[:, None] == np.arange(4), 1., -1.)
  theirs = []
  for l2 in few_shot.L2S:
    model = linear_model.Ridge(alpha=l2, solver='svd').fit(x[train], y[train])
    theirs.append(np.mean(model.predict(x[test]).argmax(-1) == labels[test]))
  np.testing.assert_allclose(ours.accuracies, theirs, rtol=0, atol=1e-12)
  assert max(theirs) > .45 and len(set(theirs)) > 2  # Chance is .25.


@pytest.mark.parametrize('part', [0, 2], ids=['train', 'test'])
def test_features_that_are_not_finite_are_refused(part):
  arrays = [np.zeros([4, 2]), np.arange(4) % 2] * 2
  arrays[part] = arrays[part] + [[np.nan, 0.]]
  with pytest.raises(errors.UserError, match='some features are not finite'):
    few_shot.sweep(*arrays, 2)


def test_own_l2_depends_only_on_the_drawn_images():
  sweep = make_sweep([.9, .1, .2, .3], [.5, .7, .7, .6], [0., 3., 2., 1.])
  assert sweep.chosen == 2


def test_shared_l2_has_the_best_mean_rank():
  # Of ranks 0 2 1 and 1.5 0 1.5: the last, though its mean is not the largest.
  sweeps = [make_sweep([.1, .9, .2]), make_sweep([.5, .4, .5])]
  assert few_shot.best_for_all(sweeps) == 2
  assert few_shot.best_for_all(sweeps[:1]) == 1


def test_l2_values_are_those_of_the_official_code():
  assert (few_shot.L2S[0], few_shot.L2S[-1]) == (1 / 1024, 524288.)
  assert len(few_shot.L2S) == 30
