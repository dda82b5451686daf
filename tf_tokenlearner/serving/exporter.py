"""Base class of the exporters: find, build, write, verify, keep."""

import abc
from typing import Any, Dict, Optional

from tf_tokenlearner.data import views
from tf_tokenlearner import files
from tf_tokenlearner import quiet
from tf_tokenlearner import run_folder
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import verification


class Exporter(abc.ABC):
  """Base class of export formats. Subclasses build, write and verify.

  Attributes:
    export_format: name in the manifest.
    reader: software that reads the export in the new process.
    least_examples: smallest --verify_examples.
    keeps_stored: whether verification needs examples as they are stored.
    export_dir: folder of the export.
    run: the run; set before `build`.
    checkpoint: path of the checkpoint; set before `build`.
    servable: the checkpoint in float32; set before `build`.
    examples: evaluation data; None without verification.
  """
  export_format: str
  reader: str
  least_examples = 1
  keeps_stored = False

  export_dir: str
  run: run_folder.Run
  checkpoint: str
  servable: servable_lib.Servable
  examples: Optional[verification.Examples]

  def export(self, model_dir: str, export_dir: str, checkpoint: str = '', *,
             verify: bool = True,
             verify_examples: int = verification.DEFAULT_EXAMPLES,
             keep_unverified: bool = False) -> None:
    """Writes the export and prints its facts and verification.

    Args:
      model_dir: folder of a run; its config holds the architecture.
      export_dir: folder that is absent or empty. If it holds the same export,
        nothing is done.
      checkpoint: path; '' for the run's best or else its latest.
      verify: whether to load the export in a new process and compare it with
        the checkpoint before it is kept.
      verify_examples: number of evaluation examples to compare on.
      keep_unverified: whether to keep an export that verification refuses.

    Raises:
      UserError: no such run or checkpoint, export_dir holds something else or
        cannot be written, or the export does not answer as the checkpoint.
    """
    self.check(verify)
    verification.check_count(verify, verify_examples, self.least_examples)
    self.run, self.checkpoint = servable_lib.find(model_dir, checkpoint)
    self.export_dir = export_dir
    wanted = manifest.origin(
        model_dir, self.checkpoint, self.export_format, **self.options())
    if manifest.is_present(wanted, export_dir, verify and not keep_unverified):
      return
    with quiet.errors_only():
      self.servable = servable_lib.load(self.run, self.checkpoint)
      self.examples = verification.draw(
          self.servable, verify_examples, self.keeps_stored) if (
              verify and verify_examples) else None
      self.build()
      facts = {**wanted, 'label_names': self.servable.label_names,
               'preprocessing': views.to_json(self.servable.inputs.view),
               **self.facts(), 'verified': False}
      report, refusal = '', None
      with manifest.writing(export_dir, facts) as folder:
        self.write(folder)
        try:
          if verify:
            with files.without_wildcards(folder) as path:
              report = self.verify(path)
            facts['verified'] = True
        except verification.RefusedError as error:
          refusal = error
          if not keep_unverified:
            raise verification.RefusedError(
                f'{error} Nothing was kept; --keep_unverified keeps such an '
                'export.') from error
        self.describe(folder, report)
    print(verification.in_lines(self.summary()))
    if report:
      print(verification.in_lines(
          f'Loaded again in a new process by {self.reader}; {report}.'))
    if refusal:
      print(verification.in_lines(f'Kept, but unverified: {refusal}'))

  def check(self, verify: bool) -> None:
    """Raises UserError for options that no run can be exported with."""

  @abc.abstractmethod
  def options(self) -> Dict[str, Any]:
    """Returns the options that tell exports of one checkpoint apart."""

  @abc.abstractmethod
  def build(self) -> None:
    """Builds what `write` saves, from `servable`."""

  @abc.abstractmethod
  def facts(self) -> Dict[str, Any]:
    """Returns more facts for the manifest."""

  @abc.abstractmethod
  def write(self, folder: str) -> None:
    """Writes the export into a folder."""

  @abc.abstractmethod
  def verify(self, folder: str) -> str:
    """Compares the export in a folder, from a new process, with `servable`.

    Returns:
      A clause on the result.

    Raises:
      RefusedError: the export answers something else.
    """

  def describe(self, folder: str, report: str) -> None:
    """Writes what depends on the result of the verification.

    Args:
      folder: of the export.
      report: as `verify` returns it; '' if the export is not verified.
    """

  @abc.abstractmethod
  def summary(self) -> str:
    """Returns a sentence on what was exported."""
