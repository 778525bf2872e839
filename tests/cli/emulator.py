"""What a terminal makes of the bytes it gets."""

import re


def seen(text):
    """What stands on a terminal that is high enough once *text* has been written to it."""
    lines, row, column = [""], 0, 0
    for control, word, final, char in re.findall(
        r"(\x1b\[([\d;?]*)([A-Za-z]))|(.)", text, re.DOTALL
    ):
        if final == "A":
            row -= int(word or 1)
        elif final == "K":
            lines[row] = "" if word == "2" else lines[row][:column]
        elif char == "\n":
            row += 1
            lines += [""] * (row - len(lines) + 1)
        elif char == "\r":
            column = 0
        elif char == "\b":
            column -= 1
        elif char >= " ":
            lines[row] = f"{lines[row]:<{column}}"[:column] + char + lines[row][column + 1 :]
            column += 1
        assert control or char
    return "\n".join(lines)
