"""Closed-form ridge regression against scikit-learn's."""

import numpy as np
import pytest
from sklearn import linear_model

from tf_tokenlearner.evaluation import few_shot

L2S = (2.**-10, 1., 2.**19)


@pytest.fixture(name='problem', params=[(40, 7), (12, 30)], ids=['n>d', 'n<d'])
def fixture_problem(request):
  n, d = request.param
  generator = np.random.default_rng(n)
  features = generator.normal(3., 2., [n, d])
  targets = features[:, :3] ** 2 + generator.normal(size=[n, 3])
  return features, targets, generator.normal(3., 2., [20, d])


@pytest.mark.parametrize('solver', ['svd', 'cholesky'])
def test_predictions_equal_scikit_learn(problem, solver):
  features, targets, others = problem
  ours = few_shot.Ridge(features, targets)
  for l2, predicted in zip(L2S, ours.predictions(others, L2S), strict=True):
    theirs = linear_model.Ridge(alpha=l2, solver=solver).fit(features, targets)
    np.testing.assert_allclose(
        predicted, theirs.predict(others), rtol=0, atol=1e-8)


@pytest.mark.parametrize('l2', L2S)
def test_left_out_predictions_equal_solving_without_each_example(problem, l2):
  features, targets, _ = problem
  expected = []
  for i in range(len(features)):
    rest = np.arange(len(features)) != i
    expected.append(linear_model.Ridge(alpha=l2, solver='svd').fit(
        features[rest], targets[rest]).predict(features[i:i + 1])[0])
  np.testing.assert_allclose(
      few_shot.Ridge(features, targets).left_out_predictions(l2), expected,
      rtol=0, atol=1e-7)


def test_float32_is_solved_in_float64(problem):
  features, targets, others = problem
  features = features.astype(np.float32)
  predicted, expected = (
      next(few_shot.Ridge(x, targets).predictions(others, [1e-3]))
      for x in (features, features.astype(np.float64)))
  assert predicted.dtype == np.float64
  np.testing.assert_array_equal(predicted, expected)
