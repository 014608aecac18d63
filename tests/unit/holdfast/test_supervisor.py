"""Lines of `up`, and when a child is started again."""

import contextlib
import io
import os
import re
import signal
import socket
import sys

import pytest

from holdfast import sockets
from holdfast.errors import ConfigError
from holdfast.supervisor import child as children
from holdfast.supervisor.child import Child, _printable, command
from holdfast.supervisor.console import Console
from holdfast.supervisor.family import spoken


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_when_who_and_what_and_is_plain_in_a_file() -> None:
    stream = io.StringIO()
    Console(stream).line("worker-1", "takes run 7")
    assert re.fullmatch(r"\d\d:\d\d:\d\d worker-1   │ takes run 7\n", stream.getvalue())


def test_a_terminal_gets_colours_unless_no_color_asks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    Console(coloured).line("web", "x")
    monkeypatch.setenv("NO_COLOR", "1")
    Console(plain).line("web", "x")
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[" not in plain.getvalue()


def test_a_reader_that_went_away_is_no_reason_to_stop() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    console = Console(stream)
    console.line("web", "x")
    console.line("web", "y")
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_what_a_child_prints_cannot_move_the_cursor() -> None:
    assert _printable(b"\x1b[2Jgone\x07 \xff\tend\r\n") == " [2Jgone  �\tend"


def test_an_endless_line_is_cut() -> None:
    text = _printable(b"x" * 100_000)
    assert text.endswith("… (100000 characters)")
    assert len(text) < children.LINE_LIMIT + 50


def test_a_command_is_found_whatever_the_current_folder_holds() -> None:
    assert command("work", "--pool", "gpu") == [sys.executable, "-P", "-m", "holdfast", "work", "--pool", "gpu"]


def test_pauses_between_restarts_grow_to_a_limit() -> None:
    pauses = []
    restless = Child("restless", ["version"], dict(os.environ))
    for _ in range(9):
        restless.start()
        assert restless._process is not None
        restless._process.kill()
        restless._process.wait()
        restless.bury(lambda text: None)
        assert restless.due is not None
        pauses.append(restless._pause)
    assert pauses == [0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_a_child_says_its_last_words_and_its_exit_code() -> None:
    said: list[str] = []
    brief = Child("brief", ["version"], dict(os.environ), lasting=False)
    brief.start()
    assert brief._process is not None
    assert brief._process.wait(60) == 0
    brief.bury(said.append)
    assert len(said) == 1
    assert re.fullmatch(r"5\.2\.\d+", said[0])
    assert (brief.running, brief.due) == (False, None)


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (2, "exit code 2"), (-signal.SIGKILL, "killed by SIGKILL")]
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert spoken(code) == words


def test_a_taken_port_is_named_and_the_next_free_one_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(sockets.PortTaken, match=f"--port {port}: it is taken"):
            sockets.listen("127.0.0.1", port)
        with sockets.listen_near("127.0.0.1", port) as found:
            assert sockets.port_of(found) > port


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 70_000, "--port 70000: it must be from 0 to 65535"),
        ("127.0.0.1", -1, "--port -1: it must be from 0 to 65535"),
        ("192.0.2.1", 0, "--host 192.0.2.1 --port 0: Cannot assign requested address"),
        ("no such host", 0, "--host no such host: "),
    ],
)
def test_an_address_that_is_not_ours_is_one_line(host: str, port: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sockets.listen(host, port)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
