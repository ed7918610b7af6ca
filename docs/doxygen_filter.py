"""Turns the plain comments of the header into Doxygen's, for its INPUT_FILTER; prints the file.

A comment before a declaration documents it, one after it on its line too. One before the constants of a structure is
that structure's, which comes after them.
"""
from __future__ import annotations

import re
import sys


def translate(text: str) -> str:
    """The header with Doxygen's comments."""
    text = text.replace("/*\n", "/** \\file\n", 1)
    text = re.sub(r"^/\* ---- (.*?) -+ \*/$", r"/** \\name \1 */", text, flags=re.M)
    text = re.sub(r"^/\*(?=[ \n])", "/**", text, flags=re.M)
    text = re.sub(r"^(?!/)(.*[;,0-9\")] +)/\* ", r"\1/**< ", text, flags=re.M)
    # The constants between a comment and its structure.
    return re.sub(
        r"^(/\*\*(?:[^*]|\*(?!/))*\*/\n)((?:#define .*\n|/\*\* .*\*/\n)+)(?=typedef struct \w+ \{)", r"\1\2\1", text,
        flags=re.M)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(translate(file.read()))
