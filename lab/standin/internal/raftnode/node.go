// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package raftnode runs one member of a Raft cluster that agrees on the newest block, and decides from the elections
// whether this process leads or follows.
package raftnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/settings"
)

// Node is a member. A nil Node stands for "Raft is off".
type Node struct {
	raft *raft.Raft
	fsm  *fsm
	log  zerolog.Logger

	id, addr    string
	peers       []string
	sendTimeout time.Duration
	drain       time.Duration
}

// Open opens the files and the listener of a member. From here on it answers other members, although it only joins the
// cluster with Start.
func Open(cfg *settings.Config, log zerolog.Logger) (*Node, error) {
	c := &cfg.Raft
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("create raft dir: %w", err)
	}
	logs, err := raftboltdb.NewBoltStore(filepath.Join(c.Dir, "raft-log.db"))
	if err != nil {
		return nil, fmt.Errorf("create log store: %w", err)
	}
	stable, err := raftboltdb.NewBoltStore(filepath.Join(c.Dir, "raft-stable.db"))
	if err != nil {
		return nil, fmt.Errorf("create stable store: %w", err)
	}
	snapshots, err := raft.NewFileSnapshotStore(c.Dir, int(c.SnapCount), os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("create snapshot store: %w", err)
	}
	// one address serves to listen and to be found, so it must be one that others can use
	advertise, err := net.ResolveTCPAddr("tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("resolve raft addr: %w", err)
	}
	transport, err := raft.NewTCPTransport(c.Addr, advertise, 3, 10*time.Second, os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("create transport: %w", err)
	}
	n := &Node{
		fsm: newFSM(log.With().Str("component", "raft-fsm").Logger()),
		log: log.With().Str("component", "raft-node").Logger(),
		id:  c.NodeID, addr: c.Addr, sendTimeout: c.SendTimeout, drain: 5 * c.SendTimeout,
	}
	if c.Peers != "" {
		n.peers = strings.Split(c.Peers, ",")
	}
	if n.raft, err = raft.NewRaft(libraryConfig(cfg, log), n.fsm, logs, stable, snapshots, transport); err != nil {
		return nil, fmt.Errorf("create raft: %w", err)
	}
	return n, nil
}

func libraryConfig(cfg *settings.Config, log zerolog.Logger) *raft.Config {
	c, out := &cfg.Raft, raft.DefaultConfig()
	out.LocalID = raft.ServerID(c.NodeID)
	out.Logger = hclog.New(&hclog.LoggerOptions{
		Name: "raft", Level: hclog.Info, DisableTime: true,
		Output: log.With().Str("component", "raft-hashicorp").Logger(),
	})
	out.HeartbeatTimeout = c.HeartbeatTimeout
	out.LeaderLeaseTimeout = c.LeaderLeaseTimeout
	if c.ElectionTimeout > 0 {
		out.ElectionTimeout = c.ElectionTimeout
	}
	if c.SnapshotThreshold > 0 {
		out.SnapshotThreshold = c.SnapshotThreshold
	}
	if c.TrailingLogs > 0 {
		out.TrailingLogs = c.TrailingLogs
	}
	return out
}

// Start makes the static cluster of this member and its peers known, unless the files already hold one; then the
// peers that are configured now have no effect.
func (n *Node) Start() error {
	if f := n.raft.GetConfiguration(); f.Error() == nil && len(f.Configuration().Servers) > 0 {
		n.log.Info().Msg("raft node started with existing local state")
		return nil
	}
	n.log.Info().Msg("Bootstrap raft cluster")
	servers, err := members(n.id, n.addr, n.peers)
	if err != nil {
		return err
	}
	if err := n.raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		return fmt.Errorf("bootstrap cluster: %w", err)
	}
	n.log.Info().Msg("bootstrapped raft cluster")
	return nil
}

func members(id, addr string, peers []string) ([]raft.Server, error) {
	self := raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(addr)}
	servers := []raft.Server{self}
	for _, entry := range peers {
		id, addr, ok := strings.Cut(entry, "@")
		id, addr = strings.TrimSpace(id), strings.TrimSpace(addr)
		switch {
		case !ok || strings.Contains(addr, "@"):
			return nil, fmt.Errorf("peer %q : expecting nodeID@address for peer", entry)
		case id == "":
			return nil, fmt.Errorf("peer %q : nodeID cannot be empty", entry)
		case addr == "":
			return nil, fmt.Errorf("peer %q : address cannot be empty", entry)
		}
		if s := (raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(addr)}); s != self {
			servers = append(servers, s)
		}
	}
	seen := map[raft.ServerID]bool{}
	for _, s := range servers {
		if seen[s.ID] {
			return nil, fmt.Errorf("duplicate peers found in config: %v", servers)
		}
		seen[s.ID] = true
	}
	return servers, nil
}

// caughtUp waits until everything that is committed has been applied.
func (n *Node) caughtUp(limit time.Duration) error {
	done := func() bool { return n.raft.AppliedIndex() >= n.raft.CommitIndex() }
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(max(min(50*time.Millisecond, limit/4), 1))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if done() {
				return nil
			}
		case <-end.C:
			if done() {
				return nil
			}
			return errors.New("max wait time reached")
		}
	}
}

// Stop lets the log drain, hands leadership over and ends the member.
func (n *Node) Stop() error {
	if err := n.caughtUp(n.drain); err != nil {
		n.log.Warn().Err(err).Msg("timed out waiting for raft messages to land during shutdown")
	}
	if n.IsLeader() {
		if err := n.transfer(); err != nil {
			n.log.Warn().Err(err).Msg("leadership transfer on shutdown failed")
		}
	}
	return n.raft.Shutdown().Error()
}

// Resign hands leadership over if this member has it, and gives up when ctx ends.
func (n *Node) Resign(ctx context.Context) error {
	if n == nil || !n.IsLeader() {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- n.transfer() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) transfer() error { return n.raft.LeadershipTransfer().Error() }

// IsLeader says whether this member leads.
func (n *Node) IsLeader() bool { return n != nil && n.raft.State() == raft.Leader }

// LeaderID is the member that leads as far as is known here.
func (n *Node) LeaderID() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

// ID is this member's name.
func (n *Node) ID() string { return n.id }

// HasQuorum asks the cluster, by a log entry of its own, whether this member still leads.
func (n *Node) HasQuorum() bool {
	return n.IsLeader() && n.raft.Barrier(n.sendTimeout).Error() == nil
}

// Propose hands a block to the cluster and waits until a quorum has it.
func (n *Node) Propose(ctx context.Context, state *BlockState) error {
	if !n.IsLeader() {
		return errors.New("not leader")
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("marshal block state: %w", err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := n.raft.Apply(raw, n.sendTimeout).Error(); err != nil {
		return fmt.Errorf("apply log: %w", err)
	}
	return nil
}

// State is the newest block that the cluster agreed on; height 0 means none.
func (n *Node) State() *BlockState { return n.fsm.state.Load() }

// Deliver sends every newly agreed block to out, or nowhere if out is nil. Blocks that find out full are dropped.
func (n *Node) Deliver(out chan<- *BlockState) {
	n.fsm.mu.Lock()
	n.fsm.out = out
	n.fsm.mu.Unlock()
}
