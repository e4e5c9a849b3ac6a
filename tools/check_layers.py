#!/usr/bin/env python3
"""Checks that includes point down only, and that system headers stay in src/base.

    check_layers.py [--self-test]

The table below is exact: an include it does not allow is an error, and so is a permission that nothing uses any more.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# folder under src -> the folders it may include from (besides itself)
ALLOWED = {
    "base": [],
    "runtime/tensor": [],
    "runtime/formats": ["base", "runtime/tensor"],
    "runtime/kernels": ["base", "runtime/tensor"],
    "runtime/tokenizer": ["base", "runtime/formats"],
    "runtime/media": ["base"],
    "runtime/model": ["base", "runtime/tensor", "runtime/formats", "runtime/kernels", "runtime/media"],
    "runtime/engine": ["base", "runtime/formats", "runtime/kernels", "runtime/media", "runtime/model", "runtime/tokenizer"],
    "runtime/chat": ["base", "runtime/engine", "runtime/formats", "runtime/media", "runtime/model", "runtime/tokenizer"],
    "app/cli": ["base", "runtime/chat", "runtime/engine", "runtime/formats", "runtime/kernels", "runtime/media",
                "runtime/model", "runtime/tensor", "runtime/tokenizer"],
}
# Where a header written as "formats/gguf.h" lives.
INCLUDE_ROOTS = ["", "runtime/", "app/"]
SYSTEM = re.compile(r"#\s*include\s*<(unistd\.h|fcntl\.h|termios\.h|signal\.h|csignal|poll\.h|pthread\.h|sched\.h|dlfcn\.h|windows\.h|sys/[^>]+)>")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def folder_of(path, folders):
    """The folder of ALLOWED that a path under src belongs to."""
    return next((f for f in folders if path.startswith(f + "/")), None)


def check(files, allowed):
    """files: path under src -> text. Returns the complaints."""
    problems, used = [], set()
    for path, text in sorted(files.items()):
        own = folder_of(path, allowed)
        if own is None:
            problems.append(f"src/{path}: is in no folder of the table in tools/check_layers.py")
            continue
        for name in INCLUDE.findall(text):
            target = next((folder_of(root + name, allowed) for root in INCLUDE_ROOTS if folder_of(root + name, allowed)), None)
            if target is None or target == own:
                continue
            if target not in allowed[own]:
                problems.append(f'src/{path}: includes "{name}", but {own} may not depend on {target}')
            used.add((own, target))
        if own != "base":
            for found in SYSTEM.finditer(text):
                problems.append(f"src/{path}: <{found[1]}>: system calls stay behind src/base")
    for own, targets in allowed.items():
        for target in targets:
            if (own, target) not in used:
                problems.append(f"tools/check_layers.py: {own} no longer includes from {target}: take the permission away")
    return problems


def self_test():
    allowed = {"base": [], "runtime/low": ["base"], "runtime/high": ["runtime/low", "base"]}
    sound = {"base/a.h": "#include <unistd.h>", "runtime/low/b.h": '#include "base/a.h"',
             "runtime/high/c.cc": '#include "low/b.h"\n#include "base/a.h"'}
    assert check(sound, allowed) == [], check(sound, allowed)
    assert any("may not depend" in p for p in check({**sound, "runtime/low/d.h": '#include "high/c.h"'}, allowed))
    assert any("system calls" in p for p in check({**sound, "runtime/low/d.h": "#include <sys/mman.h>"}, allowed))
    assert any("take the permission away" in p for p in check({**sound, "runtime/high/c.cc": '#include "low/b.h"'}, allowed))
    assert any("no folder" in p for p in check({**sound, "other/x.h": ""}, allowed))


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    files = {str(p.relative_to(ROOT / "src")): p.read_text() for p in (ROOT / "src").rglob("*") if p.suffix in (".h", ".cc")}
    problems = check(files, ALLOWED)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
