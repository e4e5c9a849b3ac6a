"""Finds the functions of a C++ file, by its braces; nothing of the language beyond that."""
import re

# What is no code, in the order in which a scanner meets it: comments, raw strings, strings, characters (but not the ' in 1'000).
_NOT_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'""", re.S)
_PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
_ACCESS = re.compile(r"\b(?:public|private|protected)\s*:(?!:)")
_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")


def code_only(text):
    """The text with comments, literals and preprocessor lines and access labels blanked; every line stays where it is."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    text = _NOT_CODE.sub(lambda m: '"' + blank(m)[1:] if m[0].startswith('"') else blank(m), text)
    return _ACCESS.sub(blank, _PREPROCESSOR.sub(blank, text))


def functions(text):
    """(name, first line, lines from there to the closing brace) of every function that is not inside another."""
    code = code_only(text)
    found, open_braces, head_start = [], [], 0  # open_braces: a function's (name, start) or None for any other brace
    inside = 0  # functions that are open
    name = ""
    for match in re.finditer(r"[{};]", code):
        at = match.start()
        if match[0] == "{":
            head = code[head_start:at].strip()
            opened = None
            complete = "(" in head and head.count("(") == head.count(")")
            if not inside and complete and not _SCOPE.search(re.sub(r"\([^()]*\)|<[^<>]*>", "", head)):
                # A head that starts with a comma goes on after `: member_{value}`: still the constructor before it.
                if not head.startswith(","):
                    start = head_start + len(code[head_start:at]) - len(code[head_start:at].lstrip())
                    before = re.search(r"([\w:~]+|operator\S+)\s*\(", head)
                    name = before[1] if before else "?"
                opened = (name, start)
                inside += 1
            open_braces.append(opened)
        elif match[0] == "}" and open_braces:
            opened = open_braces.pop()
            if opened:
                inside -= 1
                first = code.count("\n", 0, opened[1]) + 1
                found.append((opened[0], first, code.count("\n", 0, at) + 2 - first))
        if match[0] != ";" or not inside:
            head_start = at + 1
    # A constructor with braces in its initialisers was found more than once, from the same line: the longest is it.
    longest = {}
    for name, first, lines in found:
        longest[name, first] = max(lines, longest.get((name, first), 0))
    return [(name, first, lines) for (name, first), lines in longest.items()]


def self_test():
    def lengths(text):
        return [(name, lines) for name, _, lines in functions(text)]

    assert lengths("void f(int a) {\n  g();\n}\n") == [("f", 3)]
    assert lengths("namespace a {\nclass B {\n public:\n  int c() const { return 1; }\n  int d(\n      int e) {\n    return e;\n  }\n};\n}\n") == [
        ("c", 1), ("d", 4)]
    assert lengths("A::A(int b)\n    : b_{b}, c_(b) {\n  d();\n}\nvoid e() {}\n") == [("A::A", 4), ("e", 1)]
    assert lengths("int f() {\n  if (a) {\n  }\n  auto g = [](int b) { return b; };\n  return g(1);\n}\n") == [("f", 6)]
    assert lengths('const char* a = R"(void f() {\n)";\n// void g() {\n#define H() {\nint i() { return \'{\'; }\n') == [("i", 1)]
    assert lengths('TEST_CASE("a { b") {\n  CHECK(1\'000 == 1\'000);\n}\n') == [("TEST_CASE", 3)]
    assert lengths("template <class T>\nT f(T a) {\n  return a;\n}\n") == [("f", 4)]
    assert lengths("constexpr int table[] = {1, 2};\nstd::vector<int> a = g({1});\nint h() {\n}\n") == [("h", 2)]
