// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package ledger defines blocks, the state behind them, and the rules a next block has to keep.
package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"evnode.dev/standin/internal/genesis"
	"evnode.dev/standin/internal/signer"
)

// Header is what is signed. Its hash is the block hash.
type Header struct {
	ChainID         string `json:"chain_id"`
	Height          uint64 `json:"height"`
	Time            uint64 `json:"time"` // nanoseconds since 1970
	LastHeaderHash  []byte `json:"last_header_hash,omitempty"`
	DataHash        []byte `json:"data_hash,omitempty"`
	AppHash         []byte `json:"app_hash,omitempty"`
	ProposerAddress []byte `json:"proposer_address"`
}

// Data is the content of a block.
type Data struct {
	LastDataHash []byte   `json:"last_data_hash,omitempty"`
	Txs          [][]byte `json:"txs,omitempty"`
}

// Block is a header with its signature and its data.
type Block struct {
	Header    Header `json:"header"`
	Data      Data   `json:"data"`
	PubKey    []byte `json:"pub_key"`
	Signature []byte `json:"signature"`
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("ledger: %T cannot be encoded: %v", v, err))
	}
	return raw
}

// Bytes is the form that is signed and hashed.
func (h *Header) Bytes() []byte { return encode(h) }

// Hash is the block hash.
func (h *Header) Hash() []byte {
	sum := sha256.Sum256(h.Bytes())
	return sum[:]
}

// When is the header's time.
func (h *Header) When() time.Time { return time.Unix(0, int64(h.Time)).UTC() }

// Commitment is the hash over the transactions alone: what a header refers to.
func (d *Data) Commitment() []byte {
	raw := []byte{0}
	for _, tx := range d.Txs {
		raw = append(raw, encode(tx)...)
	}
	sum := sha256.Sum256(raw)
	return sum[:]
}

// DataHash is the hash of a block's data together with its place in the chain.
func (b *Block) DataHash() []byte {
	sum := sha256.Sum256(encode(struct {
		Chain        string
		Height, Time uint64
		Data         Data
	}{b.Header.ChainID, b.Header.Height, b.Header.Time, b.Data}))
	return sum[:]
}

// Bytes is the stored and transmitted form.
func (b *Block) Bytes() []byte { return encode(b) }

// Decode reads a block.
func Decode(raw []byte) (*Block, error) {
	b := &Block{}
	if err := json.Unmarshal(raw, b); err != nil {
		return nil, err
	}
	return b, nil
}

// State is what a node knows after its last block.
type State struct {
	ChainID       string    `json:"chain_id"`
	InitialHeight uint64    `json:"initial_height"`
	Height        uint64    `json:"height"`
	Time          time.Time `json:"time"`
	HeaderHash    []byte    `json:"header_hash,omitempty"`
	DAHeight      uint64    `json:"da_height"`
	AppHash       []byte    `json:"app_hash,omitempty"`
	NextProposer  []byte    `json:"next_proposer"`
}

// Initial is the state before the first block.
func Initial(g *genesis.Genesis, appHash []byte) *State {
	return &State{
		ChainID: g.ChainID, InitialHeight: g.InitialHeight, Height: g.InitialHeight - 1, Time: g.StartTime.UTC(),
		DAHeight: g.DAStartHeight, AppHash: appHash, NextProposer: g.ProposerAddress,
	}
}

// Next is the state after a block whose execution gave appHash.
func (s *State) Next(h *Header, appHash []byte) *State {
	next := *s
	next.Height, next.Time, next.HeaderHash, next.AppHash = h.Height, h.When(), h.Hash(), appHash
	return &next
}

var (
	// ErrInvalidBlock means that the block itself is wrong; it is dropped.
	ErrInvalidBlock = errors.New("invalid block")
	// ErrInvalidState means that block and local state belong to different histories; the node stops.
	ErrInvalidState = errors.New("invalid state")
)

// Rules checks blocks against a state. One process uses one: it lets the first wrong parent hash pass, as ev-node does.
type Rules struct {
	wrongParents atomic.Int32
}

// Sequence checks that a header may follow a state.
func (r *Rules) Sequence(s *State, h *Header) error {
	if h.ChainID != s.ChainID {
		return fmt.Errorf("%w: invalid chain ID - got %s, want %s", ErrInvalidBlock, h.ChainID, s.ChainID)
	}
	if len(s.HeaderHash) == 0 {
		return nil
	}
	if h.Height != s.Height+1 {
		return fmt.Errorf("%w: invalid block height - got: %d, want: %d", ErrInvalidBlock, h.Height, s.Height+1)
	}
	if s.Time.After(h.When()) {
		return fmt.Errorf("%w: invalid block time - got: %v, last: %v", ErrInvalidBlock, h.When(), s.Time)
	}
	if !bytes.Equal(h.LastHeaderHash, s.HeaderHash) && r.wrongParents.Add(1) > 1 {
		return fmt.Errorf("%w: invalid last header hash - got: %x, want: %x", ErrInvalidState, h.LastHeaderHash, s.HeaderHash)
	}
	if !bytes.Equal(h.AppHash, s.AppHash) {
		return fmt.Errorf("%w: invalid last app hash - got: %x, want: %x", ErrInvalidState, h.AppHash, s.AppHash)
	}
	return nil
}

// Check verifies a foreign block: signature, proposer, place in the chain, data.
func (r *Rules) Check(s *State, b *Block) error {
	h := &b.Header
	if len(b.PubKey) != ed25519.PublicKeySize || !bytes.Equal(signer.Address(b.PubKey), h.ProposerAddress) {
		return fmt.Errorf("%w: invalid header: signer's address does not match the proposer", ErrInvalidBlock)
	}
	if !ed25519.Verify(b.PubKey, h.Bytes(), b.Signature) {
		return fmt.Errorf("%w: invalid header: signature verification failed", ErrInvalidBlock)
	}
	if !bytes.Equal(h.ProposerAddress, s.NextProposer) {
		return fmt.Errorf("%w: unexpected proposer - got: %s, want: %s", ErrInvalidBlock,
			hex.EncodeToString(h.ProposerAddress), hex.EncodeToString(s.NextProposer))
	}
	if err := r.Sequence(s, h); err != nil {
		return err
	}
	if !bytes.Equal(h.DataHash, b.Data.Commitment()) {
		return fmt.Errorf("%w: header-data validation failed: data hash does not match", ErrInvalidBlock)
	}
	return nil
}
