#!/usr/bin/env python3
"""Runs fuzz targets for a while each, two at a time, and prints what they did.

    fuzz.py FOLDER CORPORA [SECONDS] [TARGET…]

FOLDER holds the fuzz_* programs. The corpora in the tree are copied, not written to. A crash, a leak, a time-out or a target that did
nothing fails the run; `canary` must fail, else the harness itself is broken.
"""
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def run(program, corpora, seconds):
    name = program.name.removeprefix("fuzz_")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "corpus").mkdir()
        if (corpora / name).is_dir():
            shutil.copytree(corpora / name, work / "corpus", dirs_exist_ok=True)
        seeds = len(list((work / "corpus").iterdir()))
        done = subprocess.run([str(program.resolve()), "corpus", f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=20",
                               "-max_len=65536", "-print_final_stats=1", "-artifact_prefix=" + str(work) + "/"],
                              cwd=work, capture_output=True, text=True, errors="replace")
        executions = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        coverage = re.findall(r"cov: (\d+)", done.stderr)
        count = int(executions[1]) if executions else 0
        failed = done.returncode != 0
        if name == "canary":
            ok = failed and ("ERROR" in done.stderr)
            text = "failed, as it must" if ok else "did NOT fail: the harness is broken"
        else:
            ok = not failed and count > seeds
            text = f"{count} executions, {coverage[-1] if coverage else '?'} edges, {seeds} seeds"
            if not ok:
                text += "\n" + done.stderr[-6000:]
                for artifact in work.glob("crash-*"):
                    text += f"\n{artifact.name}: {artifact.read_bytes()[:512].hex()}"
        return name, ok, text


def main():
    folder, corpora = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    rest = sys.argv[3:]
    seconds = int(rest.pop(0)) if rest and rest[0].isdigit() else 30
    programs = sorted(p for p in folder.glob("fuzz_*") if p.is_file() and not p.suffix)
    if rest:
        programs = [p for p in programs if p.name.removeprefix("fuzz_") in rest]
    if not programs:
        print("fuzz: no such target", file=sys.stderr)
        return 2
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, ok, text in pool.map(lambda p: run(p, corpora, seconds), programs):
            print(f"fuzz {name:16} {'ok  ' if ok else 'FAIL'} {text}", flush=True)
            failures += not ok
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
