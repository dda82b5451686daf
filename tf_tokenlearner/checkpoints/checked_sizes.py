"""Refuses files whose arrays claim more bytes than the file can hold."""

from tf_tokenlearner import errors


_MAX_COMPRESSION = 1032  # Of deflate; weights hardly compress.


def require_possible(path: str, claimed: int, stored: int) -> None:
  """Raises UserError before memory is allocated for arrays that cannot exist.

  Args:
    path: of the file or folder, for the message.
    claimed: bytes of all arrays, as the file claims.
    stored: size of the file in bytes.
  """
  if claimed > _MAX_COMPRESSION * stored:
    raise errors.UserError(
        f'{path} claims to hold {claimed:,} bytes of arrays, which cannot come '
        f'from the {stored:,} bytes that are there: it is damaged.')
