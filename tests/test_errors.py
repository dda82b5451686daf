"""Messages name the nearest known names."""

from tf_tokenlearner import errors


def test_few_names_are_all_shown():
  message = str(errors.unknown_name('pooler', 'gapp', ['token', 'gmp', 'gap']))
  assert message == "Unknown pooler 'gapp'. Known: gap, gmp, token."


def test_nearest_of_many_names_are_shown():
  names = [f'dataset_{i}' for i in range(50)] + ['cifar10', 'cifar100']
  message = str(errors.unknown_name('data set', 'Cifar_10', names))
  assert message.startswith(
      "Unknown data set 'Cifar_10'. Nearest of the 52 known: cifar10, cifar100")
  assert message.endswith('cifar10, cifar100.')  # The rest are not near.


def test_some_names_are_shown_if_none_is_near():
  names = [f'dataset_{i}' for i in range(50)]
  message = str(errors.unknown_name('data set', 'wxyz', names))
  assert message.startswith(
      "Unknown data set 'wxyz'. Nearest of the 50 known:")
  assert message.count(',') == 2


def test_error_without_known_names():
  assert 'none is known' in str(errors.unknown_name('thing', 'x', []))


def test_user_error_is_a_value_error():
  assert issubclass(errors.UserError, ValueError)


def test_long_lists_of_problems_are_shortened():
  assert errors.problem_list(['one']) == ' one'
  lines = errors.problem_list([f'no {i}' for i in range(30)]).splitlines()
  assert lines[0] == '' and lines[1] == '  no 0'
  assert lines[-2:] == ['  no 19', '  ... and 10 more']
