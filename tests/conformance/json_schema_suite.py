#!/usr/bin/env python3
"""The official JSON-Schema-Test-Suite against `lapidary bench --grammar`: which groups of tests are fully right.

    json_schema_suite.py PROGRAM TOKENIZER SUITE_FOLDER LIST [--write]

Compares with LIST (one group a line); a group that was right and is not any more fails. --write adds new ones.
A text of the suite that is not JSON's kind of value (none) is judged like any other: as compact JSON with spaces.
"""
import json
import pathlib
import subprocess
import sys
import tempfile


def groups(suite):
    for draft in ("draft7", "draft2020-12"):
        for path in sorted((suite / "tests" / draft).rglob("*.json")):
            for group in json.loads(path.read_text(encoding="utf-8")):
                name = f"{draft}/{path.relative_to(suite / 'tests' / draft).as_posix()}: {group['description']}"
                schema = group["schema"]
                if draft == "draft7" and isinstance(schema, dict) and "$schema" not in schema:
                    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
                yield {"name": name, "schema": schema,
                       "tests": [{"valid": t["valid"], "data": t["data"]} for t in group["tests"]]}


def main():
    program, tokenizer, suite, listed = sys.argv[1:5]
    with tempfile.TemporaryDirectory() as folder:
        source, details = pathlib.Path(folder, "suite.jsonl"), pathlib.Path(folder, "details.jsonl")
        source.write_text("".join(json.dumps(g, ensure_ascii=False, separators=(",", ":")) + "\n" for g in groups(pathlib.Path(suite))),
                          encoding="utf-8")
        report = subprocess.run([program, "bench", tokenizer, "--grammar", str(source), "--details", str(details), "--json"],
                                check=True, capture_output=True, text=True).stdout
        outcomes = [json.loads(line) for line in details.read_text(encoding="utf-8").splitlines()]
    print(report, end="")
    right = {o["name"] for o in outcomes if o["outcome"] == "right"}
    path = pathlib.Path(listed)
    known = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()
    for o in outcomes:
        if "false accepts" in o["outcome"] and not o["outcome"].startswith("0 false"):
            print("false accept:", o["name"], o["outcome"])
    lost = sorted(known - right)
    print("".join(f"no longer right: {name}\n" for name in lost), end="")
    if "--write" in sys.argv:
        path.write_text("".join(f"{name}\n" for name in sorted(known | right)), encoding="utf-8")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
