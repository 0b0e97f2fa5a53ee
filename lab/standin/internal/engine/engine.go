// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package engine makes and follows blocks: the work of a node once it knows its role.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/chainstore"
	"evnode.dev/standin/internal/genesis"
	"evnode.dev/standin/internal/ledger"
	"evnode.dev/standin/internal/p2p"
	"evnode.dev/standin/internal/raftnode"
	"evnode.dev/standin/internal/rpc"
	"evnode.dev/standin/internal/settings"
	"evnode.dev/standin/internal/signer"
)

// Executor applies blocks: the application in this process, or an execution client beside it.
type Executor interface {
	// Init returns the hash of the first state.
	Init() ([]byte, error)
	// Reconcile brings the executor to the height of the node's store, whose blocks it may read.
	Reconcile(height uint64, read func(height uint64) (time uint64, txs [][]byte, err error)) error
	// Filter returns those transactions that can be in the next block, which will have this time.
	Filter(time uint64, txs [][]byte) ([][]byte, error)
	// Execute applies a block and returns the new hash.
	Execute(height, time uint64, txs [][]byte) ([]byte, error)
	// Take returns the transactions that came in since the last time.
	Take() [][]byte
}

// Env is what all roles of a process share.
type Env struct {
	Config  *settings.Config
	Genesis *genesis.Genesis
	Store   *chainstore.Store
	App     Executor
	Signer  *signer.Signer // nil on a node that only follows
	Host    *p2p.Host
	Raft    *raftnode.Node // nil if Raft is off
	Rules   *ledger.Rules
	Log     zerolog.Logger
}

// reconcile brings the executor to the height of the store.
func (e *Env) reconcile(height uint64) error {
	return e.App.Reconcile(height, func(at uint64) (uint64, [][]byte, error) {
		block, err := e.Store.Block(at)
		if err != nil {
			return 0, nil, err
		}
		return block.Header.Time, block.Data.Txs, nil
	})
}

// worker is the part of a role that makes or follows blocks.
type worker interface {
	start(ctx context.Context) error
	stop()
	failure() <-chan error
	receive(b *ledger.Block, da uint64) bool
}

// Role is one period of leading or following. It implements raftnode.Role.
type Role struct {
	env    *Env
	leads  bool
	sync   *netSync
	worker worker
	server *http.Server
}

// NewLeader makes a role that produces blocks.
func NewLeader(env *Env) *Role {
	env.Log.Info().Msg("Starting aggregator node")
	r := &Role{env: env, leads: true}
	r.sync = newNetSync(env, true)
	r.worker = newProducer(env)
	r.prepare()
	return r
}

// NewFollower makes a role that takes blocks from peers and from Raft.
func NewFollower(env *Env) *Role {
	env.Log.Info().Msg("Starting syncing node")
	r := &Role{env: env}
	r.sync = newNetSync(env, false)
	r.worker = newFollower(env, r.sync)
	r.prepare()
	return r
}

func (r *Role) prepare() {
	r.sync.receive = r.worker.receive
	r.server = rpc.New(rpc.Sources{
		Config: r.env.Config, Genesis: r.env.Genesis, Store: r.env.Store, Host: r.env.Host, Raft: r.env.Raft,
		Leads: r.leads, Best: r.sync.bestKnown,
	})
}

// group runs functions until all have returned; the first error ends the others' context.
type group struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

func (g *group) run(f func() error) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		if err := f(); err != nil {
			g.once.Do(func() {
				g.err = err
				g.cancel()
			})
		}
	}()
}

func (g *group) wait() error {
	g.wg.Wait()
	g.cancel()
	return g.err
}

// Run serves RPC at once, waits for the network where ev-node waits, and then works until ctx ends or the work fails.
func (r *Role) Run(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	g := &group{cancel: cancel}
	g.run(func() error {
		defer r.worker.stop()
		r.env.Log.Info().Str("addr", r.env.Config.RPC.Address).Msg("Started RPC server")
		listener, err := net.Listen("tcp", r.env.Config.RPC.Address)
		if err != nil {
			return err
		}
		if err := r.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	// A role that is ended while it still waits here leaves its RPC listener open, as in ev-node: the next role of the
	// same process then cannot listen.
	if err := r.sync.start(ctx); err != nil {
		return fmt.Errorf("header sync service: %w", err)
	}
	defer r.sync.stop()
	g.run(func() error {
		defer func() {
			limit, done := context.WithTimeout(context.Background(), 3*time.Second)
			defer done()
			_ = r.server.Shutdown(limit)
		}()
		if err := r.work(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("components started with error: %w", err)
		}
		return nil
	})
	return g.wait()
}

func (r *Role) work(ctx context.Context) error {
	if err := r.worker.start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-r.worker.failure():
		return fmt.Errorf("node stopped due to critical execution client failure: %w", err)
	}
}

// Distance implements raftnode.Role.
func (r *Role) Distance(agreed *raftnode.BlockState) (int, error) {
	state, err := r.env.Store.State()
	if err != nil {
		return 0, err
	}
	if diff := int64(state.Height) - int64(agreed.Height); diff != 0 {
		return int(diff), nil
	}
	if agreed.Height == 0 {
		return 0, nil
	}
	hash, err := r.env.Store.HashAt(agreed.Height)
	if err != nil {
		return 0, fmt.Errorf("get header for sync check at height %d: %w", agreed.Height, err)
	}
	if string(hash) != string(agreed.Hash) {
		return 0, fmt.Errorf("header hash mismatch: %x vs %x", hash, agreed.Hash)
	}
	return 0, nil
}

// Recover implements raftnode.Role.
func (r *Role) Recover(_ context.Context, agreed *raftnode.BlockState) error {
	f, ok := r.worker.(*follower)
	if !ok {
		return errors.New("recovery not supported in this mode")
	}
	r.env.Log.Info().Uint64("height", agreed.Height).Msg("recovering state from raft")
	if len(agreed.Block) == 0 {
		return errors.New("unmarshal header: signed header's Header is nil")
	}
	block, err := ledger.Decode(agreed.Block)
	if err != nil {
		return fmt.Errorf("unmarshal header: %w", err)
	}
	state, err := r.env.Store.State()
	if err != nil {
		state = ledger.Initial(r.env.Genesis, nil)
	}
	switch {
	case state.Height == agreed.Height:
		if string(state.HeaderHash) != string(agreed.Hash) {
			return fmt.Errorf("header hash mismatch: %x vs %x", state.HeaderHash, agreed.Hash)
		}
	case state.Height+1 == agreed.Height:
		if err := f.apply(state, block, "raft"); err != nil {
			return err
		}
		r.env.Log.Info().Uint64("height", agreed.Height).Msg("recovered from raft state")
	case state.Height > agreed.Height:
		hash, err := r.env.Store.HashAt(agreed.Height)
		if err != nil {
			return fmt.Errorf("local state ahead of raft snapshot (local=%d raft=%d), cannot verify hash: %w", state.Height, agreed.Height, err)
		}
		if string(hash) != string(agreed.Hash) {
			return fmt.Errorf("local state diverged from raft at height %d: local hash %x != raft hash %x", agreed.Height, hash, agreed.Hash)
		}
		r.env.Log.Info().Uint64("local_height", state.Height).Uint64("raft_height", agreed.Height).
			Msg("local state ahead of stale raft snapshot with matching hash; skipping recovery, raft will catch up")
	}
	return nil
}
