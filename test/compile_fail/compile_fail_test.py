"""What must not compile does not, and says why; and what differs from it in the wrong line only does compile.

Usage: compile_fail_test.py <compiler> <include directory> <file>
The file has a comment `// says: <regular expression>`, for the message that its user should see; with the macro WRONG
defined it is wrong.
"""
import re
import subprocess
import sys

# A compiler that hangs. No test waits for it to find out how fast something is.
TIMEOUT = 120


def compile_file(compiler, include, path, *more):
    command = [compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", include, *more, path]
    print("+", *command, flush=True)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=TIMEOUT)
    return done.returncode, done.stdout


def main(compiler, include, path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    says = re.search(r"^// says: (.+)$", text, re.MULTILINE)
    if says is None or "#ifdef WRONG" not in text:
        sys.exit(f"compile_fail_test: {path} lacks its `// says:` or its `#ifdef WRONG`")
    status, output = compile_file(compiler, include, path)
    if status != 0:
        sys.exit(f"compile_fail_test: the right form does not compile:\n{output}")
    status, output = compile_file(compiler, include, path, "-DWRONG")
    if status == 0:
        sys.exit("compile_fail_test: the wrong form compiles")
    # Compilers quote names in ways that depend on the locale.
    plain = output.replace("\u2018", "'").replace("\u2019", "'")
    if re.search(says.group(1), plain) is None:
        sys.exit(f"compile_fail_test: it does not compile, but does not say /{says.group(1)}/ either:\n{output}")


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(*sys.argv[1:])
