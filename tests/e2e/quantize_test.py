"""`lapidary quantize` from outside: the model in the box in every type still does its work.   quantize_test.py PROGRAM"""
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1])
SPARK = "models/spark"
SAMPLES = f"{SPARK}/samples"
with open(PROGRAM, "rb") as program:
    content = program.read()
    SANITIZED = b"__asan_init" in content or b"__tsan_init" in content
TYPES = ["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"]


def run(*arguments, **environment):
    return subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})


def write_safetensors(path, shapes):
    """A checkpoint of bf16 weights with a pattern that repeats, written piece by piece."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # Numbers of both signs around 0.02, never more than 65,536 different.
    pattern = b"".join(struct.pack("<H", 0x3C00 + (i * 2654435761 >> 7) % 0x200 + (i * 40503 >> 3 & 1) * 0x8000) for i in range(1 << 16))
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            left = header[name]["data_offsets"][1] - header[name]["data_offsets"][0]
            while left > 0:
                file.write(pattern[:left])
                left -= min(left, len(pattern))


class Quantize(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def quantize(self, type_, *more, source=SPARK, status=0, **environment):
        out = self.path(f"{type_}.gguf")
        result = run("quantize", source, out, "--type", type_, *more, **environment)
        self.assertEqual(result.returncode, status, result.stderr)
        return out, result

    def answer(self, model, *arguments):
        result = run("run", model, *arguments, "--greedy")
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.strip()

    def test_samples_in_every_type(self):
        for type_ in TYPES:
            with self.subTest(type_):
                out, result = self.quantize(type_)
                self.assertIn("KL divergence", result.stdout)
                self.assertIn("bits a weight", result.stdout)
                self.assertEqual(self.answer(out, "Read the text in the picture.", "--image", f"{SAMPLES}/text.png", "--image-tokens", "70"),
                                 "HELLO")
                self.assertIn("circle", self.answer(out, "Describe the picture.", "--image", f"{SAMPLES}/shapes.png", "--image-tokens", "70"))
                self.assertIn("train", self.answer(out, "Transcribe the audio.", "--audio", f"{SAMPLES}/train.wav").lower())
                os.remove(out)

    def test_order_of_the_types(self):
        sizes, divergences = [], []
        for type_ in TYPES:
            out, result = self.quantize(type_)
            sizes.append(os.path.getsize(out))
            divergences.append(float(result.stdout.split("KL divergence ")[1].split()[0]))
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertLess(divergences[0], 0.002)
        self.assertLess(divergences[1], divergences[4])
        self.assertLess(divergences[4], 0.15)

    def test_calibration(self):
        _, plain = self.quantize("q4_0")
        out, result = self.quantize("q4_0", "--calibrate", "docs/gemma4.md")
        self.assertIn("KL divergence", result.stdout)
        self.assertNotEqual(plain.stdout, result.stdout)
        self.assertEqual(run("quantize", SPARK, out, "--type", "q4_0", "--calibrate", "/nowhere").returncode, 3)

    def test_refusals(self):
        q4_0, _ = self.quantize("q4_0", "--no-check")
        before = sorted(os.listdir(self.folder))
        _, result = self.quantize("q8_0", source=q4_0, status=3)
        self.assertIn("--requantize", result.stderr)
        self.assertEqual(run("quantize", SPARK, self.path("a.gguf"), "--type", "q2_k").returncode, 2)
        self.assertEqual(run("quantize", q4_0, q4_0, "--type", "q4_0", "--requantize").returncode, 2)
        self.assertEqual(run("quantize", SPARK, self.path("no/folder.gguf"), "--type", "q4_0").returncode, 1)
        self.assertEqual(run("quantize", SPARK, self.folder, "--type", "q4_0").returncode, 3)
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        out, result = self.quantize("bf16", "--requantize", source=q4_0)
        self.assertEqual(result.returncode, 0)
        # What came from Q4_0 goes back into it without a loss, and says so.
        _, result = self.quantize("q4_0", source=out)
        self.assertIn("quantisation-aware", result.stderr)
        self.assertLess(float(result.stdout.split("KL divergence ")[1].split()[0]), 0.002)
        # 8 bits are taken, but not silently.
        q8_0, _ = self.quantize("q8_0", "--no-check")
        _, result = self.quantize("q5_k_m", "--no-check", source=q8_0)
        self.assertIn("Q8_0", result.stderr)

    def true_size(self, layers, vocabulary=262144):
        """A folder with the 12B's own tensor sizes, but few layers and a small vocabulary's tokenizer."""
        model = self.path("model")
        os.mkdir(model)
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
            with open(f"{SPARK}/{name}") as source, open(f"{model}/{name}", "w") as out:
                out.write(source.read())
        with open(f"{SPARK}/config.json") as file:
            config = json.load(file)
        config.pop("vision_config"), config.pop("audio_config")
        text = config["text_config"]
        text.update(hidden_size=3840, intermediate_size=15360, num_hidden_layers=layers, num_attention_heads=16, num_key_value_heads=8,
                    head_dim=256, global_head_dim=512, vocab_size=vocabulary,
                    layer_types=["sliding_attention"] * (layers - 1) + ["full_attention"])
        with open(f"{model}/config.json", "w") as file:
            json.dump(config, file)
        prefix = "model.language_model."
        shapes = {f"{prefix}embed_tokens.weight": [vocabulary, 3840], f"{prefix}norm.weight": [3840]}
        for i in range(layers):
            full = i == layers - 1
            layer = f"{prefix}layers.{i}."
            heads, kv, dim = 16, 1 if full else 8, 512 if full else 256
            for name, shape in {"q_proj": [heads * dim, 3840], "k_proj": [kv * dim, 3840], "v_proj": [kv * dim, 3840],
                                "o_proj": [3840, heads * dim]}.items():
                if name != "v_proj" or not full:
                    shapes[f"{layer}self_attn.{name}.weight"] = shape
            shapes.update({f"{layer}self_attn.{n}_norm.weight": [dim] for n in "qk"})
            shapes.update({f"{layer}mlp.{n}_proj.weight": [15360, 3840] for n in ("gate", "up")})
            shapes[f"{layer}mlp.down_proj.weight"] = [3840, 15360]
            for n in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"):
                shapes[f"{layer}{n}.weight"] = [3840]
            shapes[f"{layer}layer_scalar"] = [1]
        write_safetensors(f"{model}/model.safetensors", shapes)
        return model

    @unittest.skipIf(SANITIZED, "sanitizers take memory and time of their own")
    def test_memory_of_true_sizes(self):
        model = self.true_size(1)
        self.assertGreater(os.path.getsize(f"{model}/model.safetensors"), 2.3e9)
        script = ("import resource, subprocess, sys; status = subprocess.run(sys.argv[1:]).returncode; "
                  "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)")
        out = self.path("out.gguf")
        result = subprocess.run([sys.executable, "-c", script, PROGRAM, "quantize", model, out, "--type", "q8_0", "--no-check"],
                                capture_output=True, text=True, timeout=900)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertLess(int(result.stdout.split()[-1]) * 1024, 0.6e9)
        shown = run("show", out, "--json")
        self.assertEqual(shown.returncode, 0, shown.stderr)

    def test_interrupt_leaves_nothing(self):
        model = self.true_size(1, 16384)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            process = subprocess.Popen([PROGRAM, "quantize", model, self.path("out.gguf"), "--type", "q4_k_m"], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            time.sleep(0.7)
            process.send_signal(number)
            process.communicate(timeout=60)
            self.assertNotEqual(process.returncode, 0)
            self.assertEqual(sorted(os.listdir(self.folder)), ["model"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
