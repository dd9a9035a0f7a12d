"""The decoder process: whatever becomes of it, the caller gets an answer of ours and the next call works."""

import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from node.child import Child
from node.demo.phantom import make_series
from node.errors import NodeError, Refuse, Retry

READY, SAME = "node.dicom.compare:ready", "node.dicom.compare:same_pixels"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=3)[0]


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with closing(Child(memory_mb=2048, seconds=30)) as warm:
        warm.warm()
        yield warm


def pid(child: Child) -> int:
    assert child._process is not None
    return child._process.pid


def works(child: Child, image: Path) -> bool:
    return child.call(SAME, {"paths": [str(image)] * 2}) == {"same": True}


def waiting_call(child: Child, fifo: Path) -> NodeError | None:
    """A call that hangs: the file it is to read is a pipe that nobody writes to."""
    try:
        child.call(SAME, {"paths": [str(fifo)] * 2})
    except NodeError as error:
        return error
    return None


def hang(folder: Path) -> Path:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    return fifo


def test_one_warm_process_serves_call_after_call(child: Child, image: Path) -> None:
    assert works(child, image)
    first = pid(child)
    assert works(child, image)
    assert pid(child) == first


def test_what_the_function_raises_arrives_as_the_same_class_with_its_fix(child: Child, tmp_path: Path) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"\0" * 500)

    with pytest.raises(Refuse, match="no DICOM Part 10 file") as caught:
        child.call(SAME, {"paths": [str(broken)] * 2})
    assert caught.value.fix.startswith("Send it through DICOM")


def test_a_disk_error_is_worth_another_try(child: Child, tmp_path: Path) -> None:
    with pytest.raises(Retry, match="disk error: No such file"):
        child.call(SAME, {"paths": [str(tmp_path / "missing.dcm")] * 2})


def test_a_fault_of_the_parser_is_the_inputs_and_names_no_value(child: Child, image: Path) -> None:
    with pytest.raises(Refuse, match=r"The input broke compare\.py:\d+ \(KeyError\)\. It is kept; report it\."):
        child.call(SAME, {"secret": "DOE^JOHN"})
    assert works(child, image)


@pytest.mark.parametrize("function", ["os:abort", "node.spool:sync_folder", "subprocess:run"])
def test_nothing_but_the_dicom_code_runs_there(function: str, image: Path) -> None:
    with closing(Child(memory_mb=2048, seconds=30)) as child:
        with pytest.raises(Refuse, match="The decoder process ended with status 1"):
            child.call(function, {})
        assert works(child, image)


def test_a_child_that_is_killed_in_mid_call_is_worth_another_try(tmp_path: Path, image: Path) -> None:
    fifo = hang(tmp_path)
    with closing(Child(memory_mb=2048, seconds=30)) as child:
        child.warm()
        killer = threading.Timer(0.3, os.kill, (pid(child), signal.SIGKILL))
        killer.start()
        error = waiting_call(child, fifo)
        killer.join()

        assert isinstance(error, Retry)
        assert "was killed" in error.message
        assert works(child, image)


def test_a_child_that_crashes_on_an_input_refuses_the_input(tmp_path: Path, image: Path) -> None:
    fifo = hang(tmp_path)
    with closing(Child(memory_mb=2048, seconds=30)) as child:
        child.warm()
        crash = threading.Timer(0.3, os.kill, (pid(child), signal.SIGSEGV))  # as a decoder in C does
        crash.start()
        error = waiting_call(child, fifo)
        crash.join()

        assert isinstance(error, Refuse)
        assert error.message == "The decoder process ended by signal SIGSEGV on this input."
        assert works(child, image)


def test_a_child_that_died_between_calls_is_replaced_unseen(child: Child, image: Path) -> None:
    old = pid(child)
    os.kill(old, signal.SIGKILL)
    until = time.monotonic() + 5
    while child._process is not None and child._process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)

    assert works(child, image)
    assert pid(child) != old


def test_a_call_that_takes_too_long_is_stopped_and_names_the_setting(tmp_path: Path, image: Path) -> None:
    fifo = hang(tmp_path)
    with closing(Child(memory_mb=2048, seconds=5)) as child:
        child.warm()
        child._seconds = 0.5  # the start, with its imports, had the longer time
        began = time.monotonic()
        error = waiting_call(child, fifo)

        assert 0.4 < time.monotonic() - began < 3.0
        assert isinstance(error, Refuse)
        assert str(error) == (
            "Decoding took longer than 0.5 s and was stopped. Raise decoder.seconds if the series is that large."
        )
        child._seconds = 5
        assert works(child, image)


def test_an_input_that_needs_too_much_memory_is_refused_and_the_next_one_served(tmp_path: Path, image: Path) -> None:
    large, meta = tmp_path / "large.dcm", image.read_bytes()
    start = meta.index(b"\x08\x00", 132 + 150)  # behind File Meta Information
    with large.open("wb") as file:  # 900 MB on no disk: one element that is read whole is beyond the limit
        file.write(meta[:start] + struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 900 << 20))
        file.truncate(901 << 20)
    with closing(Child(memory_mb=700, seconds=60)) as child:
        with pytest.raises(Refuse, match=r"needs more memory than decoder\.memory_mb\. Raise it\."):
            child.call(SAME, {"paths": [str(large)] * 2})
        assert works(child, image)


def test_calls_from_several_threads_take_turns(child: Child, image: Path) -> None:
    answers: list[bool] = []
    callers = [threading.Thread(target=lambda: answers.append(works(child, image))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)

    assert answers == [True] * 8


def test_the_child_outlives_the_thread_that_called_first_and_ends_with_close(image: Path) -> None:
    child = Child(memory_mb=2048, seconds=30)
    caller = threading.Thread(target=child.warm)
    caller.start()
    caller.join()
    first = pid(child)
    time.sleep(0.1)
    assert works(child, image)
    assert pid(child) == first

    child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
