# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _controller


def test_a_process_that_runs_is_not_gone_and_one_that_ended_is():
    assert not _controller.gone(_controller.identity(os.getpid()))
    child = subprocess.Popen(["sleep", "60"])
    name = _controller.identity(child.pid)
    assert not _controller.gone(name)
    child.kill()
    child.wait()
    assert _controller.gone(name)


def test_another_process_with_the_same_number_is_another():
    host, boot, pid, started = _controller.identity(os.getpid()).split()
    assert _controller.gone(f"{host} {boot} {pid} {int(started) - 1}")


def test_nothing_can_be_told_of_another_controller_or_of_before_a_boot():
    host, boot, _pid, _started = _controller.identity(os.getpid()).split()
    assert not _controller.gone(f"elsewhere {boot} 999999 1")
    assert not _controller.gone(f"{host} another-boot 999999 1")
    assert not _controller.gone("")
