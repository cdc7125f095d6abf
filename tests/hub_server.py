"""A small stand-in for the Hugging Face Hub: the endpoints that the real client asks, in memory."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"


class Hub(ThreadingHTTPServer):
    """Repositories of data sets: hub id -> file's name -> its bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """For a process that shall take it for the Hub."""
        return {"HF_ENDPOINT": self.address, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the context is left."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


def commit_of(files: dict[str, bytes]) -> str:
    """A repository's commit: equal for equal files."""
    parts = (name.encode() + files[name] for name in sorted(files))
    return hashlib.sha1(b"".join(parts)).hexdigest()


class _Answers(BaseHTTPRequestHandler):
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        del format, args

    def do_GET(self) -> None:
        parts = self._parts()
        match parts:
            case ["api", "datasets", owner, name, "tree", _]:
                files = self._files(f"{owner}/{name}")
                if files is not None:
                    self._json([_entry(each, data) for each, data in files.items()])
            case ["api", "datasets", owner, name, *_]:
                files = self._files(f"{owner}/{name}")
                if files is not None:
                    info = {"id": f"{owner}/{name}", "sha": commit_of(files)}
                    self._json(info | {"siblings": [{"rfilename": each} for each in files]})
            case ["datasets", owner, name, "resolve", commit, file]:
                files = self._files(f"{owner}/{name}")
                if files is not None:
                    data = files[file]
                    etag = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": commit}
                    self._answer(200, data, etag)
            case _:
                self._answer(404, b"")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self._parts()
        if parts == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid username or password."}, 401)
            return
        match parts:
            case ["api", "repos", "create"]:
                asked = json.loads(body)
                owner = asked.get("organization") or "me"
                repository = f"{owner}/{asked['name']}"
                assert asked["type"] == "dataset"
                self.server.repositories.setdefault(repository, {".gitattributes": b"*.png lfs\n"})
                if asked.get("private") or asked.get("visibility") == "private":
                    self.server.private.add(repository)
                self._json({"url": f"{self.server.address}/datasets/{repository}"})
            case ["api", "datasets", _, _, "preupload", _]:
                asked = json.loads(body)["files"]
                modes = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                self._json({"files": [{"path": each["path"], **modes} for each in asked]})
            case ["api", "datasets", owner, name, "commit", _]:
                files = self.server.repositories[f"{owner}/{name}"]
                for line in body.splitlines():
                    change = json.loads(line)
                    if change["key"] == "file":
                        value = change["value"]
                        files[value["path"]] = base64.b64decode(value["content"])
                    elif change["key"] == "deletedFile":
                        del files[change["value"]["path"]]
                url = f"{self.server.address}/datasets/{owner}/{name}/commit/{commit_of(files)}"
                self._json({"commitOid": commit_of(files), "commitUrl": url, "success": True})
            case _:
                self._answer(404, b"")

    def _parts(self) -> list[str]:
        self.server.asked.append(f"{self.command} {self.path}")
        return [unquote(each) for each in urlsplit(self.path).path.strip("/").split("/")]

    def _files(self, repository: str) -> dict[str, bytes] | None:
        files = self.server.repositories.get(repository)
        if files is None:
            said = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self._answer(404, b"{}", said)
        return files

    def _json(self, data: Any, code: int = 200) -> None:
        self._answer(code, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _answer(self, code: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
