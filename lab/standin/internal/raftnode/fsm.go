// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package raftnode

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"
)

// BlockState is what the members agree on: the newest block, whole.
type BlockState struct {
	Height              uint64 `json:"height"`
	Hash                []byte `json:"hash,omitempty"`
	Time                uint64 `json:"time"`
	Block               []byte `json:"block,omitempty"`
	LastSubmittedHeader uint64 `json:"last_submitted_header"`
	LastSubmittedData   uint64 `json:"last_submitted_data"`
}

// fsm holds the newest agreed block. It never goes back, and silently refuses what would.
type fsm struct {
	log   zerolog.Logger
	state atomic.Pointer[BlockState]

	mu  sync.RWMutex
	out chan<- *BlockState
}

func newFSM(log zerolog.Logger) *fsm {
	f := &fsm{log: log}
	f.state.Store(&BlockState{})
	return f
}

// Apply takes a log entry. A refusal is only in the response, which nobody reads.
func (f *fsm) Apply(entry *raft.Log) any {
	next := &BlockState{}
	if err := json.Unmarshal(entry.Data, next); err != nil {
		f.log.Error().Err(err).Msg("unmarshal block state")
		return err
	}
	now := f.state.Load()
	if next.Height <= now.Height {
		return fmt.Errorf("invalid height: %d > %d", now.Height, next.Height)
	}
	if next.Time <= now.Time {
		return fmt.Errorf("invalid timestamp: %d > %d", now.Time, next.Time)
	}
	f.state.Store(next)
	f.log.Debug().Uint64("height", next.Height).Uint64("raft_term", entry.Term).Uint64("raft_index", entry.Index).
		Hex("hash", next.Hash).Msg("applied raft block state")
	f.mu.RLock()
	out := f.out
	f.mu.RUnlock()
	if out != nil {
		select {
		case out <- next:
		default:
			f.log.Warn().Msg("apply channel full, dropping message")
		}
	}
	return nil
}

// Snapshot returns the newest block; there is no history in it.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) { return snapshot{f.state.Load()}, nil }

// Restore replaces the state by that of a snapshot.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	state := &BlockState{}
	if err := json.NewDecoder(r).Decode(state); err != nil {
		return fmt.Errorf("decode snapshot: %w", err)
	}
	f.state.Store(state)
	f.log.Info().Uint64("height", state.Height).Msg("restored from snapshot")
	return nil
}

type snapshot struct{ state *BlockState }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s.state); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

func (snapshot) Release() {}
