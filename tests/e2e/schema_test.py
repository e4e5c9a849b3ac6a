"""Schemathesis against a running server, by the server's own /openapi.json.   schema_test.py PROGRAM FOLDER

It sends some thousand requests that the document allows and some that it does not, to every route. No answer may be a server error (501 where
the document says so, and 503, are answers), nor differ from the document. Installs it into FOLDER; ends with status 77, "skipped",
where there is no network.
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

import client_environment
from lapidary_server import Server

PROGRAM, FOLDER = (os.path.abspath(word) for word in sys.argv[1:3])
# Raised by hand. Another seed: SCHEMA_SEED.
REQUIREMENTS = "schemathesis==4.32.5\n"
SEED = os.environ.get("SCHEMA_SEED", "20261124")
EXAMPLES = os.environ.get("SCHEMA_EXAMPLES", "12")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
# What is not there says so with 501, and 503 means: not now. Both only where the document has them.
CONFIGURATION = """[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "501", "503"]
"""


class Schema(unittest.TestCase):
    def test_no_server_error_and_no_breach(self):
        python = client_environment.python_with(pathlib.Path(FOLDER) / "schemathesis", REQUIREMENTS)
        server = Server(PROGRAM, "--context", "512", "--slots", "2", "--any-model")
        self.addCleanup(server.stop)
        configuration = pathlib.Path(FOLDER) / "schemathesis.toml"
        configuration.write_text(CONFIGURATION)
        # A revoked key would end the run. One worker: in several, Python 3.11 fails in the tool's own deep recursion.
        done = subprocess.run(
            [python.parent / "schemathesis", "--config-file", configuration, "run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {server.key_of('admin')}",
             "--exclude-path-regex", "^/lapidary/keys/", "--checks", CHECKS, "--max-examples", EXAMPLES, "--seed", SEED,
             "--workers", "1", "--request-timeout", "60", "--no-color", "--phases", "examples,coverage,fuzzing"],
            capture_output=True, text=True, timeout=1800, cwd=FOLDER)
        print(done.stdout if len(done.stdout) < 40000 else done.stdout[:20000] + "\n…\n" + done.stdout[-20000:])
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        self.assertRegex(done.stdout, re.compile(r"\d+ passed"))
        # It still answers.
        self.assertEqual(server.ask("GET", "/health", key=None)[0], 200)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
