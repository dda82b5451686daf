"""Start and end of every command-line program of the project.

--help and unknown flags are handled before TensorFlow is imported. A user error
ends the program with one line on stderr and exit code 2.
"""

import gc
import inspect
import os
import signal
import socket
import sys
import textwrap
import threading
from typing import Callable, List, Optional, Sequence

from absl import flags

from tf_tokenlearner import errors


_interrupt_notice = 'Stopping ...'


def set_interrupt_notice(text: str) -> None:
  """Sets the text that Ctrl-C prints at once, such as what is waited for."""
  global _interrupt_notice  # pylint: disable=global-statement
  _interrupt_notice = text


def run(main: Callable[[Sequence[str]], Optional[int]],
        describe: Optional[Callable[[], str]] = None,
        about: Optional[str] = None) -> None:
  """Parses absl flags, runs main(remaining arguments) and exits.

  Args:
    main: the program; returns the exit code, None for 0.
    describe: returns text that --help prints after the flags.
    about: text that --help prints before the flags; by default the docstring
      of main's module.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  # Skips Keras 3, which nothing here uses, and saves a second.
  os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
  if asks_for_help():
    module = main.__module__
    about = inspect.cleandoc(about or sys.modules[module].__doc__)
    texts = [about, _flags_help(module), describe and describe()]
    print(*filter(None, texts), sep='\n\n')
    sys.exit(0)
  try:
    arguments = flags.FLAGS(sys.argv)
  except flags.Error as error:
    _exit_with_line(str(error))
  _expand_home(main.__module__)
  # Characters that the terminal cannot show must not end the program.
  sys.stdout.reconfigure(errors='backslashreplace')
  announced = _announce_interrupts()
  try:
    code = main(arguments)
    sys.stdout.flush()
  except errors.UserError as error:
    _exit_with_line(str(error))
  except BrokenPipeError:  # The reader of stdout has closed it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
  except KeyboardInterrupt:
    announced.wait(1)
    sys.exit(130)
  gc.freeze()  # Avoids seconds of tearing TensorFlow down.
  sys.exit(code)


def asks_for_help() -> bool:
  """Returns whether the command line has a help flag."""
  return bool(set(sys.argv[1:]) & {'--help', '-help', '-h', '--helpshort'})


def require(*names: str) -> None:
  """Raises UserError if one of these flags is not given."""
  missing = [f'--{name}' for name in names if not flags.FLAGS[name].value]
  if missing:
    raise errors.UserError(f'{", ".join(missing)} must be given; see --help.')


def refuse_arguments(arguments: Sequence[str]) -> None:
  """Raises UserError if arguments are left that belong to no flag."""
  if arguments[1:]:
    raise errors.UserError(
        f'Not understood: {" ".join(arguments[1:])}. Everything is given as '
        '--flag=value; see --help.')


def _announce_interrupts() -> threading.Event:
  """Makes Ctrl-C print a line at once, also while compiled code runs.

  Python raises KeyboardInterrupt only when that code returns, and tracing or
  compiling can take a minute. Meanwhile, a thread reads the signal's number.

  Returns:
    An event that is set when the line is printed.
  """
  announced = threading.Event()
  receiver, sender = socket.socketpair()
  sender.setblocking(False)
  signal.set_wakeup_fd(sender.fileno())

  def announce(unused_sender):  # Open as long as the thread lives.
    while number := receiver.recv(1):
      if number[0] == signal.SIGINT:
        print(f'\nInterrupted. {_interrupt_notice}', file=sys.stderr,
              flush=True)
        announced.set()

  threading.Thread(target=announce, args=[sender], daemon=True).start()
  return announced


def _expand_home(program: str) -> None:
  """Replaces ~ in flags, as the shell does not in --model_dir=~/run."""
  for flag in _own_flags(program):
    if isinstance(flag.value, str):
      flag.value = os.path.expanduser(flag.value)
    elif isinstance(flag.value, list):
      flag.value = list(map(os.path.expanduser, flag.value))


def _exit_with_line(message: str):
  name = os.path.basename(sys.argv[0])
  print(f'{name}: {message}', file=sys.stderr, flush=True)
  sys.exit(2)


def _own_flags(program: str) -> List[flags.Flag]:
  """Returns the flags that a module defines, without those of libraries."""
  module = flags.FLAGS.find_module_defining_flag
  return [flag for flag in map(flags.FLAGS.__getitem__, sorted(flags.FLAGS))
          if module(flag.name) in ('__main__', sys.argv[0], program)]


def _flags_help(program: str) -> str:
  own = _own_flags(program)
  lines = ['Flags:'] if own else []
  for flag in own:
    no = '[no]' if flag.boolean else ''
    text = flag.help
    # None, [] and '' are left out, as are defaults that the text describes.
    if flag.default and 'default' not in text.lower():
      default = flag.default_as_str.strip("'")
      text = f'{text.rstrip(".")} (default: {default}).'
    lines += [f'  --{no}{flag.name}', textwrap.fill(
        text, 79, initial_indent=6 * ' ', subsequent_indent=6 * ' ',
        break_on_hyphens=False, break_long_words=False)]
  return '\n'.join(lines)
