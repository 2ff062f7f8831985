"""Patterns of numbers that several rules share."""

NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
SCALED = r"(?: (?:hundred|thousand|million|billion|trillion))?"
ALONE = r"(?<![\w.,])"  # before a number: nothing that it is a part of
END = r"(?=\s|[.,;:!?)]|$)"  # after a word: nothing that it is a part of
