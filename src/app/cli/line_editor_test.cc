#include "cli/line_editor.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "base/mapped_file.h"
#include "cli/virtual_screen_for_test.h"

namespace lapidary {
namespace {

Line edit(const std::string& keys, History* history = nullptr) {
  VirtualScreen screen(80, 24);
  screen.type(keys);
  LineEditor editor(screen);
  LineRequest request;
  request.history = history;
  return editor.read(request);
}

// What is typed, without the Enter, and then looked at.
struct Look {
  explicit Look(int columns, int rows = 24) : screen(columns, rows), editor(screen) {}
  std::string after(const std::string& keys) {
    screen.type(keys);
    editor.read({});  // the screen closes when the keys are used up, which ends the line
    return screen.shown();
  }
  VirtualScreen screen;
  LineEditor editor;
};

}  // namespace

TEST_CASE("typing, Enter, Ctrl-D, Ctrl-C") {
  CHECK(edit("hello\r").text == "hello");
  CHECK(edit("hello\r").end == LineEnd::entered);
  CHECK(edit("\x04").end == LineEnd::closed);
  CHECK(edit("abc\x01\x04\r").text == "bc");  // Ctrl-D within a text erases
  CHECK(edit("abc\x03").end == LineEnd::interrupted);
  CHECK(edit("abc\x03").text == "abc");
  CHECK(edit("").end == LineEnd::closed);
}

TEST_CASE("the keys of Emacs and the arrows move and erase") {
  CHECK(edit("bc\x01"
             "a\x05"
             "d\r")
            .text == "abcd");
  CHECK(edit("ac\x1b[Db\r").text == "abc");
  CHECK(edit("ac\x1bOD"
             "b\x1bOC"
             "d\r")
            .text == "abcd");
  CHECK(edit("one two\x1b"
             "b\x1b"
             "b"
             "X\r")
            .text == "Xone two");
  CHECK(edit("one two\x1b[1;5DX\x1b[1;5CY\r").text == "one XtwoY");
  CHECK(edit("one two\x17X\r").text == "one X");
  CHECK(edit("one/two\x1b\x7fX\r").text == "one/X");
  CHECK(edit("one two\x01\x1b"
             "d\r")
            .text == " two");
  CHECK(edit("one two\x1b[H\x0b\x19\x19\r").text == "one twoone two");
  CHECK(edit("one two\x15X\r").text == "X");
  CHECK(edit("abc\x1b[D\x1b[3~\r").text == "ab");
  CHECK(edit("ab\x14\r").text == "ba");
  CHECK(edit("ab\x7f\x7f\x7f"
             "c\r")
            .text == "c");
}

TEST_CASE("a character is what a user takes for one") {
  CHECK(edit("\xC3\xA9\xE4\xBD\xA0\x7f\r").text == "\xC3\xA9");
  CHECK(edit("ae\xCC\x81\x7f\r").text == "a");                                     // e + combining acute
  CHECK(edit("x\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB\x7f\r").text == "x");  // woman, joiner, laptop
  CHECK(edit("\xF0\x9F\x98\x80\x1b[D"
             "a\r")
            .text == "a\xF0\x9F\x98\x80");
  CHECK(edit("a\xFF"
             "b\r")
            .text ==
        "a\xEF\xBF\xBD"
        "b");
}

TEST_CASE("keys that arrive in pieces") {
  VirtualScreen screen(80, 24);
  for (const char* piece : {"a", "c", "\x1b", "[", "D", "b", "\xC3", "\xA9", "\r"}) screen.type(piece);
  LineEditor editor(screen);
  CHECK(editor.read({}).text ==
        "ab\xC3\xA9"
        "c");
}

TEST_CASE("an ESC alone is no beginning of the next key") {
  VirtualScreen screen(80, 24);
  screen.type("a\x1b");
  screen.type("b\r");
  screen.pause_before_rest = true;
  LineEditor editor(screen);
  CHECK(editor.read({}).text == "ab");
}

TEST_CASE("what is typed ahead goes to the next line") {
  VirtualScreen screen(80, 24);
  screen.type("one\rtwo\rthr");
  screen.type("ee\r");
  LineEditor editor(screen);
  CHECK(editor.read({}).text == "one");
  CHECK(editor.read({}).text == "two");
  CHECK(editor.read({}).text == "three");
}

TEST_CASE("a paste is text: its line breaks do not send, its control characters do nothing") {
  CHECK(edit("\x1b[200~one\rtwo\r\nthree\x1b[201~\r").text == "one\ntwo\nthree");
  CHECK(edit("\x1b[200~a\x03\x04"
             "b\x1b[201~\r")
            .text ==
        "a\x03\x04"
        "b");
  VirtualScreen screen(80, 24);
  for (const char* piece : {"\x1b[200~par", "t\x1b[2", "01~!\r"}) screen.type(piece);
  LineEditor editor(screen);
  CHECK(editor.read({}).text == "part!");
}

TEST_CASE("Alt-Enter and an unfinished block begin a new line") {
  CHECK(edit("a\x1b\rb\r").text == "a\nb");
  CHECK(edit("a\x1b[13;2ub\r").text == "a\nb");
  VirtualScreen screen(80, 24);
  screen.type("\"\"\"a\rb\"\"\"\r");
  LineEditor editor(screen);
  LineRequest request;
  request.wants_more = [](std::string_view text) {
    return text.starts_with("\"\"\"") && !text.substr(3).ends_with("\"\"\"");
  };
  CHECK(editor.read(request).text == "\"\"\"a\nb\"\"\"");
}

TEST_CASE("up and down: lines first, then history; a draft is not lost") {
  History history;
  REQUIRE(history.add("old").has_value());
  REQUIRE(history.add("newer").has_value());
  CHECK(edit("\x1b[A\r", &history).text == "newer");
  CHECK(edit("\x1b[A\x1b[A\x1b[A\r", &history).text == "old");
  CHECK(edit("draft\x1b[A\x1b[A\x1b[B\x1b[B\r", &history).text == "draft");
  CHECK(edit("ab\x1b\rcd\x1b[AX\r", &history).text == "abX\ncd");
  CHECK(edit("ab\x1b\rcd\x1b[A\x1b[A\r", &history).text == "newer");
  CHECK(edit("ab\x1b\rcd\x1b[A\x1b[H\x1b[BX\r", &history).text == "ab\nXcd");
}

TEST_CASE("Ctrl-R searches the history") {
  History history;
  for (const char* entry : {"red apple", "green apple", "pear"}) REQUIRE(history.add(entry).has_value());
  CHECK(edit("\x12"
             "app\r",
             &history)
            .text == "green apple");
  CHECK(edit("\x12"
             "app\x12\r",
             &history)
            .text == "red apple");
  CHECK(edit("\x12"
             "app\x12\x12\x12\r",
             &history)
            .text == "red apple");
  CHECK(edit("draft\x12"
             "app\x07\r",
             &history)
            .text == "draft");
  CHECK(edit("\x12"
             "pear\x05!\r",
             &history)
            .text == "pear!");
  CHECK(edit("\x12"
             "redx\x7f\x7f\x7f\x7fgreen\r",
             &history)
            .text == "green apple");
}

TEST_CASE("the screen shows what is in the line") {
  CHECK(Look(20).after("hello") == "> hello");
  CHECK(Look(20).after("hell\x1b[D\x1b[Dx") == "> hexll");
  CHECK(Look(10).after("abcdefghijkl") == "> abcdefgh\nijkl");
  CHECK(Look(10).after("abcdefgh") == "> abcdefgh");
  CHECK(Look(10).after("abcdefghijkl\x7f\x7f\x7f\x7f\x7f") == "> abcdefg");
  CHECK(Look(20).after("a\x1b\rb") == "> a\n  b");
  CHECK(Look(20).after("a\x1b\rb\x1b[A\x7fX") == "> X\n  b");
  // A wide character does not fit into the last column.
  CHECK(Look(7).after("abcd\xE4\xBD\xA0"
                      "e") ==
        "> abcd\n\xE4\xBD\xA0"
        "e");
  CHECK(Look(20).after("a\x1b[200~\x1b]0;title\x07\x1b[201~") == "> a\xE2\x90\x9B]0;title\xE2\x90\x87");
}

TEST_CASE("a line that is taller than the screen shows the part around the cursor, then all of it") {
  Look look(10, 3);
  VirtualScreen& screen = look.screen;
  screen.type("1\x1b\r2\x1b\r3\x1b\r4\x1b\r5");
  screen.type("\x01");
  LineRequest request;
  look.editor.read(request);
  CHECK(screen.shown().find("5") != std::string::npos);
  // Going up to the first line brings it into view.
  Look up(10, 3);
  up.screen.type("1\x1b\r2\x1b\r3\x1b\r4\x1b\r5");
  up.screen.type("\x1b[A\x1b[A\x1b[A\x1b[A");
  up.screen.type("X\r");
  CHECK(up.editor.read({}).text == "1X\n2\n3\n4\n5");
}

TEST_CASE("a resize draws the line once, in the new width") {
  VirtualScreen screen(20, 10);
  screen.type("abcdefghijkl");
  screen.input.push_back({"", true, false, false});
  screen.resize_to = 30;
  screen.type("m\r");
  LineEditor editor(screen);
  CHECK(editor.read({}).text == "abcdefghijklm");
  CHECK(screen.shown() == "> abcdefghijklm");
}

TEST_CASE("Ctrl-Z suspends, Ctrl-L clears") {
  VirtualScreen screen(20, 10);
  screen.type(
      "ab\x1a"
      "c\x0c\r");
  LineEditor editor(screen);
  CHECK(editor.read({}).text == "abc");
  CHECK(screen.suspended == 1);
  CHECK(screen.shown() == "> abc");
}

TEST_CASE("a history survives in its file, which only its owner can read") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / "lapidary_history_test";
  fs::remove_all(folder);
  const std::string path = (folder / "state" / "history").string();
  {
    History history(path);
    REQUIRE(history.add("one").has_value());
    REQUIRE(history.add("two\nlines \\n and a backslash \\").has_value());
    REQUIRE(history.add("two\nlines \\n and a backslash \\").has_value());
    REQUIRE(history.add("  ").has_value());
  }
  CHECK((fs::status(path).permissions() & fs::perms::mask) == (fs::perms::owner_read | fs::perms::owner_write));
  const History again(path);
  CHECK(again.entries() == std::vector<std::string>{"one", "two\nlines \\n and a backslash \\"});
  fs::permissions(path, fs::perms::all);
  REQUIRE(History(path).add("three").has_value());
  CHECK((fs::status(path).permissions() & fs::perms::mask) == (fs::perms::owner_read | fs::perms::owner_write));
  History many(path);
  for (int i = 0; i < 2001; ++i) REQUIRE(many.add("entry " + std::to_string(i)).has_value());
  CHECK(History(path).entries().size() == 1000);
  CHECK(History(path).entries().back() == "entry 2000");
  CHECK((fs::status(path).permissions() & fs::perms::mask) == (fs::perms::owner_read | fs::perms::owner_write));
  fs::remove_all(folder);
}

TEST_CASE("model text cannot drive the terminal") {
  CHECK(safe_text("a\x1b[2Jb") == "a\xE2\x90\x9B[2Jb");
  CHECK(safe_text("a\x07\x08\x7f") == "a\xE2\x90\x87\xE2\x90\x88\xE2\x90\xA1");
  CHECK(safe_text("\xC2\x9B"
                  "2J") ==
        "\xEF\xBF\xBD"
        "2J");  // CSI as one character
  CHECK(safe_text("a\tb\nc\r\nd\re") ==
        "a\tb\nc\nd\xE2\x90\x8D"
        "e");
  CHECK(safe_text("\xFF\xC3") == "\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(safe_text("\xF0\x9F\x98\x80 \xE4\xBD\xA0") == "\xF0\x9F\x98\x80 \xE4\xBD\xA0");
}

}  // namespace lapidary
