"""The program from outside, without a terminal: what it prints, and how it ends.   program_test.py PROGRAM"""
import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
SPARK = "models/spark"
SAMPLES = f"{SPARK}/samples"
BABBLER = "tests/golden/unified/model"
DONE, FAILED, WRONG_USE, REFUSED, NO_MEMORY, INTERRUPTED = 0, 1, 2, 3, 4, 130


def run(*arguments, stdin=b"", **environment):
    stdin = stdin.encode() if isinstance(stdin, str) else stdin
    return subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, timeout=300, env={**os.environ, **environment})


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(content)
        return path

    def check(self, status, *arguments, **more):
        result = run(*arguments, **more)
        self.assertEqual(result.returncode, status, result.stderr.decode())
        if status not in (DONE, INTERRUPTED):
            self.assertTrue(result.stderr.startswith(b"lapidary: "), result.stderr)
        return result

    def test_answer(self):
        self.assertIn(b"I am Spark", self.check(DONE, "run", SPARK, "Who are you?").stdout)
        self.assertIn(b"I am Spark", self.check(DONE, "run", "Who are you?").stdout)
        self.assertIn(b"I am Spark", self.check(DONE, "run", "-m", SPARK, "-p", "Who are you?").stdout)
        self.assertIn(b"I am Spark", self.check(DONE, "run", stdin="Who are you?").stdout)

    def test_nothing_but_the_answer_on_standard_output(self):
        result = self.check(DONE, "run", SPARK, "Read the text in the picture.", "--image", f"{SAMPLES}/text.png")
        self.assertEqual(result.stdout, b"HELLO\n")
        self.assertEqual(result.stderr, b"")

    def test_piped_text_follows_the_prompt(self):
        result = self.check(DONE, "render", SPARK, self.file("c.json", json.dumps({"messages": [{"role": "user", "content": "a\n\nb"}]})))
        expected = len(json.loads(result.stdout)["ids"])
        events = self.events(self.check(DONE, "run", SPARK, "a", "--json", "-n", "1", stdin="b"))
        self.assertEqual(next(e for e in events if e["type"] == "prompt")["tokens"], expected)

    def events(self, result):
        return [json.loads(line) for line in result.stdout.decode().splitlines()]

    def test_json_events(self):
        events = self.events(self.check(DONE, "run", "Transcribe the audio.", "--audio", f"{SAMPLES}/train.wav", "--json", "--seed", "7"))
        kinds = [e["type"] for e in events]
        self.assertEqual([kinds[0], kinds[1], kinds[-1]], ["media", "prompt", "usage"])
        self.assertEqual("".join(e["text"] for e in events if e["type"] == "text"), "The train to Berlin leaves at four thirty.")
        usage = events[-1]
        self.assertEqual(usage["stop"], "stop_token")
        self.assertEqual(usage["seed"], 7)
        self.assertEqual(len(usage["reply_ids"]), usage["reply_tokens"])
        self.assertEqual(usage["prompt_tokens"], events[1]["tokens"])
        for key in ("load_seconds", "prompt_seconds", "reply_seconds"):
            self.assertGreaterEqual(usage[key], 0)

    def test_tool_call(self):
        question = "What is the weather in Oslo tomorrow?"
        events = self.events(self.check(DONE, "run", question, "--tools", f"{SAMPLES}/tools.json", "--json"))
        call = next(e for e in events if e["type"] == "tool_call")
        self.assertEqual((call["name"], call["arguments"]), ("get_weather", {"city": "Oslo", "day": "tomorrow"}))
        self.assertEqual(events[-1]["stop"], "tool_call")
        result = self.check(DONE, "run", question, "--tools", f"{SAMPLES}/tools.json")
        self.assertEqual(result.stdout, b'get_weather({"city":"Oslo","day":"tomorrow"})\n')

    def test_chat_file(self):
        chat = {"messages": [{"role": "user", "content": [{"type": "image", "path": "p.png"}, {"type": "text", "text": "Describe the picture."}]}]}
        os.symlink(os.path.abspath(f"{SAMPLES}/shapes.png"), os.path.join(self.folder, "p.png"))
        result = self.check(DONE, "run", SPARK, "--chat", self.file("chat.json", json.dumps(chat)))
        self.assertIn(b"A red circle at the top left", result.stdout)

    def test_limits_of_the_answer(self):
        events = self.events(self.check(DONE, "run", "Who are you?", "--json", "-n", "2"))
        self.assertEqual((events[-1]["stop"], events[-1]["reply_tokens"]), ("length", 2))
        self.assertEqual(self.check(DONE, "run", "Who are you?", "--stop", " Spark").stdout, b"I am\n")

    def test_drafts_change_nothing_but_the_time(self):
        text = "Repeat: one two three four five six seven. one two three four five six seven. one two three four five six seven."
        for sampled in (("--greedy",), ("--temp", "1.5", "--seed", "5")):
            usages = []
            for draft in ((), ("--draft", "off")):
                events = self.events(self.check(DONE, "run", text, "--raw", "-n", "60", "--json", *draft, *sampled))
                usages.append(events[-1])
            self.assertEqual(usages[0]["reply_ids"], usages[1]["reply_ids"])
            self.assertLessEqual(usages[0]["accepted_tokens"], usages[0]["drafted_tokens"])
            self.assertEqual((usages[1]["drafted_tokens"], usages[1]["accepted_tokens"]), (0, 0))
        self.check(REFUSED, "run", text, "--draft", "nowhere.gguf")
        self.check(REFUSED, "run", text, "--draft", SPARK)

    def test_the_same_seed_gives_the_same_answer(self):
        sampled = ("run", "Who are you?", "--temp", "2", "--seed", "5", "-n", "20", "--json")
        ids = [self.events(self.check(DONE, *sampled, "-t", t))[-1]["reply_ids"] for t in ("1", "2")]
        self.assertEqual(ids[0], ids[1])
        seeds = [self.events(self.check(DONE, "run", "hello", "-n", "1", "--json"))[-1]["seed"] for _ in range(3)]
        self.assertGreater(len(set(seeds)), 1)

    def test_raw_and_base_models_continue_the_text(self):
        base = "tests/golden/gemma3/model"
        raw = self.check(DONE, "run", base, "--raw", "-n", "8", "--greedy", "-p", "Once upon a time").stdout
        self.assertNotIn(b"Once upon", raw)
        self.assertEqual(raw, self.check(DONE, "run", base, "--raw", "-n", "8", "--greedy", stdin="Once upon a time").stdout)

    def test_wrong_use(self):
        for arguments in ([], ["dance"], ["run", "--temp", "x", "hello"], ["run", "--nothing"], ["run"], ["render"], ["logits", SPARK],
                          ["run", "-n", "0", "hello"], ["run", "-c", "1000000", "hello"], ["perplexity"]):
            with self.subTest(arguments):
                self.assertEqual(self.check(WRONG_USE, *arguments).stdout, b"")

    def test_files_refused(self):
        damaged = self.file("damaged.gguf", "GGUF but no more")
        for arguments in (["run", "nowhere.gguf"], ["run", "nowhere", "hello"], ["run", damaged, "hello"], ["show", damaged], ["show", "nowhere"],
                          ["run", "hello", "--image", "nowhere.png"], ["run", "hello", "--image", damaged], ["run", "hello", "--audio", damaged],
                          ["run", "hello", "--tools", damaged], ["run", "--chat", damaged], ["tokenize", damaged], ["render", SPARK, damaged],
                          ["logits", SPARK, "--ids", damaged, "--out", os.path.join(self.folder, "l.npy")], ["perplexity", SPARK, "nowhere.txt"]):
            with self.subTest(arguments):
                self.assertEqual(self.check(REFUSED, *arguments).stdout, b"")

    def test_json_errors_are_events_too(self):
        result = self.check(REFUSED, "run", "nowhere", "hello", "--json")
        result = self.check(REFUSED, "run", "hello", "--image", "nowhere.png", "--json")
        self.assertEqual(self.events(result)[-1]["type"], "error")

    def test_too_little_memory(self):
        result = self.check(NO_MEMORY, "run", "hello", LAPIDARY_MEMORY_LIMIT="20M")
        self.assertIn(b"--force", result.stderr)
        self.check(DONE, "run", "hello", "--force", LAPIDARY_MEMORY_LIMIT="20M")
        shown = json.loads(self.check(DONE, "show", SPARK, "--json").stdout)
        largest = max(shown["memory"], key=lambda plan: plan["context"])["total"]
        events = self.events(self.check(DONE, "run", "hello", "--json", "--context", "auto", LAPIDARY_MEMORY_LIMIT=str(largest)))
        self.assertEqual(events[-1]["type"], "usage")

    def test_a_closed_pipe_ends_quietly(self):
        for arguments in (["run", BABBLER, "hello", "-n", "400"], ["tokenize", SPARK, "--help"]):
            process = subprocess.Popen([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            self.assertEqual(process.wait(60), DONE)
            process.stderr.close()

    def test_a_full_disk_does_not(self):
        with open("/dev/full", "w") as full:
            process = subprocess.run([PROGRAM, "--version"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(process.returncode, FAILED)

    def test_interrupt(self):
        process = subprocess.Popen([PROGRAM, "run", BABBLER, "hello", "--json", "--greedy", "-t", "1"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, env={**os.environ, "LAPIDARY_KERNELS": "ref"})  # slow enough
        self.assertTrue(process.stdout.readline())
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().splitlines()
        process.stdout.close()
        self.assertEqual(process.wait(60), INTERRUPTED)
        self.assertEqual(json.loads(rest[-1])["stop"], "interrupted")

    def test_tokenize_there_and_back(self):
        text = "Clean up this dictation:\n naïve 你好 <|turn> \x00\x1b"
        for special in ([], ["--special"]):
            ids = self.check(DONE, "tokenize", SPARK, *special, stdin=text).stdout
            self.assertIsInstance(json.loads(ids), list)
            self.assertEqual(self.check(DONE, "tokenize", SPARK, "--decode", *special, stdin=ids).stdout.decode(), text)
        self.assertEqual(self.check(DONE, "tokenize", f"{SPARK}/tokenizer.json", stdin="").stdout, b"[]\n")

    def test_render_expanded(self):
        chat = {"messages": [{"role": "user", "content": [{"type": "image", "path": os.path.abspath(f"{SAMPLES}/shapes.png")}]}]}
        path = self.file("chat.json", json.dumps(chat))
        short = json.loads(self.check(DONE, "render", SPARK, path).stdout)
        long = json.loads(self.check(DONE, "render", SPARK, path, "--expand").stdout)
        self.assertEqual(short["text"].count("<|image|>"), 1)
        soft = long["text"].count("<|image|>")
        self.assertGreater(soft, 1)
        self.assertEqual(len(long["ids"]), len(short["ids"]) + soft + 1)

    def shape(self, path):
        with open(path, "rb") as f:
            header = f.read(int.from_bytes(f.read(10)[8:], "little"))  # NumPy's format 1.0
        return ast.literal_eval(header.decode())["shape"]

    def test_logits_and_dump(self):
        ids = self.file("ids.json", "[2, 10, 11, 12]")
        out, dump = os.path.join(self.folder, "l.npy"), os.path.join(self.folder, "dump")
        self.check(DONE, "logits", SPARK, "--ids", ids, "--out", out, "--dump", dump)
        self.assertEqual(self.shape(out), (4, 1536))
        self.assertEqual(sorted(os.listdir(dump)), [f"hidden_{i:02}.npy" for i in range(8)])
        self.check(DONE, "logits", SPARK, "--ids", ids, "--out", out, "--last", "1")
        self.assertEqual(self.shape(out), (1, 1536))

    def test_perplexity(self):
        text = self.file("text.txt", "The train to Berlin leaves at four thirty. " * 20)
        figures = json.loads(self.check(DONE, "perplexity", SPARK, text, "--tokens", "100", "--json", "--against", SPARK).stdout)
        self.assertEqual((figures["tokens"], figures["scored"], figures["top1_agreement"]), (100, 99, 1.0))
        self.assertEqual(figures["perplexity"], figures["against_perplexity"])
        self.assertAlmostEqual(figures["kl_divergence"], 0, places=9)
        self.check(WRONG_USE, "perplexity", SPARK, text, "--against", "tests/golden/unified/model")

    def test_show_and_doctor(self):
        shown = json.loads(self.check(DONE, "show", SPARK, "--json").stdout)
        self.assertEqual((shown["vocabulary"], shown["vision"], shown["audio"], shown["layers"]), (1536, True, True, 6))
        self.assertEqual(set(shown["memory"][0]), {"context", "weights", "kv", "working", "total", "fits"})
        self.assertIn(b"parameters", self.check(DONE, "show", SPARK).stdout)
        doctor = json.loads(self.check(DONE, "doctor", "--json").stdout)
        self.assertIn(doctor["kernels"]["chosen"], doctor["kernels"]["available"])
        self.assertIn(b"available", self.check(DONE, "doctor").stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
