// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package chainstore

import (
	"strings"
	"testing"
	"time"

	"evnode.dev/standin/internal/ledger"
)

func fill(t *testing.T, s *Store, n uint64) {
	t.Helper()
	st := &ledger.State{ChainID: "c", InitialHeight: 1}
	if err := s.SetState(st); err != nil {
		t.Fatal(err)
	}
	for h := uint64(1); h <= n; h++ {
		b := &ledger.Block{Header: ledger.Header{ChainID: "c", Height: h, Time: h * uint64(time.Second)}}
		st = st.Next(&b.Header, nil)
		if err := s.Append(b, st, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBlocksAreFoundAndRolledBack(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.State(); err == nil {
		t.Fatal("an empty store has a state")
	}
	fill(t, s, 5)
	hash, err := s.HashAt(4)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.BlockByHash(hash); err != nil || b.Header.Height != 4 {
		t.Fatalf("%v, %v", b, err)
	}
	if _, err := s.Block(6); err == nil || err.Error() != "load block header: datastore: key not found" {
		t.Fatal(err)
	}
	s.SetCounter(KeyDAIncluded, 4)
	if err := s.Rollback(3, true); err == nil || !strings.Contains(err.Error(), "cannot rollback a finalized height") {
		t.Fatalf("finalized: %v", err)
	}
	if err := s.Rollback(5, true); err == nil || !strings.Contains(err.Error(), "current height 5 is already less than or equal") {
		t.Fatal(err)
	}
	if err := s.Rollback(4, true); err != nil {
		t.Fatal(err)
	}
	st, err := s.State()
	if err != nil || st.Height != 4 || s.Height() != 4 || s.Lowest() != 1 {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := s.Rollback(2, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.BlockByHash(hash); err == nil {
		t.Fatal("a block that was rolled back is still found")
	}
}

func TestMetadataIsWrittenOnlyByACleanClose(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.SetCounter("k", 7)
	s.SetCounter("k", 3)
	if s.Counter("k") != 7 {
		t.Fatalf("counter %d", s.Counter("k"))
	}
	if _, ok := s.db.Get("m/k"); ok {
		t.Fatal("metadata was written at once")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Counter("k") != 7 {
		t.Fatalf("counter %d after a clean close", again.Counter("k"))
	}
}
