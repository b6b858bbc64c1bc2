"""Hostile input by a seed: messages, CSV rows and file names made to break things."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.files import message

MARK = "zq9x"  # in every hostile text, and in no name or statement of ours

TEXTS = [
    f"'; drop table silver.stg_pos__inventory_changes; --{MARK}",
    f"\\'; select 1 --{MARK}",
    f"{{{{ env_var('HOME') }}}}{MARK}",
    f"{{% do exceptions.raise_compiler_error('{MARK}') %}}",
    f"<script>alert('{MARK}')</script>",
    f'"><img src=x onerror={MARK}>',
    f"=cmd|'/C calc'!A0{MARK}",
    f"+{MARK}",
    f"-{MARK}",
    f"@SUM({MARK})",
    f"\t={MARK}",
    f"../../etc/passwd{MARK}",
    f"${{{MARK}}}`id`$(id)",
    f"%s%n%x{MARK}",
    f"{MARK}\u202etxt.exe",
    f"{MARK}\u2028\u2029\x85\x0b\x0c\x1c",
    f"{MARK}\u0000\ufeff\uffff\U0001f600e\u0301",
    f"/*{MARK}*/",
    f"{MARK}" * 500,
    f"null{MARK}",
    f"a,b\n{MARK}",
    f'"{MARK}',
    f"{MARK}\\",
]
NUMBERS = [
    "0", "-0", "1", "-1", "999999999", "-999999999", "1000000000", "2147483647", "2147483648",
    "-2147483649", "999999999999999999", "1000000000000000000", "9223372036854775808",
    "1" * 400, "1e400", "-1e-400", "1.0", "0.1", "1E2", "01", "+1", "0x1", "NaN", "Infinity",
    "-Infinity", "true", "false", "null", '"1"', '" 1"', '"1\\n"', '""', '"\u0661"', '"1_0"', "[]",
    "{}", "[1]", '{"a":1}', '"NaN"', "1 ", "--1",
]  # fmt: skip
TIMES = [
    "2021-01-01 12:00:00", "2021-02-29 12:00:00", "0000-01-01 00:00:00", "9999-12-31 23:59:59",
    "0001-01-01 00:00:00", "1582-10-10 12:00:00", "2021-01-01T12:00:00", "2021-1-1 1:1:1", "now",
    "2021-01-01 12:00:00\n", "\u0662021-01-01 12:00:00", "-001-01-01 00:00:00", "",
    "2021-01-01 24:00:00", "2021-01-01 12:00:60", "1969-12-31 23:59:59",
]  # fmt: skip


def hostile_line(random: Random) -> bytes:
    """A line of a message file, from nearly good to noise; never with a line end in it."""
    kind = random.randrange(10)
    if kind == 0:
        return random.randbytes(random.randrange(60)).replace(b"\n", b"")
    if kind == 1:
        depth = random.choice([10, 100, 2_000])
        nested = random.choice([("[", "]"), ('{"a":', "}")])
        return (nested[0] * depth + "1" + nested[1] * random.choice([depth, 0])).encode()
    line = message_text(random)
    if kind == 2:
        encoding = random.choice(["utf-16", "latin-1", "utf-7", "utf-8-sig", "cp1252"])
        return line.encode(encoding, "replace").replace(b"\n", b"")
    data = line.encode("utf-8", "surrogatepass")
    if kind == 3:
        at = random.randrange(len(data))
        return data[:at] + bytes([random.choice([0, 9, 13, 34, 92, 128, 255])]) + data[at + 1 :]
    if kind == 4:
        return data[: random.randrange(len(data))]
    return data.replace(b"\n", b"")


def message_text(random: Random) -> str:
    """A message as text, of which some fields are hostile, missing, doubled or in another order."""
    good = message(f"t{random.randrange(10**6)}", NOON, (random.randrange(1, 50), -1))
    fields = {name: json.dumps(value) for name, value in good.items()}
    items = [
        f'{{"item_id": {number(random)}, "quantity": {number(random)}}}'
        for _ in range(random.choice([0, 1, 1, 2, 5]))
    ] + random.choices(NUMBERS, k=random.choice([0, 0, 1, 2]))
    drawn = {
        "trans_id": json.dumps(random.choice(TEXTS), ensure_ascii=random.random() < 0.5),
        "store_id": number(random),
        "date_time": json.dumps(random.choice(TIMES)),
        "change_type_id": number(random),
        "items": f"[{', '.join(items)}]",
        "fulfillment_store_id": number(random),
        random.choice(TEXTS).replace("\\", "").replace('"', ""): json.dumps(random.choice(TEXTS)),
    }
    for name in random.sample(list(drawn), random.choice([1, 1, 1, 2, 3])):
        fields[name] = drawn[name]
    if random.random() < 0.1:
        fields.pop(random.choice(list(fields)))
    pairs = [f"{json.dumps(name)}: {value}" for name, value in fields.items()]
    if random.random() < 0.1:
        pairs.append(random.choice(pairs))
    if random.random() < 0.2:
        random.shuffle(pairs)
    return f"{{{', '.join(pairs)}}}"


NOON = "2021-01-01 12:00:00"


def number(random: Random) -> str:
    return random.choice(NUMBERS) if random.random() < 0.4 else str(random.randrange(1, 50))


def hostile_csv(random: Random, header: str, rows: int) -> bytes:
    """A CSV file with a good header and rows from good to noise."""
    width = header.count(",") + 1
    lines = [header.encode()]
    for _ in range(rows):
        cells: list[Any] = [random.randrange(1, 50), 9, 1, NOON, random.randrange(99)][:width]
        if width == 4:
            cells = [random.randrange(1, 50), f"name {random.randrange(9)}", 7, 3]
        for at in random.sample(range(width), random.choice([0, 1, 1, 2])):
            cells[at] = random.choice([*TEXTS, *TIMES, *NUMBERS])
        texts = [str(cell) for cell in cells]
        style = random.randrange(4)
        if style < 2:
            texts = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in texts]
        if style == 3:
            texts = texts[: random.randrange(width + 1)]
        line = ",".join(texts).encode("utf-8", "surrogatepass")
        if random.random() < 0.05:
            line = random.randbytes(30)
        lines.append(line)
    return random.choice([b"\n", b"\r\n"]).join(lines)


NAMES = [
    b"plain", b"caf\xe9", b"line\nend", b"tab\t", b"'; drop table x; --", b'"quoted"', b"<b>",
    b"$(id)", b"\x01\x1b[31m",
    b"=1+1", b"%2e%2e", b"\xe2\x80\xae", b"a" * 200, b"{{ 1 }}", b"back\\slash", b"..",
    b"\xff\xfe", b"sp ace", b"-rf", b"*", b"~", b"con", b"\xf0\x9f\x98\x80",
]  # fmt: skip
