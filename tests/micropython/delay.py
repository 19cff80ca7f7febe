"""A relay that holds every request back for a while: the way to a device takes time."""

import socket
import threading
import time


class Relay:
    def __init__(self, port, seconds):
        self.target = port
        self.seconds = seconds
        self.requests = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._both, args=(client,), daemon=True).start()

    def _both(self, client):
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            ways = [
                threading.Thread(target=self._pass, args=pair, daemon=True)
                for pair in ((client, server, self.seconds), (server, client, 0))
            ]
            for way in ways:
                way.start()
            for way in ways:
                way.join()

    def _pass(self, source, target, seconds):
        try:
            while data := source.recv(65536):
                if seconds:
                    self.requests += data.count(b"GET ")
                    time.sleep(seconds)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()
