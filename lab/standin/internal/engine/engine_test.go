// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/app"
	"evnode.dev/standin/internal/chainstore"
	"evnode.dev/standin/internal/genesis"
	"evnode.dev/standin/internal/identity"
	"evnode.dev/standin/internal/ledger"
	"evnode.dev/standin/internal/p2p"
	"evnode.dev/standin/internal/raftnode"
	"evnode.dev/standin/internal/settings"
	"evnode.dev/standin/internal/signer"
)

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

type world struct {
	genesis *genesis.Genesis
	key     *signer.Signer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := signer.Open(t.TempDir(), "p", true)
	if err != nil {
		t.Fatal(err)
	}
	return &world{key: key, genesis: &genesis.Genesis{
		ChainID: "c", StartTime: time.Now().Add(-time.Minute), InitialHeight: 1, ProposerAddress: key.Address(),
	}}
}

func kv(e *Env) *app.App { return e.App.(*app.App) }

func (w *world) env(t *testing.T, peers string) *Env {
	t.Helper()
	cfg := settings.Default()
	cfg.Home = t.TempDir()
	cfg.RPC.Address = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg.Node.BlockTime, cfg.Node.ScrapeInterval = settings.Interval(20*time.Millisecond), settings.Interval(10*time.Millisecond)
	cfg.DA.BlockTime = settings.Interval(50 * time.Millisecond)
	cfg.DA.Address, cfg.P2P.Peers = "http://da", peers
	store, err := chainstore.Open(filepath.Join(cfg.DataDir(), "standin"))
	if err != nil {
		t.Fatal(err)
	}
	application, err := app.Open(filepath.Join(cfg.DataDir(), "executor"))
	if err != nil {
		t.Fatal(err)
	}
	node, err := identity.LoadOrCreate(cfg.ConfigDir())
	if err != nil {
		t.Fatal(err)
	}
	host := p2p.New("/ip4/127.0.0.1/tcp/0", peers, "c", node, zerolog.Nop())
	if err := host.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	return &Env{Config: cfg, Genesis: w.genesis, Store: store, App: application, Signer: w.key, Host: host,
		Rules: &ledger.Rules{}, Log: zerolog.Nop()}
}

func run(t *testing.T, r *Role) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Second):
			return fmt.Errorf("role did not stop within 5 s")
		}
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen within 20 s", what)
		}
	}
}

func TestFollowerTakesTheHistoryAndThenTheTip(t *testing.T) {
	w := newWorld(t)
	leader := w.env(t, "")
	stop := run(t, NewLeader(leader))
	kv(leader).Inject([]byte("colour=red"))
	eventually(t, "block 20", func() bool { return leader.Store.Height() >= 20 })
	follower := w.env(t, leader.Host.Addresses()[0])
	follower.Signer = nil
	run(t, NewFollower(follower))
	eventually(t, "catching up", func() bool { return follower.Store.Height() >= 20 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	top := leader.Store.Height()
	eventually(t, "the last block", func() bool { return follower.Store.Height() == top })
	a, _ := leader.Store.HashAt(top)
	b, err := follower.Store.HashAt(top)
	if err != nil || string(a) != string(b) {
		t.Fatalf("last blocks differ: %x %x %v", a, b, err)
	}
	if v, ok := kv(follower).Value("colour"); !ok || v != "red" {
		t.Fatalf("follower's application has %q", v)
	}
	if string(kv(follower).Root()) != string(kv(leader).Root()) {
		t.Fatal("application hashes differ")
	}
	if leader.Store.Counter(chainstore.KeyLastSubmittedHeader) == 0 || leader.Store.Counter(chainstore.KeyDAIncluded) == 0 {
		t.Fatal("the leader kept no books of its submissions")
	}
	if _, err := follower.Store.Metadata(chainstore.KeyLastSubmittedHeader); err == nil {
		t.Fatal("a plain follower knows nothing of submissions")
	}
}

func TestLeaderContinuesAfterItsOwnLastBlock(t *testing.T) {
	w := newWorld(t)
	env := w.env(t, "")
	stop := run(t, NewLeader(env))
	eventually(t, "block 3", func() bool { return env.Store.Height() >= 3 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	top := env.Store.Height()
	run(t, NewLeader(env))
	eventually(t, "a further block", func() bool { return env.Store.Height() > top })
	next, err := env.Store.Block(top + 1)
	if err != nil {
		t.Fatal(err)
	}
	hash, _ := env.Store.HashAt(top)
	if string(next.Header.LastHeaderHash) != string(hash) {
		t.Fatal("the new block does not follow the old one")
	}
}

func TestWrongKeyIsFoundWhenLeading(t *testing.T) {
	w := newWorld(t)
	env := w.env(t, "")
	env.Signer = newWorld(t).key
	err := NewLeader(env).Run(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "failed to initialize state: not a proposer") {
		t.Fatal(err)
	}
}

// chain fills a store with n blocks and returns them.
func (w *world) chain(t *testing.T, env *Env, n int) []*ledger.Block {
	t.Helper()
	p := newProducer(env)
	if err := p.initialize(); err != nil {
		t.Fatal(err)
	}
	var out []*ledger.Block
	for range n {
		if err := p.produce(context.Background()); err != nil {
			t.Fatal(err)
		}
		b, err := env.Store.Block(p.state.Height)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func agreed(b *ledger.Block) *raftnode.BlockState {
	return &raftnode.BlockState{Height: b.Header.Height, Hash: b.Header.Hash(), Time: b.Header.Time, Block: b.Bytes()}
}

func TestRecoveryFromTheAgreedBlock(t *testing.T) {
	w := newWorld(t)
	full := w.env(t, "")
	blocks := w.chain(t, full, 5)
	other := w.chain(t, w.env(t, ""), 4) // another history: the same heights, other hashes

	role := NewFollower(full)
	for name, c := range map[string]struct {
		state *raftnode.BlockState
		diff  int
		text  string
	}{
		"no agreed block":  {&raftnode.BlockState{}, 5, "unmarshal header: signed header's Header is nil"},
		"ahead, same":      {agreed(blocks[2]), 2, ""},
		"ahead, different": {agreed(other[2]), 2, "local state diverged from raft at height 3"},
		"far behind":       {&raftnode.BlockState{Height: 9, Block: blocks[4].Bytes()}, -4, ""},
	} {
		diff, err := role.Distance(c.state)
		if err != nil || diff != c.diff {
			t.Errorf("%s: distance %d, %v", name, diff, err)
		}
		err = role.Recover(t.Context(), c.state)
		if c.text == "" && err != nil || c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := agreed(blocks[4])
	wrong.Hash = other[0].Header.Hash()
	if _, err := role.Distance(wrong); err == nil || !strings.Contains(err.Error(), "header hash mismatch") {
		t.Errorf("equal height, different hash: %v", err)
	}

	behind := w.env(t, "")
	near := NewFollower(behind)
	f := near.worker.(*follower)
	if err := behind.Store.SetState(ledger.Initial(w.genesis, nil)); err != nil {
		t.Fatal(err)
	}
	f.ready = true
	for _, b := range []int{3, 1, 0, 2} { // out of order
		f.handle(blocks[b], "")
	}
	if behind.Store.Height() != 4 {
		t.Fatalf("height %d after four blocks", behind.Store.Height())
	}
	if err := near.Recover(t.Context(), agreed(blocks[4])); err != nil || behind.Store.Height() != 5 {
		t.Fatalf("one block behind: height %d, %v", behind.Store.Height(), err)
	}
}

func TestLeaderComparesItselfOnlyWithAnAgreedBlock(t *testing.T) {
	w := newWorld(t)
	env := w.env(t, "")
	blocks := w.chain(t, env, 3)
	state, err := env.Store.State()
	if err != nil {
		t.Fatal(err)
	}
	p := newProducer(env)
	for want, s := range map[string]*raftnode.BlockState{
		"":                                   {},
		"local height (3) ahead of raft (2)": agreed(blocks[1]),
		"block hash mismatch at height 3":    {Height: 3, Hash: []byte("x")},
	} {
		err := p.compare(state, s)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestPendingLimitStopsProduction(t *testing.T) {
	w := newWorld(t)
	env := w.env(t, "")
	env.Config.Node.MaxPending = 2
	w.chain(t, env, 2)
	p := newProducer(env)
	if err := p.initialize(); err != nil {
		t.Fatal(err)
	}
	if err := p.produce(t.Context()); err != nil || env.Store.Height() != 2 {
		t.Fatalf("height %d, %v", env.Store.Height(), err)
	}
	env.Store.SetCounter(chainstore.KeyLastSubmittedHeader, 2)
	env.Store.SetCounter(chainstore.KeyLastSubmittedData, 2)
	if err := p.produce(t.Context()); err != nil || env.Store.Height() != 3 {
		t.Fatalf("height %d, %v", env.Store.Height(), err)
	}
}
