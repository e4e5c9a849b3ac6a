#!/usr/bin/env python3
"""How many lines of each parser its fuzz corpus reaches.

    fuzz_coverage.py FOLDER CORPORA

FOLDER holds the fuzz_* programs of the preset `coverage`. Fails below LEAST for any file of the table.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

LEAST = 85.0
# target -> the parser's sources
PARSERS = {
    "gguf": ["runtime/formats/gguf.cc", "runtime/model/config_gguf.cc"],
    "safetensors": ["runtime/formats/safetensors.cc"],
    "config": ["runtime/model/config_hugging_face.cc"],
}


def main():
    folder, corpora = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    low = 0
    for target, sources in PARSERS.items():
        program = folder / f"fuzz_{target}"
        with tempfile.TemporaryDirectory() as work:
            raw, merged = f"{work}/raw", f"{work}/merged"
            subprocess.run([program, "-runs=0", corpora / target], env={"LLVM_PROFILE_FILE": raw, "PATH": "/usr/bin:/bin"}, check=True,
                           capture_output=True)
            subprocess.run(["llvm-profdata-19", "merge", "-sparse", raw, "-o", merged], check=True)
            report = subprocess.run(["llvm-cov-19", "export", "-summary-only", f"-instr-profile={merged}", program], check=True,
                                    capture_output=True).stdout
        files = {f["filename"]: f["summary"]["lines"] for f in json.loads(report)["data"][0]["files"]}
        for source in sources:
            lines = next((v for k, v in files.items() if k.endswith(source)), None)
            percent = lines["percent"] if lines else 0.0
            print(f"coverage {target:16} {source:44} {percent:5.1f} % of {lines['count'] if lines else 0} lines")
            low += percent < LEAST
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
