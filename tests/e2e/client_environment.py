"""A Python environment with packages for tests, made once and kept."""
import os
import shutil
import subprocess
import venv

SKIPPED = 77


def skip(why):
    print(f"skipped: {why}", flush=True)
    os._exit(SKIPPED)  # unittest would take sys.exit() in a test for a failure


def python_with(folder, requirements):
    """The interpreter of an environment in `folder` that has what the text names, as for pip. Ends the test as skipped where that cannot be."""
    python, mark = folder / "bin" / "python", folder / "installed"
    if mark.exists() and mark.read_text() == requirements:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
    except (subprocess.CalledProcessError, ImportError):
        skip("Python cannot make environments here (python3-venv)")
    (folder / "requirements.txt").write_text(requirements)
    done = subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", folder / "requirements.txt"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        skip("pip cannot fetch the clients: " + done.stderr.strip().split("\n")[-1])
    mark.write_text(requirements)
    return python
