"""Decodes video files into JPEG frames at a constant rate.

Needs no TensorFlow, so that the processes which decode start in a moment. PyAV
does the decoding: it knows the time of every frame and raises on corrupt files,
where OpenCV, though faster, ends early without a word.
"""

import contextlib
import dataclasses
import fractions
import os
import stat
from typing import BinaryIO, Iterator, Optional, Tuple

import av
import cv2
import numpy as np

# Clips of seconds are wanted. Longer, larger or faster ones are mostly mistakes
# and would not fit into an example of TFDS.
MAX_FRAMES = 20_000
MAX_BYTES = 2**30
MAX_PIXELS = 8192 * 4320
_MAX_DECODED = 400_000
# Beyond 90 the bytes grow by half for what resizing and augmenting hide.
_JPEG_QUALITY = 90
_JPEG_MAX_SIDE = 65_500  # Of libjpeg.
# What may be missing at the end, or be undecodable, as a share and in frames.
_TOLERATED_SHARE, _TOLERATED_FRAMES = 0.02, 2
_GIF_END_BYTES = 64  # Its last one is a semicolon; zeros may follow.
# No playlists or lists of files, which would read what they name.
_FORMATS = ('mov,mp4,m4a,3gp,3g2,mj2', 'avi', 'matroska,webm', 'gif', 'mpegts',
            'mpeg', 'mpegvideo', 'flv', 'asf', 'ogg', 'h264', 'hevc')
# Those whose header says how long the file is.
_FORMATS_WITH_LENGTH = _FORMATS[:3]


class UnreadableVideoError(ValueError):
  """A file that is no readable video; the message is the reason alone."""


def decode(path: str, fps: float, short_side: int) -> Iterator[bytes]:
  """Yields the frames shown at 0, 1/fps, 2/fps, ... seconds.

  The times of the file decide, so a variable rate comes out right. Where the
  file has fewer frames they repeat: every clip has the same rate. Frames are
  turned upright and to square pixels as the file says; interlacing, alpha
  (dropped) and high dynamic range are not treated.

  Args:
    path: a local file; its content decides what it is. Of several video
      streams the first one is taken.
    fps: frames a second.
    short_side: larger frames are reduced to it, the ratio kept.

  Yields:
    JPEG files, all of one size.

  Raises:
    UnreadableVideoError: no video, cut off, corrupt, or larger than allowed.
      Possibly after many frames.
  """
  rate = fractions.Fraction(fps).limit_denominator(1001)
  with _open(path) as (container, stream):
    tick = stream.time_base or 1 / rate
    end = _announced_end(container, stream)
    if end is not None and end * rate > MAX_FRAMES:
      raise UnreadableVideoError(
          f'announces {float(end):,.0f} s, more than {MAX_FRAMES / fps:,.0f}')
    encoder = _Encoder(short_side, stream.sample_aspect_ratio)
    num_bytes = 0
    frames = _on_grid(_frames(container, stream), rate, min(tick, 1 / rate) / 2)
    for count, frame in enumerate(frames, start=1):
      data = encoder.encode(frame)
      num_bytes += len(data)
      if count > MAX_FRAMES:
        raise UnreadableVideoError(
            f'longer than {MAX_FRAMES / fps:,.0f} s')
      if num_bytes > MAX_BYTES:
        raise UnreadableVideoError(
            f'larger than {MAX_BYTES // 2**20} MiB as JPEG frames')
      yield data


@contextlib.contextmanager
def _open(path: str) -> Iterator[Tuple[av.container.InputContainer,
                                       av.VideoStream]]:
  """The container and its first video stream; all errors become ours."""
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):  # A pipe would never end.
      raise UnreadableVideoError('no regular file')
    # By a file of ours, as PyAV would take 'a:b.mp4' for a network address.
    with open(path, 'rb') as file, _open_container(file) as container:
      yield container, _find_stream(container)
  except av.FFmpegError as error:
    raise UnreadableVideoError('corrupt') from error
  except OSError as error:
    raise UnreadableVideoError(error.strerror or str(error)) from error


def _open_container(file: BinaryIO) -> av.container.InputContainer:
  size = file.seek(0, os.SEEK_END)
  if not size:
    raise UnreadableVideoError('empty file')
  file.seek(max(0, size - _GIF_END_BYTES))
  end = file.read().rstrip(b'\0')
  file.seek(0)
  try:
    container = av.open(
        file, metadata_errors='replace',  # Titles need not be UTF-8.
        options={'format_whitelist': ','.join(_FORMATS),
                 'protocol_whitelist': 'file'})
  except av.FFmpegError as error:
    raise UnreadableVideoError('no video, or its header is cut off') from error
  if container.format.name == 'gif' and not end.endswith(b';'):
    container.close()
    raise UnreadableVideoError('cut off')
  return container


def _find_stream(container) -> av.VideoStream:
  """The first one, ready to decode."""
  streams = [stream for stream in container.streams.video  # No cover pictures.
             if not stream.disposition & av.stream.Disposition.attached_pic]
  if not streams:
    raise UnreadableVideoError('no video in it')
  stream = streams[0]
  context = stream.codec_context
  if context is None:
    raise UnreadableVideoError('its codec is not known')
  if stream.width * stream.height > MAX_PIXELS:
    raise UnreadableVideoError(
        f'announces {stream.width} x {stream.height} pixels, more than '
        f'{MAX_PIXELS:,}')
  context.thread_count = 1  # The cores are busy with other videos.
  context.options = {
      'max_pixels': str(MAX_PIXELS),
      'err_detect': 'explode',  # Else torn frames pass for good ones.
  }
  return stream


def _announced_end(container, stream) -> Optional[fractions.Fraction]:
  """Seconds from the start to the end, as the header has it."""
  if container.format.name not in _FORMATS_WITH_LENGTH:
    return None  # Or libav guesses it by the size of the file.
  if stream.duration:
    return stream.duration * stream.time_base
  if container.duration:
    return fractions.Fraction(container.duration, av.time_base)
  return None


def _frames(container, stream) -> Iterator[
    Tuple[fractions.Fraction, fractions.Fraction, av.VideoFrame]]:
  """Yields (time, duration, frame), times rising; checks that all came."""
  found = _Found()
  usual = 1 / fractions.Fraction(stream.average_rate or 25)
  last_time = None
  for packet in _packets(container):
    if packet.pts is not None:
      found.file_end = max(found.file_end, packet.time_base * (
          packet.pts + (packet.duration or 0)))
    if packet.stream is not stream:
      continue
    found.num_packets += not packet.is_discard and packet.dts is not None
    try:
      frames = packet.decode()
    except av.FFmpegError:
      continue
    for frame in frames:
      if frame.is_corrupt:  # Grey or torn.
        continue
      found.num_frames += 1
      if found.num_frames > _MAX_DECODED:
        raise UnreadableVideoError(f'has more than {_MAX_DECODED:,} frames')
      found.interlaced |= frame.interlaced_frame
      time = (found.end if frame.pts is None
              else frame.pts * frame.time_base)
      duration = frame.duration * frame.time_base or usual
      found.end = max(found.end, time + duration)
      if last_time is None or time > last_time:
        last_time = time
        yield time, duration, frame
  _require_all(container, stream, found)


def _packets(container) -> Iterator[av.Packet]:
  # PyAV's, at its very end: streams that appeared midway are not in its list.
  with contextlib.suppress(IndexError):
    yield from container.demux()


@dataclasses.dataclass
class _Found:
  """What a file turned out to hold; times in seconds."""
  num_packets: int = 0
  num_frames: int = 0
  interlaced: bool = False
  end: fractions.Fraction = fractions.Fraction(0)
  file_end: fractions.Fraction = fractions.Fraction(0)


def _require_all(container, stream, found: _Found) -> None:
  """Raises UnreadableVideoError if more is missing than tolerated."""
  if not found.num_frames:
    raise UnreadableVideoError('no frame can be decoded')
  tolerated = max(_TOLERATED_FRAMES, _TOLERATED_SHARE * found.num_packets)
  lost = found.num_packets - found.num_frames
  # A packet may hold one of two interlaced fields, or, in VP8, nothing to see.
  if lost > tolerated and not (
      found.interlaced or stream.codec_context.name == 'vp8'):
    raise UnreadableVideoError(
        f'corrupt, {lost:,} of {found.num_packets:,} frames cannot be decoded')
  if container.format.name == 'avi':  # Its length is cut off with the file.
    if stream.frames - found.num_packets > tolerated:
      raise UnreadableVideoError(
          f'cut off, {found.num_packets:,} of {stream.frames:,} frames are '
          'there')
    return
  announced = _announced_end(container, stream)
  if announced is None:
    return
  if stream.duration:
    there = found.end - (stream.start_time or 0) * stream.time_base
  else:  # Of the whole file, where sound may be longer.
    there = found.file_end
  if announced - there > tolerated * there / found.num_packets:
    raise UnreadableVideoError(
        f'cut off, {float(there):.1f} of {float(announced):.1f} s are there')


def _on_grid(frames, rate: fractions.Fraction,
             tolerance: fractions.Fraction) -> Iterator[av.VideoFrame]:
  """Yields the frame on display at each multiple of 1/rate from the first.

  Args:
    frames: yields (time, duration, frame).
    rate: a second.
    tolerance: seconds by which times may be late, as files round them.
  """
  shown, start, count = None, None, 0
  for time, duration, frame in frames:
    if start is None:
      start = time
    while count < (time - tolerance - start) * rate:
      yield shown
      count += 1
    shown, end = frame, time + duration
  while count == 0 or count < (end - tolerance - start) * rate:
    yield shown
    count += 1


class _Encoder:
  """Frames of any kind to JPEG files of one size."""

  def __init__(self, short_side: int,
               pixel_ratio: Optional[fractions.Fraction]):
    self._short_side = short_side
    self._pixel_ratio = pixel_ratio or 1
    self._reformatter = av.video.reformatter.VideoReformatter()
    self._size = None
    self._last = None, b''

  def encode(self, frame: av.VideoFrame) -> bytes:
    """A JPEG file; costs nothing for the frame that came before."""
    if frame is not self._last[0]:
      self._last = frame, self._to_jpeg(frame)
    return self._last[1]

  def _to_jpeg(self, frame: av.VideoFrame) -> bytes:
    if self._size is None:
      self._size = self._target_size(frame)
    width, height = self._size
    pixels = self._reformatter.reformat(
        frame, width, height, 'bgr24',
        interpolation=av.video.reformatter.Interpolation.AREA,
        threads=1).to_ndarray()
    # The file says how far to turn it counterclockwise.
    pixels = np.rot90(pixels, round(frame.rotation / 90))
    return cv2.imencode(
        '.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )[1].tobytes()

  def _target_size(self, frame: av.VideoFrame) -> Tuple[int, int]:
    """(width, height) before turning, with square pixels."""
    width, height = frame.width, frame.height
    if 0.1 < self._pixel_ratio < 10:
      width *= self._pixel_ratio
    scale = min(1, fractions.Fraction(self._short_side) / min(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if max(size) > _JPEG_MAX_SIDE:
      raise UnreadableVideoError(
          f'has frames of {size[0]} x {size[1]} pixels, at most '
          f'{_JPEG_MAX_SIDE:,} on a side fit into JPEG')
    return size
