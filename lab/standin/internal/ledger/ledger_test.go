// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package ledger

import (
	"errors"
	"testing"
	"time"

	"evnode.dev/standin/internal/genesis"
	"evnode.dev/standin/internal/signer"
)

func chain(t *testing.T) (*State, *signer.Signer) {
	t.Helper()
	key, err := signer.Open(t.TempDir(), "p", true)
	if err != nil {
		t.Fatal(err)
	}
	g := &genesis.Genesis{ChainID: "c", StartTime: time.Unix(1000, 0), InitialHeight: 1, ProposerAddress: key.Address()}
	return Initial(g, nil), key
}

func next(s *State, key *signer.Signer, at time.Time, txs ...string) *Block {
	b := &Block{PubKey: key.Public(), Header: Header{
		ChainID: s.ChainID, Height: s.Height + 1, Time: uint64(at.UnixNano()), LastHeaderHash: s.HeaderHash,
		AppHash: s.AppHash, ProposerAddress: key.Address(),
	}}
	for _, tx := range txs {
		b.Data.Txs = append(b.Data.Txs, []byte(tx))
	}
	b.Header.DataHash = b.Data.Commitment()
	b.Signature = key.Sign(b.Header.Bytes())
	return b
}

func TestRulesOfANextBlock(t *testing.T) {
	s, key := chain(t)
	r := &Rules{}
	one := next(s, key, time.Unix(1001, 0), "a=1")
	if err := r.Check(s, one); err != nil {
		t.Fatal(err)
	}
	s = s.Next(&one.Header, []byte("root"))
	old := next(s, key, time.Unix(999, 0))
	if err := r.Check(s, old); !errors.Is(err, ErrInvalidBlock) {
		t.Fatalf("a block older than its parent: %v", err)
	}
	changed := next(s, key, time.Unix(1002, 0))
	changed.Data.Txs = [][]byte{[]byte("b=2")}
	if err := r.Check(s, changed); !errors.Is(err, ErrInvalidBlock) {
		t.Fatalf("changed data: %v", err)
	}
	forged := next(s, key, time.Unix(1002, 0))
	forged.Header.Time++
	if err := r.Check(s, forged); !errors.Is(err, ErrInvalidBlock) {
		t.Fatalf("changed header: %v", err)
	}
	_, other := chain(t)
	if err := r.Check(s, next(s, other, time.Unix(1002, 0))); !errors.Is(err, ErrInvalidBlock) {
		t.Fatalf("another signer: %v", err)
	}
	wrongApp := next(s, key, time.Unix(1002, 0))
	wrongApp.Header.AppHash = []byte("x")
	wrongApp.Signature = key.Sign(wrongApp.Header.Bytes())
	if err := r.Check(s, wrongApp); !errors.Is(err, ErrInvalidState) {
		t.Fatalf("another application state: %v", err)
	}
}

func TestOnlyTheFirstWrongParentPasses(t *testing.T) {
	s, key := chain(t)
	r := &Rules{}
	one := next(s, key, time.Unix(1001, 0))
	s = s.Next(&one.Header, nil)
	fork := next(s, key, time.Unix(1002, 0))
	fork.Header.LastHeaderHash = []byte("elsewhere")
	fork.Signature = key.Sign(fork.Header.Bytes())
	if err := r.Check(s, fork); err != nil {
		t.Fatalf("first: %v", err)
	}
	if err := r.Check(s, fork); !errors.Is(err, ErrInvalidState) {
		t.Fatalf("second: %v", err)
	}
}

func TestBlockKeepsItsHashThroughEncoding(t *testing.T) {
	s, key := chain(t)
	b := next(s, key, time.Unix(1001, 5), "a=1", "b=2")
	again, err := Decode(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if string(again.Header.Hash()) != string(b.Header.Hash()) || string(again.DataHash()) != string(b.DataHash()) {
		t.Fatal("hash changed")
	}
	if err := (&Rules{}).Check(s, again); err != nil {
		t.Fatal(err)
	}
}
