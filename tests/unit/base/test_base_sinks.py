import json
from pathlib import Path

import pytest

from hanlin.base.errors import DiskError
from hanlin.base.sinks import ConsoleSink, JsonlSink, TensorBoardSink


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text("utf-8").split("\n")[:-1]]


def test_one_line_a_step_is_there_at_once(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    sink = JsonlSink(path, 0)
    sink.write(1, {"loss": 2.5, "note": "损失\u2028"})
    assert json.loads(path.read_text("utf-8")) == {"step": 1, "loss": 2.5, "note": "损失\u2028"}
    sink.close()


def test_a_resumed_run_drops_later_lines_and_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path, 0)
    for step in (1, 2, 3, 4):
        sink.write(step, {"note": "a\u2028b\x85c"})  # line ends to Python, not to JSONL
    sink.close()
    sink = JsonlSink(path, 2)
    sink.write(3, {"loss": 1.0})
    sink.close()
    assert steps(path) == [1, 2, 3]
    assert json.loads(path.read_text("utf-8").split("\n")[2]) == {"step": 3, "loss": 1.0}


def test_a_half_written_last_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"step": 3, "n": "\xe6')
    JsonlSink(path, 9).close()
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_only_half_a_line_leaves_an_empty_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"st')
    JsonlSink(path, 9).close()
    assert path.read_bytes() == b""


def test_tensorboard_files_hold_the_numbers(tmp_path):
    from tensorboardX.event_file_writer import directory_check  # noqa: F401 - the extra is installed here

    sink = TensorBoardSink(tmp_path, 0)
    sink.write(1, {"loss": 2.5, "note": "x"})
    sink.close()
    (file,) = tmp_path.iterdir()
    assert b"loss" in file.read_bytes()
    assert b"note" not in file.read_bytes()


def test_the_console_gets_no_line_on_standard_output(capsys):
    ConsoleSink().write(3, {"loss": 2.123456})
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_as_one(tmp_path):
    sink = JsonlSink(tmp_path / "metrics.jsonl", 0)
    sink._file.close()
    sink._file = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - it cannot be flushed, so not closed
    with pytest.raises(DiskError, match=r"metrics\.jsonl: No space left"):
        sink.write(1, {"loss": 2.5})


def test_tensorboard_files_hold_texts_that_are_given_as_such(tmp_path):
    sink = TensorBoardSink(tmp_path, 0)
    sink.write_text(1, "sample The", "academy of words")
    sink.close()
    assert b"academy of words" in next(tmp_path.rglob("events*")).read_bytes()
