// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package chainstore keeps blocks, states and metadata in one database.
package chainstore

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"evnode.dev/standin/internal/kvdb"
	"evnode.dev/standin/internal/ledger"
)

// Metadata keys.
const (
	KeyDAIncluded          = "d"
	KeyGenesisDA           = "gdh"
	KeyLastSubmittedHeader = "last-submitted-header-height"
	KeyLastSubmittedData   = "last-submitted-data-height"
)

// ErrNotFound is returned for what is not stored.
var ErrNotFound = errors.New("datastore: key not found")

// Store is safe for concurrent use.
type Store struct {
	db *kvdb.DB

	mu      sync.Mutex
	waiting map[string][]byte // metadata that only a clean close writes
	changed chan struct{}     // closed and replaced with every new block
}

// Open opens the store in dir.
func Open(dir string) (*Store, error) {
	db, err := kvdb.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Store{db: db, waiting: map[string][]byte{}, changed: make(chan struct{})}, nil
}

// Close writes waiting metadata and closes the database.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &kvdb.Batch{}
	for k, v := range s.waiting {
		b.Put("m/"+k, v)
	}
	return errors.Join(s.db.Commit(b), s.db.Close())
}

func blockKey(h uint64) string { return fmt.Sprintf("b/%020d", h) }
func stateKey(h uint64) string { return fmt.Sprintf("s/%020d", h) }

// State returns the state after the last block.
func (s *Store) State() (*ledger.State, error) {
	raw, ok := s.db.Get("t")
	if !ok {
		return nil, fmt.Errorf("failed to get current height: %w", ErrNotFound)
	}
	h := binary.LittleEndian.Uint64(raw)
	raw, ok = s.db.Get(stateKey(h))
	if !ok {
		return nil, fmt.Errorf("failed to retrieve state: %w", ErrNotFound)
	}
	st := &ledger.State{}
	if err := json.Unmarshal(raw, st); err != nil {
		return nil, fmt.Errorf("failed to decode state at height %d: %w", h, err)
	}
	return st, nil
}

// Height is the height of the last block, 0 if there is none.
func (s *Store) Height() uint64 {
	raw, ok := s.db.Get("t")
	if !ok {
		return 0
	}
	return binary.LittleEndian.Uint64(raw)
}

// Block returns the block at a height.
func (s *Store) Block(h uint64) (*ledger.Block, error) {
	raw, ok := s.db.Get(blockKey(h))
	if !ok {
		return nil, fmt.Errorf("load block header: %w", ErrNotFound)
	}
	return ledger.Decode(raw)
}

// BlockByHash returns the block with a hash.
func (s *Store) BlockByHash(hash []byte) (*ledger.Block, error) {
	raw, ok := s.db.Get("i/" + hex.EncodeToString(hash))
	if !ok {
		return nil, fmt.Errorf("failed to load height from index: %w", ErrNotFound)
	}
	return s.Block(binary.LittleEndian.Uint64(raw))
}

// HashAt is the block hash at a height.
func (s *Store) HashAt(h uint64) ([]byte, error) {
	b, err := s.Block(h)
	if err != nil {
		return nil, err
	}
	return b.Header.Hash(), nil
}

// Lowest is the height of the oldest block, 0 if there is none.
func (s *Store) Lowest() uint64 {
	top := s.Height()
	if top == 0 {
		return 0
	}
	for h := uint64(1); h <= top; h++ {
		if _, ok := s.db.Get(blockKey(h)); ok {
			return h
		}
	}
	return 0
}

// SetState stores a state without a block.
func (s *Store) SetState(st *ledger.State) error {
	b := &kvdb.Batch{}
	putState(b, st)
	return s.db.Commit(b)
}

func putState(b *kvdb.Batch, st *ledger.State) {
	raw, _ := json.Marshal(st)
	b.Put(stateKey(st.Height), raw)
	b.Put("t", Uint64(st.Height))
}

// Append stores a block together with the state after it, in one piece. more may add to the same commit.
func (s *Store) Append(block *ledger.Block, st *ledger.State, more func(*kvdb.Batch)) error {
	b := &kvdb.Batch{}
	b.Put(blockKey(block.Header.Height), block.Bytes())
	b.Put("i/"+hex.EncodeToString(block.Header.Hash()), Uint64(block.Header.Height))
	putState(b, st)
	if more != nil {
		more(b)
	}
	if err := s.db.Commit(b); err != nil {
		return err
	}
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	return nil
}

// Changed is closed when the next block is stored.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Metadata returns a value; one that is not yet written counts.
func (s *Store) Metadata(key string) ([]byte, error) {
	s.mu.Lock()
	v, ok := s.waiting[key]
	s.mu.Unlock()
	if ok {
		return v, nil
	}
	if v, ok := s.db.Get("m/" + key); ok {
		return v, nil
	}
	return nil, fmt.Errorf("failed to get metadata for key '%s': %w", key, ErrNotFound)
}

// SetMetadata remembers a value until the store is closed; a process that is killed before loses it.
func (s *Store) SetMetadata(key string, value []byte) {
	s.mu.Lock()
	s.waiting[key] = value
	s.mu.Unlock()
}

// Counter reads a metadata value as a number, 0 if there is none.
func (s *Store) Counter(key string) uint64 {
	raw, err := s.Metadata(key)
	if err != nil || len(raw) != 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(raw)
}

// SetCounter stores a number that never falls.
func (s *Store) SetCounter(key string, n uint64) {
	if n > s.Counter(key) {
		s.SetMetadata(key, Uint64(n))
	}
}

// Uint64 is the stored form of a number.
func Uint64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// Pending returns the block that was begun but not committed.
func (s *Store) Pending() *ledger.Block {
	raw, ok := s.db.Get("m/pending_header")
	if !ok {
		return nil
	}
	b, err := ledger.Decode(raw)
	if err != nil {
		return nil
	}
	return b
}

// SetPending stores or, with nil, removes the begun block.
func (s *Store) SetPending(block *ledger.Block) error {
	b := &kvdb.Batch{}
	if block == nil {
		b.Delete("m/pending_header")
	} else {
		b.Put("m/pending_header", block.Bytes())
	}
	return s.db.Commit(b)
}

// Queue returns the transactions that were taken from the application but are in no block yet.
func (s *Store) Queue() []kvdb.Entry { return s.db.Scan("q/") }

// Enqueue adds transactions to the queue.
func (s *Store) Enqueue(at uint64, txs [][]byte) error {
	b := &kvdb.Batch{}
	for i, tx := range txs {
		b.Put(fmt.Sprintf("q/%020d-%06d", at, i), tx)
	}
	return s.db.Commit(b)
}

// Rollback removes all blocks above a height. A block that the DA layer has may only go from a node that follows.
func (s *Store) Rollback(to uint64, aggregator bool) error {
	top := s.Height()
	if top <= to {
		return fmt.Errorf("current height %d is already less than or equal to rollback height %d", top, to)
	}
	b := &kvdb.Batch{}
	if s.Counter(KeyDAIncluded) > to {
		if aggregator {
			return errors.New("DA included height is greater than the rollback height: cannot rollback a finalized height")
		}
		b.Put("m/"+KeyDAIncluded, Uint64(to))
	}
	if _, ok := s.db.Get(stateKey(to)); !ok {
		return fmt.Errorf("failed to get state at height %d: %w", to, ErrNotFound)
	}
	for h := top; h > to; h-- {
		hash, err := s.HashAt(h)
		if err != nil {
			return fmt.Errorf("failed to get header at height %d: %w", h, err)
		}
		b.Delete(blockKey(h))
		b.Delete(stateKey(h))
		b.Delete("i/" + hex.EncodeToString(hash))
	}
	b.Put("t", Uint64(to))
	return s.db.Commit(b)
}
