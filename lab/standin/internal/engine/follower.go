// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/chainstore"
	"evnode.dev/standin/internal/kvdb"
	"evnode.dev/standin/internal/ledger"
	"evnode.dev/standin/internal/raftnode"
)

const (
	raftBuffer  = 100
	headsEvery  = time.Second
	fetchPause  = 50 * time.Millisecond
	maxWaiting  = 10000
	sourcePeers = "p2p"
)

// follower applies blocks in order, wherever they come from; the first block of a height wins.
type follower struct {
	env  *Env
	net  *netSync
	log  zerolog.Logger
	fail chan error
	wake chan struct{}

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	ready   bool
	waiting map[uint64]*ledger.Block
}

func newFollower(env *Env, net *netSync) *follower {
	return &follower{env: env, net: net, log: env.Log.With().Str("component", "syncer").Logger(),
		fail: make(chan error, 1), wake: make(chan struct{}, 1), waiting: map[uint64]*ledger.Block{}}
}

func (f *follower) failure() <-chan error { return f.fail }

func (f *follower) start(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	f.cancel = cancel
	state, err := f.env.Store.State()
	if err != nil {
		root, err := f.env.App.Init()
		if err != nil {
			return fmt.Errorf("failed to start syncer: failed to initialize syncer state: failed to initialize execution client: %w", err)
		}
		state = ledger.Initial(f.env.Genesis, root)
		if err := f.env.Store.SetState(state); err != nil {
			return fmt.Errorf("failed to start syncer: failed to initialize syncer state: %w", err)
		}
	}
	if err := f.env.reconcile(state.Height); err != nil {
		return fmt.Errorf("failed to start syncer: failed to sync execution layer: %w", err)
	}
	f.log.Info().Uint64("height", state.Height).Uint64("da_height", state.DAHeight).Str("chain_id", state.ChainID).
		Msg("initialized syncer state")
	f.mu.Lock()
	f.ready = true
	f.mu.Unlock()
	if f.env.Raft != nil {
		in := make(chan *raftnode.BlockState, raftBuffer)
		f.env.Raft.Deliver(in)
		f.wg.Add(1)
		go f.fromRaft(ctx, in)
	}
	f.wg.Add(1)
	go f.fromPeers(ctx)
	f.log.Info().Msg("syncer started")
	return nil
}

func (f *follower) stop() {
	if f.cancel == nil {
		return
	}
	f.cancel()
	f.wg.Wait()
	if f.env.Raft != nil {
		f.env.Raft.Deliver(nil)
	}
	f.mu.Lock()
	f.ready = false
	f.mu.Unlock()
}

func (f *follower) fromRaft(ctx context.Context, in <-chan *raftnode.BlockState) {
	defer f.wg.Done()
	f.log.Info().Msg("starting raft apply loop")
	defer f.log.Info().Msg("raft apply loop stopped")
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-in:
			f.env.Store.SetCounter(chainstore.KeyLastSubmittedHeader, s.LastSubmittedHeader)
			f.env.Store.SetCounter(chainstore.KeyLastSubmittedData, s.LastSubmittedData)
			block, err := ledger.Decode(s.Block)
			if err != nil {
				f.log.Error().Err(err).Uint64("height", s.Height).Msg("failed to apply raft block")
				continue
			}
			f.handle(block, "")
		}
	}
}

// fromPeers fetches what is missing up to the highest block that any peer is known to have.
func (f *follower) fromPeers(ctx context.Context) {
	defer f.wg.Done()
	tick := time.NewTicker(headsEvery)
	defer tick.Stop()
	f.net.askHeads()
	for ctx.Err() == nil {
		next := f.env.Store.Height() + 1
		if f.net.best.Load() < next {
			select {
			case <-ctx.Done():
			case <-f.wake:
			case <-tick.C:
				f.net.askHeads()
			}
			continue
		}
		block, err := f.net.fetch(ctx, next)
		if err == nil {
			f.handle(block, sourcePeers)
		} else if ctx.Err() == nil {
			f.log.Debug().Err(err).Uint64("height", next).Msg("block is not available from peers")
		}
		if f.env.Store.Height() < next {
			select {
			case <-ctx.Done():
			case <-time.After(fetchPause):
			}
		}
	}
}

// receive takes a pushed block. Only a block that the proposer signed is passed on.
func (f *follower) receive(b *ledger.Block, da uint64) bool {
	f.net.heard(0, da)
	if b.Header.Height <= f.env.Store.Height() || !f.authentic(b) {
		return false
	}
	f.mu.Lock()
	known, ok := f.waiting[b.Header.Height]
	f.mu.Unlock()
	if ok && bytes.Equal(known.Header.Hash(), b.Header.Hash()) {
		return false
	}
	f.net.heard(b.Header.Height, da)
	f.handle(b, sourcePeers)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return true
}

func (f *follower) authentic(b *ledger.Block) bool {
	h := b.Header
	state := &ledger.State{ChainID: h.ChainID, Height: h.Height - 1, NextProposer: f.env.Genesis.ProposerAddress}
	if s, err := f.env.Store.State(); err == nil {
		state.NextProposer = s.NextProposer
	}
	return (&ledger.Rules{}).Check(state, b) == nil
}

// handle applies a block if it is the next one, and then those that waited for it.
func (f *follower) handle(b *ledger.Block, source string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for b != nil {
		height, top := b.Header.Height, f.env.Store.Height()
		if height <= top {
			f.log.Debug().Uint64("height", height).Str("source", source).Msg("height already processed")
			return
		}
		if height != top+1 || !f.ready {
			if len(f.waiting) < maxWaiting {
				f.waiting[height] = b
			}
			return
		}
		state, err := f.env.Store.State()
		if err == nil {
			err = f.apply(state, b, source)
		}
		delete(f.waiting, height)
		if err != nil {
			f.log.Error().Err(err).Uint64("event-height", height).Uint64("state-height", top).Str("source", source).
				Msg("failed to sync next block")
			if errors.Is(err, ledger.ErrInvalidState) {
				f.critical(fmt.Errorf("invalid state detected (block-height %d, state-height %d) - block references do not "+
					"match local state. Manual intervention required: %w", height, top, err))
			}
			return
		}
		b, source = f.waiting[height+1], sourcePeers
	}
}

func (f *follower) critical(err error) {
	select {
	case f.fail <- err:
	default:
	}
}

// apply checks, executes and stores a block.
func (f *follower) apply(state *ledger.State, b *ledger.Block, source string) error {
	f.log.Info().Uint64("height", b.Header.Height).Str("source", source).Msg("syncing block")
	if err := f.env.Rules.Check(state, b); err != nil {
		return err
	}
	root, err := f.env.App.Execute(b.Header.Height, b.Header.Time, b.Data.Txs)
	if err != nil {
		err = fmt.Errorf("failed to execute transactions: %w", err)
		f.critical(err)
		return fmt.Errorf("failed to apply block: %w", err)
	}
	return f.env.Store.Append(b, state.Next(&b.Header, root), func(batch *kvdb.Batch) {})
}
