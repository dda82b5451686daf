"""Answers are written as a table, JSON and CSV."""

import csv
import io
import json
import os

import numpy as np
import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.prediction import writers

NAMES = ('ant', 'bee', 'a very long cow')


class Terminal(io.StringIO):
  """A terminal; `fixture_columns` sets its width."""

  def isatty(self):
    return True


@pytest.fixture(autouse=True)
def fixture_columns(monkeypatch):
  monkeypatch.setenv('COLUMNS', '80')


def answer(file, *order, **fields):
  values = np.linspace(.9, .1, len(order))
  return writers.Answer(
      file, [(NAMES[i], v) for i, v in zip(order, values)], **fields)


def write(output_format, given, top=3, stream=None, is_streaming=False):
  stream = stream or io.StringIO()
  writer = writers.FORMATS[output_format](
      stream, [each.file for each in given], NAMES, top, is_streaming)
  for each in given:
    writer.write(each)
  writer.end_of_file()
  return stream.getvalue()


def test_likeliest_sorts_by_probability():
  assert writers.likeliest(np.float32([.25, .25, .5]), NAMES, 2) == [
      ('a very long cow', .5), ('ant', .25)]


def test_table_on_a_terminal():
  text = write('table', [
      answer('short.png', 2, 0, 1), writers.Answer('torn.png', error='torn'),
      answer('/a/long/folder/of/files/and/the/name.png', 0, 1, 2)],
               stream=Terminal())
  assert text == (
      'short.png             a very long… 0.900  ant          0.500  '
      'bee          0.100\n'
      '…es/and/the/name.png  ant          0.900  bee          0.500  '
      'a very long… 0.100\n')
  assert {len(line) for line in text.splitlines()} == {80}


def test_narrow_table_wraps(monkeypatch):
  monkeypatch.setenv('COLUMNS', '40')
  text = write('table', [answer('some/file.png', 2, 0, 1)], stream=Terminal())
  assert text == (
      'some/file.png  a very long cow 0.900\n'
      '               ant             0.500\n'
      '               bee             0.100\n')


def test_table_in_a_file_is_not_cut():
  file = 'x' * 100
  assert write('table', [answer(file, 0, 2)], top=2) == (
      f'{file}  ant             0.900  a very long cow 0.100\n')


def test_json_lines():
  given = [answer('é.png', 0, 1), writers.Answer('torn.png', error='torn')]
  text = write('json', given, top=2)
  assert 'é' in text
  assert list(map(json.loads, text.splitlines())) == [
      {'file': 'é.png', 'error': None, 'classes': [
          {'name': 'ant', 'probability': .9},
          {'name': 'bee', 'probability': .1}]},
      {'file': 'torn.png', 'classes': [], 'error': 'torn'}]
  moment, = write('json', [answer('a', 0, seconds=.25)], 1, is_streaming=True
                  ).splitlines()
  assert json.loads(moment)['seconds'] == .25


def test_csv_rows():
  given = [answer('a,b.png', 0, 1),
           writers.Answer('torn.png', error='torn, cut')]
  rows = list(csv.DictReader(io.StringIO(write('csv', given, top=2))))
  assert rows[0] == {
      'file': 'a,b.png', 'class_1': 'ant', 'probability_1': '0.900000',
      'class_2': 'bee', 'probability_2': '0.100000', 'error': ''}
  assert rows[1]['class_1'] == '' and rows[1]['error'] == 'torn, cut'
  text = write('csv', [answer('a', 0, seconds=1.5)], 1, is_streaming=True)
  assert text == ('file,seconds,class_1,probability_1,error\n'
                  'a,1.500,ant,0.900000,\n')


def test_table_of_a_stream_shows_changes_and_the_end():
  moments = [answer('a.mp4', i, seconds=s)
             for s, i in enumerate([0, 0, 1, 1, 1])]
  assert write('table', moments, 1, is_streaming=True) == (
      'a.mp4\n   0:00.00  ant             0.900\n'
      '   0:02.00  bee             0.900\n'
      '   0:04.00  bee             0.900\n')
  torn = [writers.Answer('a.mp4', error='torn')]
  assert write('table', torn, 1, is_streaming=True) == ''


def test_moment_is_minutes_and_seconds():
  assert writers.moment(7.254) == '0:07.25'
  assert writers.moment(59.999) == '1:00.00'


def test_printable_gives_one_line_of_text():
  assert writers.printable(os.fsdecode(b'\xff\n.png')) == '\ufffd\ufffd.png'


def test_unknown_format_is_refused():
  with pytest.raises(errors.UserError, match="'jso'. Known: json, "):
    writers.check_format('jso')
  writers.check_format('csv')


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1', 'utf-8'])
@pytest.mark.parametrize('output_format', writers.FORMATS)
def test_any_terminal_encoding_is_supported(output_format, encoding):
  """The command line replaces what a terminal cannot encode."""
  class Encoded(io.TextIOWrapper):
    def isatty(self):
      return True

  stream = Encoded(io.BytesIO(), encoding, errors='backslashreplace')
  names = ['na\u00efve class with a long name' * 3, '\u72ac']
  writer = writers.FORMATS[output_format](
      stream, ['caf\u00e9.png'], names, 2, False)
  writer.write(writers.Answer('caf\u00e9.png', [(n, .5) for n in names]))
  text = stream.buffer.getvalue().decode(encoding)
  if output_format == 'json':
    found = json.loads(text)
    assert found['file'] == 'caf\u00e9.png'
    assert [each['name'] for each in found['classes']] == names
  else:
    assert ('caf\u00e9.png' in text) == (encoding != 'ascii')
    assert ('\u72ac' in text) == (encoding == 'utf-8')
  if output_format == 'table':
    assert ('\u2026' if encoding == 'utf-8' else '~') in text
