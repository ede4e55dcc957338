"""tools/snippets: a clean tree passes, each kind of drift is seen, and code blocks are rewritten."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import planted

HELLO = "// hello: says it.\n//\n// Run  it\n#include <x>\n\nint main() {\n  // snippet: body\n  go(f);\n  // snippet: end\n}\n"
README = """# Title

[guide](docs/guide.md#first-steps), [test](test/a_test.cpp#it_works), [web](https://example.org/none.md), `src/a.cpp`

<!-- snippet: examples/hello.cpp#body -->
```cpp
go(f);
```

<!-- snippet: examples/hello.cpp -->
```cpp
#include <x>

int main() {
  // snippet: body
  go(f);
  // snippet: end
}
```

```text
[no link](nowhere.md) `src/none.cpp`
```
"""
CLEAN = {
    "README.md": README,
    "docs/guide.md": "# Guide\n\n## First `steps`\n\n[back](../README.md), [here](#guide)\n",
    "examples/hello.cpp": HELLO,
    "test/a_test.cpp": "TEST(a, it_works) {}\n",
    "src/a.cpp": "",
}


class Snippets(planted.Planted):
    tool = "snippets"

    def plant(self, expected, old, new, file="README.md"):
        text = CLEAN[file]
        self.assertIn(old, text)
        self.assert_found(expected, CLEAN | {file: text.replace(old, new, 1)}, "--check")

    def test_clean_tree_passes(self):
        self.assert_clean(CLEAN, "--check")

    def test_code_that_differs(self):
        self.plant("README.md:5: differs from examples/hello.cpp", "```cpp\ngo(f);", "```cpp\ngo(g);")

    def test_whole_file_that_differs(self):
        self.plant("README.md:10: differs from examples/hello.cpp", "#include <x>\n\nint main() {\n  // snippet",
                   "int main() {\n  // snippet")

    def test_file_that_is_gone(self):
        self.plant("README.md:5: no such file: examples/hallo.cpp", "hello.cpp#body", "hallo.cpp#body")

    def test_region_that_is_gone(self):
        self.plant("README.md:5: examples/hello.cpp has no region heart", "#body", "#heart")

    def test_region_without_an_end(self):
        files = CLEAN | {"README.md": README.split("<!-- snippet: examples/hello.cpp -->")[0],
                         "examples/hello.cpp": HELLO.replace("  // snippet: end\n", "")}
        self.assert_found("README.md:5: region body of examples/hello.cpp has no end", files, "--check")

    def test_marker_without_a_block(self):
        self.plant("README.md:5: no code block behind this line", "body -->\n", "body -->\n\n")

    def test_link_to_nowhere(self):
        self.plant("README.md:3: no such file: docs/guides.md", "docs/guide.md#first-steps", "docs/guides.md")

    def test_link_to_a_heading_that_is_gone(self):
        self.plant("README.md:3: no such heading: docs/guide.md#second-steps", "#first-steps", "#second-steps")

    def test_link_to_a_test_that_is_gone(self):
        self.plant("README.md:3: test/a_test.cpp does not mention it_fails", "#it_works", "#it_fails")

    def test_link_in_a_page_below(self):
        self.plant("docs/guide.md:5: no such file: ../READ.md", "../README.md", "../READ.md", "docs/guide.md")

    def test_path_in_backquotes(self):
        self.plant("README.md:3: no such file: src/b.cpp", "`src/a.cpp`", "`src/b.cpp`")

    def test_rewrites_code_that_differs(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for name, text in (CLEAN | {"README.md": README.replace("go(f);", "gone();")}).items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            command = [sys.executable, "-B", planted.PROJECT / "tools/snippets", "--root", root]
            self.assertEqual(subprocess.run(command, capture_output=True).returncode, 0)
            self.assertEqual((root / "README.md").read_text(), README)


if __name__ == "__main__":
    unittest.main()
