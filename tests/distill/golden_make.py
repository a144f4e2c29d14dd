"""Makes golden_texts.gz: 500 texts, no two alike, that every runtime must read in the same way.

    python tests/distill/golden_make.py

One text a line, as base64 of its bytes. None holds a line feed, so that each can be a line of a
program's standard input.
"""

from __future__ import annotations

import base64
import gzip
import random
import sys
import unicodedata
from pathlib import Path

PATH = Path(__file__).parent / "golden_texts.gz"
COUNT = 500
LONG_BYTES = 100_000

SENTENCES = (
    "I was charged twice for my order, please refund the second payment.",
    "the app crashes every time i open the settings page!!!",
    "How much does the enterprise plan cost for 50 seats?",
    "FREE entry in a weekly comp, txt WIN to 80086 now",
    "Mi pedido no ha llegado y ya pasaron dos semanas.",
    "Die Rechnung enthält einen falschen Betrag von 1.234,56 €.",
    "Je n'arrive plus à me connecter à mon compte depuis hier soir.",
    "Не могу сбросить пароль, письмо не приходит.",
    "パスワードを再設定できません。助けてください。",
    "我的订单还没有到，请帮我查一下物流信息。",
    "비밀번호를 잊어버렸어요. 어떻게 해야 하나요?",
    "لا أستطيع تسجيل الدخول إلى حسابي منذ أمس",
    "שכחתי את הסיסמה שלי ואני לא מצליח להתחבר",
    "मेरा भुगतान दो बार कट गया है, कृपया वापस करें",
    "ฉันลืมรหัสผ่านและเข้าสู่ระบบไม่ได้",
)
EMOJI = (
    "🎉", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇺🇦🇯🇵", "1️⃣2️⃣", "❤️", "🧑🏿‍🚀", "🫠", "☺︎", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🤷‍♀️",
)  # fmt: skip
ODD = (
    "", " ", "  ", "\t", "\r", "a\rb", "\0", "a\0b", "\x7f", "\x1b[31mred\x1b[0m", "\ufeffbom",
    "line\u2028sep\u2029", "\x85next", "zero\u200bwidth\u200djoin", "soft\xadhyphen", "\u202eright to left\u202c",
    "e\u0301 and é", "Å Å Å", "İstanbul ISPARTA ısı", "Straße STRASSE ẞ", "ﬁ ﬂ ﬀ", "ＦＵＬＬ ｗｉｄｔｈ", "①②③ ⅣⅤ", "Ǆ ǅ ǆ",
    "ΣΊΣΥΦΟΣ σίσυφος", "K K", "Ω Ω", "ſ s", "x" + "\u0300" * 200, "\ud7ff\ue000\uffff", "\U0010ffff", "a" * 5000,
    "word " * 1000, "1234567890 3.14159 -1e10 0x1F", "https://example.com/a?b=c#d user@example.com @name #tag", "'\"\\`{}[]<>&|;$",
    '{"label": "spam"}', "<script>alert(1)</script>", "don't can't o’clock", "ALL CAPS", "MiXeD cAsE", "a.b.c d-e_f/g",
)  # fmt: skip
INVALID = (
    b"\xff", b"\xfe\xff", b"\x80", b"\xbf\xbf", b"\xc3", b"abc\xc3", b"\xe2\x82", b"\xf0\x9f\x8e", b"\xc0\x80",
    b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80", b"\xc3(", b"\xe2(\xa1", b"\xe2\x82(", b"\xf0(\x8c\xbc", b"caf\xe9 latin-1", b"ok \xff ok",
    b"\xef\xbf\xbe", b"\xc3\xa9\xc3", b"\x93smart\x94 quotes", b"\x00\xff\x00\xfe", bytes(range(128, 256)),
    bytes(set(range(256)) - {10}),
)  # fmt: skip


def scripts() -> dict[str, list[str]]:
    """The letters of each script, by the first words of their names."""
    found: dict[str, list[str]] = {}
    for code in range(0x110000):
        letter = chr(code)
        if unicodedata.category(letter).startswith("L"):
            name = unicodedata.name(letter, "")
            script = name.split(" LETTER")[0].split(" SYLLABLE")[0].split(" SMALL")[0]
            found.setdefault(" ".join(script.split("-")[0].split()[:2]), []).append(letter)
    return {name: letters for name, letters in found.items() if len(letters) >= 10}


def words(letters: list[str], rng: random.Random, count: int) -> str:
    return " ".join("".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(count))


def noisy(sentence: str, rng: random.Random) -> str:
    """A sentence with a few of the faults that people's texts have."""
    letters = list(sentence)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(letters))
        match rng.randrange(4):
            case 0:
                letters.insert(place, letters[place])
            case 1:
                letters[place] = letters[place].swapcase()
            case 2:
                letters[place] += rng.choice(EMOJI)
            case _:
                del letters[place]
    return "".join(letters)


def long_texts(rng: random.Random) -> list[bytes]:
    many = " ".join(rng.choices(SENTENCES, k=3000)).encode()[:LONG_BYTES]
    unbroken = ("ab" * LONG_BYTES).encode()[:LONG_BYTES]
    cjk = "".join(rng.choices("我的订单还没有到请帮查一下物流信息", k=LONG_BYTES // 3)).encode()
    return [many, unbroken, cjk]


def texts(seed: int = 4) -> list[bytes]:
    rng = random.Random(seed)
    found = [each.encode() for each in (*ODD, *EMOJI, *SENTENCES)] + [*INVALID, *long_texts(rng)]
    for _, letters in sorted(scripts().items()):
        found.append(words(letters, rng, rng.randint(2, 8)).encode())
    while len(found) < COUNT:
        text = noisy(rng.choice(SENTENCES), rng).encode()
        if rng.random() < 0.15:
            text = text[: rng.randrange(len(text))]
        if text not in found:
            found.append(text)
    found = found[:COUNT]
    assert len(set(found)) == COUNT
    assert not any(b"\n" in text for text in found)
    return found


def main() -> None:
    lines = b"".join(base64.b64encode(text) + b"\n" for text in texts())
    # No time in the header: the same texts give the same file.
    PATH.write_bytes(gzip.compress(lines, 9, mtime=0))
    print(f"{PATH}: {PATH.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
