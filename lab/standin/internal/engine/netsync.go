// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/chainstore"
	"evnode.dev/standin/internal/ledger"
	"evnode.dev/standin/internal/p2p"
)

const (
	firstRetry  = time.Second
	longestWait = 10 * time.Second
	giveUpAfter = 30 * time.Second
)

// netSync is a role's end of the peer-to-peer network.
type netSync struct {
	env     *Env
	leads   bool
	receive p2p.Receiver
	peers   []p2p.Address // fixed when the role starts
	best    atomic.Uint64 // highest block that a peer is known to have
}

func newNetSync(env *Env, leads bool) *netSync { return &netSync{env: env, leads: leads} }

type storeSource struct{ store *chainstore.Store }

func (s storeSource) Block(height uint64) (*ledger.Block, error) { return s.store.Block(height) }
func (s storeSource) Head() (uint64, uint64) {
	return s.store.Height(), s.store.Counter(chainstore.KeyDAIncluded)
}

// start serves blocks, waits until a peer has this node's own last block (or the first one, if it has none), and then
// takes pushed blocks. A node without peers does not wait, nor does a Raft leader with an empty store.
func (s *netSync) start(ctx context.Context) error {
	source := storeSource{s.env.Store}
	s.env.Host.Attach(source, nil)
	s.peers = s.env.Host.Connected()
	if !s.leads {
		s.peers = append(s.peers, p2p.ParsePeers(s.env.Config.P2P.Peers, s.env.Log)...)
	}
	if s.leads && s.env.Raft.IsLeader() && s.env.Store.Height() == 0 {
		s.env.Log.Info().Uint64("store_height", 0).Uint64("header_height", 0).Uint64("data_height", 0).
			Msg("raft-enabled aggregator with empty sync stores: starting sync services in publisher mode")
	} else if err := s.wait(ctx); err != nil {
		return fmt.Errorf("failed to initialize stores from P2P: %w", err)
	}
	s.env.Host.Attach(source, s.receive)
	return nil
}

func (s *netSync) stop() { s.env.Host.Attach(nil, nil) }

func (s *netSync) wait(ctx context.Context) error {
	if len(s.peers) == 0 {
		return nil
	}
	end := time.NewTimer(giveUpAfter)
	defer end.Stop()
	retry := time.NewTimer(firstRetry)
	defer retry.Stop()
	for pause := firstRetry; ; {
		height := s.env.Store.Height()
		if height == 0 {
			height = s.env.Genesis.InitialHeight
		}
		answer, err := s.env.Host.AskAny(ctx, s.peers, height)
		if err == nil {
			s.heard(answer.Height, answer.DA)
			return nil
		}
		err = fmt.Errorf("failed to fetch height %d from peers: %w", height, err)
		s.both(func(log *zerolog.Logger) {
			log.Info().Err(err).Dur("retry_in", pause).Msg("headers not yet available from peers, waiting to initialize header sync")
		})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			s.both(func(log *zerolog.Logger) {
				log.Warn().Dur("timeout", giveUpAfter).Msg("P2P header sync initialization timed out, deferring to DA sync")
			})
			return nil
		case <-retry.C:
		}
		pause = min(pause*2, longestWait)
		retry.Reset(pause)
	}
}

// both logs for the two services that ev-node has here: one for headers, one for data.
func (s *netSync) both(f func(*zerolog.Logger)) {
	for _, name := range []string{"HeaderSyncService", "DataSyncService"} {
		log := s.env.Log.With().Str("component", name).Logger()
		f(&log)
	}
}

// heard notes how far a peer is. What it says about the DA layer counts only on a node that is configured for one.
func (s *netSync) heard(height, da uint64) {
	for {
		old := s.best.Load()
		if height <= old || s.best.CompareAndSwap(old, height) {
			break
		}
	}
	if s.env.Config.DAAddress() != "" && da > 0 {
		s.env.Store.SetCounter(chainstore.KeyDAIncluded, min(da, s.env.Store.Height()))
	}
}

func (s *netSync) bestKnown() uint64 { return max(s.best.Load(), s.env.Store.Height()) }

// fetch takes a block from the first peer that has it.
func (s *netSync) fetch(ctx context.Context, height uint64) (*ledger.Block, error) {
	last := errors.New("no peers")
	for _, p := range s.sources() {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		answer, err := s.env.Host.Ask(p, height)
		if err == nil {
			s.heard(answer.Height, answer.DA)
			return answer.Block, nil
		}
		last = err
	}
	return nil, last
}

// sources are the peers of the role and those that connected since.
func (s *netSync) sources() []p2p.Address {
	out := s.env.Host.Connected()
	seen := map[string]bool{}
	for _, a := range out {
		seen[a.Peer] = true
	}
	for _, a := range s.peers {
		if !seen[a.Peer] {
			out = append(out, a)
			seen[a.Peer] = true
		}
	}
	return out
}

// askHeads asks every peer how far it is.
func (s *netSync) askHeads() {
	done := make(chan struct{})
	peers := s.sources()
	for _, p := range peers {
		go func() {
			defer func() { done <- struct{}{} }()
			if answer, err := s.env.Host.Ask(p, 0); err == nil {
				s.heard(answer.Height, answer.DA)
			}
		}()
	}
	for range peers {
		<-done
	}
}
