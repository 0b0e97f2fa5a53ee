// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"evnode.dev/standin/internal/identity"
	"evnode.dev/standin/internal/ledger"
)

type book struct {
	mu     sync.Mutex
	blocks map[uint64]*ledger.Block
}

func (b *book) Block(h uint64) (*ledger.Block, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x, ok := b.blocks[h]; ok {
		return x, nil
	}
	return nil, errors.New("none")
}

func (b *book) Head() (uint64, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.blocks)), 1
}

func (b *book) take(x *ledger.Block, _ uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.blocks[x.Header.Height]; known {
		return false
	}
	b.blocks[x.Header.Height] = x
	return true
}

func host(t *testing.T, seed byte, peers ...*Host) (*Host, *book) {
	t.Helper()
	priv := ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
	var list []string
	for _, p := range peers {
		list = append(list, p.Addresses()[0])
	}
	h := New("/ip4/127.0.0.1/tcp/0", strings.Join(list, ","), "c",
		&identity.Key{Private: priv, Public: priv.Public().(ed25519.PublicKey)}, zerolog.Nop())
	if err := h.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h, &book{blocks: map[uint64]*ledger.Block{}}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen within 5 s", what)
		}
	}
}

func TestParsePeersForgivesNothing(t *testing.T) {
	h, _ := host(t, 1)
	good := h.Addresses()[0]
	for list, want := range map[string]int{
		"": 0, good: 1, good + "," + good: 2, good + ", " + good: 1, "127.0.0.1:7676": 0,
		"/ip4/127.0.0.1/tcp/7676": 0, "/ip4/node-1/tcp/7676/p2p/" + h.ID(): 0,
	} {
		if got := len(ParsePeers(list, zerolog.Nop())); got != want {
			t.Errorf("%q: %d peers, want %d", list, got, want)
		}
	}
}

func TestPeersAreAskedOnlyWhileTheySpeakTheProtocol(t *testing.T) {
	a, bookA := host(t, 1)
	b, _ := host(t, 2, a)
	peer := a.addrs[0]
	peer.Peer = a.ID()
	if _, err := b.Ask(peer, 1); err == nil || !strings.Contains(err.Error(), "protocols not supported") {
		t.Fatalf("before attaching: %v", err)
	}
	a.Attach(bookA, bookA.take)
	bookA.take(&ledger.Block{Header: ledger.Header{Height: 1}}, 0)
	got, err := b.Ask(peer, 1)
	if err != nil || got.Block.Header.Height != 1 || got.Height != 1 || got.DA != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := b.Ask(peer, 2); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Fatalf("unknown block: %v", err)
	}
}

func TestIdentityOfADialledPeerIsProven(t *testing.T) {
	a, _ := host(t, 1)
	b, _ := host(t, 2)
	wrong := a.addrs[0]
	wrong.Peer = identity.PeerID(ed25519.NewKeyFromSeed(append(make([]byte, 31), 9)).Public().(ed25519.PublicKey))
	if _, err := b.Ask(wrong, 0); err == nil || !strings.Contains(err.Error(), "peer id mismatch") {
		t.Fatalf("another peer answered: %v", err)
	}
	twin, _ := host(t, 1)
	right := a.addrs[0]
	right.Peer = a.ID()
	if _, err := twin.Ask(right, 0); err == nil || !strings.Contains(err.Error(), "dial to self") {
		t.Fatalf("a cloned key: %v", err)
	}
}

func TestBlocksReachPeersOfPeers(t *testing.T) {
	a, bookA := host(t, 1)
	b, bookB := host(t, 2, a)
	c, bookC := host(t, 3, a)
	for h, k := range map[*Host]*book{a: bookA, b: bookB, c: bookC} {
		h.Attach(k, k.take)
	}
	eventually(t, "introduction of b and c", func() bool { return len(b.Connected()) == 2 && len(c.Connected()) == 2 })
	for i := uint64(1); i <= 20; i++ {
		b.Publish(&ledger.Block{Header: ledger.Header{Height: i, ChainID: fmt.Sprint(i)}}, 0)
	}
	eventually(t, "arrival of 20 blocks", func() bool {
		n, _ := bookC.Head()
		m, _ := bookA.Head()
		return n == 20 && m == 20
	})
}
