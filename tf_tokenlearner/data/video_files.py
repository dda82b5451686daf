"""Decodes video files into JPEG frames at a constant rate.

Needs no TensorFlow, so that decoding processes start fast. PyAV decodes: it
reports the time of every frame and raises on corrupt files, where OpenCV,
though faster, silently ends early.
"""

import contextlib
import dataclasses
import fractions
import os
import stat
import struct
from typing import BinaryIO, Iterator, Optional, Tuple

import av
from av.sidedata import sidedata
import cv2
import numpy as np

# Clips last seconds. Longer or larger ones are mostly mistakes and would not
# fit into an example of TFDS.
MAX_FRAMES = 20_000
MAX_BYTES = 2**30
MAX_PIXELS = 8192 * 4320
_MAX_DECODED = 400_000
# Above 90 files grow by half for details that resizing and augmentation hide.
_JPEG_QUALITY = 90
_JPEG_MAX_SIDE = 65_500  # Limit of libjpeg, in pixels.
# Frames that may be missing at the end or undecodable: a share, and a number.
_TOLERATED_SHARE, _TOLERATED_FRAMES = 0.02, 2
_GIF_END_BYTES = 64  # A GIF ends with a semicolon; zeros may follow.
# Without playlists and lists of files, which would open the files they name.
_FORMATS = ('mov,mp4,m4a,3gp,3g2,mj2', 'avi', 'matroska,webm', 'gif', 'mpegts',
            'mpeg', 'mpegvideo', 'flv', 'asf', 'ogg', 'h264', 'hevc')
# Formats whose header holds the length of the video.
_FORMATS_WITH_LENGTH = _FORMATS[:3]


class UnreadableVideoError(ValueError):
  """A file that is not a readable video; the message is the reason alone."""


def decode(path: str, fps: float, short_side: int) -> Iterator[bytes]:
  """Yields the frames shown at 0, 1/fps, 2/fps, ... seconds.

  The time stamps of the file decide, so a variable rate comes out right. Frames
  of a file with fewer frames per second repeat. Frames are turned and mirrored
  as the file says, and scaled to square pixels. Interlacing and high dynamic
  range are not treated; alpha is dropped.

  Args:
    path: a local file. Its type is detected from its content. The first of
      several video streams is decoded.
    fps: frames per second of the result.
    short_side: larger frames are reduced to this shorter side, in pixels.

  Yields:
    JPEG files, all of one size.

  Raises:
    UnreadableVideoError: no video, cut off, corrupt, or larger than allowed;
      possibly after many frames.
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
    frames = _on_grid(_frames(container, stream, path), rate,
                      min(tick, 1 / rate) / 2)
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
  """Yields the container and its first video stream; translates errors."""
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):  # A pipe would never end.
      raise UnreadableVideoError('no regular file')
    # PyAV would take a path such as 'a:b.mp4' for a network address.
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
  """Returns the first video stream, ready to decode."""
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
  context.thread_count = 1  # Other processes use the other cores.
  context.options = {
      'max_pixels': str(MAX_PIXELS),
      'err_detect': 'explode',  # Otherwise torn frames pass for good ones.
  }
  return stream


def _announced_end(container, stream) -> Optional[fractions.Fraction]:
  """Returns the length in seconds that the header announces, or None."""
  if container.format.name not in _FORMATS_WITH_LENGTH:
    return None  # libav estimates it from the size of the file.
  if stream.duration:
    return stream.duration * stream.time_base
  if container.duration:
    return fractions.Fraction(container.duration, av.time_base)
  return None


def _frames(container, stream, path: str) -> Iterator[
    Tuple[fractions.Fraction, fractions.Fraction, av.VideoFrame]]:
  """Yields (time, duration, frame) in order; raises if too many are missing.

  The last frame comes twice if repetitions follow: with its own duration, then
  with the time up to the end.
  """
  found = _Found()
  usual = 1 / fractions.Fraction(stream.average_rate or 25)
  last_time, last_end, last_frame = None, None, None
  for packet in _packets(container):
    if packet.pts is not None:
      found.file_end = max(found.file_end, _end(packet))
    if packet.stream is not stream:
      continue
    if packet.dts is not None:  # The last packet has none: it flushes.
      if not packet.size:  # Repeats the last frame; decoders refuse it.
        found.end = max(found.end, _end(packet))
        continue
      found.count(packet, container.format.name)
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
        last_time, last_end, last_frame = time, time + duration, frame
        yield time, duration, frame
  _require_all(container, stream, found, path)
  if container.format.name == 'avi' and stream.duration:
    # libav skips the empty frames at the end.
    found.end = max(found.end, stream.duration * stream.time_base)
  if found.end > last_end:
    yield last_time, found.end - last_time, last_frame


def _packets(container) -> Iterator[av.Packet]:
  # At the end, PyAV fails on streams that appeared midway.
  with contextlib.suppress(IndexError):
    yield from container.demux()


def _end(packet: av.Packet) -> fractions.Fraction:
  """Returns the time in seconds when a packet's frame ends; 0 if unknown."""
  return packet.time_base * ((packet.pts or 0) + (packet.duration or 0))


@dataclasses.dataclass
class _Found:
  """Contents of a file so far; times in seconds.

  Attributes:
    num_packets: packets that should give a frame.
    num_frames: frames that were decoded.
    interlaced: some frame is interlaced.
    end: end of the last frame.
    file_end: end of the last packet of any stream.
  """
  num_packets: int = 0
  num_frames: int = 0
  interlaced: bool = False
  end: fractions.Fraction = fractions.Fraction(0)
  file_end: fractions.Fraction = fractions.Fraction(0)
  _has_key_frame: bool = False
  _first_pts: Optional[int] = None

  def count(self, packet: av.Packet, format_name: str) -> None:
    """Counts a packet, unless it refers to frames before the file's start.

    A stream that was cut out of a longer one may start inside a group of
    pictures. If the first whole group is open, the leading pictures, shown
    before its key frame, refer to the group before.
    """
    if packet.is_discard:
      return
    if not self._has_key_frame:
      if not packet.is_keyframe and format_name not in _FORMATS_WITH_LENGTH:
        return
      self._has_key_frame, self._first_pts = True, packet.pts
    if None not in (packet.pts, self._first_pts):
      self.num_packets += packet.pts >= self._first_pts
    else:
      self.num_packets += 1


def _require_all(container, stream, found: _Found, path: str) -> None:
  """Raises UnreadableVideoError if more is missing than tolerated."""
  if not found.num_frames:
    raise UnreadableVideoError('no frame can be decoded')
  tolerated = max(_TOLERATED_FRAMES, _TOLERATED_SHARE * found.num_packets)
  lost = found.num_packets - found.num_frames
  # A packet may hold one of two interlaced fields, or an invisible VP8 frame.
  if lost > tolerated and not (
      found.interlaced or stream.codec_context.name == 'vp8'):
    raise UnreadableVideoError(
        f'corrupt, {lost:,} of {found.num_packets:,} frames cannot be decoded')
  if container.format.name == 'avi':  # libav reduces its length to the file's.
    # Frames may also be empty, which repeats the one before.
    if stream.frames - found.num_packets > tolerated and _is_cut_avi(path):
      raise UnreadableVideoError(
          f'cut off, {found.num_packets:,} of {stream.frames:,} frames are '
          'there')
    return
  announced = _announced_end(container, stream)
  if announced is None:
    return
  if stream.duration:
    there = found.end - (stream.start_time or 0) * stream.time_base
  else:  # The length is that of the whole file, where sound may be longer.
    there = found.file_end
  if announced - there > tolerated * there / max(found.num_packets, 1):
    raise UnreadableVideoError(
        f'cut off, {float(there):.1f} of {float(announced):.1f} s are there')


def _is_cut_avi(path: str) -> bool:
  """Returns whether an AVI file is shorter than its RIFF chunks."""
  with open(path, 'rb') as file:
    size, end = file.seek(0, os.SEEK_END), 0
    while end + 8 <= size:
      file.seek(end)
      name, length = struct.unpack('<4sI', file.read(8))
      if name != b'RIFF':
        break
      end += 8 + length
      end += end % 2
  return end > size + 1  # The last byte may be padding that is left out.


def _on_grid(frames, rate: fractions.Fraction,
             tolerance: fractions.Fraction) -> Iterator[av.VideoFrame]:
  """Yields the frame on display at each multiple of 1/rate from the first.

  Args:
    frames: yields (time, duration, frame).
    rate: frames per second.
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
  """Converter of frames of any size and pixel format to JPEG files of one size.
  """

  def __init__(self, short_side: int,
               pixel_ratio: Optional[fractions.Fraction]):
    self._short_side = short_side
    self._pixel_ratio = pixel_ratio or 1
    self._reformatter = av.video.reformatter.VideoReformatter()
    self._size = None
    self._last = None, b''

  def encode(self, frame: av.VideoFrame) -> bytes:
    """Returns a frame as a JPEG file; encodes a repeated frame once."""
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
    return cv2.imencode(
        '.jpg', _turn_upright(pixels, frame),
        [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()

  def _target_size(self, frame: av.VideoFrame) -> Tuple[int, int]:
    """Returns (width, height) before turning, with square pixels."""
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


def _turn_upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
  """Turns and mirrors pixels [H, W, 3] as a frame's display matrix says.

  The matrix [[a, b], [c, d]] shows the pixel (x, y) at x' = a x + c y,
  y' = b x + d y (ISO/IEC 14496-12, 6.2.2); angles are rounded to quarter turns.
  """
  matrix = frame.side_data.get(sidedata.Type.DISPLAYMATRIX)
  if matrix is None:
    return pixels
  a, b, _, c, d = struct.unpack('=5i', bytes(matrix)[:20])
  if abs(b) > abs(a):  # x' comes from y, and y' from x.
    pixels, a, d = pixels.transpose(1, 0, 2), c, b
  return np.ascontiguousarray(
      pixels[::-1 if d < 0 else 1, ::-1 if a < 0 else 1])
