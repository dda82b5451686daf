"""Held-out examples: shares of classes, and what the choice depends on."""

from tf_tokenlearner.data import stratified_split

KEYS = {'a': [f'a{i}' for i in range(50)], 'b': [f'b{i}' for i in range(30)],
        'c': [f'c{i}' for i in range(15)], 'd': ['d0']}


def per_class(held_out):
  return {name: len(held_out & set(keys)) for name, keys in KEYS.items()}


def test_every_class_gives_its_share():
  # Of 96: 10.4, 6.25, 3.1, 0.2; the largest remainder gets the one left.
  assert per_class(stratified_split.held_out(KEYS, 20)) == {
      'a': 11, 'b': 6, 'c': 3, 'd': 0}


def test_no_class_gives_its_last_example():
  assert per_class(stratified_split.held_out(KEYS, 96)) == {
      'a': 49, 'b': 29, 'c': 14, 'd': 0}
  assert not stratified_split.held_out({'a': ['x'], 'b': ['y'], 'c': []}, 2)


def test_depends_on_the_seed_and_not_on_order():
  first = stratified_split.held_out(KEYS, 20)
  backwards = {name: keys[::-1] for name, keys in reversed(KEYS.items())}
  assert stratified_split.held_out(backwards, 20) == first
  assert stratified_split.held_out(KEYS, 20, seed=1) != first


def test_one_more_example_changes_little():
  first = stratified_split.held_out(KEYS, 20)
  more = stratified_split.held_out({**KEYS, 'a': KEYS['a'] + ['new']}, 20)
  assert len(first ^ more) <= 4
