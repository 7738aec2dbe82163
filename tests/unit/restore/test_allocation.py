"""Blocks allocated ahead: what a file holds stays, what is refused is told at once, and one that cannot is let be."""

import errno
import os
import resource

import pytest

from holdfast.restore.allocation import allocate


@pytest.fixture
def descriptor(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_blocks_are_there_and_the_content_stays(descriptor):
    os.pwrite(descriptor, b"content", 5000)
    os.ftruncate(descriptor, 1 << 20)
    allocate(descriptor, 1 << 20)
    facts = os.fstat(descriptor)
    assert facts.st_size == 1 << 20
    assert facts.st_blocks * 512 >= 1 << 20
    assert os.pread(descriptor, 9, 4999) == b"\0content\0"


def test_more_than_may_be_allocated_is_an_error(descriptor):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            allocate(descriptor, 1 << 21)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_nothing_can_be_allocated_it_is_let_be():
    with open("/proc/self/comm", "r+b", buffering=0) as file:
        allocate(file.fileno(), 1 << 20)
