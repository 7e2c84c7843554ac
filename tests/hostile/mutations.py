"""Ways to damage a file; each takes the bytes and a generator and returns other bytes."""

from __future__ import annotations

import gzip
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

Mutation = Callable[[bytes, random.Random], bytes]
NUMBERS = (
    b"-1 0 1 1.5 nan NaN inf -inf Infinity 1e999 1e308 -0 2147483648 -2147483649 "
    b"9223372036854775808 18446744073709551616 99999999999999999999999999 "
    b"0x10 1_000 \xd9\xa3 1e5 007 +5 --5 1,000 1e-400"
).split()
BYTES = b"\0\t\n\r\v\f\x1a\x1b\x7f\x80\xff\"'\\,;:={}[]<>&%$#@!|`~^/ "


def flip_bits(raw: bytes, rng: random.Random) -> bytes:
    """One to eight flipped bits."""
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def flip_bits_of_the_head(raw: bytes, rng: random.Random) -> bytes:
    """Flipped bits among the first 64 bytes."""
    return flip_bits(raw[:64], rng) + raw[64:]


def flip_bits_of_the_end(raw: bytes, rng: random.Random) -> bytes:
    """Flipped bits among the last 64 bytes."""
    return raw[:-64] + flip_bits(raw[-64:], rng)


def cut(raw: bytes, rng: random.Random) -> bytes:
    """Cut short anywhere."""
    return raw[: rng.randrange(len(raw) + 1)]


def cut_at_structure(raw: bytes, rng: random.Random) -> bytes:
    """Cut after a line, before a gzip member or zip entry, or at a multiple of 8."""
    places = [m.end() for m in re.finditer(rb"\n|\x1f\x8b\x08|PK\x01|PK\x03|PAR1", raw)]
    places += list(range(0, len(raw), max(8, len(raw) // 64 // 8 * 8)))
    return raw[: rng.choice(places)]


def cut_front(raw: bytes, rng: random.Random) -> bytes:
    """Without the first bytes."""
    return raw[rng.choice((1, 2, 4, 8, 100)) :]


def cut_out(raw: bytes, rng: random.Random) -> bytes:
    """Without a part in the middle."""
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at + rng.choice((1, 2, 10, 100)) :]


def put_in(raw: bytes, rng: random.Random) -> bytes:
    """With some bytes more."""
    at = rng.randrange(len(raw) + 1)
    more = bytes(rng.choice(BYTES) for _ in range(rng.choice((1, 1, 2, 20))))
    return raw[:at] + more + raw[at:]


def overwrite(raw: bytes, rng: random.Random) -> bytes:
    """Some bytes are others; the length stays."""
    out = bytearray(raw)
    if out:
        at, n = rng.randrange(len(out)), rng.choice((1, 2, 4, 8, 64))
        value = rng.choice((b"\0", b"\xff", b"\x7f", bytes([rng.randrange(256)])))
        out[at : at + n] = value * len(out[at : at + n])
    return bytes(out)


def double(raw: bytes, rng: random.Random) -> bytes:
    """Twice the file."""
    return raw + raw


def add_rubbish(raw: bytes, rng: random.Random) -> bytes:
    """Bytes after the end."""
    return raw + rng.choice((b"\0" * 100, b"x", b"\n\n\n", rng.randbytes(200)))


def rubbish(raw: bytes, rng: random.Random) -> bytes:
    """Random bytes."""
    return rng.randbytes(rng.choice((1, 10, 1000, 5000)))


def zeros(raw: bytes, rng: random.Random) -> bytes:
    """Zeros of the same length, as after a crash of the machine."""
    return bytes(len(raw))


def empty(raw: bytes, rng: random.Random) -> bytes:
    """Nothing."""
    return b""


def blank(raw: bytes, rng: random.Random) -> bytes:
    """White space."""
    return rng.choice((b"\n", b" ", b"\r\n\r\n", b"\t\t\n"))


def bad_utf8(raw: bytes, rng: random.Random) -> bytes:
    """A byte that is not UTF-8, a lone surrogate, or Latin-1."""
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice((b"\xff", b"\xed\xa0\x80", b"\xe9", b"\xc0\xaf")) + raw[at:]


def other_encoding(raw: bytes, rng: random.Random) -> bytes:
    """As UTF-16 or UTF-32."""
    return raw.decode("latin-1").encode(rng.choice(("utf-16", "utf-16-le", "utf-32")))


def number(raw: bytes, rng: random.Random) -> bytes:
    """A number is another, perhaps huge or none."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", raw[:100000]))
    if not found:
        return put_in(raw, rng)
    chosen = rng.choice(found)
    return raw[: chosen.start()] + rng.choice(NUMBERS) + raw[chosen.end() :]


def word(raw: bytes, rng: random.Random) -> bytes:
    """A word is another one of the file, or something odd."""
    found = list(re.finditer(rb"[A-Za-z_.]+", raw[:100000]))
    if not found:
        return put_in(raw, rng)
    chosen, other = rng.choice(found), rng.choice(found)
    odd = (b"", b"null", b"true", b"../../etc/passwd", b"a" * 5000, b"{0}", b"%s", b"$(touch X)")
    new = rng.choice((other[0], rng.choice(odd)))
    return raw[: chosen.start()] + new + raw[chosen.end() :]


def nested(raw: bytes, rng: random.Random) -> bytes:
    """Brackets in brackets, 10 to 200,000 deep."""
    n = rng.choice((10, 2000, 200_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")")))
    inner = rng.choice((b"", b"1", raw[:100]))
    whole = opening * n + inner + (closing * n if rng.random() < 0.7 else b"")
    if rng.random() < 0.5:
        return whole
    at = raw.rfind(b":") + 1
    return raw[:at] + whole + raw[at:]


def json_value(raw: bytes, rng: random.Random) -> bytes:
    """Other JSON than an object of the right form."""
    plain = (b"null", b"[]", b"{}", b"1", b'"x"', b"NaN", b"[null]", b'{"a": 1}', b"true", b"1e999")
    if rng.random() < 0.5:
        return rng.choice(plain)
    found = list(re.finditer(rb'(?<=: )("[^"]*"|[-\d.]+|null|true|false|\[[^\[\]]*\])', raw))
    if not found:
        return rng.choice(plain)
    chosen = rng.choice(found)
    return raw[: chosen.start()] + rng.choice(plain) + raw[chosen.end() :]


def lines_deleted(raw: bytes, rng: random.Random) -> bytes:
    """Without some lines."""
    lines = raw.splitlines(keepends=True)
    p = rng.choice((0.05, 0.5, 0.95))
    return b"".join(x for x in lines if rng.random() > p)


def lines_doubled(raw: bytes, rng: random.Random) -> bytes:
    """A line, or all of them, twice."""
    lines = raw.splitlines(keepends=True)
    at = rng.randrange(len(lines)) if lines else 0
    return b"".join([*lines[:at], *lines[at : at + 1] * 2, *lines[at + 1 :]])


def lines_shuffled(raw: bytes, rng: random.Random) -> bytes:
    """In another order."""
    lines = raw.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def columns_lost(raw: bytes, rng: random.Random) -> bytes:
    """A line without its end, or with more columns."""
    lines = raw.splitlines()
    if not lines:
        return b"\t"
    at = rng.randrange(len(lines))
    separator = b"," if b"," in lines[at] else b"\t"
    fields = lines[at].split(separator)
    fields = fields[: rng.randrange(len(fields) + 1)] if rng.random() < 0.6 else [*fields, *fields]
    lines[at] = separator.join(fields)
    return b"\n".join(lines) + b"\n"


def long_line(raw: bytes, rng: random.Random) -> bytes:
    """A line of two million bytes."""
    at = raw.find(b"\n", rng.randrange(len(raw) + 1)) + 1
    letter = rng.choice((b"A", b"\t", b" ", b"a,", b'"', b"9"))
    return raw[:at] + letter * (2_000_000 // len(letter)) + rng.choice((b"", b"\n")) + raw[at:]


def quotes(raw: bytes, rng: random.Random) -> bytes:
    """A quote that is not closed."""
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice((b'"', b"'", b'""', b'\\"')) + raw[at:]


def old_mac(raw: bytes, rng: random.Random) -> bytes:
    """Line ends of CR alone."""
    return raw.replace(b"\n", b"\r")


def crlf(raw: bytes, rng: random.Random) -> bytes:
    """Line ends of Windows."""
    return raw.replace(b"\n", b"\r\n")


def bom(raw: bytes, rng: random.Random) -> bytes:
    """A byte order mark."""
    return b"\xef\xbb\xbf" + raw


def no_last_newline(raw: bytes, rng: random.Random) -> bytes:
    """Without the end of the last line."""
    return raw.removesuffix(b"\n")


def packed(raw: bytes, rng: random.Random) -> bytes:
    """As gzip, of one or two members."""
    at = rng.choice((0, len(raw) // 2))
    return gzip.compress(raw[:at]) * bool(at) + gzip.compress(raw[at:])


def unchanged(raw: bytes, rng: random.Random) -> bytes:
    """The same."""
    return raw


ANY: tuple[Mutation, ...] = (
    flip_bits,
    flip_bits,
    flip_bits_of_the_head,
    flip_bits_of_the_end,
    cut,
    cut,
    cut_at_structure,
    cut_front,
    cut_out,
    put_in,
    overwrite,
    overwrite,
    double,
    add_rubbish,
    rubbish,
    zeros,
    empty,
    blank,
    bad_utf8,
    other_encoding,
    number,
    number,
    word,
    nested,
    json_value,
    lines_deleted,
    lines_doubled,
    lines_shuffled,
    columns_lost,
    long_line,
    quotes,
    old_mac,
)
HARMLESS_IN_TEXT: tuple[Mutation, ...] = (crlf, bom, no_last_newline)
HARMLESS: tuple[Mutation, ...] = (unchanged,)
PACKING: tuple[Mutation, ...] = (packed,)


def _remove(path: Path) -> None:
    path.unlink()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to(where: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to(path.name if where == "itself" else where)

    return link


def _unreadable(path: Path) -> None:
    path.chmod(0)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "missing": _remove,
    "FIFO": _fifo,
    "folder": _folder,
    "link to /dev/zero": _link_to("/dev/zero"),
    "link to /dev/stdin": _link_to("/dev/stdin"),
    "dangling link": _link_to("nowhere"),
    "link to itself": _link_to("itself"),
    "unreadable": _unreadable,
}
