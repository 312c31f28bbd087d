"""A download host on loopback that answers as real ones do on good and on bad days."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    body: bytes
    status: int = 200
    length: int | None = -1
    """What Content-Length says; None leaves it out, -1 is the truth."""
    location: str = ""


class DownloadHost:
    """`answers` maps a path to what is served there; `asked` is each path that was asked for."""

    def __init__(self):
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.asked.append(self.path)
                answer = host.answers.get(self.path, Answer(b"<html>404 Not Found</html>", status=404))
                self.send_response(answer.status)
                if answer.location:
                    self.send_header("Location", answer.location)
                if answer.length is not None:
                    length = len(answer.body) if answer.length < 0 else answer.length
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(answer.body)  # then the connection is closed: HTTP/1.0

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        """Nobody listens on its port from now on."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
