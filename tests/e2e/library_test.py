"""The C library as its users meet it: installed, found by pkg-config and CMake, called from C and Python.   library_test.py BUILD_FOLDER"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.abspath(sys.argv[1])
SAMPLES = os.path.abspath("models/spark/samples")
HEADER = pathlib.Path("include/lapidary.h").read_text()
VERSION = re.search(r'#define LAPIDARY_VERSION_STRING "(.*)"', HEADER).group(1)
STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror"]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **more)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def references():
    with open(f"{SAMPLES}/samples.json") as f:
        return {item["id"]: item for item in json.load(f)["items"]}


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        run("cmake", "--install", BUILD, "--prefix", cls.folder / "first")
        # What is installed may be moved: nothing in it knows where it was.
        cls.prefix = (cls.folder / "first").rename(cls.folder / "second")
        cls.libraries = next(cls.prefix.glob("lib*/**/liblapidary.so")).parent
        cls.examples = next(cls.prefix.glob("share/doc/**/examples"))
        cls.environment = {**os.environ, "PKG_CONFIG_PATH": str(cls.libraries / "pkgconfig"), "LD_LIBRARY_PATH": str(cls.libraries)}
        cls.environment.pop("LAPIDARY_MODELS", None)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    # In a folder where nothing else can be found.
    def run_installed(self, *command):
        return run(*command, env=self.environment, cwd=self.folder)

    def check_program(self, program):
        expected = references()
        for name, question, file in (("describe-shapes", "Describe the picture.", "shapes.png"),
                                     ("transcribe", "Transcribe the audio.", "train.wav"), ("chat", "Who are you?", None)):
            words = [question, f"{SAMPLES}/{file}"] if file else [question]
            self.assertEqual(self.run_installed(program, *words), expected[name]["reference"] + "\n")
        spoken = self.run_installed(program, "--model", self.prefix / "share/lapidary/models/spark", "Who are you?")
        self.assertEqual(spoken, expected["chat"]["reference"] + "\n")
        failed = subprocess.run([program, "--model", "no/such/model.gguf", "Who?"], env=self.environment, capture_output=True, text=True)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("no/such/model.gguf", failed.stderr)

    def test_pkg_config(self):
        self.assertEqual(self.run_installed("pkg-config", "--modversion", "lapidary").strip(), VERSION)
        models = self.run_installed("pkg-config", "--variable=models", "lapidary").strip()
        self.assertTrue(os.path.exists(f"{models}/spark/config.json"), models)
        flags = self.run_installed("pkg-config", "--cflags", "--libs", "lapidary").split()
        self.run_installed("cc", "-std=c11", *STRICT, self.examples / "ask.c", *flags, "-o", "ask_pkg_config")
        self.check_program(self.folder / "ask_pkg_config")

    def test_cmake_package(self):
        self.run_installed("cmake", "-G", "Ninja", "-S", self.examples, "-B", "examples", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        self.run_installed("cmake", "--build", "examples")
        self.check_program(self.folder / "examples" / "ask")

    def test_cmake_package_says_its_version_and_models(self):
        project = self.folder / "project"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(p LANGUAGES NONE)\nfind_package(lapidary 9.0 QUIET)\n"
            "if(lapidary_FOUND)\n message(FATAL_ERROR \"found as 9.0\")\nendif()\n"
            "find_package(lapidary REQUIRED)\nmessage(STATUS \"models: ${lapidary_MODELS} ${lapidary_VERSION}.\")\n")
        said = self.run_installed("cmake", "-G", "Ninja", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        self.assertIn(f"models: {self.prefix}/share/lapidary/models {VERSION}.", said)

    def test_python(self):
        for name in ("tidy", "tool-call", "command"):
            item = references()[name]
            chat = self.folder / f"{name}.json"
            chat.write_text(json.dumps({"messages": item["messages"], **({"tools": item["tools"]} if item.get("tools") else {})}))
            for file in pathlib.Path(SAMPLES).glob("*.wav"):
                shutil.copy(file, self.folder)
            said = self.run_installed(sys.executable, self.examples / "ask.py", chat)
            if not item.get("tools"):
                self.assertEqual(said, item["reference"] + "\n")
                continue
            call = json.loads(said)
            self.assertIn("call:" + call["name"], item["reference"])
            self.assertTrue(call["arguments"])
        failed = subprocess.run([sys.executable, self.examples / "ask.py", "--model", "/no/such/model", chat], env=self.environment,
                                capture_output=True, text=True)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("/no/such/model", failed.stderr)

    def test_only_the_interface_is_visible(self):
        declared = set(re.findall(r"LAPIDARY_EXPORT[^;]*?\b(lapidary_\w+)\(", HEADER))
        symbols = run("nm", "-D", "--defined-only", "--format=posix", self.libraries / "liblapidary.so")
        self.assertGreater(len(declared), 20)
        self.assertEqual({line.split()[0] for line in symbols.splitlines()}, declared)

    def test_soname(self):
        major = VERSION.split(".")[0]
        dynamic = run("readelf", "-d", "-W", self.libraries / "liblapidary.so")
        self.assertIn(f"Library soname: [liblapidary.so.{major}]", dynamic)
        self.assertNotIn("RUNPATH", dynamic)
        self.assertNotIn("RPATH", dynamic)
        self.assertNotIn("TEXTREL", dynamic)
        self.assertEqual((self.libraries / "liblapidary.so").resolve().name, f"liblapidary.so.{VERSION}")
        self.assertTrue((self.libraries / f"liblapidary.so.{major}").is_symlink())

    def test_header_alone(self):
        header = self.prefix / "include" / "lapidary.h"
        for compiler in ("gcc", "clang-19", "clang"):
            if shutil.which(compiler):
                for language, standard in (("c", "c11"), ("c", "c17"), ("c++", "c++11"), ("c++", "c++20")):
                    run(compiler, "-x", language, f"-std={standard}", *STRICT, "-Wconversion", "-fsyntax-only", header)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
