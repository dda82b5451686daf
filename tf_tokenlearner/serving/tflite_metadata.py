"""Operations and metadata of TFLite files.

The metadata follow schema 1.1.0 of tflite-support, which has no release for
this Python: a buffer named TFLITE_METADATA holds a ModelMetadata table, and
files are appended to the model as a zip archive.
"""

import io
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple
import zipfile

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema

LABELS = 'labels.txt'
_PROBABILITIES = 'probabilities'
_BUFFER, _IDENTIFIER, _PARSER_VERSION = 'TFLITE_METADATA', b'M001', '1.1.0'

# Positions of the fields in the schema's tables.
_MODEL = dict(name=0, description=1, version=2, subgraph_metadata=3,
              min_parser_version=7)
_SUBGRAPH = dict(input_tensor_metadata=2, output_tensor_metadata=3)
_TENSOR = dict(name=0, description=1, content=3, process_units=4, stats=5,
               associated_files=6)
_CONTENT = dict(content_properties_type=0, content_properties=1)
_IMAGE = dict(color_space=0)
_UNIT = dict(options_type=0, options=1)
_NORMALIZATION = dict(mean=0, std=1)
_STATS = dict(max=0, min=1)
_FILE = dict(name=0, description=1, type=2)
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_RGB = 1
_NORMALIZATION_OPTIONS = 1
_TENSOR_AXIS_LABELS = 2


class Operations(NamedTuple):
  """Sorted names of the operations in a model.

  Attributes:
    builtin: names in the schema, such as FULLY_CONNECTED.
    custom: names of Flex and other custom operations.
  """
  builtin: Tuple[str, ...]
  custom: Tuple[str, ...]


class _Byte(int):
  """Integer that is stored as one byte in a table."""


def operations(data: bytes) -> Operations:
  """Returns the operations of a model."""
  names = {value: name for name, value in vars(schema.BuiltinOperator).items()
           if not name.startswith('_')}
  builtin, custom = set(), set()
  for code in schema.ModelT.InitFromPackedBuf(data, 0).operatorCodes:
    if code.customCode:
      custom.add(code.customCode.decode())
    else:
      builtin.add(names[max(code.builtinCode, code.deprecatedBuiltinCode)])
  return Operations(tuple(sorted(builtin)), tuple(sorted(custom)))


def add(data: bytes, name: str, input_description: str, is_image: bool,
        label_names: Sequence[str]) -> bytes:
  """Adds metadata and labels.txt to a model.

  The output `probabilities`, which the labels belong to, becomes the first one:
  clients that know no signatures read outputs by number. Input and outputs are
  named as in the signature.

  Args:
    data: model with one signature; its input is RGB from 0 to 255.
    name: of the model.
    input_description: in words.
    is_image: whether the input is a picture rather than a clip.
    label_names: class names without line breaks.
  """
  model = schema.ModelT.InitFromPackedBuf(data, 0)
  signature = model.signatureDefs[0]
  names = {tensor.tensorIndex: tensor.name.decode()
           for tensor in [*signature.inputs, *signature.outputs]}
  graph = model.subgraphs[0]
  graph.outputs = sorted(
      graph.outputs, key=lambda i: names[i] != _PROBABILITIES)
  for index, tensor_name in names.items():
    graph.tensors[index].name = tensor_name
  table = _table(_MODEL, {
      'name': name, 'description': input_description,
      'min_parser_version': _PARSER_VERSION,
      'subgraph_metadata': [_table(_SUBGRAPH, {
          'input_tensor_metadata': [
              _input(names[i], input_description, is_image)
              for i in graph.inputs],
          'output_tensor_metadata': [_output(names[i]) for i in graph.outputs],
      })]})
  builder = flatbuffers.Builder(1024)
  builder.Finish(_write(builder, table), _IDENTIFIER)
  buffer, entry = schema.BufferT(), schema.MetadataT()
  buffer.data = bytearray(builder.Output())
  entry.name, entry.buffer = _BUFFER, len(model.buffers)
  model.buffers.append(buffer)
  model.metadata = [*(model.metadata or ()), entry]
  model.description = input_description
  builder = flatbuffers.Builder(len(data) + 2**16)
  builder.Finish(model.Pack(builder), b'TFL3')
  file = io.BytesIO(bytes(builder.Output()))
  with zipfile.ZipFile(file, 'a') as archive:
    archive.writestr(LABELS, ''.join(f'{label}\n' for label in label_names))
  return file.getvalue()


def _input(name: str, description: str, is_image: bool):
  content = ({'content_properties_type': _Byte(_IMAGE_PROPERTIES),
              'content_properties': _table(
                  _IMAGE, {'color_space': _Byte(_RGB)})}
             if is_image else
             {'content_properties_type': _Byte(_FEATURE_PROPERTIES),
              'content_properties': _table({}, {})})
  normalization = _table(_NORMALIZATION, {'mean': [0.], 'std': [1.]})
  return _table(_TENSOR, {
      'name': name, 'description': description,
      'content': _table(_CONTENT, content),
      'process_units': [_table(_UNIT, {
          'options_type': _Byte(_NORMALIZATION_OPTIONS),
          'options': normalization})],
      'stats': _table(_STATS, {'max': [255.], 'min': [0.]})})


def _output(name: str):
  fields: Dict[str, Any] = {
      'name': name, 'content': _table(_CONTENT, {
          'content_properties_type': _Byte(_FEATURE_PROPERTIES),
          'content_properties': _table({}, {})})}
  if name == _PROBABILITIES:
    fields['stats'] = _table(_STATS, {'max': [1.], 'min': [0.]})
    fields['associated_files'] = [_table(_FILE, {
        'name': LABELS, 'description': 'Class names, one per line.',
        'type': _Byte(_TENSOR_AXIS_LABELS)})]
  return _table(_TENSOR, fields)


def _table(places: Dict[str, int], values: Dict[str, Any]) -> Dict[int, Any]:
  """Returns values by their positions in a table."""
  return {places[key]: value for key, value in values.items()}


def _write(builder: flatbuffers.Builder, table: Dict[int, Any]) -> int:
  """Writes a table after its contents; returns its offset."""
  written = {place: value if isinstance(value, _Byte)
             else _write_value(builder, value)
             for place, value in table.items()}
  builder.StartObject(max(table, default=-1) + 1)
  for place, value in written.items():
    if isinstance(value, _Byte):
      builder.PrependInt8Slot(place, value, 0)
    else:
      builder.PrependUOffsetTRelativeSlot(place, value, 0)
  return builder.EndObject()


def _write_value(builder: flatbuffers.Builder, value: Any) -> int:
  if isinstance(value, str):
    return builder.CreateString(value)
  if isinstance(value, dict):
    return _write(builder, value)
  is_numbers = isinstance(value[0], float)
  items: List = value if is_numbers else [
      _write(builder, item) for item in value]
  builder.StartVector(4, len(items), 4)
  for item in reversed(items):
    (builder.PrependFloat32 if is_numbers
     else builder.PrependUOffsetTRelative)(item)
  return builder.EndVector()
