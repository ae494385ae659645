#!/usr/bin/env python3
"""Replaces a marked part of a document by what comes from standard input.

    ink bench train | bench/doc_section.py docs/performance.md step

The part lies between the lines <!-- measured: step --> and <!-- end of step -->.
"""

import sys


def replace_section(document, section, text):
    """The document with the section's content replaced. Raises ValueError if it is not there exactly once."""
    begin, end = "<!-- measured: %s -->\n" % section, "<!-- end of %s -->\n" % section
    if document.count(begin) != 1 or document.count(end) != 1 or document.index(begin) > document.index(end):
        raise ValueError("no section '%s'" % section)
    head, rest = document.split(begin)
    return head + begin + "\n" + text.strip() + "\n\n" + end + rest.split(end)[1]


def main(arguments):
    if len(arguments) != 2:
        print("usage: doc_section.py DOCUMENT SECTION < text", file=sys.stderr)
        return 2
    path, section = arguments
    text = sys.stdin.buffer.read().decode("utf-8")  # whatever the locale
    if not text.strip():
        print("doc_section: nothing on standard input", file=sys.stderr)
        return 1
    try:
        with open(path, encoding="utf-8") as file:
            document = replace_section(file.read(), section, text)
        with open(path, "w", encoding="utf-8") as file:
            file.write(document)
    except (OSError, ValueError) as error:
        print("doc_section: %s: %s" % (path, error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
