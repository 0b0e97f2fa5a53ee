# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import coordinator, participant
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import (
    Ack,
    Begin,
    Cancel,
    CloseIntake,
    Commit,
    Committed,
    Connected,
    Digest,
    Driver,
    Failed,
    Finish,
    Freeze,
    Frozen,
    Head,
    IntakeClosed,
    Limits,
    Lost,
    Match,
    Matched,
    Nack,
    Plan,
    Probe,
    Proof,
    Report,
    Resume,
    Resumed,
    Send,
    SendReport,
    Start,
    Started,
    Thaw,
    Thawed,
    Told,
)

OTHERS = ("node-2", "node-3", "node-4", "node-5")
PRINTS = (("binary", "b"), ("genesis", "g"))
LIMITS = Limits(arm=60, freeze=30, agree=10, straggler=1, grace=2, hold=60, probe=0.25)


def plan(**changes):
    return Plan(
        **{
            "me": "node-1",
            "coordinator": "node-1",
            "participants": OTHERS,
            "fingerprints": PRINTS,
            "limits": LIMITS,
            **changes,
        }
    )


class Coordinator:
    """A coordinator with a clock that the test moves."""

    def __init__(self, **changes):
        self.plan = plan(**changes)
        self.driver = Driver(coordinator.step, self.plan, coordinator.initial(self.plan))
        self.now = 0.0
        self.log = []
        self(Begin())

    def __call__(self, event, now=None):
        self.now = self.now if now is None else now
        got = self.driver.handle(event, self.now)
        self.log += got
        return got

    @property
    def phase(self):
        return self.driver.state.phase

    def arm(self, members=OTHERS, height=20):
        self(Head(height))
        for member in members:
            self(Report(member, height, "h", PRINTS))
        return self

    def freeze(self, n=21, digest="h21"):
        assert any(isinstance(action, Freeze) for action in self.log)
        self(Frozen(n, digest))
        return self

    def of(self, kind):
        return [action for action in self.log if isinstance(action, kind)]

    def told(self, kind):
        return [action.member for action in self.of(Send) if action.message.kind == kind]


class Participant:
    """A participant with a clock that the test moves."""

    def __init__(self, **changes):
        self.plan = plan(me="node-2", **changes)
        self.driver = Driver(participant.step, self.plan, participant.initial(self.plan))
        self.now = 0.0
        self.log = []
        self(Begin())

    __call__ = Coordinator.__call__
    phase = Coordinator.phase
    of = Coordinator.of

    def hold(self, n=21, digest="h21"):
        self(Connected())
        self(Told("frozen", n, digest))
        self(Matched(n, digest))
        assert self.phase == "holding"
        return self


# ---- coordinator ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(OTHERS)))
def test_it_commits_after_the_last_acknowledgement_in_any_order(order):
    node = Coordinator().arm().freeze()
    assert node.told("frozen") == list(OTHERS)
    for member in order[:-1]:
        node(Ack(member, 21, "h21"))
        assert not node.of(Commit)
    node(Ack(order[-1], 21, "h21"))
    assert node.of(Commit) == [Commit(21, "h21")]
    assert not node.told("commit"), "nobody may hear of a commit that is not on disk"
    node(Committed())
    assert node.told("commit") == list(OTHERS)
    assert node.of(Start) == [Start(21, "h21")]
    node(Started())
    assert node.of(Finish) == [Finish("committed", "")]


def test_commit_messages_go_out_before_its_own_start():
    node = Coordinator().arm().freeze()
    for member in OTHERS:
        node(Ack(member, 21, "h21"))
    kinds = [type(action).__name__ for action in node(Committed())]
    assert kinds == ["Send"] * 4 + ["Start", "Note"]


def test_nothing_is_stopped_while_a_member_is_missing():
    node = Coordinator().arm(OTHERS[:3])
    node(None, 59.9)
    assert not node.of(Freeze)
    node(None, 60)
    assert node.phase == "aborting"
    assert "node-5: never connected" in node.driver.state.reason
    assert not node.of(Freeze)


def test_a_quorum_goes_on_at_the_limit_where_it_may():
    node = Coordinator(require_all=False).arm(OTHERS[:2])
    assert not node.of(Freeze)
    node(None, 60)
    assert node.of(Freeze)


def test_less_than_a_quorum_never_goes_on():
    node = Coordinator(require_all=False).arm(OTHERS[:1])
    node(None, 60)
    assert node.phase == "aborting"
    assert not node.of(Freeze)


def test_a_member_that_lags_is_waited_for():
    node = Coordinator().arm(OTHERS[:3])
    node(Report("node-5", 10, "h", PRINTS))
    assert not node.of(Freeze)
    node(Report("node-5", 18, "h", PRINTS))
    assert node.of(Freeze)


def test_a_lag_is_counted_from_the_newest_height():
    node = Coordinator().arm(OTHERS[:3])
    node(Head(40))
    node(Report("node-5", 40, "h", PRINTS))
    assert not node.of(Freeze), "the other three are now 20 blocks behind"


def test_other_fingerprints_end_the_window_at_once():
    node = Coordinator().arm(OTHERS[:3])
    node(Report("node-5", 20, "h", (("binary", "other"), ("genesis", "g"))))
    assert node.phase == "aborting"
    assert "node-5: binary is other, expected b" in node.driver.state.reason


def test_trouble_is_waited_out():
    node = Coordinator().arm(OTHERS[:3])
    node(Report("node-5", 20, "h", PRINTS, "its follower does not answer"))
    assert not node.of(Freeze)
    node(Report("node-5", 20, "h", PRINTS))
    assert node.of(Freeze)


def test_the_intake_is_closed_before_the_freeze():
    node = Coordinator(intake=True).arm()
    assert node.of(CloseIntake)
    assert not node.of(Freeze)
    node(IntakeClosed())
    assert node.of(Freeze)


def test_a_member_lost_while_the_intake_closes_ends_the_window():
    node = Coordinator(intake=True).arm()
    node(Lost("node-4"))
    assert node.of(Cancel)
    node(IntakeClosed())
    assert node.phase == "aborting"
    assert not node.of(Freeze)


def test_a_member_lost_before_the_stop_cancels_it():
    node = Coordinator().arm()
    node(Lost("node-4"))
    assert node.of(Cancel)
    node(Failed("a member was lost before the freeze"))
    assert node.of(Thaw)
    assert node.of(Thaw).index(Thaw()) == 0


def test_a_stop_that_fails_thaws():
    node = Coordinator().arm()
    node(Failed("no clean stop"))
    assert node.of(Thaw)
    assert set(node.told("abort")) == set(OTHERS)
    node(Thawed())
    assert node.of(Finish) == [Finish("aborted", "no clean stop")]


def test_a_thaw_that_fails_is_told():
    node = Coordinator().arm()
    node(Failed("no clean stop"))
    node(Thawed("systemctl start failed"))
    assert node.of(Finish) == [Finish("aborted", "no clean stop; and systemctl start failed")]


def test_another_hash_aborts():
    node = Coordinator().arm().freeze()
    for member in OTHERS[:3]:
        node(Ack(member, 21, "h21"))
    node(Ack("node-5", 21, "other"))
    assert node.phase == "aborting"
    assert node.of(Thaw)
    assert "node-5: holds other at height 21 and not h21" in node.driver.state.reason


def test_the_node_comes_back_before_anybody_is_told():
    node = Coordinator().arm().freeze()
    kinds = [type(action).__name__ for action in node(Nack("node-3", 21, "disk"))]
    assert kinds == ["Thaw"] + ["Send"] * 4 + ["Note"]


def test_a_hash_nobody_saw_here_is_taken_from_the_first_and_binds_the_others():
    node = Coordinator().arm().freeze(21, "")
    for member in OTHERS[:3]:
        node(Ack(member, 21, "h21"))
    node(Ack("node-5", 21, "other"))
    assert node.phase == "aborting"


def test_an_acknowledgement_without_a_hash_aborts():
    node = Coordinator().arm().freeze(21, "")
    node(Ack("node-2", 21, ""))
    assert node.phase == "aborting"


def test_an_acknowledgement_of_another_block_is_passed_over():
    node = Coordinator().arm().freeze()
    for member in OTHERS:
        node(Ack(member, 20, "h21"))
    assert node.phase == "agree"


def test_a_height_below_what_was_seen_aborts():
    node = Coordinator().arm(height=20)
    node(Frozen(19, "h19"))
    assert node.phase == "aborting"


def test_one_lost_acknowledgement_ends_at_the_limit_with_who_it_was():
    node = Coordinator().arm().freeze()
    for member in OTHERS[:3]:
        node(Ack(member, 21, "h21"))
    node(None, 9.9)
    assert node.phase == "agree"
    node(None, 10)
    assert node.phase == "aborting"
    assert "node-5: no acknowledgement, last reported height 20" in node.driver.state.reason


def test_a_limit_beats_an_acknowledgement_that_waited_in_the_buffer():
    node = Coordinator().arm().freeze()
    for member in OTHERS[:3]:
        node(Ack(member, 21, "h21"))
    node(Ack("node-5", 21, "h21"), now=300)
    assert node.phase == "aborting"
    assert not node.of(Commit)


def test_an_acknowledgement_counts_only_on_a_connection_that_stands():
    node = Coordinator().arm().freeze()
    node(Ack("node-2", 21, "h21"))
    node(Lost("node-2"))
    for member in OTHERS[1:]:
        node(Ack(member, 21, "h21"))
    assert not node.of(Commit)
    node(Report("node-2", 21, "h21", PRINTS))
    assert node.told("frozen").count("node-2") == 2
    node(Ack("node-2", 21, "h21"))
    assert node.of(Commit)


def test_a_connection_that_does_not_come_back_ends_the_window_soon():
    node = Coordinator().arm().freeze()
    node(Lost("node-2"), now=1)
    node(None, 3)
    assert node.phase == "aborting"
    assert "node-2" in node.driver.state.reason


def test_a_connection_that_comes_back_in_time_is_no_matter():
    node = Coordinator().arm().freeze()
    node(Lost("node-2"), now=1)
    node(Report("node-2", 21, "h21", PRINTS), now=2)
    node(None, 9)
    assert node.phase == "agree"


def test_a_hash_that_the_sequencer_did_not_see_takes_two_stores_to_vouch_for_it():
    node = Coordinator(require_all=False, participants=OTHERS[:2]).arm(OTHERS[:2]).freeze(digest="")
    node(Ack("node-2", 21, "damaged"))
    node(Ack("node-3", 21, "h21"))
    node(None, now=LIMITS.agree + 1)
    assert node.phase == coordinator.ABORTING and node.of(Commit) == []
    assert "known from one store only" in node.driver.state.reason
    node = Coordinator(require_all=False, participants=OTHERS[:2]).arm(OTHERS[:2]).freeze(digest="")
    node(Ack("node-2", 21, "h21"))
    assert node.of(Commit) == []
    node(Ack("node-3", 21, "h21"))
    assert node.of(Commit) == [Commit(21, "h21")]


def test_a_quorum_waits_a_moment_for_the_rest_and_goes_on():
    node = Coordinator(require_all=False).arm().freeze()
    node(Ack("node-2", 21, "h21"))
    node(Ack("node-3", 21, "h21"))
    assert not node.of(Commit)
    node(None, 1)
    assert node.of(Commit)
    node(Committed())
    assert node.told("commit") == ["node-2", "node-3"]


def test_one_that_comes_after_the_commit_is_told_then():
    node = Coordinator(require_all=False).arm().freeze()
    node(Ack("node-2", 21, "h21"))
    node(Ack("node-3", 21, "h21"))
    node(None, 1)
    node(Committed())
    node(Ack("node-4", 21, "h21"))
    node(Ack("node-5", 21, "other"))
    assert node.told("commit") == ["node-2", "node-3", "node-4"]


def test_a_quorum_that_shrinks_while_it_waits_does_not_commit():
    node = Coordinator(require_all=False).arm().freeze()
    node(Ack("node-2", 21, "h21"))
    node(Ack("node-3", 21, "h21"))
    node(Lost("node-3"))
    node(None, 1)
    assert not node.of(Commit)
    node(None, 10)
    assert node.phase == "aborting"


def test_too_many_that_differ_abort_at_once():
    node = Coordinator(require_all=False).arm().freeze()
    for member in OTHERS[:3]:
        node(Nack(member, 21, "disk"))
    assert node.phase == "aborting"
    assert "node-2: disk" in node.driver.state.reason


def test_a_commit_that_could_not_be_written_aborts():
    node = Coordinator().arm().freeze()
    for member in OTHERS:
        node(Ack(member, 21, "h21"))
    node(Failed("disk full"))
    assert node.of(Thaw)
    assert not node.told("commit")


@pytest.mark.parametrize("late", [Committed(), Frozen(21, "h21"), Started(), Ack("node-2", 21, "h21"), IntakeClosed()])
def test_nothing_that_comes_after_an_abort_commits_or_starts(late):
    node = Coordinator().arm().freeze()
    node(Nack("node-3", 21, "disk"))
    before = len(node.log)
    for _again in range(3):
        node(late)
    assert not [action for action in node.log[before:] if isinstance(action, (Commit, Start, Freeze))]


def test_who_comes_back_after_an_abort_hears_of_it():
    node = Coordinator().arm().freeze()
    node(Lost("node-2"))
    node(Nack("node-3", 21, "disk"))
    node(Thawed())
    node(Report("node-2", 21, "h21", PRINTS))
    assert "node-2" in node.told("abort")


def test_a_stranger_changes_nothing():
    node = Coordinator().arm(OTHERS[:3])
    before = node.driver.state
    node(Report("node-9", 20, "h", PRINTS))
    node(Ack("node-9", 20, "h"))
    node(Lost("node-9"))
    assert node.driver.state == before


def test_copies_are_compared_with_the_sources_own_digest():
    node = Coordinator(seed="copy").arm().freeze()
    for member in OTHERS:
        node(Ack(member, 21, "h21", "m"))
    assert not node.of(Commit), "the coordinator's own digest is not there yet"
    node(Digest("m"))
    assert node.of(Commit)


@pytest.mark.parametrize("early", [True, False], ids=["digest-first", "digest-last"])
def test_a_copy_that_differs_by_one_byte_aborts(early):
    node = Coordinator(seed="copy").arm().freeze()
    if early:
        node(Digest("m"))
    for member in OTHERS[:3]:
        node(Ack(member, 21, "h21", "m"))
    node(Ack("node-5", 21, "h21", "other"))
    if not early:
        node(Digest("m"))
    assert node.phase == "aborting"
    assert "node-5" in node.driver.state.reason


@pytest.mark.parametrize("changes", [{"seed": "copy"}, {"clients": True}], ids=["copy", "clients"])
def test_an_acknowledgement_without_a_digest_aborts_where_one_is_needed(changes):
    node = Coordinator(**changes).arm().freeze()
    node(Ack("node-2", 21, "h21"))
    assert node.phase == "aborting"


def test_the_blocks_of_execution_clients_are_compared_too():
    node = Coordinator(clients=True).arm().freeze()
    for member in OTHERS:
        node(Ack(member, 21, "h21", "e21"))
    assert not node.of(Commit), "the coordinator's own client has not answered yet"
    node(Digest("e21"))
    assert node.of(Commit)


def test_another_block_in_an_execution_client_aborts_by_name():
    node = Coordinator(clients=True).arm().freeze()
    node(Digest("e21"))
    node(Ack("node-3", 21, "h21", "other"))
    assert node.phase == "aborting"
    assert "node-3: its execution client has other at block 21, that of node-1 e21" in node.driver.state.reason


def test_with_copies_the_hash_has_to_be_known_here():
    node = Coordinator(seed="copy").arm()
    node(Frozen(21, ""))
    assert node.phase == "aborting"


def test_states_are_values():
    one, two = Coordinator().arm().freeze(), Coordinator().arm().freeze()
    assert one.driver.state == two.driver.state
    assert len({one.driver.state, two.driver.state}) == 1


# ---- participant ------------------------------------------------------------------------------------------------


def test_it_reports_matches_acknowledges_and_starts_when_told():
    node = Participant()
    assert node(Connected()) == [SendReport()]
    assert node(Told("frozen", 21, "h21")) == [Match(21, "h21")]
    assert node(Matched(21, "h21"))[0] == Send("node-1", Ack("node-2", 21, "h21", ""))
    assert node(Told("commit", 21, "h21"))[0] == Start(21, "h21")
    assert node(Started()) == [Finish("committed", "")]


@pytest.mark.parametrize(
    "message",
    [Told("commit", 22, "h21"), Told("commit", 21, "other"), Told("commit", 0, "")],
)
def test_a_commit_of_another_block_starts_nothing(message):
    node = Participant().hold()
    node(message)
    assert not node.of(Start)
    assert node.phase == "holding"


def test_a_commit_before_it_holds_starts_nothing():
    node = Participant()
    node(Connected())
    node(Told("commit", 21, "h21"))
    node(Told("frozen", 21, "h21"))
    node(Told("commit", 21, "h21"))
    assert not node.of(Start)


def test_a_lost_connection_asks_for_proof_until_there_is_some():
    node = Participant().hold()
    assert node(Lost("node-2")) == [Probe()]
    assert node(Proof(False, "refused")) == []
    assert node(None, 0.25) == [Probe()]
    assert node(Proof(True))[0] == Start(21, "h21")


@pytest.mark.parametrize(("require_all", "starts"), [(True, 1), (False, 0)])
def test_proof_alone_says_nothing_of_the_others_execution_clients(require_all, starts):
    node = Participant(clients=True, require_all=require_all).hold()
    node(Lost("node-2"))
    node(Proof(True))
    assert len(node.of(Start)) == starts


def test_without_proof_it_follows_again_at_the_limit():
    node = Participant().hold()
    node(Lost("node-2"))
    node(Proof(False, "10.0.0.1:5001 refused"))
    got = node(None, 60)
    assert Resume() in got
    assert not node.of(Start)
    node(Resumed())
    (end,) = node.of(Finish)
    assert end.outcome == "unknown"
    assert "10.0.0.1:5001 refused" in end.reason


def test_a_proof_that_comes_after_it_follows_again_starts_nothing():
    node = Participant().hold()
    node(Lost("node-2"))
    node(None, 60)
    node(Proof(True))
    assert not node.of(Start)


def test_after_a_reconnection_it_acknowledges_again_only_when_asked():
    node = Participant().hold()
    node(Lost("node-2"))
    assert SendReport() in node(Connected())
    assert node.of(Send) == [Send("node-1", Ack("node-2", 21, "h21", ""))]
    node(Told("frozen", 21, "h21"))
    assert len(node.of(Send)) == 2
    node(Told("commit", 21, "h21"))
    assert node.of(Start)


def test_a_connection_lost_while_matching_does_not_stop_it():
    node = Participant()
    node(Connected())
    node(Told("frozen", 21, "h21"))
    node(Lost("node-2"))
    assert Probe() in node(Matched(21, "h21"))
    assert not node.of(Send)


@pytest.mark.parametrize("phase", ["armed", "matching", "holding"])
def test_an_abort_makes_it_follow_again(phase):
    node = Participant()
    node(Connected())
    if phase != "armed":
        node(Told("frozen", 21, "h21"))
    if phase == "holding":
        node(Matched(21, "h21"))
    assert Resume() in node(Told("abort", reason="node-3: disk"))
    node(Told("commit", 21, "h21"))
    node(Matched(21, "h21"))
    node(Proof(True))
    assert not node.of(Start)
    node(Resumed())
    assert node.of(Finish) == [Finish("aborted", "node-3: disk")]


def test_an_abort_while_matching_ends_the_matching():
    node = Participant()
    node(Connected())
    node(Told("frozen", 21, "h21"))
    assert node(Told("abort", reason="x"))[:2] == [Cancel(), Resume()]


def test_what_it_could_not_match_it_says_and_follows_again():
    node = Participant()
    node(Connected())
    node(Told("frozen", 21, "h21"))
    got = node(Failed("holds another hash"))
    assert got[:2] == [Send("node-1", Nack("node-2", 21, "holds another hash")), Resume()]


@pytest.mark.parametrize("found", [Matched(20, "h21"), Matched(21, "other"), Matched(21, "")])
def test_a_match_that_is_none_is_not_acknowledged(found):
    node = Participant()
    node(Connected())
    node(Told("frozen", 21, "h21"))
    node(found)
    assert not [send for send in node.of(Send) if isinstance(send.message, Ack)]
    assert node.phase == "resuming"


def test_a_hash_that_the_coordinator_did_not_see_is_its_own():
    node = Participant()
    node(Connected())
    node(Told("frozen", 21, ""))
    node(Matched(21, "h21"))
    assert Send("node-1", Ack("node-2", 21, "h21", "")) in node.log
    node(Told("commit", 21, "other"))
    assert not node.of(Start)
    node(Told("commit", 21, "h21"))
    assert node.of(Start)


def test_never_asked_it_gives_up_after_arm_and_freeze():
    node = Participant()
    node(None, 90)
    node(Resumed())
    (end,) = node.of(Finish)
    assert end.outcome == "aborted"
    assert "not connected to node-1" in end.reason


def test_a_second_freeze_of_another_block_is_refused():
    node = Participant().hold()
    node(Told("frozen", 22, "h22"))
    assert node.phase == "resuming"
    assert not node.of(Start)


def test_a_participant_that_started_is_done():
    node = Participant().hold()
    node(Told("commit", 21, "h21"))
    node(Started())
    before = node.driver.state
    for event in (Told("abort"), Lost("node-2"), Connected(), Proof(True), Told("commit", 21, "h21")):
        assert node(event) == []
    assert node.driver.state == before
