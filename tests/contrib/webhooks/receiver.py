"""A receiver of webhooks: a process of its own that writes down what it gets, line by line.

`python receiver.py FILE` prints its port. What it answers is in `FILE.mode`, read for each request:
a status, or `hang`, `drip`, `flood`, `redirect URL`, `close`.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Receiver(BaseHTTPRequestHandler):
    """Writes a line for each request before it answers."""

    file: Path

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        content = self.rfile.read(length)
        if len(content) < length:  # its sender was killed within the request
            return
        body = content.decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        line = {"path": self.path, "headers": headers, "body": body, "time": time.time()}
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.answer()

    def answer(self) -> None:
        mode, _, argument = self.read_mode().partition(" ")
        if mode == "hang":
            time.sleep(60)
        elif mode == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(600):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.1)
        elif mode == "flood":
            self.send_response(200)
            self.send_header("content-length", str(10**9))
            self.end_headers()
            for _ in range(10**9 // 10**6):
                self.wfile.write(b"x" * 10**6)
        elif mode == "redirect":
            self.send_response(302)
            self.send_header("location", argument)
            self.send_header("content-length", "0")
            self.end_headers()
        elif mode == "close":
            self.connection.close()
        else:
            reply = b"thanks"
            self.send_response(int(mode))
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

    def read_mode(self) -> str:
        """Return the mode of this path, or of all."""
        path = self.path.partition("?")[0].replace("/", ".")
        for name in (f"{self.file}.mode{path}", f"{self.file}.mode"):
            if Path(name).exists():
                return Path(name).read_text()
        return "200"

    def handle(self) -> None:
        with suppress(OSError):  # the server has closed the connection
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    Receiver.file = Path(sys.argv[1])
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
