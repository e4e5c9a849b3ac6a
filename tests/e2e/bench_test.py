"""`lapidary bench` from outside.   bench_test.py PROGRAM"""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
SPARK = "models/spark"
QUICK = ["--pp", "16", "--tg", "3", "--verify-depth", "8", "--reps", "1"]


def bench(*arguments, **environment):
    return subprocess.run([PROGRAM, "bench", *arguments], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "LAPIDARY_MEMORY_LIMIT": "600M", **environment})  # a small buffer for the machine's figures


class Bench(unittest.TestCase):
    def report(self, *arguments, **environment):
        result = bench(SPARK, *QUICK, "--json", *arguments, **environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        return json.loads(result.stdout)

    def test_json(self):
        report = self.report("--depth", "0,24", "--verify", "1-2,4")
        self.assertEqual(list(report)[:14], ["cpu", "variant", "threads", "file", "commit", "kv", "load_s", "stream_gb_s", "int8_peak_gops", "pp", "tg",
                                             "verify_depth", "verify", "peak_rss_bytes"])
        self.assertEqual([(row["tokens"], row["depth"]) for row in report["pp"]], [(16, 0), (16, 24)])
        self.assertEqual([row["depth"] for row in report["tg"]], [0, 24])
        self.assertEqual([row["m"] for row in report["verify"]], [1, 2, 4])
        self.assertEqual(report["verify_depth"], 8)
        for row in report["pp"] + report["tg"]:
            self.assertTrue(row["min"] <= row["tokens_per_s"] <= row["max"], row)
            self.assertGreater(row["cpu_s_per_token"], 0)
        for row in report["tg"]:
            self.assertGreater(row["pct_bandwidth"], 0)
        self.assertTrue(all(row["ms"] > 0 for row in report["verify"]))
        self.assertGreater(report["stream_gb_s"], 0.1)
        size = os.path.getsize(f"{SPARK}/model.safetensors")
        # What measures the machine takes up to 2 GB; it must not count.
        self.assertTrue(size < report["peak_rss_bytes"] < size + 250e6, report["peak_rss_bytes"])

    def test_hash_does_not_depend_on_threads(self):
        hashes = {self.report("--depth", "0", "--verify", "none", "--threads", str(n))["logits_hash"] for n in (1, 2, 3)}
        self.assertEqual(len(hashes), 1)

    def test_reference_kernels_have_no_peak(self):
        report = self.report("--depth", "0", "--verify", "none", LAPIDARY_KERNELS="ref")
        self.assertEqual((report["variant"], report["kv"], report["int8_peak_gops"]), ("ref", "f32", None))
        self.assertIsNone(report["pp"][0]["pct_peak"])

    def test_text(self):
        result = bench(SPARK, *QUICK, "--depth", "0", "--verify", "1-2")
        self.assertEqual(result.returncode, 0, result.stderr)
        for words in ("GB/s", "reads 16 tokens at 0", "writes 3 tokens at 0", "a call with 2 tokens", "peak resident", "hash of the logits"):
            self.assertIn(words, result.stdout)

    def test_refusals(self):
        self.assertEqual(bench("/nowhere").returncode, 3)
        self.assertEqual(bench(SPARK, "--depth", "many").returncode, 2)
        self.assertEqual(bench(SPARK, "--depth", "4096", LAPIDARY_MEMORY_LIMIT="20M").returncode, 4)

    def test_interrupt(self):
        process = subprocess.Popen([PROGRAM, "bench", SPARK, "--reps", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, b""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
