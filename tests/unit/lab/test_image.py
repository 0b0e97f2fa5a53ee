# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from lab import image
from lab.image import Mirror, choose_mirror, parse_targets


def test_the_id_depends_on_every_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "packages.txt").write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "setup.sh").write_text("true\n", encoding="utf-8")
    monkeypatch.setattr(image, "_HERE", tmp_path)
    ids = [image.image_id()]
    (tmp_path / "packages.txt").write_text("a\nb\nc\n", encoding="utf-8")
    ids.append(image.image_id())
    (tmp_path / "setup.sh").write_text("false\n", encoding="utf-8")
    ids.append(image.image_id())
    monkeypatch.setattr(image, "SUITE", "other")
    ids.append(image.image_id())
    assert len(set(ids)) == 4


def test_the_suites_own_source_wins_wherever_it_stands() -> None:
    text = (
        "http://one.test/debian\ttrixie\tmain\tDebian\n"
        "http://two.test/debian/\tbookworm\tcontrib\tDebian\n"
        "http://three.test/debian/\tbookworm\tmain\tDebian\n"
    )
    assert choose_mirror(parse_targets(text)) == Mirror("http://three.test/debian", "bookworm", "Debian")


def test_another_debian_release_has_the_suite_too_but_not_its_security_source() -> None:
    text = (
        "http://one.test/other\tstable\tmain\tSomebody\n"
        "http://two.test/security\ttrixie-security\tmain\tDebian\n"
        "http://three.test/debian\ttrixie\tmain\tDebian\n"
    )
    assert choose_mirror(parse_targets(text)) == Mirror("http://three.test/debian", "trixie", "Debian")


def test_no_debian_source() -> None:
    assert (
        choose_mirror(parse_targets("http://one.test/x\tnoble\tmain\tUbuntu\ncdrom:x\tbookworm\tmain\tDebian\n"))
        is None
    )


def test_a_cached_image_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_build", lambda *_arguments: pytest.fail("built"))
    image.path(tmp_path).mkdir()
    assert image.ensure(tmp_path) == image.path(tmp_path)
