"""Splits that hold out the same share of every class."""

import hashlib
from typing import Dict, Mapping, Sequence, Set


def held_out(
    keys_by_class: Mapping[str, Sequence[str]], count: int,
    seed: int = 0) -> Set[str]:
  """Chooses the examples to hold out.

  Hashes of seed and key decide, not a random generator: the choice depends
  neither on library versions nor on the order of keys, and adding examples
  hardly changes it.

  Args:
    keys_by_class: unique keys of the examples, by class.
    count: number of examples to hold out. Each class gives its share, but never
      its last example, so small classes may reduce the number.
    seed: selects another choice.

  Returns:
    The keys held out.

  Example:
    >>> sorted(held_out({'cat': ['a', 'b', 'c'], 'dog': ['d', 'e']}, count=2))
    ['c', 'e']
  """
  sizes = {name: len(keys) for name, keys in keys_by_class.items()}
  quotas = _quotas(sizes, count)
  chosen = set()
  for name, keys in keys_by_class.items():
    ranked = sorted(keys, key=lambda key: _hash(seed, key))
    chosen.update(ranked[:min(quotas[name], len(keys) - 1)])
  return chosen


def _quotas(sizes: Mapping[str, int], count: int) -> Dict[str, int]:
  """Returns integers that sum to count, proportional to sizes up to rounding.

  Ranks the remainders (Hamilton's method).
  """
  total = sum(sizes.values())
  quotas = {name: count * size // total for name, size in sizes.items()}
  remainder = lambda name: (-(count * sizes[name] % total), name)
  rest = count - sum(quotas.values())
  for name in sorted(sizes, key=remainder)[:rest]:
    quotas[name] += 1
  return quotas


def _hash(seed: int, key: str) -> bytes:
  return hashlib.sha256(
      f'{seed}/{key}'.encode(errors='surrogateescape')).digest()
