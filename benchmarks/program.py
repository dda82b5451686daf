"""The command line of every benchmark."""

import sys
from typing import Callable, Optional

from absl import flags

from tf_tokenlearner import cli


def start(define_flags: Callable[[flags.FlagValues], None],
          run: Callable[[flags.FlagValues], Optional[str]]) -> None:
  """Runs a benchmark with the flags of the command line, and exits.

  Args:
    define_flags: defines the flags of the benchmark.
    run: measures; text that it returns is printed.
  """
  define_flags(flags.FLAGS)

  def main(arguments):
    cli.refuse_arguments(arguments)
    text = run(flags.FLAGS)
    if text:
      print(text)

  cli.run(main, about=sys.modules['__main__'].__doc__)
