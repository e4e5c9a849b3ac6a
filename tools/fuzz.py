#!/usr/bin/env python3
"""Runs fuzz targets for a while each, two at a time, and prints what they did.

    fuzz.py FOLDER CORPORA [SECONDS] [TARGET…]

FOLDER holds the fuzz_* programs. The corpora in the tree are copied, not written to. A crash, a leak, a time-out, too much memory or a
target that did nothing fails the run; what did it is kept in FOLDER/../findings/TARGET. The target `canary` must fail, else the harness
itself is broken; it always runs.
"""
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

CANARY = "canary"
OPTIONS = ["-rss_limit_mb=2048", "-timeout=20", "-max_len=65536", "-print_final_stats=1"]


def run(program, seeds, findings, seconds):
    """(whether all is well, what to print)"""
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        corpus, artifacts = work / "corpus", work / "artifacts"
        artifacts.mkdir()
        shutil.copytree(seeds, corpus)
        count = len(list(corpus.iterdir()))
        done = subprocess.run([program.resolve(), "corpus", f"-max_total_time={seconds}", "-artifact_prefix=artifacts/", *OPTIONS], cwd=work,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", timeout=seconds + 300)
        if seeds.name == CANARY:
            caught = done.returncode != 0 and "AddressSanitizer: heap-buffer-overflow" in done.stderr and any(artifacts.iterdir())
            return caught, "crashed, as it must" if caught else "did NOT crash: the harness is broken\n" + done.stderr[-3000:]
        executions = int((re.findall(r"number_of_executed_units:\s*(\d+)", done.stderr) or [0])[-1])
        edges = (re.findall(r"\bcov: (\d+)", done.stderr) or ["no"])[-1]
        text = f"{executions} executions, {edges} edges, {count} seeds"
        if done.returncode == 0 and executions > count:
            return True, text
        kept = findings / seeds.name
        for artifact in artifacts.iterdir():
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(artifact, kept)
            text += f"\nfound {kept / artifact.name}: {artifact.read_bytes()[:64]!r}"
        return False, f"{text}\n{done.stderr[-6000:]}"


def main():
    folder, corpora, rest = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    seconds = int(rest.pop(0)) if rest and rest[0].isdigit() else 30
    targets = {p.name.removeprefix("fuzz_"): p for p in sorted(folder.glob("fuzz_*")) if p.is_file() and not p.suffix}
    unknown = [name for name in rest if name not in targets] + [name for name in targets if not (corpora / name).is_dir()]
    if unknown or CANARY not in targets:
        print(f"fuzz: no target, or no corpus, of the name {', '.join(unknown) or CANARY}; there are {', '.join(targets)}", file=sys.stderr)
        return 2
    chosen = [CANARY] + [name for name in targets if name != CANARY and (not rest or name in rest)]
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda name: run(targets[name], corpora / name, folder.parent / "findings", seconds), chosen)
        for name, (ok, text) in zip(chosen, results):
            print(f"fuzz {name:16} {'ok  ' if ok else 'FAIL'} {text}", flush=True)
            failures += not ok
    print(f"fuzz: {len(chosen)} targets, {seconds} s each, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
