"""Videos as streams, and how one is played: late after a deadline, newest first."""

import itertools
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from edgesplit.caller.data.example import Example
from edgesplit.caller.data.newest import Newest
from edgesplit.caller.data.open_data import open_data
from edgesplit.caller.data.playback import Playback
from edgesplit.errors import InputError

FRAMES, FRAMES_PER_S = 12, 20.0
LIMIT_S = 30  # of a wait that a mistake would make endless


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A short video, each frame of one colour: red falls, green rises, blue is none."""
    path = str(tmp_path_factory.mktemp("video") / "clip.avi")
    kind = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, kind, FRAMES_PER_S, (64, 48))
    for count in range(FRAMES):
        writer.write(np.full((48, 64, 3), (0, 20 * count, 255 - 20 * count), np.uint8))
    writer.release()
    return path


def test_frames_of_a_video(clip):
    stream = open_data(clip)
    assert (stream.frames_per_s, stream.deadline_s, stream.is_live) == (20.0, 0.05, False)
    examples = list(stream)
    assert len(examples) == FRAMES
    assert (examples[3].x.shape, examples[3].label) == ((1, 3, 48, 64), None)
    assert examples[3].origin == f"{clip} frame 3"
    for count, example in enumerate(examples):
        red, green, blue = example.x[0, :, 20, 20].tolist()
        wanted = (255 - 20 * count, 20 * count, 0)
        assert np.allclose((red, green, blue), wanted, atol=6), "JPEG is not exact"


def test_the_beginning_of_a_video(clip):
    assert [example.origin[-1] for example in open_data(clip).first(3)] == ["0", "1", "2"]
    assert len(list(open_data(clip).first(1000))) == FRAMES
    with pytest.raises(InputError, match="the number of frames"):
        open_data(clip).first(0)


def test_frames_over_the_limit_are_not_decoded(clip, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="64 x 48 pixels, over the limit of 100"):
        open_data(clip)


def test_a_broken_video_is_one_error(tmp_path):
    """In a process of its own: FFmpeg asks once, at its first use, how much it is to say."""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    code = (
        "import sys\nfrom edgesplit import open_data\n"
        "try:\n    open_data(sys.argv[1])\nexcept Exception as error:\n"
        "    print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(cut)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.stdout.startswith("InputError '"), ran.stderr) == (True, "")
    assert "cut.mp4' cannot be read as a video" in ran.stdout


def test_the_newest_takes_the_place_of_what_waits():
    newest = Newest()
    for thing in (1, 2, 3):
        newest.put(thing)
    assert (newest.take(), newest.dropped) == (3, 2)
    newest.put(4)
    newest.close()
    assert (newest.take(), newest.take(), newest.take()) == (4, None, None)
    assert newest.dropped == 2


def test_an_error_comes_after_what_was_put():
    newest = Newest()
    newest.put(1)
    newest.close(InputError("the camera was unplugged"))
    assert newest.take() == 1
    with pytest.raises(InputError, match="unplugged"):
        newest.take()


class Scripted:
    """A stream of numbers that says when its last one was taken."""

    def __init__(self, n, is_live=True, frames_per_s=1e9):
        self.is_live, self.frames_per_s, self._n = is_live, frames_per_s, n
        self.is_read = threading.Event()

    def __iter__(self):
        for count in range(self._n):
            yield Example(None, None, f"frame {count}")
        self.is_read.set()


def test_frames_that_come_during_an_answer_are_dropped_but_the_newest():
    stream = Scripted(10)
    playback = Playback(stream, deadline_s=LIMIT_S)
    seen = []
    for frame in playback.frames():
        assert stream.is_read.wait(LIMIT_S)  # an answer that takes as long as the whole stream
        seen.append(frame.example.origin)
        playback.was_answered(frame)
    assert seen[-1] == "frame 9"
    assert len(seen) <= 2
    assert (playback.answered, playback.late) == (len(seen), 0)
    assert playback.answered + playback.dropped == 10


def test_a_frame_is_late_after_its_deadline():
    """By a clock that the test moves: due at 0, 1, 2, ... frames per second."""
    now = itertools.count()
    playback = Playback(Scripted(1), deadline_s=0.5, clock=lambda: float(next(now)))
    (frame,) = playback.frames()
    found = playback.was_answered(frame)
    assert found.latency_s >= 1
    assert found.is_late
    assert playback.late == 1


def test_frames_of_a_file_are_due_at_its_rate():
    """Where every frame is behind already, none waits, and each is late from when it was due."""
    playback = Playback(Scripted(1, is_live=False, frames_per_s=4.0), 1.0, clock=lambda: 100.0)
    (frame,) = playback.frames()
    assert frame.due_s == 100.0
    assert playback.was_answered(frame).latency_s == 0


def test_a_playing_that_is_left_ends_its_reading():
    before = threading.active_count()
    playback = Playback(Scripted(10**9), deadline_s=1.0)
    frames = playback.frames()
    next(frames)
    frames.close()
    assert threading.active_count() == before


def test_what_reading_raises_is_raised():
    class Broken(Scripted):
        def __iter__(self):
            yield Example(None, None, "frame 0")
            raise InputError("the file ends too soon")

    playback = Playback(Broken(1), deadline_s=1.0)
    with pytest.raises(InputError, match="ends too soon"):
        list(playback.frames())
