"""Errors of the user, reported in one line."""

import difflib
from typing import Iterable, Sequence

_NEAR = .5  # Minimum similarity of names that are suggested.


class UserError(ValueError):
  """An error that the user can fix; the message says how.

  Command-line programs print it as one line and exit with code 2.
  """


def unknown_name(noun: str, name: object, known: Iterable[str]) -> UserError:
  """Returns an error that lists the known names, nearest first.

  Args:
    noun: what the name stands for, for instance 'experiment'.
    name: the unknown name.
    known: known names.

  Returns:
    UserError, to be raised by the caller.
  """
  known = sorted(known)
  if not known:
    return UserError(f'Unknown {noun} {name!r}; none is known.')
  nearness = {other: difflib.SequenceMatcher(
      None, str(name).lower(), other.lower()).ratio() for other in known}
  ranked = sorted(known, key=nearness.get, reverse=True)
  if len(ranked) <= 8:
    return UserError(f'Unknown {noun} {name!r}. Known: {", ".join(ranked)}.')
  near = [other for other in ranked[:6] if nearness[other] >= _NEAR]
  return UserError(f'Unknown {noun} {name!r}. Nearest of the {len(known)} '
                   f'known: {", ".join(near or ranked[:3])}.')


def problem_list(problems: Sequence[str], limit: int = 20) -> str:
  """Returns the end of a message: one problem inline, several on lines.

  Args:
    problems: at least one.
    limit: maximum number of listed problems; the others are counted.
  """
  if len(problems) == 1:
    return f' {problems[0]}'
  if len(problems) > limit:
    problems = [*problems[:limit], f'... and {len(problems) - limit} more']
  return ''.join(f'\n  {problem}' for problem in problems)
