// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// ErrLeadershipLost ends a process that led: there is no way back to following inside one process.
var ErrLeadershipLost = errors.New("leader lock lost")

var errNextEvent = errors.New("wait for the next event")

// Role is what a process does while it leads or follows.
type Role interface {
	Run(ctx context.Context) error
	// Distance is the local height minus the agreed one; equal heights with different hashes are an error.
	Distance(state *BlockState) (int, error)
	// Recover brings the local store to the agreed block, where one block is enough for that.
	Recover(ctx context.Context, state *BlockState) error
}

// Elector runs the roles.
type Elector struct {
	log              zerolog.Logger
	node             *Node
	leader, follower func() (Role, error)

	role             Role
	started, leading bool
	stopRole         context.CancelFunc
	running          sync.WaitGroup
	failed           chan error
}

// NewElector makes an elector; the functions make a role when it is needed.
func NewElector(log zerolog.Logger, node *Node, leader, follower func() (Role, error)) *Elector {
	return &Elector{log: log, node: node, leader: leader, follower: follower,
		stopRole: func() {}, failed: make(chan error, 1)}
}

// Run follows the elections until ctx ends, a role fails, or leadership is lost.
func (e *Elector) Run(ctx context.Context) error {
	defer e.stop()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	ticks := tick.C
	for {
		var err error
		select {
		case leads := <-e.node.raft.LeaderCh():
			e.log.Info().Msg("Raft leader changed notification")
			switch {
			case leads && !e.leading:
				err = e.lead(ctx)
			case !leads && e.leading:
				e.stopRole()
				e.log.Info().Msg("lost leadership")
				return ErrLeadershipLost
			case !leads && !e.started:
				err = e.follow(ctx)
			}
		case <-ticks:
			id := e.node.LeaderID()
			if id == "" {
				continue
			}
			ticks = nil
			if !e.started && id != e.node.ID() {
				err = e.follow(ctx)
			}
		case err = <-e.failed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, errNextEvent) {
			return err
		}
	}
}

func (e *Elector) stop() {
	e.stopRole()
	e.running.Wait()
}

func (e *Elector) start(ctx context.Context, name string) {
	e.stop()
	inner, cancel := context.WithCancel(ctx)
	e.stopRole = cancel
	role := e.role
	e.running.Add(1)
	go func() {
		defer e.running.Done()
		if err := role.Run(inner); err != nil && !errors.Is(err, context.Canceled) {
			_ = e.node.transfer()
			select {
			case e.failed <- fmt.Errorf("%s worker exited unexpectedly: %s", name, err):
			default:
			}
		}
	}()
}

func (e *Elector) follow(ctx context.Context) error {
	e.log.Info().Msg("starting follower operations")
	e.started = true
	role, err := e.follower()
	if err != nil {
		return err
	}
	e.role = role
	if err := e.node.caughtUp(e.node.sendTimeout); err != nil {
		e.log.Debug().Err(err).Msg("timed out waiting for raft messages before follower verification; continuing")
	}
	if err := e.verify(ctx); err != nil {
		return err
	}
	e.start(ctx, "follower")
	return nil
}

// verify compares the store of a starting follower with what the cluster agreed on.
func (e *Elector) verify(ctx context.Context) error {
	state, err := e.agreedState(ctx)
	if err != nil || state == nil {
		return err
	}
	diff, err := e.role.Distance(state)
	switch {
	case err != nil:
		e.log.Warn().Err(err).Uint64("raft_height", state.Height).Msg("sync check failed, attempting recovery from raft canonical state")
		if rerr := e.role.Recover(ctx, state); rerr != nil {
			return errors.Join(err, fmt.Errorf("recovery after sync-check failure: %w", rerr))
		}
		e.log.Info().Msg("recovery successful after sync-check failure")
	case diff < 0:
		e.log.Info().Uint64("local_height", uint64(int64(state.Height)+int64(diff))).Uint64("raft_height", state.Height).
			Int("diff", diff).Msg("local state behind raft state, skipping recovery to allow catchup")
	case diff > 0:
		e.log.Info().Uint64("raft_height", state.Height).Int("diff", diff).Msg("follower not synced, attempting recovery before start")
		if err := e.role.Recover(ctx, state); err != nil {
			e.log.Error().Err(err).Msg("follower recovery failed")
			return err
		}
		e.log.Info().Msg("follower recovery successful")
	}
	return nil
}

// agreedState waits a moment for a first agreed block; nil means that there is none.
func (e *Elector) agreedState(ctx context.Context) (*BlockState, error) {
	end := time.NewTimer(e.node.sendTimeout)
	defer end.Stop()
	tick := time.NewTicker(min(50*time.Millisecond, max(e.node.sendTimeout/4, time.Millisecond)))
	defer tick.Stop()
	for {
		if s := e.node.State(); s.Height > 0 {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end.C:
			e.log.Info().Msg("raft state still at height 0 after wait; skipping recovery to allow normal sync")
			return nil, nil
		case <-tick.C:
		}
	}
}

func (e *Elector) lead(ctx context.Context) error {
	if err := e.node.caughtUp(e.node.sendTimeout); err != nil {
		e.log.Error().Err(err).Msg("failed to wait for messages to land - FSM lagging, abdicating to prevent safety violation")
		if err := e.node.transfer(); err != nil {
			e.log.Error().Err(err).Msg("failed to transfer leadership")
		}
		return errNextEvent
	}
	if e.started { // only a process that followed before compares itself with the cluster
		if err := e.promote(ctx); err != nil {
			return err
		}
	}
	e.log.Info().Msg("starting leader operations")
	role, err := e.leader()
	if err != nil {
		return err
	}
	e.role, e.started, e.leading = role, true, true
	e.start(ctx, "leader")
	return nil
}

func (e *Elector) promote(ctx context.Context) error {
	e.log.Info().Msg("became leader, stopping follower operations")
	if e.node.LeaderID() != e.node.ID() {
		e.log.Info().Msg("lost leadership during sync wait")
		return errNextEvent
	}
	state := e.node.State()
	diff, err := e.role.Distance(state)
	if err != nil {
		return err
	}
	if diff < -1 {
		if state, diff, err = e.waitForStore(ctx, state, diff); err != nil {
			return err
		}
	}
	if diff != 0 {
		e.log.Info().Msg("became leader but not synced, attempting recovery")
		if err := e.role.Recover(ctx, state); err != nil {
			e.log.Error().Err(err).Msg("recovery failed")
			_ = e.node.transfer()
			return err
		}
		e.log.Info().Msg("recovery successful")
	}
	e.log.Info().Msg("became leader, stopping follower operations")
	e.stop()
	return nil
}

// waitForStore gives a new leader whose store is far behind a short time to catch up, and else hands over.
func (e *Elector) waitForStore(ctx context.Context, state *BlockState, diff int) (*BlockState, int, error) {
	lag := -diff
	e.log.Warn().Int("store_lag_blocks", lag).Uint64("raft_height", state.Height).
		Msg("became leader but store is significantly behind raft state; waiting for block-store sync")
	end := time.NewTimer(e.node.drain)
	defer end.Stop()
	tick := time.NewTicker(min(100*time.Millisecond, e.node.drain/10))
	defer tick.Stop()
	for over := false; ; {
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-end.C:
			over = true
		case <-tick.C:
			if e.node.LeaderID() != e.node.ID() {
				e.log.Info().Msg("lost leadership while waiting for block-store sync; skipping abdication")
				return nil, 0, errNextEvent
			}
		}
		if now, err := e.role.Distance(e.node.State()); err == nil && now >= -1 {
			e.log.Info().Msg("block store caught up after wait; proceeding as leader")
			state = e.node.State()
			diff, err := e.role.Distance(state)
			return state, diff, err
		}
		if !over {
			continue
		}
		e.log.Warn().Int("store_lag_blocks", lag).Uint64("raft_height", state.Height).
			Msg("store still significantly behind raft state after wait; abdicating to prevent stalled block production")
		if err := e.node.transfer(); err != nil {
			e.log.Error().Err(err).Msg("leadership transfer failed after store-lag abdication")
			return nil, 0, fmt.Errorf("leadership transfer failed after store-lag abdication: %w", err)
		}
		return nil, 0, errNextEvent
	}
}
