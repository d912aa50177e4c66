"""A web server and a mail server for the tests of alerts: real sockets with answers that a test chooses."""

import http.server
import socketserver
import threading
import time
from typing import Any

HANG_SECONDS = 2.0


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
                    word = line.split(" ")[0].upper()
                    if word == "EHLO":
                        self.answer("250-here")
                        self.answer("250 AUTH PLAIN")
                    elif word == "AUTH":
                        self.answer("235 welcome")
                    elif word == "RCPT" and outer.refused and outer.refused in line:
                        self.answer("550 nobody of that name")
                    elif word == "DATA":
                        self.answer("354 go on")
                        lines = []
                        for part in self.rfile:
                            if part == b".\r\n":
                                break
                            lines.append(part.decode())
                        outer.letters.append("".join(lines))
                        self.answer("250 taken")
                    elif word == "QUIT":
                        self.answer("221 bye")
                        return
                    else:
                        self.answer("250 fine")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Say nothing."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
