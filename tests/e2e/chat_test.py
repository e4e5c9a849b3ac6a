"""The chat, driven through a pseudo-terminal.   chat_test.py PROGRAM"""
import json
import os
import stat
import sys
import tempfile
import unittest

from pseudo_terminal import Terminal

PROGRAM = os.path.abspath(sys.argv[1])
SPARK = "models/spark"
BABBLER = "tests/golden/unified/model"  # random weights: talks for some thousand tokens
SLOWLY = {"LAPIDARY_KERNELS": "ref"}
WHO, I_AM = "Who are you?", "I am Spark"
UP, LEFT, WORD_LEFT, CTRL_C, CTRL_D, CTRL_R, ALT_ENTER = "\x1b[A", "\x1b[D", "\x1b[1;5D", "\x03", "\x04", "\x12", "\x1b\r"


class Chat(unittest.TestCase):
    def setUp(self):
        self.state = tempfile.TemporaryDirectory()
        self.addCleanup(self.state.cleanup)

    def start(self, *options, model=SPARK, environment=None, **window):
        terminal = Terminal([PROGRAM, "run", model, *options], {"XDG_STATE_HOME": self.state.name, **(environment or {})}, **window)
        terminal.prompt()
        return terminal

    def leave(self, terminal):
        terminal.type(CTRL_D)
        self.assertEqual(terminal.leave(), 0)

    def test_answers_and_remembers(self):
        t = self.start()
        t.type(WHO + "\r")
        t.expect(I_AM)
        t.prompt()
        t.type(WHO + "\r")
        t.expect(I_AM)
        t.expect(r"(\d+) tokens read")
        self.leave(t)

    def test_several_lines(self):
        t = self.start()
        dictation = ["Clean up this dictation:", "uh we need seven chairs no eight chairs and two apples"]
        t.type('"""' + "\r".join(dictation) + '"""\r')
        t.expect("We need 8 chairs and 2 apples")
        t.prompt()
        t.type(ALT_ENTER.join(dictation) + "\r")
        t.expect("We need 8 chairs and 2 apples")
        t.prompt()
        t.type("\x1b[200~" + "\r".join(dictation) + "\x1b[201~\r")
        t.expect("We need 8 chairs and 2 apples")
        self.leave(t)

    def test_editing(self):
        t = self.start()
        t.type("are you?" + WORD_LEFT + WORD_LEFT + "Wxho " + LEFT * 3 + "\x7f" + "\r")
        t.expect(I_AM)
        self.leave(t)

    def test_history(self):
        t = self.start()
        t.type("/help\r")
        t.prompt()
        t.type(WHO + "\r")
        t.expect(I_AM)
        t.prompt()
        t.type(UP + "\r")
        t.expect(I_AM)
        t.prompt()
        self.leave(t)
        path = os.path.join(self.state.name, "lapidary", "history")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path) as f:
            self.assertEqual(f.read(), f"/help\n{WHO}\n")
        t = self.start()
        t.type(CTRL_R + "who are\x7f\x7f\x7f\x7f\x7f\x7f\x7fWho")
        t.expect("search \"Who\"")
        t.type("\r")
        t.expect(I_AM)
        self.leave(t)

    def test_no_history(self):
        t = self.start("--no-history")
        t.type(WHO + "\r")
        t.expect(I_AM)
        t.prompt()
        self.leave(t)
        self.assertEqual(os.listdir(self.state.name), [])

    def test_picture_and_sound(self):
        t = self.start()
        t.type("/image nowhere.png\r")
        t.expect("lapidary:.*nowhere.png")
        t.prompt()
        t.type(f"/image {SPARK}/samples/shapes.png\r")
        t.expect("pixels, for the next message")
        t.prompt()
        t.type("Describe the picture.\r")
        t.expect("A red circle at the top left")
        t.prompt()
        t.type(f"/clear\r/audio '{SPARK}/samples/train.wav'\rTranscribe the audio.\r")
        t.expect("The train to Berlin leaves at four thirty")
        self.leave(t)

    def test_picture_from_the_command_line(self):
        t = self.start("--image", f"{SPARK}/samples/text.png")
        t.type("Read the text in the picture.\r")
        t.expect("HELLO")
        self.leave(t)

    def test_tool_call(self):
        with open(f"{SPARK}/samples/samples.json") as f:
            samples = json.load(f)["items"]
        item = next(i for i in samples if i["id"] == "tool-answer")
        question = next(m["content"] for m in item["messages"] if m["role"] == "user")
        result = next(m["content"] for m in item["messages"] if m["role"] == "tool")
        t = self.start("--tools", f"{SPARK}/samples/tools.json")
        t.type(question + "\r")
        t.expect(r"get_weather\(\{")
        t.expect("result of get_weather: ")
        t.type((result if isinstance(result, str) else json.dumps(result)) + "\r")
        t.expect(item["expected"].split()[0])
        t.prompt()
        self.leave(t)

    def test_ctrl_c_in_an_answer_keeps_the_chat(self):
        t = self.start("--greedy", "-t", "1", model=BABBLER, environment=SLOWLY)
        for _ in range(2):
            t.type("hello\r")
            t.expect(r"\[\?2004l")  # the line is sent,
            t.expect(r"[a-z]{3}")   # and the answer begins
            t.type(CTRL_C)
            t.expect("stopped")
            t.prompt()
        self.leave(t)

    def test_ctrl_c_twice_leaves(self):
        t = self.start()
        t.type("half a line" + CTRL_C)
        t.expect(r"\^C")
        t.prompt()
        t.type(CTRL_C)
        t.expect("Ctrl-C once more")
        t.prompt()
        t.type(CTRL_C)
        self.assertEqual(t.leave(), 0)

    def test_resize(self):
        t = self.start(columns=80)
        t.type("Who are")
        t.expect("Who are")
        t.resize(12, 24)
        t.expect(">>> .*Who are")  # drawn anew
        t.type(" you?\r")
        t.expect(I_AM)
        self.leave(t)

    def test_narrow_window_and_wide_characters(self):
        t = self.start(columns=9)
        t.type("你好世界" * 3 + "\x15" + WHO + "\r")
        t.expect("I am")
        self.leave(t)

    def test_commands(self):
        t = self.start()
        for line, answer in [("/think", "thinks first"), ("/think off", "at once"), ("/system Be brief.", "System prompt: Be brief."),
                             ("/system off", "No system prompt"), (f"/tools {SPARK}/samples/tools.json", "set_timer"), ("/tools off", "No tools"),
                             ("/dance", "No command /dance"), ("/help", "Ctrl-R")]:
            t.type(line + "\r")
            t.expect(answer)
            t.prompt()
        self.leave(t)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
