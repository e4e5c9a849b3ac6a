"""The official clients against a running server.   sdk_test.py PROGRAM FOLDER [--write]

Installs them into FOLDER (pip, and npm where there is node); ends with status 77, "skipped", where there is no network. With --write the
matrix of what works goes into docs/api.md; without, it must be what stands there.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import client_environment
from lapidary_server import SPARK, Server

PROGRAM, FOLDER = (os.path.abspath(word) for word in sys.argv[1:3])
WRITE = "--write" in sys.argv[3:]
HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs" / "api.md"
SAMPLES = f"{SPARK}/samples"
BEGIN, END = "<!-- matrix: written by tests/e2e/sdk_test.py --write -->", "<!-- end of matrix -->"
# As in sdk_requirements.txt: the versions that were tried. Raise them by hand, and write the matrix anew.
NODE_CLIENTS = ["openai@6.49.0", "ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92"]


def python_with_clients():
    """The interpreter of an environment that has the clients."""
    return client_environment.python_with(pathlib.Path(FOLDER) / "python", (HERE / "sdk_requirements.txt").read_text())


def node_with_clients():
    """The folder with the packages, or None."""
    folder = pathlib.Path(FOLDER) / "node"
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}')
        done = subprocess.run(["npm", "install", "--silent", *NODE_CLIENTS], cwd=folder, capture_output=True)
        if done.returncode != 0:
            return None
        (folder / "installed").write_text("")
    return folder


def matrix(results):
    """Clients across, features down. A version says what was tested."""
    features = list(dict.fromkeys(f for r in results.values() for f in r["features"]))
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for feature in features:
        lines.append(f"| {feature} | " + " | ".join(r["features"].get(feature, "–") if r["features"].get(feature, "–") in ("yes", "–") else "**no**" for r in results.values()) + " |")
    lines.append("| version | " + " | ".join(r["version"] for r in results.values()) + " |")
    return "\n".join(lines)


class Clients(unittest.TestCase):
    maxDiff = None

    def test_clients(self):
        python, node = python_with_clients(), node_with_clients()
        server = Server(PROGRAM)
        self.addCleanup(server.stop)
        environment = {**os.environ, **server.environment}
        run = lambda *command: subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        results = {}
        commands = [(python, HERE / "sdk_clients.py", SAMPLES)]
        if node:
            commands.append(("node", HERE / "sdk_clients.mjs", os.path.abspath(SAMPLES), node))
        for command in commands:
            done = run(*command)
            self.assertEqual(done.returncode, 0, done.stderr)
            results.update(json.loads(done.stdout.strip().split("\n")[-1]))
        table = matrix(results)
        print(table)
        for name, result in results.items():
            for feature, outcome in result["features"].items():
                if outcome != "yes":
                    print(f"\n{name}, {feature}:\n{outcome}")
        failures = [f"{n}: {f}" for n, r in results.items() for f, outcome in r["features"].items() if outcome != "yes"]
        self.assertEqual(failures, [])
        if WRITE:
            text = DOCUMENT.read_text()
            before, after = text.split(BEGIN)[0], text.split(END)[1]
            DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
        elif node:
            self.assert_documented(table)

    def assert_documented(self, table):
        """What works may not be less than what was written down."""
        documented = re.search(re.escape(BEGIN) + "\n(.*)\n" + re.escape(END), DOCUMENT.read_text(), re.S).group(1)
        without_versions = lambda t: [line for line in t.split("\n") if not line.startswith("| version")]
        self.assertEqual(without_versions(documented), without_versions(table))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
