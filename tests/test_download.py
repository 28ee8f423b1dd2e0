"""Downloads from a server that misbehaves in every way that was met: the right file, or none and a reason."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import threading
import time

import numpy as np
import pytest

from nbutils import _download
from nbutils._download import download

FILE = gzip.compress(np.random.default_rng(0).bytes(300_000))
SHA256, MD5 = hashlib.sha256(FILE).hexdigest(), hashlib.md5(FILE).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Answers a path by its behaviours in turn, the last one again and again; a behaviour gives headers and body."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        script = self.server.scripts[self.path]
        begin = self.headers["Range"]
        begin = int(begin.removeprefix("bytes=").removesuffix("-")) if begin else None
        self.server.asked.append((self.path, begin))
        (script.pop(0) if len(script) > 1 else script[0])(self, begin)

    def answer(self, body, status=200, length=None, send=None, **headers):
        """`length` is announced, and the first `send` bytes are sent."""
        self.send_response(status)
        headers = {"Content_Length": len(body) if length is None else length, **headers}
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body[:send])


def whole(server, begin):
    server.answer(FILE, ETag='"1"')


def ranged(server, begin, tag='"1"', send=None, place=None):
    if begin is None:
        return server.answer(FILE, ETag=tag, send=send)
    said = f"bytes {begin if place is None else place}-{len(FILE) - 1}/{len(FILE)}"
    server.answer(FILE[begin:], 206, ETag=tag, Content_Range=said, send=send)


def closes_early(server, begin):
    ranged(server, begin, send=100_000)


def page(server, begin):
    server.answer(b"<html>Please prove that you are human</html>", Content_Type="text/html; charset=utf-8")


def status(code):
    return lambda server, begin: server.answer(b"", code)


@pytest.fixture
def serve(monkeypatch):
    """A function from behaviours to an address; `serve.asked` has the requests, with where they began."""
    monkeypatch.setattr(_download, "WAIT", 0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.scripts, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()

    def address(*behaviours):
        path = f"/{len(server.scripts)}/file.gz"
        server.scripts[path] = list(behaviours)
        return f"http://127.0.0.1:{server.server_port}{path}"

    address.asked = server.asked
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "file.gz"


def test_a_file_is_fetched_once(serve, path):
    url = serve(whole)
    assert download(url, path, sha256=SHA256.upper(), md5=MD5) == path and path.read_bytes() == FILE
    assert download(url, path, sha256=SHA256) == path and len(serve.asked) == 1
    assert os.listdir(path.parent) == ["file.gz"]


REFUSED = {
    "202 with an empty body": (status(202), "status 202 without a file"),
    "an empty file": (lambda s, b: s.answer(b""), "an empty file"),
    "a page": (page, "a web page instead of the file"),
    "a page that calls itself a file": (
        lambda s, b: s.answer(b"\n<!DOCTYPE html><html>", Content_Type="application/gzip"),
        "a web page instead of the file",
    ),
    "another kind of file": (lambda s, b: s.answer(b"PK\x03\x04 and so on"), r"no \.gz file: it begins with b'PK"),
    "another file": (lambda s, b: s.answer(gzip.compress(b"other")), "the file has the sha256"),
    "no length": (lambda s, b: s.answer(FILE, Content_Length=None), "a body of unknown length"),
    "not found": (status(404), "status 404"),
    "forbidden": (status(403), "status 403"),
    "an announced length that never comes": (lambda s, b: s.answer(FILE, length=len(FILE) + 10), "broke off after"),
    "always 503": (status(503), f"status 503, {_download.TRIES} times in a row"),
}


@pytest.mark.parametrize("behaviour, words", REFUSED.values(), ids=REFUSED)
def test_what_is_not_the_file_is_refused(serve, path, behaviour, words):
    url = serve(behaviour)
    with pytest.raises(ConnectionError, match=f"file.gz could not be fetched .*{words}.*with a browser from {url}"):
        download(url, path, sha256=SHA256)
    assert not path.exists()


@pytest.mark.parametrize("behaviour", [value[0] for value in REFUSED.values()], ids=REFUSED)
def test_the_next_address_is_asked(serve, path, behaviour):
    urls = [serve(behaviour), serve(whole)]
    download(urls, path, sha256=SHA256)
    assert path.read_bytes() == FILE and os.listdir(path.parent) == ["file.gz"]


def test_all_answers_are_told(serve, path):
    urls = [serve(status(202)), serve(page), "http://127.0.0.1:1/nobody"]
    with pytest.raises(ConnectionError, match=r"status 202.*; .*a web page.*; .*no connection"):
        download(urls, path)
    assert os.listdir(path.parent) == []


def test_500_then_the_file(serve, path):
    download(serve(status(500), status(429), whole), path)
    assert path.read_bytes() == FILE and len(serve.asked) == 3


def test_a_transfer_that_breaks_off_is_resumed(serve, path):
    download(serve(closes_early), path, sha256=SHA256)
    assert path.read_bytes() == FILE and os.listdir(path.parent) == ["file.gz"]
    assert [begin for _, begin in serve.asked] == [None, 100_000, 200_000, 300_000]


def test_a_later_call_resumes_from_another_address(serve, path):
    with pytest.raises(ConnectionError, match=r"resumes after the 0\.1 MB that arrived"):
        download(serve(closes_early, status(404)), path)
    assert not path.exists() and path.with_name("file.gz.part").stat().st_size == 100_000
    download([serve(status(202)), serve(ranged)], path)
    assert path.read_bytes() == FILE and serve.asked[-1][1] == 100_000
    assert os.listdir(path.parent) == ["file.gz"]


@pytest.mark.parametrize(
    "then",
    [
        whole,  # which ignores the range
        lambda s, b: ranged(s, b, tag='"2"'),
        lambda s, b: ranged(s, b, place=0) if b else whole(s, b),
        lambda s, b: s.answer(b"", 416) if b else whole(s, b),
    ],
    ids=["ignores the range", "another version", "another place", "no such range"],
)
def test_what_does_not_continue_the_transfer_starts_over(serve, path, then):
    download(serve(closes_early, then), path)
    assert path.read_bytes() == FILE


def test_without_a_version_nothing_is_pieced_together(serve, path):
    def nameless(server, begin):
        server.answer(FILE, send=1000 if len(serve.asked) == 1 else None)

    download(serve(nameless), path)
    assert [begin for _, begin in serve.asked] == [None, None] and path.read_bytes() == FILE


def test_a_part_of_something_else_is_not_completed(serve, path):
    path.parent.mkdir()
    path.with_name("file.gz.part").write_bytes(b"half of something")
    download(serve(ranged), path)
    assert path.read_bytes() == FILE and [begin for _, begin in serve.asked] == [None]


@pytest.mark.parametrize("there", [b"", b"<html>", FILE[:-1]], ids=["empty", "a page", "another hash"])
def test_a_wrong_file_that_is_there_is_fetched_again(serve, path, there):
    path.parent.mkdir()
    path.write_bytes(there)
    download(serve(whole), path, md5=MD5)
    assert path.read_bytes() == FILE


def test_a_wrong_hash_leaves_nothing(serve, path):
    with pytest.raises(ConnectionError, match=f"the file has the md5 {MD5}, not {'0' * 32}"):
        download(serve(ranged), path, md5="0" * 32)
    assert os.listdir(path.parent) == []


def test_a_body_in_chunks_ends_where_it_says(serve, path):
    def chunks(server, begin, last=b"0\r\n\r\n"):
        server.protocol_version = "HTTP/1.1"
        server.answer(b"", Content_Length=None, Transfer_Encoding="chunked", Connection="close")
        server.wfile.write(f"{len(FILE):x}\r\n".encode() + FILE + b"\r\n" + last)

    download(serve(lambda s, b: chunks(s, b, last=b""), chunks), path)
    assert path.read_bytes() == FILE and len(serve.asked) == 2


def test_another_process_that_fetches_the_same_file(serve, path):
    """It began anew in the meantime, because the server gives no version: what lies there now is its own half."""

    def other(server, begin):
        server.answer(FILE, send=1000)
        part = path.with_name("file.gz.part")
        while not part.exists():
            time.sleep(0.001)
        part.unlink()
        part.write_bytes(FILE[:500])
        server.wfile.write(FILE[1000:])

    with pytest.raises(ConnectionError, match="another process is fetching the same file"):
        download(serve(other), path)
    assert not path.exists()


def test_a_full_disk_is_no_fault_of_the_connection(serve, path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_download, "receive", full)
    with pytest.raises(OSError, match="No space left") as raised:
        download(serve(whole), path)
    assert not isinstance(raised.value, ConnectionError)
