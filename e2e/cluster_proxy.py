"""Plain HTTP in front of an API server, with the credentials of a kubeconfig: counts the requests that change something, and at
a chosen one kills the client, before it is forwarded or when the server has answered. Watches stream, upgraded connections
(exec) pass through, and the server can be taken away for a while.
"""

import os
import signal
import socket
import socketserver
import sys
import threading

BEFORE, AFTER = "before", "after"
VARIANTS = (BEFORE, AFTER)
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Gone(Exception):
    """The other side closed the connection."""


class Proxy:
    """One client process at a time; `arm` it, then `aim` at the process."""

    def __init__(self, configuration):
        self.configuration, self.tls = configuration, configuration.tls()
        self.lock = threading.Condition()
        self.is_away, self.connections = False, set()
        self.reset()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                proxy.serve(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads, request_queue_size, block_on_close, allow_reuse_address = True, 128, False, True

            def handle_error(self, request, client_address):
                proxy.errors.append(repr(sys.exc_info()[1]))

        self.errors = []
        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.server = f"http://127.0.0.1:{self.listener.server_address[1]}"
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown()
        self.listener.server_close()

    # What it is told.

    def reset(self, number=None, variant=None, then=None):
        """Counts from zero. At the changing request `number` (from 1): kills the process in that variant, or calls `then`."""
        with self.lock:
            self.count, self.number, self.variant, self.then = 0, number, variant, then
            self.victim, self.struck, self.seen, self.busy = None, None, [], 0

    def aim(self, process):
        with self.lock:
            self.victim = process
            self.lock.notify_all()

    def go_away(self):
        """The server is gone: connections break, new ones are refused an answer."""
        with self.lock:
            self.is_away = True
            connections = list(self.connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def come_back(self):
        with self.lock:
            self.is_away = False

    def settle(self):
        """Waits until no request that changes something is under way."""
        with self.lock:
            if not self.lock.wait_for(lambda: self.busy == 0, timeout=60):
                raise TimeoutError("a request is still under way at the server after a minute")

    # What it does.

    def arrive(self, method, path):
        """Counts a changing request; returns the variant if it is the chosen one."""
        if method not in CHANGING:
            return None
        with self.lock:
            self.lock.wait_for(lambda: self.number is None or self.victim is not None, timeout=60)
            self.count += 1
            self.busy += 1
            self.seen.append(f"{method} {path.split('?')[0]}")
            if self.number != self.count:
                return None
            self.struck = self.seen[-1]
            variant, then = self.variant, self.then
        if then is not None:
            then()
            return None
        return variant

    def depart(self, method):
        if method in CHANGING:
            with self.lock:
                self.busy -= 1
                self.lock.notify_all()

    def strike(self):
        """Kills the client and waits until it is gone, so that it hears nothing any more."""
        os.kill(self.victim.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.victim.pid, os.WEXITED | os.WNOWAIT)

    def serve(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = None
        with self.lock:
            if self.is_away:
                return
            self.connections.add(client)
        try:
            reader = client.makefile("rb")
            server, answers = None, None
            while True:
                lines, fields = head(reader)
                method, path = (word.decode() for word in lines[0].split(b" ")[:2])
                body = b"".join(pieces(reader, fields))
                variant = self.arrive(method, path)
                try:
                    if variant == BEFORE:
                        self.strike()
                        return
                    if self.is_away:
                        return
                    for attempt in (1, 2):
                        # The server may have closed an idle connection.
                        fresh = server is None
                        if fresh:
                            server = self.connect()
                            answers = server.makefile("rb")
                        try:
                            server.sendall(self.request(lines) + body)
                            answer, answer_fields = head(answers)
                            break
                        except (OSError, Gone):
                            server.close()
                            server = None
                            if fresh:
                                raise
                    if variant == AFTER:
                        for _ in pieces(answers, answer_fields):
                            pass
                        self.strike()
                        return
                    client.sendall(b"".join(answer))
                    if answer[0].split(b" ")[1] == b"101":
                        tunnel(client, reader, server, answers)
                        return
                    for piece in pieces(answers, answer_fields):
                        client.sendall(piece)
                    if self.is_away:
                        return
                finally:
                    self.depart(method)
        except (Gone, OSError):
            pass
        finally:
            with self.lock:
                self.connections.discard(client)
            for end in (client, server):
                if end is not None:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
                    end.close()

    def connect(self):
        address = self.configuration.server
        server = socket.create_connection((address.hostname, address.port or (443 if self.tls else 80)), timeout=600)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(server, server_hostname=address.hostname) if self.tls else server

    def request(self, lines):
        """The head with the server's own name, and with a token if that is how it is spoken to."""
        token = self.configuration.user.get("token")
        kept = [line for line in lines[1:-1] if not line.lower().startswith((b"host:", b"authorization:" if token else b"host:"))]
        more = [b"Host: " + self.configuration.server.netloc.encode() + b"\r\n"]
        if token:
            more.append(b"Authorization: Bearer " + token.encode() + b"\r\n")
        return b"".join([lines[0], *more, *kept, b"\r\n"])


def head(reader):
    """The raw lines of a message's head, and its fields."""
    lines = []
    while True:
        line = reader.readline(65536)
        if not line:
            raise Gone
        lines.append(line)
        if line == b"\r\n":
            break
    fields = {}
    for line in lines[1:-1]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return lines, fields


def pieces(reader, fields):
    """The raw bytes of a body as they stand on the wire, as they come."""
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        while True:
            line = reader.readline(1024)
            if not line:
                raise Gone
            size = int(line.split(b";")[0], 16)
            piece = reader.read(size + 2)
            yield line + piece
            if size == 0:
                return
    left = int(fields.get(b"content-length", 0))
    while left:
        piece = reader.read1(min(left, 256 << 10))
        if not piece:
            raise Gone
        left -= len(piece)
        yield piece


def tunnel(client, reader, server, answers):
    """Passes bytes both ways until one side ends."""
    def forward(source, sink):
        try:
            while data := source.read1(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (client, server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
    other = threading.Thread(target=forward, args=(answers, client), daemon=True)
    other.start()
    forward(reader, server)
    other.join()
