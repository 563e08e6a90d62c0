"""Imports a framework once, and forks itself for every training of a study.

``python -m keras_parity.study.server`` reads the framework, then one command per line, a JSON list
``[output, module, *arguments]``. It runs each in a child process like ``python -m module``, redirects its output to the
file ``output``, and prints its exit code. A fork is safe while a process has one thread, so the server first prints how
many it has.
"""

import json
import os
import runpy
import signal
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path

from cnn_mnist.frameworks import importing_lightning
from cnn_mnist.runs import timing
from cnn_mnist.runs.folder import PYTORCH
from keras_parity.frameworks import RUN_NAMES, importing_keras
from keras_parity.study.jobs import die_with_the_parent

_TWIN = "keras_parity.twin.train"
PRELOADED = {
    PYTORCH: (importing_lightning, "cnn_mnist.pytorch.cli"),
    **{name: (partial(importing_keras, backend, alone=True), _TWIN) for backend, name in RUN_NAMES.items()},
}
"""For the commands of each framework: the context of the import, and the module to import."""


def main() -> None:
    """Serves until its input ends; in a child process, returns when its training has ended."""
    framework, start = sys.stdin.readline().strip(), time.perf_counter()
    importing, preloaded = PRELOADED[framework]
    with importing():
        import_module(preloaded)
    spent = time.perf_counter() - start
    print(len(list(Path("/proc/self/task").iterdir())), flush=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the training as well
    for line in sys.stdin:
        child = os.fork()
        if not child:
            output, *command = json.loads(line)
            _become(output, command, time.perf_counter() - spent)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(output: str, command: list[str], started: float) -> None:
    """Runs a command in this child, as if it had started at ``started``: its set-up time includes the import."""
    die_with_the_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    timing.imported = started
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
