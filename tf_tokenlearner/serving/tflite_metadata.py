"""What a TFLite file says of itself: operations, signature, metadata.

Metadata as other software looks for them: a buffer named TFLITE_METADATA that
holds a ModelMetadata table (schema 1.1.0 of tflite-support, which has no
release for this Python), and files appended to the model as a zip archive.
"""

import io
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple
import zipfile

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema

LABELS = 'labels.txt'
_BUFFER, _IDENTIFIER, _PARSER_VERSION = 'TFLITE_METADATA', b'M001', '1.1.0'

# The fields of the schema's tables that are used, with their places.
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
_COLOR_SPACES = {1: 2, 3: 1}  # Channels -> grey, RGB.
_NORMALIZATION_OPTIONS = 1
_TENSOR_AXIS_LABELS = 2


class Operations(NamedTuple):
  """The kinds of operations in a model, sorted.

  Attributes:
    builtin: by their names in the schema, such as FULLY_CONNECTED.
    custom: of Flex and of others.
  """
  builtin: Tuple[str, ...]
  custom: Tuple[str, ...]


class _Byte(int):
  """A number that takes a byte in a table."""


def operations(data: bytes) -> Operations:
  """What a model is made of."""
  names = {value: name for name, value in vars(schema.BuiltinOperator).items()
           if not name.startswith('_')}
  builtin, custom = set(), set()
  for code in schema.ModelT.InitFromPackedBuf(data, 0).operatorCodes:
    if code.customCode:
      custom.add(code.customCode.decode())
    else:
      builtin.add(names[max(code.builtinCode, code.deprecatedBuiltinCode)])
  return Operations(tuple(sorted(builtin)), tuple(sorted(custom)))


def add(data: bytes, name: str, input_description: str, channels: int,
        is_image: bool, label_names: Sequence[str]) -> bytes:
  """The model with metadata of one input and its scores, and the labels.

  Args:
    data: model with one signature.
    name: of the model.
    input_description: in words.
    channels: of the input, whose values are from 0 to 255.
    is_image: one picture, rather than a clip.
    label_names: of the classes, those of the output `probabilities`.
  """
  model = schema.ModelT.InitFromPackedBuf(data, 0)
  signature = model.signatureDefs[0]
  names = {tensor.tensorIndex: tensor.name.decode()
           for tensor in [*signature.inputs, *signature.outputs]}
  graph = model.subgraphs[0]
  table = _table(_MODEL, {
      'name': name, 'description': input_description,
      'min_parser_version': _PARSER_VERSION,
      'subgraph_metadata': [_table(_SUBGRAPH, {
          'input_tensor_metadata': [
              _input(names[i], input_description, channels, is_image)
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


def _input(name: str, description: str, channels: int, is_image: bool):
  content = ({'content_properties_type': _Byte(_IMAGE_PROPERTIES),
              'content_properties': _table(
                  _IMAGE, {'color_space': _Byte(_COLOR_SPACES[channels])})}
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
  if name == 'probabilities':
    fields['stats'] = _table(_STATS, {'max': [1.], 'min': [0.]})
    fields['associated_files'] = [_table(_FILE, {
        'name': LABELS, 'description': 'Names of the classes, a line each.',
        'type': _Byte(_TENSOR_AXIS_LABELS)})]
  return _table(_TENSOR, fields)


def _table(places: Dict[str, int], values: Dict[str, Any]) -> Dict[int, Any]:
  """Values by their places in a table."""
  return {places[key]: value for key, value in values.items()}


def _write(builder: flatbuffers.Builder, table: Dict[int, Any]) -> int:
  """Writes a table, what it holds first; gives its offset."""
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
