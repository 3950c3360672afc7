"""A read may wait for so long; nothing else that the greenlet does is counted."""

import gevent
import pytest
from gevent.event import Event as Signal

from millrace.worker.providers.read_timeout import ReadTimeout


def test_a_read_that_brings_nothing_is_ended() -> None:
    with ReadTimeout(0.05) as silence, gevent.Timeout(30):
        silence.waits()
        with pytest.raises(TimeoutError, match=r"said nothing for 0\.05 s"):
            Signal().wait()


def test_each_read_may_take_as_long_anew() -> None:
    with ReadTimeout(1.0) as silence:
        for _ in range(5):
            silence.waits()
            gevent.sleep(0.3)
            silence.hears()


def test_what_is_waited_for_between_two_reads_may_take_its_time() -> None:
    with ReadTimeout(0.05) as silence, gevent.Timeout(30):
        silence.waits()
        silence.hears()
        gevent.sleep(0.2)
        silence.waits()
        with pytest.raises(TimeoutError):
            Signal().wait()


def test_after_the_stream_nothing_is_raised_any_more() -> None:
    with ReadTimeout(0.05) as silence:
        silence.waits()
    gevent.sleep(0.2)
