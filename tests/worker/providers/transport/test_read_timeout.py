"""A read timeout counts the time of each read, and nothing else that the greenlet does."""

import gevent
import pytest
from gevent.event import Event as Signal

from millrace.worker.providers.transport.read_timeout import ReadTimeout


def test_a_read_without_data_times_out() -> None:
    with ReadTimeout(0.05) as timeout, gevent.Timeout(30):
        timeout.begin_read()
        with pytest.raises(TimeoutError, match=r"no data from the model for 0\.05 s"):
            Signal().wait()


def test_each_read_has_the_whole_timeout() -> None:
    with ReadTimeout(2.5) as timeout:
        for _ in range(5):
            timeout.begin_read()
            gevent.sleep(0.6)
            timeout.end_read()


def test_time_between_two_reads_does_not_count() -> None:
    with ReadTimeout(0.05) as timeout, gevent.Timeout(30):
        timeout.begin_read()
        timeout.end_read()
        gevent.sleep(0.2)
        timeout.begin_read()
        with pytest.raises(TimeoutError):
            Signal().wait()


def test_nothing_is_raised_after_the_block() -> None:
    with ReadTimeout(0.05) as timeout:
        timeout.begin_read()
    gevent.sleep(0.2)
