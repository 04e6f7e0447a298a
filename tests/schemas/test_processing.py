"""The settings: their defaults pass, and every check refuses what is no value of it."""

from __future__ import annotations

from dataclasses import MISSING, fields

import pytest

from schemas.processing import (
    BY_TASK,
    LINE_DECODERS,
    ClassificationSettings,
    RecognitionSettings,
    Settings,
    SettingsError,
    SuperResolutionSettings,
    check_setting,
    checks_of_task,
)
from schemas.special_tokens import CLASSES

ALL = [settings for group in BY_TASK.values() for settings in group]
FOREIGN = (object(), "no such word", float("nan"), -(10**12), 10**12, {}, [[]], b"1")


def made(settings: type[Settings], **changes: object) -> Settings:
    needed = {f.name: "ab" for f in fields(settings) if f.default is MISSING}
    return settings(**needed, **changes)


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.__name__)
def test_defaults_pass_and_foreign_values_do_not(settings):
    made(settings)
    for name in settings.checks():
        for value in FOREIGN:
            with pytest.raises(SettingsError, match=f"the setting {name} is .*, expected "):
                made(settings, **{name: value})


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.__name__)
def test_every_setting_has_a_check_and_a_description(settings):
    described = settings.__doc__ or ""
    unchecked = {f.name for f in fields(settings)} - set(settings.checks())
    assert unchecked <= {"characters", "angles", "labels"}
    for field in fields(settings):
        assert field.name in described


def test_decoders_have_special_tokens():
    assert set(LINE_DECODERS) < set(CLASSES)


def test_inputs_are_bounded_in_area():
    with pytest.raises(SettingsError, match="ask for 8192 x 65536 pixels"):
        RecognitionSettings("ab", height=8192, max_width=65536)
    assert SuperResolutionSettings(8192, 8192).height == 8192
    with pytest.raises(SettingsError, match="resize_short is 100, but 192 x 48 pixels"):
        ClassificationSettings(resize_short=100)


def test_a_name_that_decoders_share_takes_the_values_of_each():
    assert len(checks_of_task("det")["thresh"]) == 2  # DB's probability, PSE's logit
    check_setting("det", "thresh", 4.5)
    check_setting("det", "not a setting", object())
    check_setting("layout", "thresh", object())
    with pytest.raises(SettingsError, match="thresh is 'high', expected a number from 0 to 1 or a"):
        check_setting("det", "thresh", "high")
