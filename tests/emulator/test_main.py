"""Tests of the process `python -m deploy.emulator`."""

import signal
import subprocess

import pytest

from tests.emulator.harness import connect, converse_body, emulate, request_bytes
from tests.emulator_process import EmulatorProcess


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_the_process_at_once_even_with_an_open_stream(number: signal.Signals) -> None:
    with EmulatorProcess() as emulator, connect(emulator.url) as client:
        client.sendall(request_bytes("converse-stream", converse_body(emulate(fault="stall"))))
        emulator.wait_for(lambda calls: len(calls) == 1)
        emulator.process.send_signal(number)
        try:
            assert emulator.process.wait(30) == 0
        except subprocess.TimeoutExpired:
            pytest.fail("the process does not stop")
