"""Tests of the HTTP connection through raw sockets: requests, resets, and readers that leave."""

import json
import socket
import time

from tests.emulator.harness import connect, converse_body, emulate, read_until_reset, request_bytes, wait_until_paused
from tests.emulator_process import EmulatorProcess


def test_bytes_that_are_not_http_are_a_bad_request(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as client, client.makefile("rb") as reader:
        client.sendall(b"\x16\x03\x01 what\r\n\r\n")
        assert reader.readline() == b"HTTP/1.1 400 Bad Request\r\n"


def test_body_over_bedrocks_limit_is_rejected_before_it_is_read(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as client, client.makefile("rb") as reader:
        client.sendall(b"POST /model/m/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n")
        assert reader.readline().startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_are_answered_in_order(emulator: EmulatorProcess) -> None:
    requests = [request_bytes("converse", converse_body(emulate(text=f"answer {number}"))) for number in range(3)]
    with connect(emulator.url) as client, client.makefile("rb") as reader:
        client.sendall(b"".join(requests))
        for number in range(3):
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = dict(line.rstrip().lower().split(b": ", 1) for line in iter(reader.readline, b"\r\n"))
            answer = json.loads(reader.read(int(headers[b"content-length"])))
            assert answer["output"]["message"]["content"] == [{"text": f"answer {number}"}]
            assert answer["stopReason"] == "end_turn"


def test_reset_does_not_discard_the_bytes_sent_before(emulator: EmulatorProcess) -> None:
    with connect(emulator.url, receive_buffer=8192) as client:
        script = emulate(tokens=4, chars=300_000, fault="disconnect", at=3)
        client.sendall(request_bytes("converse-stream", converse_body(script)))
        emulator.wait_for(lambda calls: [call["ended"] for call in calls] == ["fault"])
        assert len(read_until_reset(client)) > 900_000


def test_reader_that_leaves_between_deltas_is_noticed_at_once(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as client:
        client.sendall(request_bytes("converse-stream", converse_body(emulate(tokens=100, rate=0.02))))
        emulator.wait_for(lambda calls: [call["deltas_sent"] for call in calls] == [1])
        left = time.time()
    (call,) = emulator.wait_for(lambda calls: calls[0]["ended"] is not None)
    assert call["ended"] == "closed_by_client"
    assert call["ended_at"] - left < 10
    assert call["deltas_sent"] <= 2


def test_reader_that_leaves_before_the_first_delta_is_noticed_at_once(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as client:
        client.sendall(request_bytes("converse-stream", converse_body(emulate(tokens=1, first_delay=600))))
        emulator.wait_for(lambda calls: len(calls) == 1)
    emulator.wait_for(lambda calls: calls[0]["ended"] == "closed_by_client")


def test_half_closed_connection_counts_as_lost_even_with_unsent_bytes(emulator: EmulatorProcess) -> None:
    with connect(emulator.url, receive_buffer=65536) as client:
        client.sendall(request_bytes("converse-stream", converse_body(emulate(tokens=20_000, chars=1000))))
        wait_until_paused(emulator)
        client.shutdown(socket.SHUT_WR)
        emulator.wait_for(lambda calls: calls[0]["ended"] == "closed_by_client")
