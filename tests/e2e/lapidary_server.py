"""A running `lapidary serve`, and a client with nothing but the standard library."""
import http.client
import json
import os
import re
import signal
import subprocess
import tempfile

SPARK = "models/spark"
BABBLER = "tests/golden/unified/model"  # random weights: talks for some thousand tokens
SLOWLY = {"LAPIDARY_KERNELS": "ref"}


class Server:
    """Started on a free port with fresh keys; environment has what the printed block exports."""

    def __init__(self, program, *options, models=(SPARK,), environment=None, keys=None):
        self.folder = tempfile.TemporaryDirectory()
        self.key_file = os.path.join(self.folder.name, "lapidary", "keys.json")
        if keys is not None:
            os.makedirs(os.path.dirname(self.key_file))
            self.write_keys(keys)
        self.process = subprocess.Popen(
            [program, "serve", *models, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "XDG_STATE_HOME": self.folder.name, **(environment or {})})
        block = b""
        while not block.endswith(b"keys.json\n"):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"lapidary serve ended: {self.process.stderr.read().decode()}")
            block += line
        self.block = block.decode()
        self.environment = dict(re.findall(r"^export (\w+)=(.*)$", self.block, re.M))
        self.url = self.environment["ANTHROPIC_BASE_URL"]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.key = self.environment["OPENAI_API_KEY"]

    def keys(self):
        with open(self.key_file) as f:
            return json.load(f)["keys"]

    def write_keys(self, keys):
        with open(os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump({"keys": keys}, f)

    def key_of(self, scope):
        return next(k["key"] for k in self.keys() if k["scope"] == scope)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, path, body=None, key="", headers=None):
        """(status, headers, parsed body or text). key "": the default one; None: no key."""
        connection = self.connect()
        all_headers = dict(headers or {})
        if key is not None:
            all_headers.setdefault("Authorization", f"Bearer {key or self.key}")
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(method, path, data, all_headers)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        if reply.getheader("Content-Type", "").startswith("application/json"):
            text = json.loads(text) if text else None
        return reply.status, reply.headers, text

    def post(self, path, body, **more):
        status, _, reply = self.ask("POST", path, body, **more)
        if status != 200:
            raise AssertionError(f"{path}: {status} {reply}")
        return reply

    def events(self, path, body, **more):
        """The data of server-sent events, parsed, without [DONE]."""
        status, _, text = self.ask("POST", path, body, **more)
        if status != 200:
            raise AssertionError(f"{path}: {status} {text}")
        return [json.loads(data) for data in re.findall(rb"^data: (.*)$", text, re.M) if data != b"[DONE]"]

    def stop(self, how=signal.SIGTERM, wait_s=20):
        """Its exit status, and what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        errors = self.process.communicate(timeout=wait_s)[1]
        self.folder.cleanup()
        return self.process.returncode, errors.decode()
