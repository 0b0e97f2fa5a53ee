// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package raftnode

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/settings"
)

func TestMembersOfAStaticCluster(t *testing.T) {
	servers, err := members("a", "h:1", []string{" b@h:2", "a@h:1", "c @ h:3 "})
	if err != nil || len(servers) != 3 || servers[2].ID != "c" || servers[2].Address != "h:3" {
		t.Fatalf("%v, %v", servers, err)
	}
	for peer, want := range map[string]string{
		"":      `peer "" : expecting nodeID@address for peer`,
		"b":     `peer "b" : expecting nodeID@address for peer`,
		"@h:1":  `peer "@h:1" : nodeID cannot be empty`,
		"b@ ":   `peer "b@ " : address cannot be empty`,
		"a@h:9": "duplicate peers found in config",
	} {
		if _, err := members("a", "h:1", []string{peer}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", peer, err)
		}
	}
}

func TestAgreedStateNeverGoesBack(t *testing.T) {
	f := newFSM(zerolog.Nop())
	out := make(chan *BlockState, 1)
	f.out = out
	apply := func(height, at uint64) any {
		raw, _ := json.Marshal(BlockState{Height: height, Time: at, Hash: []byte{byte(height)}})
		return f.Apply(&raft.Log{Data: raw})
	}
	for _, step := range []struct {
		height, at uint64
		taken      bool
	}{{5, 100, true}, {5, 200, false}, {4, 300, false}, {6, 100, false}, {6, 101, true}, {9, 102, true}} {
		before := f.state.Load().Height
		if err := apply(step.height, step.at); (err == nil) != step.taken {
			t.Errorf("%+v: %v", step, err)
		}
		if now := f.state.Load().Height; (now != before) != step.taken {
			t.Errorf("%+v: height %d after %d", step, now, before)
		}
	}
	if got := <-out; got.Height != 5 {
		t.Fatalf("delivered %d first", got.Height)
	}
	if len(out) != 0 {
		t.Fatal("what finds the channel full must be dropped")
	}
}

func config(t *testing.T, addr string) *settings.Config {
	t.Helper()
	c := settings.Default()
	c.Raft.NodeID, c.Raft.Addr, c.Raft.Dir = "a", addr, t.TempDir()
	return c
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
}

func TestWhatTheLibraryRefuses(t *testing.T) {
	if _, err := Open(config(t, "0.0.0.0:0"), zerolog.Nop()); err == nil || err.Error() != "create transport: local bind address is not advertisable" {
		t.Errorf("unspecified address: %v", err)
	}
	c := config(t, freePort(t))
	c.Raft.LeaderLeaseTimeout = 2 * c.Raft.HeartbeatTimeout
	if _, err := Open(c, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "cannot be larger than heartbeat timeout") {
		t.Errorf("lease: %v", err)
	}
	c = config(t, freePort(t))
	c.Raft.SnapCount = 0
	if _, err := Open(c, zerolog.Nop()); err == nil || err.Error() != "create snapshot store: must retain at least one snapshot" {
		t.Errorf("snapshots: %v", err)
	}
}

func TestSingleMemberAgreesWithItself(t *testing.T) {
	n, err := Open(config(t, freePort(t)), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !n.HasQuorum(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no leader within 10 s, state %v", n.raft.State())
		}
	}
	if n.LeaderID() != "a" || !n.IsLeader() {
		t.Fatalf("leader %q", n.LeaderID())
	}
	if err := n.Propose(t.Context(), &BlockState{Height: 3, Time: 1}); err != nil {
		t.Fatal(err)
	}
	if n.State().Height != 3 {
		t.Fatalf("height %d", n.State().Height)
	}
	if err := n.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}
