"""Lazy public names of a package (PEP 562)."""

import importlib
import sys
from typing import Any, Callable, List, Mapping, Sequence, Tuple


def attach(
    package: str, modules: Mapping[str, Sequence[str]]
) -> Tuple[Callable[[str], Any], Callable[[], List[str]]]:
  """Returns the package's `__getattr__` and `__dir__`.

  A public name imports its module at first use, so that importing one module
  of the package does not import the others, and with them TensorFlow.

  Args:
    package: `__name__` of the package.
    modules: for each module of the package, the public names it defines. A
      module without names is itself the public name.
  """
  owners = {name: module for module, names in modules.items()
            for name in names or [module]}

  def get(name: str) -> Any:
    if name not in owners:
      raise AttributeError(f'module {package!r} has no attribute {name!r}')
    module = importlib.import_module(f'{package}.{owners[name]}')
    value = getattr(module, name) if modules[owners[name]] else module
    setattr(sys.modules[package], name, value)
    return value

  def names() -> List[str]:
    return sorted({*vars(sys.modules[package]), *owners})

  return get, names
