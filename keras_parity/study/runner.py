"""Runs the trainings of a study one by one, each in a separate process."""

import json
import os
import select
import subprocess
import sys
import tempfile
from contextlib import suppress

from keras_parity.study.jobs import die_with_the_parent

SECONDS_TO_STOP = 10


class Runner:
    """Forks trainings from servers that have imported a framework, one for each framework; ``close`` ends the servers.

    Other commands are started as new processes, and so is every command if a fork would not be safe.
    """

    def __init__(self) -> None:
        self._servers: dict[str, subprocess.Popen[str] | None] = {}

    def run(self, framework: str, command: list[str]) -> str:
        """Runs a command to its end.

        Args:
            framework: What a server has to import for the command.
            command: Path of Python, ``"-m"``, package and arguments.

        Returns:
            The last line that it prints; its exit code if it prints nothing; or that its server has died.
        """
        with tempfile.NamedTemporaryFile() as output:
            if server := self._server(framework, command):
                code = _ask(server, json.dumps([output.name, *command[2:]]))
                if not code:
                    return self._died(framework)
            else:
                code = str(self._start(command, output.fileno()))
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
        return (lines or [f"exit code {code}"])[-1]

    def close(self) -> None:
        """Ends the servers, and any training that still runs."""
        for server in filter(None, self._servers.values()):
            _end(server)

    def _died(self, framework: str) -> str:
        """Forgets a server that has died, so that the next command starts another; returns the reason to print."""
        server = self._servers.pop(framework)
        assert server
        _end(server)
        return f"the server process of {framework} has died (exit code {server.returncode}), and this training with it"

    def _server(self, framework: str, command: list[str]) -> subprocess.Popen[str] | None:
        if command[1] != "-m" or not sys.platform.startswith("linux"):
            return None
        if framework not in self._servers:
            server = subprocess.Popen(
                [sys.executable, "-m", "keras_parity.study.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                preexec_fn=die_with_the_parent,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # numpy's thread would make forks unsafe
            )
            self._servers[framework] = server if _ask(server, framework) == "1" else None
            if self._servers[framework] is None:
                _end(server)
        return self._servers[framework]

    @staticmethod
    def _start(command: list[str], output: int) -> int:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=die_with_the_parent)
        try:
            return process.wait()
        except KeyboardInterrupt:
            with suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_STOP)
            raise
        finally:
            process.kill()


def _ask(server: subprocess.Popen[str], question: str) -> str:
    """Sends a server a line, and returns the line that it answers; an empty one if it has died."""
    assert server.stdin
    assert server.stdout
    try:
        with suppress(BrokenPipeError):
            print(question, file=server.stdin, flush=True)
        return server.stdout.readline().strip()
    except KeyboardInterrupt:  # the terminal interrupts the training as well
        select.select([server.stdout], [], [], SECONDS_TO_STOP)
        raise


def _end(server: subprocess.Popen[str]) -> None:
    with suppress(BrokenPipeError), server:
        server.kill()
