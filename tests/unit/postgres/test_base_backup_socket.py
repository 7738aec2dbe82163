"""What a server sends of a base backup, read from the socket however it is cut, and however much is asked for."""

import itertools
import os
import socket
import struct
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InterruptedRunError, ServerUnreachableError, VerificationError
from holdfast.postgres import base_backup_channel, base_backup_socket
from holdfast.postgres.base_backup_archives import Archives
from holdfast.postgres.base_backup_channel import AnswerKind, Patience
from holdfast.postgres.base_backup_socket import SocketChannel


def message(kind, content=b""):
    return kind + struct.pack(">I", len(content) + 4) + content


def data(content):
    return message(b"d", b"d" + content)


COPY = message(b"H", b"\0\0\0")
ARCHIVE = message(b"d", b"nbase.tar\0\0")
PROGRESS = message(b"d", b"p" + bytes(8))
NOTICE = message(b"N", b"SWARNING\0C01000\0Ma page is wrong\0\0")
PARAMETER = message(b"S", b"TimeZone\0UTC\0")
END = message(b"c") + message(b"C", b"SELECT\0") + message(b"Z", b"I")


@contextmanager
def sent(content, cuts=(), wake_s=1.0):
    """A channel to a server that sends this, cut at some places, and then nothing more."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    bounds = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]

    def send():
        for first, end in itertools.pairwise(bounds):
            theirs.sendall(content[first:end])

    sender = threading.Thread(target=send)
    sender.start()
    channel = SocketChannel(ours.fileno())
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(wake_s), int(wake_s % 1 * 1_000_000)))
    try:
        yield channel
    finally:
        channel.close()
        ours.close()
        sender.join(30)
        theirs.close()


def read_all(channel, lengths):
    """Read up to the end of an archive, into buffers of given lengths in turn."""
    found, number = bytearray(), 0
    while True:
        buffer = memoryview(bytearray(lengths[number % len(lengths)]))
        count = channel.read(buffer)
        if not count:
            return bytes(found)
        found += buffer[:count]
        number += 1


BY_THE_WAY = st.sampled_from([PROGRESS, NOTICE, PARAMETER])
CONTENTS = st.tuples(st.sampled_from([0, 1, 7, 512, 3000]), st.integers(1, 40), st.binary(min_size=1, max_size=5))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(CONTENTS, BY_THE_WAY), max_size=12),
    st.lists(st.integers(0, 1 << 20), max_size=9),
    st.lists(st.integers(1, 20_000), min_size=1, max_size=4),
)
def test_data_comes_as_it_was_sent(parts, cuts, lengths):
    stream, expected = [COPY, ARCHIVE], []
    for part in parts:
        if isinstance(part, bytes):
            stream.append(part)
            continue
        size, count, seed = part
        contents = [(seed * (size // len(seed) + 1))[number % 3 :][:size] for number in range(count)]
        stream += [data(content) for content in contents]
        expected += contents
    stream += [ARCHIVE, data(b"next"), END]
    with sent(b"".join(stream), cuts) as channel:
        assert channel.answer().kind is AnswerKind.COPY
        assert read_all(channel, [100]) == b""
        assert channel.opening() == b"nbase.tar\0\0"
        assert read_all(channel, lengths) == b"".join(expected)
        assert channel.opening() == b"nbase.tar\0\0"
        assert read_all(channel, lengths) == b"next"
        assert channel.opening() is None
        assert channel.answer().kind is AnswerKind.DONE
        assert channel.answer() is None
        assert len(channel.notices) == parts.count(NOTICE)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(CONTENTS, BY_THE_WAY), max_size=12),
    st.lists(st.integers(0, 1 << 20), max_size=9),
    st.lists(st.integers(1, 30_000), min_size=1, max_size=4),
)
def test_data_is_scattered_to_its_place(parts, cuts, lengths):
    """Where much is to come, messages are expected to be alike, and whatever else comes is put right."""
    stream, expected = [COPY], bytearray()
    for part in parts:
        if isinstance(part, bytes):
            stream.append(part)
            continue
        size, count, seed = part
        contents = [(seed * (size // len(seed) + 1))[number % 3 :][:size] for number in range(count)]
        stream += [data(content) for content in contents]
        expected += b"".join(contents)
    with (
        pytest.MonkeyPatch.context() as patch,
        sent(b"".join([*stream, ARCHIVE, data(b"next"), END]), cuts, wake_s=0.001) as channel,
    ):
        patch.setattr(base_backup_socket, "_WORTH_SCATTERING_BYTES", 1)
        assert channel.answer().kind is AnswerKind.COPY
        found, wanted = memoryview(bytearray(len(expected))), itertools.cycle(lengths)
        at = 0
        while at < len(found):
            end = min(len(found), at + next(wanted))
            while at < end:
                count = channel.read(found[at:end])
                assert count
                at += count
        assert found == expected
        patch.undo()
        assert read_all(channel, [100]) == b""
        assert channel.opening() == b"nbase.tar\0\0"
        assert read_all(channel, [100]) == b"next"
        assert channel.opening() is None
        assert [channel.answer().kind, channel.answer()] == [AnswerKind.DONE, None]
        assert len(channel.notices) == parts.count(NOTICE)


def test_an_error_amid_scattered_data_is_the_next_answer():
    error = message(b"E", b"SERROR\0C58P01\0Mit is gone\0\0")
    content = [bytes([number]) * 32768 for number in range(20)]
    with sent(b"".join([COPY, *map(data, content), error, message(b"Z", b"I")]), wake_s=0.05) as channel:
        channel.answer()
        assert read_all(channel, [8 << 20]) == b"".join(content)
        assert channel.opening() is None
        assert channel.answer().complaint.words == "it is gone"


def test_more_than_the_stage_holds_at_once():
    content = [bytes([number % 251]) * 32768 for number in range(700)]
    with sent(b"".join([COPY, *map(data, content), END]), [5, 40_000, 1_048_576, 1_048_580]) as channel:
        channel.answer()
        assert read_all(channel, [20_000_000]) == b"".join(content)


def test_rows_and_notices():
    row = b"\0\x03" + struct.pack(">i", 4) + b"0/28" + struct.pack(">i", -1) + struct.pack(">i", 0)
    stream = message(b"T", b"\0\x03") + NOTICE + message(b"D", row) * 2 + message(b"C", b"SELECT\0")
    with sent(stream) as channel:
        answer = channel.answer()
        assert (answer.kind, answer.rows) == (AnswerKind.ROWS, ((b"0/28", None, b""),) * 2)
        assert channel.notices == ["a page is wrong"]


def test_error_in_the_midst_of_data_is_the_next_answer():
    error = message(b"E", b"SERROR\0C58P01\0Mit is gone\0Da detail\0Ha hint\0\0")
    with sent(COPY + data(b"x" * 100) + error + message(b"Z", b"I")) as channel:
        channel.answer()
        assert read_all(channel, [70_000]) == b"x" * 100
        assert channel.opening() is None
        complaint = channel.answer().complaint
        assert (complaint.state, complaint.words) == ("58P01", "it is gone")
        assert (complaint.detail, complaint.hint) == ("a detail", "a hint")
        assert channel.answer() is None


def test_lost_connection():
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        channel = SocketChannel(ours.fileno())
        theirs.sendall(COPY + data(b"x" * 100)[:50])
        channel.answer()
        theirs.close()
        with pytest.raises(ServerUnreachableError, match="closed the connection") as caught:
            read_all(channel, [100])
        assert caught.value.hint
        with pytest.raises(ServerUnreachableError):
            channel.send("BASE_BACKUP")
        channel.close()
        assert not os.get_blocking(ours.fileno())


def test_nobody_waits_any_more(monkeypatch):
    monkeypatch.setattr(base_backup_channel, "_ABANDONED_AFTER_S", 0.0)
    with sent(COPY) as channel:
        channel.answer()
        channel.patience.renew()
        with pytest.raises(InterruptedRunError):
            channel.read(memoryview(bytearray(9)))


@pytest.mark.parametrize("content", [message(b"?"), b"T" + struct.pack(">I", 3), b"T" + struct.pack(">I", 1 << 31)])
def test_what_is_no_message_is_refused(content):
    with sent(content) as channel, pytest.raises(VerificationError) as caught:
        channel.answer()
    assert caught.value.hint


class Sending(Patience):
    """Sends the next piece whenever the channel has waited in vain."""

    def __init__(self, theirs, pieces):
        super().__init__()
        self._theirs, self._pieces = theirs, iter(pieces)

    def require(self):
        piece = next(self._pieces, None)
        if piece is None:
            raise InterruptedRunError("all was sent")
        self._theirs.sendall(piece)


@contextmanager
def sent_haltingly(pieces):
    """A channel to a server that sends each piece only after the one before has been taken, and nothing came."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = SocketChannel(ours.fileno())
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 1000))
        channel.patience = Sending(theirs, pieces)
        yield channel
        channel.close()


def test_a_server_may_pause_after_any_byte():
    content = bytes(range(40))
    stream = b"".join([COPY, ARCHIVE, data(content), NOTICE, data(content), ARCHIVE, data(b"next"), END])
    with sent_haltingly(stream[at : at + 1] for at in range(len(stream))) as channel:
        assert channel.answer().kind is AnswerKind.COPY
        assert read_all(channel, [100]) == b""
        assert channel.opening() == b"nbase.tar\0\0"
        assert read_all(channel, [7, 100]) == content * 2
        assert channel.opening() == b"nbase.tar\0\0"
        assert read_all(channel, [7]) == b"next"
        assert channel.opening() is None
        assert [channel.answer().kind, channel.answer()] == [AnswerKind.DONE, None]


@pytest.mark.parametrize(
    "content",
    [
        b"d" + struct.pack(">I", 4) + b"d",
        b"d" + struct.pack(">I", 0) + b"d",
        b"d" + struct.pack(">I", (1 << 32) - 1) + b"dx",
        message(b"d") + message(b"c"),
        message(b"d", b"n"),
    ],
)
def test_lengths_that_no_message_of_data_has_are_refused(content):
    with sent(COPY + content + bytes(100)) as channel:
        channel.answer()
        with pytest.raises(VerificationError) as caught:
            list(Archives(channel, ()).members())
        assert caught.value.hint
