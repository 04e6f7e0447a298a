"""Which languages a recogniser's dictionary can spell.

Other programs ask for a language; a recogniser has a dictionary of characters. The table has the
letters that tell a language from others: for Latin scripts those beyond A to Z, for other scripts
some of the most frequent ones.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

_LATIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшя"
_ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
_DEVANAGARI = "अआइईउकखगचजटडतदनपबमयरलवशसहािीुे्"

# The code of ISO 639-2 or of Tesseract, the tag of BCP 47 in its shortest form, the letters.
_ROWS = (
    ("eng", "en", _LATIN),
    ("deu", "de", "äöüßÄÖÜ"),
    ("fra", "fr", "àâçèéêëîïôùûœ"),
    ("spa", "es", "áéíñóúü¡¿"),
    ("ita", "it", "àèéìòù"),
    ("por", "pt", "áâãçéêíóôõú"),
    ("nld", "nl", _LATIN),
    ("swe", "sv", "åäöÅÄÖ"),
    ("dan", "da", "æøåÆØÅ"),
    ("nor", "no", "æøåÆØÅ"),
    ("fin", "fi", "äöÄÖ"),
    ("isl", "is", "áðéíóúýþæö"),
    ("pol", "pl", "ąćęłńóśźż"),
    ("ces", "cs", "áčďéěíňóřšťúůýž"),
    ("slk", "sk", "áäčďéíľňóôšťúýž"),
    ("slv", "sl", "čšž"),
    ("hrv", "hr", "čćđšž"),
    ("srp_latn", "sr-Latn", "čćđšž"),
    ("hun", "hu", "áéíóöőúüű"),
    ("ron", "ro", "ăâîșț"),
    ("tur", "tr", "çğıöşüİ"),
    ("est", "et", "äõöüšž"),
    ("lav", "lv", "āčēģīķļņšūž"),
    ("lit", "lt", "ąčęėįšųūž"),
    ("vie", "vi", "ăâđêôơưạảấầẩẫậắ"),
    ("ind", "id", _LATIN),
    ("msa", "ms", _LATIN),
    ("rus", "ru", _CYRILLIC + "ъыьэюё"),
    ("ukr", "uk", _CYRILLIC + "єіїґ"),
    ("bel", "be", "абвгдежзійклмнопрстуўфхцчшыьэюяё"),
    ("bul", "bg", _CYRILLIC + "ъьющ"),
    ("srp", "sr", "абвгдђежзијклљмнњопрстћуфхцчџш"),
    ("ell", "el", "αβγδεζηθικλμνξοπρστυφχψω"),
    ("ara", "ar", _ARABIC),
    ("fas", "fa", _ARABIC + "پچژگ"),
    ("urd", "ur", _ARABIC + "ٹڈڑںے"),
    ("heb", "he", "אבגדהוזחטיכלמנסעפצקרשת"),
    ("hin", "hi", _DEVANAGARI),
    ("mar", "mr", _DEVANAGARI + "ळ"),
    ("nep", "ne", _DEVANAGARI),
    ("ben", "bn", "অআইউকখগচজটডতদনপবভমযরলশসহািীুে্"),
    ("tam", "ta", "அஆஇஈஉகஙசஞடணதநபமயரலவழளறனாிீுே்"),
    ("tel", "te", "అఆఇఈఉకఖగచజటడతదనపబమయరలవశసహాిీుే్"),
    ("kan", "kn", "ಅಆಇಈಉಕಖಗಚಜಟಡತದನಪಬಮಯರಲವಶಸಹಾಿೀುೇ್"),
    ("tha", "th", "กขคงจชซดตถทนบปผพฟมยรลวสหอะาิีึืุูเแโใไ"),
    ("chi_sim", "zh", "的一是不了在人有我他这中大来上国们为说"),
    ("chi_tra", "zh-Hant", "的一是不了在人有我他這中大來上國們為說"),
    (
        "jpn",
        "ja",
        "あいうえおかきくけこさしすせそたちつてとなにのはまもらりるれをんアイウカクコシスタトンー",
    ),
    ("kor", "ko", "가고기나는다도라로를리만보부사서시아에와원을의이인일자적전정제지하한"),
)
_LETTERS = {code: letters for *codes, letters in _ROWS for code in codes}


@dataclass(frozen=True)
class Spelling:
    """How a dictionary spells a language.

    Attributes:
        missing: the letters of the language, of those that tell it from others, that the dictionary
            does not have.
        possible: whether it has at least half of them. PaddleOCR's own dictionaries of a language
            may lack some, such as the Ukrainian one two of 30.
    """

    missing: str
    possible: bool


def spelling(language: str, characters: Collection[str]) -> Spelling:
    """Look up how a dictionary spells a language.

    Args:
        language: the code of ISO 639-2 or of Tesseract, such as deu or chi_sim, or a tag of BCP 47,
            such as de or zh-Hant. Nothing is known of another one, so it counts as possible.
        characters: the dictionary.
    """
    letters = _LETTERS.get(language, "")
    known = {letter for character in characters for letter in character}
    missing = "".join(letter for letter in letters if letter not in known)
    return Spelling(missing, 2 * len(missing) <= len(letters))


def known_languages(characters: Collection[str]) -> dict[str, str]:
    """Return the languages of the table that a dictionary can spell, by code, with their tags."""
    return {code: tag for code, tag, _ in _ROWS if spelling(code, characters).possible}
