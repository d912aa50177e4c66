"""A web server and a mail server for the tests of alerts: real sockets with answers that a test chooses."""

import http.server
import socketserver
import threading
import time
from itertools import takewhile
from typing import Any

HANG_SECONDS = 2.0
REPLIES = {
    "EHLO": "250-here\r\n250 AUTH PLAIN",
    "AUTH": "235 welcome",
    "DATA": "354 go on",
    "QUIT": "221 bye",
}
"""The mail server's answer to each command; to all others it is 250."""


class WebServer:
    """Takes POSTs. `answers`: a status for each, the last one for ever; 0 hangs, -1 breaks the connection."""

    def __init__(self, *answers: int) -> None:
        self.answers, self.bodies, self.headers = [*answers], list[bytes](), list[dict[str, str]]()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                outer.headers.append(dict(self.headers))
                status = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if status == 0:
                    time.sleep(HANG_SECONDS)
                if status <= 0:
                    self.connection.close()
                    return
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", outer.url)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T0/s3cret"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class MailServer:
    """Takes mail. `greetings`: a status for each connection, the last one for ever; 0 hangs. It offers no TLS."""

    def __init__(self, *greetings: int) -> None:
        self.greetings, self.letters, self.lines = [*greetings], list[str](), list[str]()
        self.refused = ""
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def answer(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

            def handle(self) -> None:
                status = outer.greetings.pop(0) if len(outer.greetings) > 1 else outer.greetings[0]
                if status == 0:
                    time.sleep(HANG_SECONDS)
                    return
                self.answer(f"{status} ready")
                for raw in self.rfile:
                    line = raw.decode().strip()
                    outer.lines.append(line)
                    self.answer(outer.reply(line))
                    if line.upper() == "DATA":
                        letter = takewhile(lambda part: part != b".\r\n", self.rfile)
                        outer.letters.append("".join(part.decode() for part in letter))
                        self.answer("250 taken")
                    elif line.upper() == "QUIT":
                        return

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Say nothing."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def reply(self, line: str) -> str:
        """The answer to a command; a recipient that contains `refused` is refused."""
        command = line.split(" ")[0].upper()
        if command == "RCPT" and self.refused and self.refused in line:
            return "550 nobody of that name"
        return REPLIES.get(command, "250 fine")

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
