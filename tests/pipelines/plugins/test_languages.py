"""Which languages a dictionary can spell."""

from __future__ import annotations

import pytest

from pipelines.plugins.languages import Spelling, known_languages, spelling
from tests.support.paths import ROOT

DICTIONARIES = ROOT / "configs/dicts"


def characters(name):
    return (DICTIONARIES / name).read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize(
    ("name", "languages", "others"),
    [
        ("ppocr_keys_v1.txt", ["eng", "chi_sim", "chi_tra"], ["deu", "jpn", "kor", "rus"]),
        ("en_dict.txt", ["eng", "nld"], ["deu", "fra", "chi_sim"]),
        ("dict/japan_dict.txt", ["jpn", "eng"], ["kor", "ara", "rus"]),
        ("dict/korean_dict.txt", ["kor", "eng"], ["jpn", "tha"]),
        ("dict/arabic_dict.txt", ["ara", "fas", "urd", "eng"], ["heb", "hin"]),
        ("dict/cyrillic_dict.txt", ["rus", "ukr", "bel", "bul", "srp"], ["ell"]),
        ("dict/latin_dict.txt", ["deu", "fra", "spa", "ita", "por", "swe", "hrv"], ["vie", "rus"]),
        ("dict/devanagari_dict.txt", ["hin", "mar", "nep"], ["ben", "tam"]),
        ("dict/chinese_cht_dict.txt", ["chi_tra", "eng"], ["jpn"]),
        ("dict/th_dict.txt", ["tha"], ["eng"]),
        *((f"dict/{name}_dict.txt", [language], ["kor"])
          for name, language in {"ta": "tam", "te": "tel", "ka": "kan", "bn": "ben", "vi": "vie",
                                 "ru": "rus", "uk": "ukr", "be": "bel", "bg": "bul",
                                 "hebrew": "heb"}.items()),
    ],
)  # fmt: skip
def test_paddleocrs_dictionaries_spell_their_languages(name, languages, others):
    known = known_languages(characters(name))
    assert set(languages) <= known.keys()
    assert not set(others) & known.keys()


def test_letters_that_are_missing():
    assert spelling("deu", "aäöüßÄÜ") == Spelling("Ö", possible=True)
    assert spelling("de", "äöü") == Spelling("ßÄÖÜ", possible=False)
    assert spelling("zh-Hant", characters("ppocr_keys_v1.txt")) == Spelling("說", possible=True)
    assert spelling("deu", ["ä", "öü", "ßÄÖÜ"]) == Spelling("", possible=True)  # longer entries
    assert spelling("und", "") == Spelling("", possible=True)
