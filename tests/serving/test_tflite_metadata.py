"""Metadata follow TFLite's schema, and the model still runs."""

import io
import zipfile

from ai_edge_litert import interpreter
import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from tf_tokenlearner.serving import tflite_metadata


@pytest.fixture(scope='module', name='converted')
def fixture_converted():
  """Pixels [1, 2, 2, 3] -> their sums as logits, and a softmax of them."""
  @tf.function(input_signature=[tf.TensorSpec([1, 2, 2, 3], name='images')])
  def scores(images):
    logits = tf.reduce_sum(images, [1, 2])
    return {'probabilities': tf.nn.softmax(logits), 'logits': logits}
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [scores.get_concrete_function()], tf.Module())
  return converter.convert()


@pytest.fixture(scope='module', name='described')
def fixture_described(converted):
  return tflite_metadata.add(
      converted, 'a name', 'what goes in', True, ['cat', 'é', 'dog'])


class Table:
  """Fields of a flatbuffer's table by position in the schema."""

  def __init__(self, buffer, position):
    self._table = flatbuffers.table.Table(buffer, position)

  def _at(self, place):
    offset = self._table.Offset(4 + 2 * place)
    assert offset, f'field {place} is missing'
    return self._table.Pos + offset

  def text(self, place):
    return self._table.String(self._at(place)).decode()

  def byte(self, place):
    return self._table.Bytes[self._at(place)]

  def table(self, place):
    return Table(self._table.Bytes, self._table.Indirect(self._at(place)))

  def tables(self, place):
    field = self._at(place) - self._table.Pos
    return [Table(self._table.Bytes, self._table.Indirect(
        self._table.Vector(field) + 4 * i))
            for i in range(self._table.VectorLen(field))]

  def numbers(self, place):
    field = self._at(place) - self._table.Pos
    return [self._table.Get(
        flatbuffers.number_types.Float32Flags,
        self._table.Vector(field) + 4 * i)
            for i in range(self._table.VectorLen(field))]


def test_operations_are_listed(converted):
  assert tflite_metadata.operations(converted) == (
      tuple(sorted({'SUM', 'SOFTMAX'})), ())


def test_metadata_follows_the_schema(described):
  model = schema.ModelT.InitFromPackedBuf(described, 0)
  entry, = [entry for entry in model.metadata
            if entry.name == b'TFLITE_METADATA']
  buffer = bytearray(model.buffers[entry.buffer].data)
  assert buffer[4:8] == b'M001'
  root = Table(buffer, int.from_bytes(buffer[:4], 'little'))
  assert (root.text(0), root.text(1), root.text(7)) == (
      'a name', 'what goes in', '1.1.0')
  graph, = root.tables(3)
  pixels, = graph.tables(2)
  assert (pixels.text(0), pixels.text(1)) == ('images', 'what goes in')
  assert pixels.table(3).byte(0) == 2  # ImageProperties.
  assert pixels.table(3).table(1).byte(0) == 1  # RGB.
  unit, = pixels.tables(4)
  assert unit.byte(0) == 1  # NormalizationOptions.
  assert (unit.table(1).numbers(0), unit.table(1).numbers(1)) == ([0.], [1.])
  assert pixels.table(5).numbers(0) == [255.]
  outputs = {output.text(0): output for output in graph.tables(3)}
  assert set(outputs) == {'logits', 'probabilities'}
  labels, = outputs['probabilities'].tables(6)
  assert (labels.text(0), labels.byte(2)) == ('labels.txt', 2)


def test_outputs_are_described_in_order(described):
  model = schema.ModelT.InitFromPackedBuf(described, 0)
  loaded = interpreter.Interpreter(model_content=described)
  runner = loaded.get_signature_runner()
  order = [detail['index'] for detail in loaded.get_output_details()]
  names = {detail['index']: name for name, detail
           in runner.get_output_details().items()}
  buffer = bytearray(model.buffers[-1].data)
  graph, = Table(buffer, int.from_bytes(buffer[:4], 'little')).tables(3)
  # Clients that know no signatures take the first output and its labels.
  assert [output.text(0) for output in graph.tables(3)] == [
      names[index] for index in order] == ['probabilities', 'logits']
  assert [detail['name'] for detail in loaded.get_output_details()] == [
      'probabilities', 'logits']
  assert loaded.get_input_details()[0]['name'] == 'images'


def test_labels_are_packed_into_the_file(described):
  with zipfile.ZipFile(io.BytesIO(described)) as archive:
    assert archive.read('labels.txt').decode().splitlines() == [
        'cat', 'é', 'dog']


def test_metadata_does_not_change_the_outputs(converted, described):
  images = np.random.default_rng(0).random([1, 2, 2, 3], np.float32)
  before, after = (
      interpreter.Interpreter(model_content=data).get_signature_runner()(
          images=images)['probabilities'] for data in (converted, described))
  np.testing.assert_array_equal(before, after)
  np.testing.assert_allclose(
      after, tf.nn.softmax(images.sum((1, 2))), atol=1e-6)
