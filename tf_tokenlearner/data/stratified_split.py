"""Holds examples out, the same share of every class."""

import hashlib
from typing import Dict, Mapping, Sequence, Set


def held_out(
    keys_by_class: Mapping[str, Sequence[str]], count: int,
    seed: int = 0) -> Set[str]:
  """Chooses the examples to hold out.

  Which of a class's examples go is decided by hashes of seed and key, not by a
  generator of random numbers: the choice depends neither on versions of
  libraries nor on the order of keys, and new examples change little of it.

  Args:
    keys_by_class: what names each example, by class; all keys differ.
    count: how many to hold out. Each class gives its share, but never its last
      example, so fewer come where classes are that small.
    seed: another one, another choice.

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
  """Whole numbers that sum to count, nearest to proportional to sizes."""
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
