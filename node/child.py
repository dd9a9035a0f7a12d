"""A warm child process with limits, for everything that parses or decodes what was received.

Decoders do crash (RELIABILITY §0.4): the child may die, the node must not. A request names a function and a JSON-able
dict; arrays travel as files. Each child serves one request at a time and is replaced when it dies or runs out of time.
"""

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import node.errors
from node import lane
from node.errors import NodeError, Refuse, Retry

_PR_SET_PDEATHSIG: Final = 1
_ALLOWED: Final = ("node.dicom.", "node.registering", "node.worklist.objects.")


class Child:
    """One child, started on first use (or by `warm`). Calls from several threads take turns.

    memory_mb: address space of the child (RLIMIT_AS)
    seconds:   wall-clock and CPU limit of one request
    doing:     what messages call its work
    nice:      by how much it stands back for others who want a core (nice(2)), 0 to 19
    urgent:    another child that gets the requests of the urgent lane, so that they wait for none of this one's
    """

    def __init__(
        self,
        *,
        memory_mb: int,
        seconds: float,
        doing: str = "Decoding",
        nice: int = 0,
        urgent: "Child | None" = None,
    ) -> None:
        self._memory_mb, self._seconds, self._doing = memory_mb, seconds, doing
        self._nice, self._urgent = nice, urgent
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        # The child dies with the thread that started it (prctl(2)): this one lives as long as the object.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")

    def warm(self, *modules: str) -> None:
        """Start the child now and wait until its imports are done. modules: what it is to import beside decoding"""
        self.call("node.dicom.compare:ready", {"modules": modules})

    def call(self, function: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run `package.module:function` with a request.

        raises: the same NodeError that the function raised; Refuse if the child died or ran out of time
        """
        if self._urgent is not None and lane.is_urgent():
            return self._urgent.call(function, request)
        with self._turn:
            process = self._running()
            line = json.dumps({"function": function, "request": request}).encode() + b"\n"
            try:
                assert process.stdin is not None
                process.stdin.write(line)
                process.stdin.flush()
                answer = self._answer(process)
            except BrokenPipeError:
                answer = b""
            if not answer:
                raise self._died(process)
        reply: dict[str, Any] = json.loads(answer)
        if "error" in reply:
            kind = getattr(node.errors, reply["error"])
            raise kind(reply["message"], fix=reply["fix"])
        result: dict[str, Any] = reply["reply"]
        return result

    def close(self) -> None:
        with self._turn:
            if self._process is not None:
                self._process.kill()
                self._process.communicate()
                self._process = None
        self._starter.shutdown()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._process.communicate()  # it died while idle: close its pipes
            self._process = None
        if self._process is None:
            self._process = self._starter.submit(self._start).result()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        limits = [str(self._memory_mb), str(int(self._seconds)), str(os.getpid()), str(self._nice)]
        command = [sys.executable, "-m", "node.child", *limits]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603  ourselves

    def _answer(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        descriptor, parts, until = process.stdout.fileno(), b"", time.monotonic() + self._seconds
        poll = select.poll()  # select.select ends at descriptor 1023, and a receiver may hold more
        poll.register(descriptor, select.POLLIN)
        while not parts.endswith(b"\n"):
            if not poll.poll(max(0.0, 1000 * (until - time.monotonic()))):
                process.kill()
                process.communicate()
                self._process = None
                raise Refuse(
                    f"{self._doing} took longer than {self._seconds:g} s and was stopped.",
                    fix="Raise decoder.seconds if the series is that large.",
                )
            part = os.read(descriptor, 1 << 20)
            if not part:
                return b""
            parts += part
        return parts

    def _died(self, process: subprocess.Popen[bytes]) -> NodeError:
        process.communicate()
        self._process = None
        code = process.returncode
        if code == -signal.SIGKILL:
            # Not of its own doing: the kernel's memory killer or a person. The same request may pass next time.
            return Retry("The decoder process was killed.", fix="Check the machine's free memory.")
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return Refuse(f"The decoder process ended {how} on this input.", fix="The input is kept; report it.")


def main() -> None:
    """Serve requests from standard input until it closes."""
    memory_mb, seconds, parent, nice = (int(text) for text in sys.argv[1:5])
    die_with_parent(parent)
    os.nice(nice)
    warnings.simplefilter("ignore")  # pydicom's quote values of the data set, and standard error is the node's log
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Answers go out on a descriptor of their own: a library that prints must not break them.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        used = resource.getrusage(resource.RUSAGE_SELF)
        budget = int(used.ru_utime + used.ru_stime) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (budget, resource.RLIM_INFINITY))
        answers.write(json.dumps(_serve(json.loads(line))).encode() + b"\n")


def _serve(call: dict[str, Any]) -> dict[str, Any]:
    module, _, name = call["function"].partition(":")
    if not module.startswith(_ALLOWED):
        raise ValueError(f"{module} is not run in the child")
    try:
        return {"reply": getattr(importlib.import_module(module), name)(call["request"])}
    except NodeError as error:
        return {"error": type(error).__name__, "message": error.message, "fix": error.fix}
    except MemoryError:
        return {"error": "Refuse", "message": "Decoding needs more memory than decoder.memory_mb.", "fix": "Raise it."}
    except OSError as error:
        return {"error": "Retry", "message": f"Decoding met a disk error: {error.strerror}.", "fix": "Check the disk."}
    except Exception as error:  # noqa: BLE001  any fault of a parser on received bytes ends the job, not the child
        where = _where(error)
        return {
            "error": "Refuse",
            "message": f"The input broke {where} ({type(error).__name__}).",
            "fix": "It is kept; report it.",
        }


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "the decoder" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def die_with_parent(parent: int) -> None:
    """End this process with the process that started it, however that one ends (Linux prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it ended before the call above


if __name__ == "__main__":
    main()
