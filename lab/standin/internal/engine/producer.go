// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
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

var (
	errNotProposer = errors.New("not a proposer")
	errNoQuorum    = errors.New("raft cluster does not have quorum")
)

const maxTxsPerBlock = 5000

// producer makes blocks.
type producer struct {
	env  *Env
	log  zerolog.Logger
	fail chan error
	work chan struct{} // there are transactions

	cancel context.CancelFunc
	wg     sync.WaitGroup
	state  *ledger.State
	done   bool // the begun block was committed

	dropped [][]byte // what the executor left out of the begun block
}

func newProducer(env *Env) *producer {
	return &producer{env: env, log: env.Log.With().Str("component", "executor").Logger(),
		fail: make(chan error, 1), work: make(chan struct{}, 1)}
}

func (p *producer) failure() <-chan error { return p.fail }

// receive ignores pushed blocks: a producer believes nobody but itself.
func (p *producer) receive(*ledger.Block, uint64) bool { return false }

func (p *producer) start(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	p.cancel = cancel
	if err := p.initialize(); err != nil {
		return fmt.Errorf("failed to start executor: failed to initialize state: %w", err)
	}
	p.wg.Add(3)
	go p.loop(ctx)
	p.log.Info().Msg("executor started")
	go p.reap(ctx)
	go p.submit(ctx)
	return nil
}

func (p *producer) stop() {
	if p.cancel == nil {
		return
	}
	p.cancel()
	p.wg.Wait()
	p.log.Info().Msg("executor stopped")
	if p.done {
		_ = p.env.Store.SetPending(nil)
	}
}

// initialize loads the state, and compares it with the cluster only if that has agreed on a block before.
func (p *producer) initialize() error {
	state, err := p.env.Store.State()
	if err != nil {
		p.log.Info().Msg("initializing new blockchain state")
		root, err := p.env.App.Init()
		if err != nil {
			return fmt.Errorf("failed to initialize chain: %w", err)
		}
		state = ledger.Initial(p.env.Genesis, root)
	}
	if string(p.env.Signer.Address()) != string(state.NextProposer) {
		return errNotProposer
	}
	if p.env.Raft != nil {
		if err := p.compare(state, p.env.Raft.State()); err != nil {
			return err
		}
	}
	if err := p.env.Store.SetState(state); err != nil {
		return fmt.Errorf("failed to commit batch: %w", err)
	}
	if err := p.env.reconcile(state.Height); err != nil {
		return fmt.Errorf("failed to sync execution layer: %w", err)
	}
	p.state = state
	p.done = p.env.Store.Pending() == nil
	p.log.Info().Uint64("height", state.Height).Str("chain_id", state.ChainID).Msg("initialized state")
	return nil
}

func (p *producer) compare(state *ledger.State, agreed *raftnode.BlockState) error {
	if agreed.Height == 0 {
		return nil
	}
	if state.Height > agreed.Height {
		return fmt.Errorf("invalid state: local height (%d) ahead of raft (%d)", state.Height, agreed.Height)
	}
	if state.Height < agreed.Height {
		p.log.Warn().Uint64("local", state.Height).Uint64("raft", agreed.Height).Msg("local state behind raft, will sync during startup")
		return nil
	}
	hash, err := p.env.Store.HashAt(state.Height)
	if err != nil {
		return fmt.Errorf("failed to get header at %d for sync check: %w", state.Height, err)
	}
	if string(hash) != string(agreed.Hash) {
		return fmt.Errorf("invalid state: block hash mismatch at height %d: raft=%x local=%x", state.Height, agreed.Hash, hash)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (p *producer) loop(ctx context.Context) {
	defer p.wg.Done()
	p.log.Info().Msg("starting execution loop")
	defer p.log.Info().Msg("execution loop stopped")
	cfg := &p.env.Config.Node
	pace := cfg.BlockTime.D()
	if delay := time.Until(p.state.Time.Add(pace)); delay > 0 {
		p.log.Info().Dur("delay", delay).Msg("waiting to start block production")
		if !sleep(ctx, delay) {
			return
		}
	}
	block := time.NewTimer(pace)
	defer block.Stop()
	var lazy <-chan time.Time
	if cfg.LazyMode {
		t := time.NewTicker(cfg.LazyBlockInterval.D())
		defer t.Stop()
		lazy = t.C
	}
	haveTxs := false
	for {
		begin := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-p.work:
			haveTxs = true
			continue
		case <-lazy:
			p.attempt(ctx)
			continue
		case begin = <-block.C:
		}
		if !cfg.LazyMode || haveTxs {
			begin = time.Now()
			p.attempt(ctx)
			haveTxs = false
		}
		block.Reset(max(pace-time.Since(begin), 0))
	}
}

func (p *producer) attempt(ctx context.Context) {
	if err := p.produce(ctx); err != nil && ctx.Err() == nil {
		p.log.Error().Err(err).Msg("failed to produce block")
	}
}

func (p *producer) critical(err error) error {
	select {
	case p.fail <- err:
	default:
	}
	return err
}

func (p *producer) produce(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	env := p.env
	if env.Raft != nil && !env.Raft.HasQuorum() {
		return errNoQuorum
	}
	height := p.state.Height + 1
	if p.backlogged() {
		return nil
	}
	block := env.Store.Pending()
	if block != nil && block.Header.Height == height && !p.done {
		p.log.Info().Uint64("height", height).Msg("using pending block")
	} else {
		var err error
		if block, err = p.begin(height); err != nil {
			return err
		}
		if err := env.Store.SetPending(block); err != nil {
			return fmt.Errorf("failed to save block data: %w", err)
		}
		p.done = false
	}
	if env.Raft != nil && !env.Raft.HasQuorum() {
		return errNoQuorum
	}
	root, err := env.App.Execute(height, block.Header.Time, block.Data.Txs)
	if err != nil {
		return fmt.Errorf("failed to apply block: %w", p.critical(fmt.Errorf("failed to execute transactions: %w", err)))
	}
	next := p.state.Next(&block.Header, root)
	block.Signature = env.Signer.Sign(block.Header.Bytes())
	if err := env.Rules.Sequence(p.state, &block.Header); err != nil {
		p.log.Error().Err(err).Msg("CRITICAL: Permanent block validation error - halting block production")
		return p.critical(fmt.Errorf("failed to validate block: %w", err))
	}
	if env.Raft != nil {
		if err := env.Raft.Propose(ctx, &raftnode.BlockState{
			Height: height, Hash: block.Header.Hash(), Time: block.Header.Time, Block: block.Bytes(),
			LastSubmittedHeader: env.Store.Counter(chainstore.KeyLastSubmittedHeader),
			LastSubmittedData:   env.Store.Counter(chainstore.KeyLastSubmittedData),
		}); err != nil {
			return fmt.Errorf("failed to propose block to raft: %w", err)
		}
	}
	included := map[string]int{}
	for _, tx := range block.Data.Txs {
		included[string(tx)]++
	}
	// They leave the queue as well; one that could be in a later block is still in the executor's own pool.
	for _, tx := range p.dropped {
		included[string(tx)]++
	}
	p.dropped = nil
	err = env.Store.Append(block, next, func(b *kvdb.Batch) {
		b.Delete("m/pending_header")
		for _, e := range env.Store.Queue() {
			if included[string(e.Value)] > 0 {
				included[string(e.Value)]--
				b.Delete(e.Key)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("failed to commit batch: %w", err)
	}
	p.state, p.done = next, true
	env.Host.Publish(block, env.Store.Counter(chainstore.KeyDAIncluded))
	p.log.Info().Uint64("height", height).Int("txs", len(block.Data.Txs)).Msg("produced block")
	return nil
}

// begin makes the next block out of the queue. The first block of a chain carries the genesis time.
func (p *producer) begin(height uint64) (*ledger.Block, error) {
	h := ledger.Header{
		ChainID: p.env.Genesis.ChainID, Height: height, Time: uint64(p.env.Genesis.StartTime.UnixNano()),
		AppHash: p.state.AppHash, ProposerAddress: p.env.Signer.Address(),
	}
	b := &ledger.Block{PubKey: p.env.Signer.Public()}
	if height > p.env.Genesis.InitialHeight {
		h.Time = uint64(time.Now().UnixNano())
		if last, err := p.env.Store.Block(height - 1); err == nil {
			h.LastHeaderHash, b.Data.LastDataHash = last.Header.Hash(), last.DataHash()
		}
	}
	var queued [][]byte
	for i, e := range p.env.Store.Queue() {
		if i == maxTxsPerBlock {
			break
		}
		queued = append(queued, e.Value)
	}
	var err error
	if b.Data.Txs, err = p.env.App.Filter(h.Time, queued); err != nil {
		return nil, fmt.Errorf("failed to filter transactions: %w", err)
	}
	p.dropped = without(queued, b.Data.Txs)
	h.DataHash = b.Data.Commitment()
	b.Header = h
	return b, nil
}

// without returns the transactions that are not among others, in their order.
func without(all, others [][]byte) [][]byte {
	count := map[string]int{}
	for _, tx := range others {
		count[string(tx)]++
	}
	var left [][]byte
	for _, tx := range all {
		if count[string(tx)] > 0 {
			count[string(tx)]--
		} else {
			left = append(left, tx)
		}
	}
	return left
}

func (p *producer) backlogged() bool {
	limit := p.env.Config.Node.MaxPending
	if limit == 0 {
		return false
	}
	headers := p.state.Height - min(p.state.Height, p.env.Store.Counter(chainstore.KeyLastSubmittedHeader))
	data := p.state.Height - min(p.state.Height, p.env.Store.Counter(chainstore.KeyLastSubmittedData))
	if headers < limit && data < limit {
		return false
	}
	p.log.Warn().Uint64("pending_headers", headers).Uint64("pending_data", data).Uint64("limit", limit).
		Msg("pending limit reached, skipping block production")
	return true
}

// reap moves transactions from the application's memory into the queue of this store.
func (p *producer) reap(ctx context.Context) {
	defer p.wg.Done()
	log := p.env.Log.With().Str("component", "reaper").Logger()
	log.Info().Msg("reaper started")
	defer log.Info().Msg("reaper stopped")
	pace := p.env.Config.Node.ScrapeInterval.D()
	for sleep(ctx, max(pace, time.Millisecond)) {
		txs := p.env.App.Take()
		if len(txs) == 0 {
			continue
		}
		if err := p.env.Store.Enqueue(uint64(time.Now().UnixNano()), txs); err != nil {
			log.Error().Err(err).Msg("failed to queue transactions")
			continue
		}
		select {
		case p.work <- struct{}{}:
		default:
		}
	}
}

// submit keeps the books of a DA layer that accepts everything: what was handed over at one DA block is included at
// the next.
func (p *producer) submit(ctx context.Context) {
	defer p.wg.Done()
	log := p.env.Log.With().Str("component", "da_submitter").Logger()
	store := p.env.Store
	for sleep(ctx, max(p.env.Config.DA.BlockTime.D(), time.Millisecond)) {
		da := uint64(max(time.Since(p.env.Genesis.StartTime)/max(p.env.Config.DA.BlockTime.D(), time.Millisecond), 1))
		submitted := store.Counter(chainstore.KeyLastSubmittedHeader)
		if submitted > store.Counter(chainstore.KeyDAIncluded) {
			store.SetCounter(chainstore.KeyDAIncluded, submitted)
			if store.Counter(chainstore.KeyGenesisDA) == 0 {
				store.SetCounter(chainstore.KeyGenesisDA, da)
			}
		}
		top := store.Height()
		if top <= submitted {
			continue
		}
		log.Info().Uint64("count", top-submitted).Msg("submitting headers to DA")
		for h := submitted + 1; h <= top; h++ {
			store.SetCounter(fmt.Sprintf("rhb/%d/h", h), da)
			store.SetCounter(fmt.Sprintf("rhb/%d/d", h), da)
		}
		store.SetCounter(chainstore.KeyLastSubmittedHeader, top)
		store.SetCounter(chainstore.KeyLastSubmittedData, top)
		log.Info().Str("itemType", "header").Uint64("count", top-submitted).Msg("successfully submitted items to DA layer")
	}
}
