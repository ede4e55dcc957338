"""Trees with planted violations, for the tests of tools/."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROJECT = pathlib.Path(__file__).resolve().parents[2]


class Planted(unittest.TestCase):
    """Each test writes the files of a small tree, runs the tool on it and looks at what it says."""

    tool = None

    def run_tool(self, files, *args):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            command = [sys.executable, "-B", PROJECT / "tools" / self.tool, "--root", root, *args]
            return subprocess.run(command, capture_output=True, text=True)

    def assert_clean(self, files, *args):
        result = self.run_tool(files, *args)
        self.assertEqual((result.stdout, result.returncode), ("", 0), result.stderr)

    def assert_found(self, expected, files, *args):
        """The tool fails and prints one line, which starts with the expected text."""
        result = self.run_tool(files, *args)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertEqual(len(result.stdout.splitlines()), 1, result.stdout)
        self.assertTrue(result.stdout.startswith(expected), result.stdout)
