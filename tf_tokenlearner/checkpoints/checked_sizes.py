"""Refuses files that claim to hold more than can have been put into them."""

from tf_tokenlearner import errors


_MOST_OF_A_BYTE = 1032  # What deflate can make of one; weights hardly shrink.


def require_possible(path: str, claimed: int, stored: int) -> None:
  """Raises UserError before room is made for what cannot be there.

  Args:
    path: of the file or folder, for the error.
    claimed: bytes of all its arrays, as it says itself.
    stored: bytes that it has.
  """
  if claimed > _MOST_OF_A_BYTE * stored:
    raise errors.UserError(
        f'{path} claims to hold {claimed:,} bytes of arrays, which cannot come '
        f'from the {stored:,} bytes that are there: it is damaged.')
