#!/usr/bin/env python3
"""The house rules that a compiler does not check.

    tidy.py [--self-test]

Functions may not grow past 70 lines, but those in LONG, which may only shrink; no leftovers, no big files, no builds tied to one CPU, no
paths of one machine; every source belongs to a build file; no tabs, no trailing blanks.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINES_MAX = 70
BYTES_MAX = 8 << 20
# file:function -> lines it has now. Nothing may be added without a reason that a reviewer accepts.
LONG = {}

LEFTOVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
NATIVE = re.compile(r"-m(arch|tune)=" + r"native")
MACHINE = re.compile(r"(^|[^\w./-])/(work|home|root|farm)/[a-z]")
TEXT = {".h", ".cc", ".py", ".sh", ".cmake", ".md", ".txt", ".json", ".yml", ""}
SOURCE = {".h", ".cc"}
DATA = ("tests/golden/", "models/", "fuzz/corpus/", "LICENSE")


def functions(text):
    """(name, lines) of every function body in a C++ file of this project's format (closing brace at the start's indent)."""
    lines = text.split("\n")
    found = []
    for i, line in enumerate(lines):
        # A definition ends its line with "{" and is no namespace, class, control statement or lambda in a call.
        if not line.endswith("{") or re.match(r"\s*(namespace|class|struct|enum|union|extern|if|for|while|switch|else|do|case|default|\}|public|private)\b", line):
            continue
        if line.startswith("    ") or "= [" in line or line.strip() == "{" and i == 0:
            continue
        head = line
        start = i
        while "(" not in head and start > 0 and i - start < 6:  # parameters over several lines
            start -= 1
            head = lines[start] + " " + head
        name = re.search(r"([\w:~]+)\s*\(", head)
        if not name:
            continue
        indent = len(lines[start]) - len(lines[start].lstrip())
        for j in range(i + 1, len(lines)):
            if lines[j].startswith(" " * indent + "}"):
                found.append((name[1], j - start + 1))
                break
    return found


def check_text(path, text):
    problems = []
    suffix = pathlib.Path(path).suffix
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}:{number}"
        if LEFTOVER.search(line):
            problems.append(f"{where}: a leftover; do it or say it in the change's note")
        if NATIVE.search(line):
            problems.append(f"{where}: a build tied to one CPU")
        if MACHINE.search(line):
            problems.append(f"{where}: a path of one machine")
        if suffix in SOURCE and ("\t" in line or line != line.rstrip()):
            problems.append(f"{where}: a tab or a trailing blank")
    if suffix in SOURCE:
        for name, length in functions(text):
            allowed = LONG.get(f"{path}:{name}", LINES_MAX)
            if length > allowed:
                problems.append(f"{path}: {name} has {length} lines; at most {allowed}")
    return problems


def self_test():
    long = "void f(int a) {\n" + "  x();\n" * 80 + "}\n"
    assert any("82 lines" in p for p in check_text("a.cc", long)), check_text("a.cc", long)
    assert check_text("a.cc", "void f(int a) {\n" + "  x();\n" * 60 + "}\n") == []
    assert check_text("a.cc", "// TO" + "DO later") and check_text("a.sh", "gcc -march=" + "native")
    assert check_text("a.md", "see /wo" + "rk/main") and check_text("a.cc", "int a;\t")
    assert check_text("a.md", "a docs/work/x path") == []


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    names = [n for n in names if n and (ROOT / n).exists()]
    problems = []
    builds = "".join((ROOT / n).read_text() for n in names if n.endswith("CMakeLists.txt") or n.endswith(".cmake"))
    for name in names:
        path = ROOT / name
        if path.stat().st_size > BYTES_MAX and not name.startswith("models/spark/"):
            problems.append(f"{name}: {path.stat().st_size} bytes; at most {BYTES_MAX}")
        if name.startswith(DATA) or path.suffix not in TEXT:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            problems.append(f"{name}: not UTF-8")
            continue
        problems += check_text(name, text)
        if path.suffix == ".cc" and path.name not in builds:
            problems.append(f"{name}: in no build file")
    for key in LONG:
        file, name = key.rsplit(":", 1)
        lengths = [l for n, l in functions((ROOT / file).read_text()) if n == name]
        if not lengths or max(lengths) < LONG[key]:
            problems.append(f"tools/tidy.py: {key} has {max(lengths, default=0)} lines now: lower its entry in LONG")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
