"""A program in a pseudo-terminal, driven as its user does: keys in, what appears on the screen out."""
import fcntl
import os
import re
import select
import signal
import struct
import termios
import time

SECONDS_MAX = float(os.environ.get("LAPIDARY_E2E_SECONDS", "60"))  # sanitised builds are slow


class Terminal:
    def __init__(self, arguments, environment=None, columns=80, rows=24):
        self.seen = ""       # everything that came, escape sequences included
        self.position = 0    # expect() looks from here on
        self.process, self.file = os.forkpty()
        if self.process == 0:
            os.environ.update({"TERM": "xterm", **(environment or {})})
            os.environ.pop("NO_COLOR", None)
            os.execv(arguments[0], arguments)
        self.resize(columns, rows)

    def resize(self, columns, rows):
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        data = keys.encode()
        while data:
            data = data[os.write(self.file, data):]

    def _read(self, seconds):
        if not select.select([self.file], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.file, 65536)
        except OSError:  # the program has ended
            data = b""
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern):
        """Waits until `pattern` appears behind what the last call found; returns the match."""
        end = time.monotonic() + SECONDS_MAX
        while True:
            match = re.search(pattern, self.seen[self.position:])
            if match:
                self.position += match.end()
                return match
            if time.monotonic() > end or (not self._read(0.2) and self._ended()):
                raise AssertionError(f"{pattern!r} did not appear; the end of the screen is {self.seen[-600:]!r}")

    def _ended(self):
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None and not self._read(0)

    def prompt(self):
        """Waits for the chat's prompt."""
        self.expect(r">>> ")

    def leave(self):
        """Waits for the end; the exit status."""
        end = time.monotonic() + SECONDS_MAX
        while time.monotonic() < end:
            while self._read(0.05):
                pass
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                os.close(self.file)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        raise AssertionError(f"the program did not end; the end of the screen is {self.seen[-600:]!r}")
